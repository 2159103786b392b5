"""Run a scenario: real node processes on this machine, a live view, and a report.

The nodes get throw-away certificates, pads and key stores; --keep leaves them in a directory.
Exit codes: 0 a key for every pair, 1 some pair without a key, 2 usage or configuration,
3 protocol or authentication, 4 device or disk.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Final

STDOUT: Final = "-"

EXIT_DONE: Final = 0
EXIT_NO_KEY: Final = 1
EXIT_PROTOCOL: Final = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("scenario", type=Path, help="TOML file; see docs/reference/scenario.md")
    parser.add_argument(
        "--json", metavar="FILE", help='write the report as JSON, too; "-" prints it alone'
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="new directory for configurations, logs, stores"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="of the simulated physics only")
    parser.add_argument(
        "--n-pulses", metavar="N", type=_count, help="pulse pairs of a block, such as 1e9"
    )
    parser.add_argument("--no-live", action="store_true", help="plain lines instead of the table")
    parser.add_argument("--quiet", action="store_true", help="say nothing while nodes run")


def run(args: argparse.Namespace) -> int:
    """Run the scenario and print its report."""
    command_s = time.monotonic()
    from rich.console import Console

    from mdiqkd_net.scenario import config, live, runner

    scenario = config.read(args.scenario, n_pulses=args.n_pulses, seed=args.seed)
    _check_writable(args.json)
    talk = Console(stderr=True, quiet=args.quiet)
    report = runner.run(
        scenario,
        command_s=command_s,
        view=live.LiveView(scenario, talk, plain=args.no_live or args.quiet),
        keep=args.keep,
    )
    from mdiqkd_net.scenario import report as reports
    from mdiqkd_net.scenario import summary

    if args.json == STDOUT:
        sys.stdout.write(reports.encode(report).decode())
    else:
        if args.json is not None:
            _write_atomically(Path(args.json), reports.encode(report))
        console = Console()
        if not console.is_terminal or console.width > summary.WIDTH:
            console.width = summary.WIDTH
        summary.show(report, console)
    if report.stubborn and not args.quiet:
        talk.print(f"killed after the run, because they did not stop: {', '.join(report.stubborn)}")
    if report.faulty:
        return EXIT_PROTOCOL
    return EXIT_DONE if report.every_pair_has_key else EXIT_NO_KEY


def _count(text: str) -> int:
    """A whole number, also written as 1e9 or 1_000_000."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer():
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number, such as 1e9")
    return int(value)


def _check_writable(target: str | None) -> None:
    """Find out before the run, not after it, that the report has nowhere to go."""
    from mdiqkd_net.errors import ConfigError

    if target is None or target == STDOUT:
        return
    path = Path(target)
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--json: found {target}; allowed: a file in a writable directory, or -")


def _write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by a whole file, or leave it as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
