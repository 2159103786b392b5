"""Finite-key analysis: how much key measured counts are worth, or a link would give.

`--counts` takes a file of measured counts (the CSV of three lines, or TOML), `--link` the TOML
description of a link. `--method`, `--tail` and `--accounting` choose the analysis by name, and
`--explain` prints where each epsilon goes. Exit code 0 if there is a key, 1 if there is none.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mdiqkd_net.cli import _keyrate_design, _keyrate_link, _keyrate_sweep
from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from mdiqkd_net.estimation.analysis import Analysis
    from mdiqkd_net.params import Link
    from mdiqkd_net.planning.prediction import Result

EXIT_NO_KEY = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--counts", type=Path, metavar="FILE", help="measured counts, CSV or TOML")
    what.add_argument("--link", type=Path, metavar="FILE", help="description of a link, TOML")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a report")
    parser.add_argument(
        "--eps-sec", type=float, metavar="EPS", help="secrecy budget (file, or 1e-10)"
    )
    parser.add_argument(
        "--eps-cor", type=float, metavar="EPS", help="correctness budget (file, or 1e-15)"
    )
    parser.add_argument(
        "--f-ec", type=float, metavar="F", help="efficiency of reconciliation (file, or 1.16)"
    )
    parser.add_argument(
        "--method",
        default="double_scan",
        metavar="NAME",
        help="double_scan (default), tangent_lp, certificate, asymptotic",
    )
    parser.add_argument(
        "--tail", default="chernoff", metavar="NAME", help="chernoff (default), poisson, closed"
    )
    parser.add_argument(
        "--accounting", default="variable", metavar="NAME", help="variable (default), linear"
    )
    parser.add_argument("--explain", action="store_true", help="print where each epsilon goes")
    parser.add_argument(
        "--pulse-rate",
        type=float,
        metavar="HZ",
        help="for times and dead times (file, or none; 1e9 with --bits)",
    )
    _keyrate_design.configure(parser)
    _keyrate_link.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Analyze, print, and say by the exit code whether there is a key."""
    from mdiqkd_net.estimation.analysis import Analysis
    from mdiqkd_net.planning.prediction import with_times
    from mdiqkd_net.planning.task import answer, succeeded

    overrides = _overrides(args)
    analysis = Analysis(method=args.method, tail=args.tail, accounting=args.accounting)
    _keyrate_link.require_consistent(args)
    _keyrate_design.require_consistent(args)
    if args.counts is not None:
        analysis = _keyrate_design.with_design(analysis, args)
        result = _analyze_counts(args.counts, overrides, analysis)
    else:
        link = _clocked(_read_link(args.link, overrides), args)
        task = _keyrate_link.task_of(args, analysis)
        if args.sweep or args.plot:
            return _keyrate_sweep.run_sweep(args, link, task)
        result = answer(link, task)
        if args.write_design is not None:
            _keyrate_design.write(args.write_design, link, result)
    if args.pulse_rate is not None:
        result = with_times(result, args.pulse_rate)
    if args.json:
        sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")
    else:
        _report(result, explain=args.explain)
    return 0 if succeeded(result) else EXIT_NO_KEY


def _overrides(args: argparse.Namespace) -> dict[str, float]:
    given: dict[str, float] = {}
    for option, value in (("eps_sec", args.eps_sec), ("eps_cor", args.eps_cor)):
        if value is not None:
            if not 0.0 < value < 1.0:
                name = option.replace("_", "-")
                raise ConfigError(f"--{name}: found {value}; allowed: above 0 and below 1")
            given[option] = value
    if args.f_ec is not None:
        if not 1.0 <= args.f_ec <= 10.0:
            raise ConfigError(f"--f-ec: found {args.f_ec}; allowed: 1 to 10")
        given["f_ec"] = args.f_ec
    return given


def _analyze_counts(path: Path, overrides: dict[str, float], analysis: "Analysis") -> "Result":
    import msgspec

    from mdiqkd_net.estimation.counts_file import parse_counts
    from mdiqkd_net.planning.prediction import analyze
    from mdiqkd_net.runtime.config import read_text

    measured = parse_counts(read_text(path), str(path))
    security = msgspec.structs.replace(measured.security, **overrides)
    return analyze(measured, security, analysis)


def _read_link(path: Path, overrides: dict[str, float]) -> "Link":
    import msgspec

    from mdiqkd_net.params import Link
    from mdiqkd_net.runtime.config import read

    return msgspec.structs.replace(read(path, Link), **overrides)


