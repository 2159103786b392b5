"""What the levels of the simulation have in common: gaps, tables, a batch of pulses."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Pulses whose light must be seen.

    Attributes:
        pulses: Strictly increasing, (n,) int64.
        kinds: What kind of candidate each is, (n,) uint8; the level knows.
        n_covered: Pulses of the segment that are decided after these.
    """

    pulses: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    n_covered: int


def generator_state(seed: np.random.SeedSequence) -> NDArray[np.uint64]:
    """State of the kernels' generator (xoshiro256++), shape (4,); the kernels advance it."""
    return np.asarray(seed.generate_state(4, np.uint64), dtype=np.uint64)


def gap_scale(chance: float) -> float:
    """-1 / ln(1 - chance), so that ⌊E · scale⌋ is a geometric gap if E is exponential."""
    if chance == 0.0:
        return math.inf
    return 0.0 if chance == 1.0 else -1.0 / math.log1p(-chance)


def thinned(patterns: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Candidates that no pair of states outdoes, and what they show.

    Shapes: `patterns` (n, 16), rows of chances that sum to 1, of which column 0 is silence.

    Returns:
        The largest chance of anything but silence; and the chances of a pulse that is a candidate
        with that probability and silent otherwise, (n, 16).
    """
    bound = min(1.0, float(patterns[:, 1:].sum(axis=1).max()))
    chances = patterns / (bound or 1.0)
    chances[:, 0] = np.maximum(1.0 - chances[:, 1:].sum(axis=1), 0.0)
    return bound, chances


def alias_tables(chances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Tables to draw from 16 outcomes with one uniform number and one look-up.

    With x uniform in [0, 16), i its integer part: the outcome is i if x - i < keep[i], else
    other[i]. An outcome of chance 0 never comes. Source: Walker, ACM Trans. Math. Softw. 3, 253
    (1977), and Vose, IEEE Trans. Softw. Eng. 17, 972 (1991).

    Shapes: `chances` (n, 16), rows sum to 1; both results have its shape.
    """
    keep = chances * 16.0
    other = np.repeat(keep.argmax(axis=1)[:, None], 16, axis=1).astype(np.uint8)
    settled = np.zeros(keep.shape, dtype=np.bool_)
    for _ in range(15):  # every step settles one outcome of every row that is not done
        small, large = (keep < 1.0) & ~settled, keep >= 1.0
        rows = np.flatnonzero(small.any(axis=1) & large.any(axis=1))
        if not rows.size:
            break
        i, j = small[rows].argmax(axis=1), large[rows].argmax(axis=1)
        other[rows, i] = j
        settled[rows, i] = True
        keep[rows, j] -= 1.0 - keep[rows, i]
    # Rounding leaves some outcomes a hair off 1; their own chance must not grow to it, or one that
    # never happens would. What they lack falls to the most likely outcome.
    return keep, other
