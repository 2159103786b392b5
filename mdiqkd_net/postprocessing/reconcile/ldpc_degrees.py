"""Column degrees of `ldpc` codes, found by `python -m ...reconcile.density_evolution`."""

from itertools import pairwise
from typing import Final, TypeAlias

Shares: TypeAlias = tuple[tuple[int, float], ...]

TABLE: Final[tuple[tuple[float, Shares], ...]] = (
    (0.2, ((2, 0.25), (3, 0.45), (8, 0.15), (10, 0.15))),
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
