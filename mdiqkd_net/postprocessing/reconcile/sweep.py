"""Search for the block sizes of `parameters.TABLE`: prints one row per schedule that was tried.

`python -m mdiqkd_net.postprocessing.reconcile.sweep 0.01 0.02` tries the neighborhood of useful
sizes for each QBER. A row has QBER, log2 sizes, `parallel`, `wide`, efficiency f, rounds, key bits
left unequal, and cost = f + 1e-4 rounds: a hundred rounds are worth one per cent of the leak. The
cheapest row of each QBER among those with at most 200 rounds comes last, marked `best`. Seeds are
fixed.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from mdiqkd_net.postprocessing.leak import efficiency
from mdiqkd_net.postprocessing.reconcile.cascade import Cascade
from mdiqkd_net.postprocessing.reconcile.parameters import Schedule

ROUND_COST = 1e-4
ROUNDS_MAX = 200
FRAME_BITS = 2**16


def trial(
    qber: float, schedule: Schedule | None, n_bits: int, seed: int, hint: float | None = None
) -> tuple[float, int, int]:
    """Reconcile one random batch; returns f at the true error rate, rounds, bits left unequal."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, n_bits, dtype=np.uint8)
    errors = (rng.random(n_bits) < qber).astype(np.uint8)
    public = rng.bytes(32)
    estimate = qber if hint is None else hint
    a, b = (
        Cascade(bits, corrects=corrects, qber=estimate, seed=public, schedule=schedule)
        for bits, corrects in ((alice, False), (alice ^ errors, True))
    )
    messages: tuple[bytes | None, bytes | None] = (a.start(), b.start())
    while messages[0] is not None and messages[1] is not None:
        messages = (a.receive(messages[1]), b.receive(messages[0]))
    unequal = int(np.count_nonzero(alice != b.bits))
    return efficiency(a.leak_bits, n_bits, float(errors.mean())), a.rounds, unequal


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


def main(argv: Sequence[str]) -> None:
    """Try all candidates for the error rates named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qber", type=float, nargs="+")
    parser.add_argument("--frames", type=int, default=32)
    args = parser.parse_args(argv)
    for qber in args.qber:
        best: tuple[bool, float, str] | None = None
        for schedule in candidates(qber):
            f, rounds, unequal = trial(qber, schedule, args.frames * FRAME_BITS, seed=7)
            cost = f + ROUND_COST * rounds
            row = (
                f"{qber} {schedule.log_sizes} {schedule.parallel} {schedule.wide} "
                f"f={f:.4f} rounds={rounds} unequal={unequal} cost={cost:.4f}"
            )
            sys.stdout.write(row + "\n")
            ranked = (rounds > ROUNDS_MAX, cost, row)
            best = min(best, ranked) if best else ranked
        if best:
            sys.stdout.write(f"best {best[2]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