def _clocked(link: "Link", args: argparse.Namespace) -> "Link":
    """The link at the rate of `--pulse-rate`, which is that of the file if it is not given.

    A link to which no rate makes a difference keeps none, so that rows of a sweep stay valid.
    """
    import msgspec

    from mdiqkd_net.physics.link_clicks import has_dead_time

    if args.pulse_rate is None:
        args.pulse_rate = link.pulse_rate_hz
    elif link.pulse_rate_hz is not None or has_dead_time(link):
        return msgspec.structs.replace(link, pulse_rate_hz=args.pulse_rate)
    return link


def _report(result: "Result", *, explain: bool) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    console.print(_category_table(result))
    console.print(_bounds_table(result))
    _keyrate_link.print_found(console, result)
    if explain:
        from mdiqkd_net.cli._explain import bounds_report, ledger_report

        console.print(bounds_report(result["source_bounds"]), soft_wrap=True)
        console.print(ledger_report(result["eps_ledger"]), soft_wrap=True)
    _keyrate_design.print_design(console, result)
    console.print(_verdict(result), style="bold", soft_wrap=True)


def _category_table(result: "Result") -> "Table":
    from rich.table import Table

    predicted = "expected_counts" in result
    counts = result["expected_counts" if predicted else "counts"]
    table = Table(title="Events by category (Alice, Bob)")
    for heading in ("", "expected" if predicted else "events", "gain", "error rate"):
        table.add_column(heading, justify="left" if not heading else "right")
    for category in sorted(counts):
        count = counts[category]
        gain, rate = result["gains"].get(category), result["error_rates"].get(category)
        table.add_row(
            category,
            f"{count:.6g}" if predicted else str(count),
            "" if gain is None else f"{gain:.4e}",
            "" if rate is None else f"{100.0 * rate:.3f} %",
        )
    return table


def _bounds_table(result: "Result") -> "Table":
    from rich.table import Table

    from mdiqkd_net.planning.prediction import LIMIT, NOT_FROZEN

    table = Table(title="Bounds and key", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = [
        ("analysis", _analysis(result)),
        ("standing", result["label"]),
        ("pulse pairs sent", f"{result['n_pulses']:.6g}"),
        ("QBER in z", _percent(result["qber_z"])),
        ("QBER in x", _percent(result["qber_x"])),
        *_worst_point(result),
        ("disclosed in reconciliation", f"{result['leak_ec_bits']} bits"),
        ("fixed cost", f"{result['constant_bits']:.0f} bits"),
        ("eps_sec, eps_cor", f"{result['eps_sec']:g}, {result['eps_cor']:g}"),
        (
            "secret key" if result["verdict"] not in (LIMIT, NOT_FROZEN) else result["verdict"],
            f"{result['key_length_bits']} bits",
        ),
        ("... per pulse pair", f"{result['rate_per_pulse']:.4e}"),
        ("if all gains were exact", f"{result['asymptotic_key_length_bits']} bits"),
    ]
    if "y11_true" in result:
        rows += [
            ("true y11", f"{result['y11_true']:.6g}"),
            ("true e11", _percent(result["e11_true"])),
            ("infinite decoy, per pulse pair", f"{result['infinite_decoy_rate_per_pulse']:.4e}"),
            ("predicted without", ", ".join(result["left_out"])),
        ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return table


def _worst_point(result: "Result") -> list[tuple[str, str]]:
    if result["s11_lower"] is None:
        return [("private bits, at least", f"{math.floor(result['private_bits'])}")]
    return [
        ("s11 at the worst point", f"{result['s11_lower']:.6g}"),
        ("e11 at the worst point", _percent(result["e11_upper"])),
        ("single-photon pairs in z, at least", f"{math.floor(result['n11_lower'])}"),
        ("phase errors among them, at most", f"{math.ceil(result['phase_errors_upper'])}"),
    ]


def _analysis(result: "Result") -> str:
    names = (result["method"], result["tail"], result["accounting"])
    return ", ".join(name for name in names if name is not None)


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{100.0 * rate:.3f} %"


def _verdict(result: "Result") -> str:
    label = f" ({result['label']})" if result["label"] else ""
    return f"{_judgement(result)}{label}"


def _judgement(result: "Result") -> str:
    from mdiqkd_net.planning.prediction import LIMIT, NOT_FROZEN

    bits = result["key_length_bits"]
    if result["verdict"] == LIMIT:
        return f"No key: {bits} bits are the limit of infinitely long blocks."
    if result["verdict"] == NOT_FROZEN:
        return (
            f"No key: {bits} bits are what this design would have given, had its digest been "
            "stored before the block (--digest)."
        )
    if bits > 0:
        return f"A key of {bits} bits."
    if "seconds_more_needed" in result:
        return f"No key: {result['reason']}."
    factor = result["data_factor_needed"]
    more = (
        "No amount of such data would give a key."
        if factor is None
        else f"{factor:.3g} times as much of the same data would give one."
    )
    return f"No key: {result['reason']}. {more}"
