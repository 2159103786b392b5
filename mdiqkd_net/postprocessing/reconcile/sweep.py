"""Search for the block sizes of `parameters.TABLE`: prints one row per schedule that was tried.

`python -m mdiqkd_net.postprocessing.reconcile.sweep 0.01 0.02` tries the neighborhood of useful
sizes for each QBER. A row has QBER, block sizes, budget, hurry, efficiency f, rounds, and frames
left unequal. The choice of each profile comes last: `low_leak` is the row of fewest rounds among
those with an f of `f_limit` at most, or the row of least f if there is none; `low_rounds` is the
row of least f + 1e-4 rounds, so a hundred rounds are worth one per cent of the leak. Seeds are
fixed.

With `--table PROFILE` it measures the schedules in use instead, on `--batches` batches for each
QBER: f, the fewest and most rounds, frames with bits left unequal, and key bits per second of CPU
time, both users together in one thread.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mdiqkd_net.postprocessing.leak import efficiency
from mdiqkd_net.postprocessing.reconcile.cascade import Cascade
from mdiqkd_net.postprocessing.reconcile.parameters import Profile, Schedule, schedule_for

ROUND_COST = 1e-4
FRAME_BITS = 2**16
SEED = 7
LIMITS = (
    (0.005, 1.031),
    (0.0075, 1.0335),
    (0.02, 1.0348),
    (0.03, 1.0396),
    (0.04, 1.0478),
    (0.05, 1.0498),
    (0.08, 1.0692),
    (0.14, 1.11),
)


class Trial(NamedTuple):
    """One batch: f at the true error rate, rounds, frames left unequal, CPU time of both."""

    f: float
    rounds: int
    unequal: int
    cpu_s: float


def f_limit(qber: float) -> float:
    """The most that `low_leak` may leak: linear between the points of `LIMITS`."""
    return float(np.interp(qber, [q for q, _ in LIMITS], [f for _, f in LIMITS]))


def trial(qber: float, schedule: Schedule, n_bits: int, seed: int) -> Trial:
    """Reconcile one random batch, both users in this thread."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, n_bits, dtype=np.uint8)
    errors = (rng.random(n_bits) < qber).astype(np.uint8)
    public = rng.bytes(32)
    start = time.process_time()
    a, b = (
        Cascade(bits, corrects=corrects, qber=qber, seed=public, schedule=schedule)
        for bits, corrects in ((alice, False), (alice ^ errors, True))
    )
    messages: tuple[bytes | None, bytes | None] = (a.start(), b.start())
    while messages[0] is not None and messages[1] is not None:
        messages = (a.receive(messages[1]), b.receive(messages[0]))
    cpu_s = time.process_time() - start
    unequal = np.unique(np.flatnonzero(alice != b.bits) // FRAME_BITS).size
    return Trial(efficiency(a.leak_bits, n_bits, float(errors.mean())), a.rounds, unequal, cpu_s)


def candidates(qber: float) -> Iterator[Schedule]:
    """Schedules worth trying: first blocks of about one expected error, then larger ones."""
    seen = set()
    for errors in (0.64, 0.75, 0.87, 1.0, 1.13, 1.28):
        first = errors / qber
        for second in (first * 4, first * 5.3, first * 7):
            for third in (second * 8, second * 16, second * 32, second * 64):
                sizes = tuple(round(min(size, 16384)) for size in (first, second, third))
                realized = tuple(_realized(size) for size in sizes)
                if realized in seen:
                    continue
                seen.add(realized)
                for budget, hurry in ((0, 0), (4, 2), (8, 4)):
                    yield Schedule(realized, budget, hurry)


def _realized(size: int) -> int:
    unit = 128 if size <= 90 else 4096 if size <= 5800 else FRAME_BITS
    return max(2, round(unit / max(1, round(unit / size))))


def search(qber: float, n_frames: int) -> Iterator[str]:
    """Try all candidates for one error rate; rows as they come, the choices at the end."""
    leaks: list[tuple[int, bool, float, str]] = []
    rounds: list[tuple[int, float, str]] = []
    for schedule in candidates(qber):
        found = trial(qber, schedule, n_frames * FRAME_BITS, SEED)
        row = (
            f"{qber} {schedule.block_bits} {schedule.budget} {schedule.hurry} "
            f"f={found.f:.4f} rounds={found.rounds} unequal={found.unequal}"
        )
        yield row
        above = found.f > f_limit(qber)
        leaks.append((found.unequal, above, found.f if above else found.rounds, row))
        rounds.append((found.unequal, found.f + ROUND_COST * found.rounds, row))
    yield f"low_leak {min(leaks)[-1]}"
    yield f"low_rounds {min(rounds)[-1]}"


def measure(qber: float, profile: Profile, n_frames: int, n_batches: int) -> str:
    """One row on the schedule in use for one error rate."""
    n_bits = n_frames * FRAME_BITS
    schedule = schedule_for(qber, profile)
    trial(qber, schedule, FRAME_BITS, seed=0)  # compiles, or loads what was compiled
    trials = [trial(qber, schedule, n_bits, seed=1000 + batch) for batch in range(n_batches)]
    rounds = [t.rounds for t in trials]
    return (
        f"{qber} f={statistics.fmean(t.f for t in trials):.4f} "
        f"rounds={min(rounds)}..{max(rounds)} "
        f"frames={n_frames * n_batches} unequal={sum(t.unequal for t in trials)} "
        f"mbit_per_s={n_bits / statistics.median(t.cpu_s for t in trials) / 1e6:.1f}"
    )


def main(argv: Sequence[str]) -> None:
    """Print the rows for the error rates named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qber", type=float, nargs="+")
    parser.add_argument("--frames", type=int, default=32, help="frames of a batch")
    parser.add_argument(
        "--table", choices=("low_leak", "low_rounds"), help="measure the schedules in use"
    )
    parser.add_argument("--batches", type=int, default=10, help="batches measured per QBER")
    args = parser.parse_args(argv)
    for qber in args.qber:
        rows = (
            [measure(qber, args.table, args.frames, args.batches)]
            if args.table
            else search(qber, args.frames)
        )
        for row in rows:
            sys.stdout.write(row + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
