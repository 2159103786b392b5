"""Options of `mdiqkd keyrate --link` beyond one prediction: optimise, ask for bits, sweep, plot."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from mdiqkd_net.cli import _spread
from mdiqkd_net.cli._spread import duration
from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mdiqkd_net.estimation.analysis import Analysis
    from mdiqkd_net.planning.prediction import Result
    from mdiqkd_net.planning.task import Task

_TUNED: Final = ("equal", "min_intensity", "max_intensity", "min_step")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("with --link")
    group.add_argument(
        "--optimize", action="store_true", help="find the settings of both users; start at the file"
    )
    group.add_argument("--equal", action="store_true", help="... the same for both")
    group.add_argument("--min-intensity", type=float, metavar="MU", help="... not below (1e-4)")
    group.add_argument("--max-intensity", type=float, metavar="MU", help="... not above (1)")
    group.add_argument("--min-step", type=float, metavar="MU", help="... y above x by (1e-3)")
    group.add_argument(
        "--bits", type=int, metavar="N", help="make the block as long as N bits of key take"
    )
    group.add_argument(
        "--sweep",
        metavar="KEY=START:STOP:STEP",
        help="a row for each value, e.g. length_km=0:300:10 or n_pulses=1e9:1e13:x10",
    )
    group.add_argument(
        "--rows", type=Path, metavar="FILE", help="JSON lines; rows in it are not computed again"
    )
    group.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf of the sweep")
    _spread.configure(group)


def require_consistent(args: argparse.Namespace) -> None:
    """Return if these options make sense together.

    Raises:
        ConfigError: Naming the one that does not.
    """
    used = [
        n
        for n in ("optimize", *_TUNED, "bits", "sweep", "rows", "plot", "scheduler")
        if _is_set(args, n)
    ]
    if used and args.link is None:
        raise ConfigError(f"{_option(used[0])}: found with --counts; allowed: with --link")
    for name in _TUNED:
        if name in used and not args.optimize:
            raise ConfigError(f"{_option(name)}: found alone; allowed: with --optimize")
    if args.rows is not None and not (args.sweep or args.plot):
        raise ConfigError("--rows: found alone; allowed: with --sweep or --plot")
    if (args.jobs != 1 or args.scheduler is not None) and not (args.sweep or args.plot):
        name = "--jobs" if args.jobs != 1 else "--scheduler"
        raise ConfigError(f"{name}: found alone; allowed: with --sweep or --plot")
    _spread.require_consistent(args)
    if args.bits is not None and args.bits < 1:
        raise ConfigError(f"--bits: found {args.bits}; allowed: 1 or more")
    if args.pulse_rate is not None and not (0.0 < args.pulse_rate < math.inf):
        raise ConfigError(f"--pulse-rate: found {args.pulse_rate}; allowed: above 0, finite")


def task_of(args: argparse.Namespace, analysis: "Analysis") -> "Task":
    """What the options ask for.

    Raises:
        ConfigError: Limits that leave no room.
    """
    from mdiqkd_net.estimation.settings_space import Limits
    from mdiqkd_net.planning.task import Task

    given = {n: getattr(args, n) for n in _TUNED if _is_set(args, n)}
    task = Task(analysis=analysis, optimize=args.optimize, limits=Limits(**given), bits=args.bits)
    # Only times depend on the rate, so that rows without any stay valid at another.
    if args.bits is None or args.pulse_rate is None:
        return task
    return replace(task, pulse_rate_hz=args.pulse_rate)


def print_found(console: "Console", result: "Result") -> None:
    """Print what the options found, if any of them was in use."""
    if "settings" in result:
        console.print(_settings_table(result))
        stops = result["at_limits"]
        console.print("Stopped by limits: " + "; ".join(stops) if stops else "No limit touched.")
    if "bits_wanted" in result:
        console.print(_block_line(result))


def _settings_table(result: "Result") -> "Table":
    from rich.table import Table

    table = Table(title="Settings found")
    for heading in ("", "intensity", "probability"):
        table.add_column(heading, justify="left" if not heading else "right")
    for user, settings in result["settings"].items():
        for letter, setting in settings.items():
            table.add_row(
                f"{user} {letter}",
                f"{setting['intensity']:.5g}",
                f"{setting['probability']:.5g}",
            )
    return table


def _block_line(result: "Result") -> str:
    from mdiqkd_net.params import MAX_PULSES

    wanted = result["bits_wanted"]
    if result["pulses_needed"] is None:
        return f"No block of up to {MAX_PULSES:.0e} pulses gives {wanted} bits."
    return (
        f"{wanted} bits take {result['pulses_needed']:.4g} pulses, "
        f"{duration(result['seconds_needed'])} at {result['pulse_rate_hz']:g} Hz."
    )


def _is_set(args: argparse.Namespace, name: str) -> bool:
    value = getattr(args, name)
    return value is not None and value is not False


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
