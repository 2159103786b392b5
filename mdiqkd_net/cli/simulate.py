"""Simulate whole networks in virtual time, from seeds, with faults, and check what must be true.

Every seed is a relay and two or three users, the same code as `mdiqkd node` runs, on a simulated
network and disk. Some seconds of faults are followed by peace, in which every pair must make a key.
A seed that fails is run again with fewer faults, as few as will do, and its history is printed;
`--seeds N --history` shows it again. Light and keys are real in kind and worthless in fact: their
security parameter is 0.4.

Exit codes: 0 everything held in every seed, 1 it did not, 2 usage.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1

PROGRESS_SEEDS = 100
"""Progress is told every so many seeds where nobody sees a line change."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from mdiqkd_net.simulation.faults import FAULTS

    parser.add_argument(
        "--seeds",
        type=_seeds,
        required=True,
        metavar="A:B",
        help="the seeds from A up to but not including B; a single number is one seed",
    )
    parser.add_argument(
        "--faults",
        type=_faults,
        default=tuple(FAULTS),
        metavar="LIST",
        help="kinds of harm, with commas between them, of which every seed does some; `none` for "
        "none; default: all that are listed below",
    )
    parser.add_argument("--jobs", type=_jobs, default=1, metavar="N", help="processes; default 1")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="add every outcome to this file, and leave out the seeds that held in it: a campaign "
        "goes on where it was interrupted",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object per seed, on a line")
    parser.add_argument("--history", action="store_true", help="what happened in every seed")
    rows = "\n".join(f"  {name:<12} {fault.what}" for name, fault in FAULTS.items())
    parser.epilog = f"faults:\n{rows}"


def run(args: argparse.Namespace) -> int:
    """Run the seeds; 1 if any of them failed."""
    from mdiqkd_net.simulation.results import Results
    from mdiqkd_net.simulation.seeds import run_seeds

    results = None if args.results is None else Results(args.results)
    held = [] if results is None else results.held(args.seeds, args.faults)
    known = {outcome.seed for outcome in held}
    left = [seed for seed in args.seeds if seed not in known]
    n_failed = 0
    n_done, n_events = len(held), sum(outcome.events for outcome in held)
    seconds = sum(outcome.seconds for outcome in held)
    for outcome in run_seeds(left, args.faults, jobs=args.jobs):
        n_done += 1
        n_failed += bool(outcome.violations)
        n_events += outcome.events
        seconds += outcome.seconds
        if results is not None:
            results.append(outcome)
        (_write_json if args.json else _write)(outcome, history=args.history)
        _progress(f"{n_done} of {len(args.seeds)} seeds, {n_failed} failed", n_done)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    if not args.json:
        sys.stdout.write(
            f"{n_done} seeds, {n_failed} failed, {n_events} events, "
            f"{seconds:.0f} s of processor time\n"
        )
    return EXIT_FAILED if n_failed else EXIT_DONE


def _progress(words: str, n_done: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{words} ")
    elif n_done % PROGRESS_SEEDS == 0:
        sys.stderr.write(f"{words}\n")


def _write(outcome: Any, *, history: bool) -> None:
    if not (history or outcome.violations):
        return
    faults = ",".join(outcome.faults) or "none"
    verdict = "FAILED" if outcome.violations else "held"
    lines = [f"seed {outcome.seed}  {verdict}  faults {faults}  trace {outcome.trace[:16]}"]
    lines += [f"  {violation}" for violation in outcome.violations]
    lines += [f"    {line}" for line in outcome.history]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _write_json(outcome: Any, *, history: bool) -> None:
    import msgspec

    fields = msgspec.to_builtins(outcome)
    if not (history or outcome.violations):
        del fields["history"]
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")


def _seeds(text: str) -> range:
    first, colon, behind = text.partition(":")
    numbers = [first, behind] if colon else [first]
    if not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: A:B, or one number")
    seeds = range(int(first), int(behind) if colon else int(first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, which is no seed; allowed: A:B, B above A"
        )
    return seeds


def _faults(text: str) -> tuple[str, ...]:
    from mdiqkd_net.simulation.faults import FAULTS

    if text == "none":
        return ()
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"found {', '.join(unknown)}; allowed: none, or some of {', '.join(FAULTS)}"
        )
    return names


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a number from 1 on")
    return int(text)
