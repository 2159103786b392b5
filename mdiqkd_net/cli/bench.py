"""Measure on this machine how fast sifted keys become secret keys, and what is leaked.

postprocessing reconciles made-up keys by each scheme at each QBER, verifies them, amplifies them in
every way that this CPU has, and does all of it in a row. Times are CPU time of one thread; what is
done once (compiled code is made, or read from the disk) is shown apart. Memory is what Python and
numpy allocate. The same seed gives the same keys, leaks, rounds and failures.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from mdiqkd_net.laboratory.postprocessing.cases import Plan, Row

_QUIET_S = 2.0
_QBERS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08)
_QUICK_QBERS: Final = (0.01, 0.03, 0.08)
_BITS: Final = 1 << 22
_QUICK_BITS: Final = 1 << 20
_SIZES: Final = (10**6, 10**7)
_QUICK_SIZES: Final = (10**5, 10**6)
_LONG_SIZES: Final = (10**6, 10**7, 10**8)
_CHAIN_BITS: Final = 10**7
_QUICK_CHAIN_BITS: Final = 10**6
_LEAST_BITS: Final = 1 << 12
_MOST_BITS: Final = 10**9


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="postprocessing")
    bench = actions.add_parser("postprocessing", help="speed, leak, failures, rounds, memory")
    bench.add_argument(
        "--bits", type=int, metavar="N", help=f"of each key to reconcile ({_BITS}; quick: a fourth)"
    )
    bench.add_argument(
        "--qber",
        metavar="LIST",
        help=f"error rates with commas between ({','.join(map(str, _QBERS))})",
    )
    bench.add_argument(
        "--scheme", action="append", metavar="NAME", help="repeatable (default: all of them)"
    )
    bench.add_argument("--seed", type=int, default=1, metavar="N", help="of all keys (1)")
    bench.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf of the curves")
    effort = bench.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="smaller and fewer keys: seconds")
    effort.add_argument("--long", action="store_true", help="amplify 1e8 bits, too: minutes")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    from mdiqkd_net.laboratory.postprocessing.cases import SECTIONS, cases

    plan = _plan(args)
    if args.plot is not None:
        from mdiqkd_net.cli._plotting import check_plot

        check_plot(args.plot)
    todo = list(cases(plan))
    rows: list[Row] = []
    started = time.monotonic()
    for number, case in enumerate(todo, 1):
        if time.monotonic() - started > _QUIET_S:
            sys.stderr.write(f"{number} of {len(todo)}: {case.name}\n")
        rows.append(case.measure())
    if args.json:
        found = {
            name: [row.as_dict() for row in rows if isinstance(row, kind)]
            for name, kind in SECTIONS.items()
        }
        whole = {"machine": _machine(), "plan": asdict(plan), **found}
        sys.stdout.write(json.dumps(whole, indent=2) + "\n")
    else:
        from mdiqkd_net.cli._bench_report import report

        report(rows, _machine())
    if args.plot is not None:
        from mdiqkd_net.cli._bench_plot import draw

        draw(args.plot, rows)
    return 0


def _plan(args: argparse.Namespace) -> "Plan":
    from mdiqkd_net.laboratory.postprocessing.cases import Plan
    from mdiqkd_net.postprocessing.reconcile import RECONCILERS

    n_bits = (_QUICK_BITS if args.quick else _BITS) if args.bits is None else args.bits
    if not _LEAST_BITS <= n_bits <= _MOST_BITS:
        raise ConfigError(f"--bits: found {n_bits}; allowed: {_LEAST_BITS} to {_MOST_BITS}")
    if args.seed < 0:
        raise ConfigError(f"--seed: found {args.seed}; allowed: 0 or greater")
    for scheme in args.scheme or ():
        if scheme not in RECONCILERS:
            raise ConfigError(f"--scheme: found {scheme!r}; allowed: {', '.join(RECONCILERS)}")
    default = _QUICK_QBERS if args.quick else _QBERS
    return Plan(
        schemes=tuple(dict.fromkeys(args.scheme or RECONCILERS)),
        qbers=default if args.qber is None else _qbers(args.qber),
        n_bits=n_bits,
        n_keys=2 if args.quick else 5,
        sizes=_QUICK_SIZES if args.quick else _LONG_SIZES if args.long else _SIZES,
        chain_bits=_QUICK_CHAIN_BITS if args.quick else _CHAIN_BITS,
        seed=args.seed,
    )


def _qbers(text: str) -> tuple[float, ...]:
    qbers: list[float] = []
    for word in text.split(","):
        try:
            qber = float(word)
        except ValueError:
            qber = -1.0
        if not 0.0 < qber < 0.5:
            raise ConfigError(
                f"--qber: found {word!r}; allowed: numbers above 0 and below 0.5, commas between"
            )
        qbers.append(qber)
    return tuple(dict.fromkeys(qbers))


def _machine() -> dict[str, str]:
    """What the times depend on."""
    import numba
    import numpy as np

    from mdiqkd_net.postprocessing.amplify import tiers

    return {
        "cpu": platform.machine(),
        "tiers": ", ".join(tiers()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }
