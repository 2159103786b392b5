"""Search for the block sizes of `parameters.TABLE`: prints one row per schedule that was tried.

`python -m mdiqkd_net.postprocessing.reconcile.sweep 0.01 0.02` tries the neighborhood of useful
sizes for each QBER. A row has QBER, log2 sizes, `parallel`, `wide`, efficiency f, rounds, key bits
left unequal, and cost = f + 1e-4 rounds: a hundred rounds are worth one per cent of the leak. The
cheapest row of each QBER among those with at most 200 rounds comes last, marked `best`. Seeds are
fixed.

With `--table` it measures the schedules in use instead, on `--batches` batches for each QBER: f,
the fewest and most rounds, key bits left unequal, and key bits per second of CPU time, both users
together in one thread.
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
from mdiqkd_net.postprocessing.reconcile.parameters import Schedule

ROUND_COST = 1e-4
ROUNDS_MAX = 200
FRAME_BITS = 2**16


class Trial(NamedTuple):
    """One batch: f at the true error rate, rounds, key bits left unequal, CPU time of both."""

    f: float
    rounds: int
    unequal: int
    cpu_s: float


def trial(qber: float, schedule: Schedule | None, n_bits: int, seed: int) -> Trial:
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
    unequal = int(np.count_nonzero(alice != b.bits))
    return Trial(efficiency(a.leak_bits, n_bits, float(errors.mean())), a.rounds, unequal, cpu_s)


def candidates(qber: float) -> Iterator[Schedule]:
    """Schedules worth trying: first blocks of 0.2 to 1.3 expected errors, then larger ones."""
    for first in range(2, 13):
        if not 0.2 <= qber * 2**first <= 1.3:
            continue
        for second in range(first + 1, first + 4):
            for third in sorted({second + 2, second + 4, 13}):
                if second < third <= 15:
                    for parallel, wide in ((0, 0), (0, 1), (0, 2), (16, 0), (16, 2)):
                        yield Schedule((first, second, third), parallel, wide)


def search(qber: float, n_frames: int) -> Iterator[str]:
    """Try all candidates for one error rate; rows as they come, the best again at the end."""
    best: tuple[bool, float, str] | None = None
    for schedule in candidates(qber):
        f, rounds, unequal, _ = trial(qber, schedule, n_frames * FRAME_BITS, seed=7)
        cost = f + ROUND_COST * rounds
        row = (
            f"{qber} {schedule.log_sizes} {schedule.parallel} {schedule.wide} "
            f"f={f:.4f} rounds={rounds} unequal={unequal} cost={cost:.4f}"
        )
        yield row
        ranked = (rounds > ROUNDS_MAX, cost, row)
        best = min(best, ranked) if best else ranked
    if best:
        yield f"best {best[2]}"


def measure(qber: float, n_frames: int, n_batches: int) -> str:
    """One row on the schedule in use for one error rate."""
    n_bits = n_frames * FRAME_BITS
    trial(qber, None, FRAME_BITS, seed=0)  # compiles, or loads what was compiled
    trials = [trial(qber, None, n_bits, seed=1000 + batch) for batch in range(n_batches)]
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
    parser.add_argument("--table", action="store_true", help="measure the schedules in use")
    parser.add_argument("--batches", type=int, default=10, help="batches measured per QBER")
    args = parser.parse_args(argv)
    for qber in args.qber:
        rows = (
            [measure(qber, args.frames, args.batches)] if args.table else search(qber, args.frames)
        )
        for row in rows:
            sys.stdout.write(row + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
