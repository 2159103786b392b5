"""Column degrees of `ldpc` codes, found by `python -m ...reconcile.density_evolution`."""

from itertools import pairwise
from typing import Final, TypeAlias

Shares: TypeAlias = tuple[tuple[int, float], ...]

TABLE: Final[tuple[tuple[float, Shares], ...]] = (
    (0.05413, ((2, 0.1353), (3, 0.4378), (7, 0.2772), (15, 0.1201), (20, 0.0295))),
    (0.31852, ((2, 0.3652), (3, 0.3365), (6, 0.0173), (7, 0.1555), (8, 0.0420), (15, 0.0195), (20, 0.0153), (25, 0.0488))),
)
"""Leak per key bit, and pairs of a degree and its share of columns."""


def degree_shares(leak: float) -> Shares:
    """Degrees and shares of columns for a code of this many rows per column.

    Linear between the rows of the table; outside, its first and last rows serve.
    """
    for (low, a), (high, b) in pairwise(TABLE):
        if leak < high:
            part = min(max((leak - low) / (high - low), 0.0), 1.0)
            mixed = {degree: share * (1.0 - part) for degree, share in a}
            for degree, share in b:
                mixed[degree] = mixed.get(degree, 0.0) + share * part
            return tuple(sorted(mixed.items()))
    return TABLE[-1][1]
