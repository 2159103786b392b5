"""Check the simulated light against closed forms, or measure how fast it is here.

check runs experiments whose outcome is known: gains and errors of all settings, X error against
overlap, and more. It prints chi-square, p value and number of events of each, and a verdict: exit
code 0 if every p value is above 1e-4, 1 if not. The same seed gives the same numbers, bit for bit,
whatever --jobs says. bench prints pulses per second and nanoseconds per event.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from mdiqkd_net.laboratory.finding import Finding

EXIT_DISAGREES = 1
_QUIET_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|bench")
    check = actions.add_parser("check", parents=[common], help="simulation against closed form")
    check.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help="some of them (default: all)"
    )
    check.add_argument(
        "--events", type=int, default=200_000, metavar="N", help="to count in each case (200000)"
    )
    check.add_argument(
        "--level", metavar="NAME", help="coincidence, click, tag (default: each at its cheapest)"
    )
    check.add_argument("--seed", type=int, default=1, metavar="N", help="replays bit for bit (1)")
    check.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="of each experiment, pooled (1)"
    )
    check.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    check.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf of the curves")
    bench = actions.add_parser("bench", parents=[common], help="pulses per second on this machine")
    bench.add_argument(
        "--events", type=int, default=2_000_000, metavar="N", help="at each loss (2000000)"
    )
    bench.add_argument(
        "--level", action="append", metavar="NAME", help="repeatable (default: all of them)"
    )
    bench.add_argument("--processes", type=int, default=1, metavar="N", help="at the same time (1)")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    for name in ("events", "repeats", "jobs", "processes"):
        value = getattr(args, name, 1)
        if value < 1:
            raise ConfigError(f"--{name}: found {value}; allowed: 1 or more")
    return _check(args) if args.action == "check" else _bench(args)


def _check(args: argparse.Namespace) -> int:
    from mdiqkd_net.laboratory.check import LEAST_P, check
    from mdiqkd_net.laboratory.finding import pooled

    if args.seed < 0:
        raise ConfigError(f"--seed: found {args.seed}; allowed: 0 or greater")
    if args.plot is not None:
        from mdiqkd_net.cli._plotting import check_plot

        check_plot(args.plot)
    names = _chosen(args.experiments, args.level)
    findings: list[Finding] = []
    started = time.monotonic()
    total = len(names) * args.repeats
    for done, found in enumerate(
        check(
            names,
            seed=args.seed,
            n_events=args.events,
            level=args.level,
            repeats=args.repeats,
            jobs=args.jobs,
        ),
        1,
    ):
        findings += found
        if time.monotonic() - started > _QUIET_S and done < total:
            sys.stderr.write(f"{done} of {total} runs ({found[0].experiment})\n")
    chi_square, degrees, p_value = pooled(findings)
    agrees = min(f.p_value for f in findings) > LEAST_P and p_value > LEAST_P
    if args.json:
        whole = {
            "seed": args.seed,
            "verdict": "agrees" if agrees else "disagrees",
            "least_p_value_allowed": LEAST_P,
            "pooled": {
                "chi_square": chi_square,
                "degrees_of_freedom": degrees,
                "p_value": p_value,
                "n_events": sum(f.n_events for f in findings),
            },
            "findings": [f.as_dict() for f in findings],
        }
        sys.stdout.write(json.dumps(whole, indent=2) + "\n")
    else:
        from rich.console import Console

        console = Console(file=sys.stdout, highlight=False)
        console.print(_findings_table(findings))
        console.print(
            f"Seed {args.seed}. Pooled: chi-square {chi_square:.1f} of {degrees}, "
            f"p = {p_value:.3g}, {sum(f.n_events for f in findings):.4g} events."
        )
        console.print(
            "The light agrees with the closed forms."
            if agrees
            else f"The light DISAGREES with a closed form: p at or below {LEAST_P:g}.",
            style="bold" if agrees else "bold red",
        )
    if args.plot is not None:
        from mdiqkd_net.cli._physics_plot import draw

        draw(args.plot, findings)
    return 0 if agrees else EXIT_DISAGREES


def _chosen(experiments: Sequence[str], level: str | None) -> list[str]:
    """The experiments to run: those that were named, or all that have the level."""
    from mdiqkd_net.laboratory.experiments import EXPERIMENTS
    from mdiqkd_net.physics.levels import AVAILABLE

    if level is not None and level not in AVAILABLE:
        raise ConfigError(f"--level: found {level!r}; allowed: {', '.join(AVAILABLE)}")
    for name in experiments:
        if name not in EXPERIMENTS:
            raise ConfigError(f"experiment: found {name!r}; allowed: {', '.join(EXPERIMENTS)}")
        levels = EXPERIMENTS[name].levels
        if level is not None and level not in levels:
            raise ConfigError(f"--level: found {level!r}; allowed for {name}: {', '.join(levels)}")
    return list(dict.fromkeys(experiments)) or [
        name for name, e in EXPERIMENTS.items() if level is None or level in e.levels
    ]


def _findings_table(findings: "list[Finding]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="Simulation against closed form", box=SIMPLE_HEAD)
    for heading in ("experiment", "case", "level"):
        table.add_column(heading, no_wrap=True)
    for heading in ("events", "chi-square", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for f in findings:
        table.add_row(
            f.experiment,
            f.case,
            f.level,
            f"{f.n_events}",
            f"{f.chi_square:.1f} / {f.degrees}",
            f"{f.p_value:.3g}",
        )
    return table


def _bench(args: argparse.Namespace) -> int:
    from mdiqkd_net.laboratory.bench import bench
    from mdiqkd_net.physics.levels import AVAILABLE

    levels = args.level or AVAILABLE
    for level in levels:
        if level not in AVAILABLE:
            raise ConfigError(f"--level: found {level!r}; allowed: {', '.join(AVAILABLE)}")
    speeds = bench(levels, n_events=args.events, n_processes=args.processes)
    if args.json:
        rows = [
            asdict(s)
            | {
                "pulses_per_cpu_s": s.pulses_per_cpu_s,
                "pulses_per_s": s.pulses_per_s,
                "ns_per_event": s.ns_per_event,
            }
            for s in speeds
        ]
        sys.stdout.write(json.dumps({"speeds": rows}, indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Simulated light, settings of both users included")
    table.add_column("level", no_wrap=True)
    for heading in ("loss", "processes", "pulses", "of a core", "of all", "ns/event"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in speeds:
        table.add_row(
            s.level,
            f"{s.loss_db:g} dB",
            f"{s.n_processes}",
            f"{s.n_pulses:.1e}",
            f"{s.pulses_per_cpu_s:.1e}/s",
            f"{s.pulses_per_s:.1e}/s",
            f"{s.ns_per_event:.0f}",
        )
    Console(file=sys.stdout, highlight=False).print(table)
    return 0
