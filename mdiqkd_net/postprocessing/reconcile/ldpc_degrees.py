"""Column degrees of `ldpc` codes, found by `density_evolution`.

The rows are what `python -m mdiqkd_net.postprocessing.reconcile.density_evolution` prints, with
`--column-degree 5.7 0.0015 0.003 0.0055` for the first three, `0.01 0.018 0.03 0.055 0.09` for the
five that follow, and `--column-degree 4.8 0.12` for the last. The linear programs have solutions of
nearly equal leak, so another version of scipy (here 1.17) may print other columns.
"""

from itertools import pairwise
from typing import Final

DEGREES: Final = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25)

TABLE: Final = (
    (0.01870, (467, 4797, 0, 0, 0, 1087, 2006, 890, 122, 0, 629, 0)),
    (0.03313, (828, 4768, 0, 0, 0, 1312, 1297, 838, 321, 0, 636, 0)),
    (0.05416, (1354, 4456, 0, 0, 0, 1481, 1332, 537, 7, 0, 832, 0)),
    (0.08847, (2212, 3602, 0, 0, 2080, 464, 0, 0, 623, 1019, 0, 0)),
    (0.13965, (2643, 3577, 0, 0, 1128, 1374, 0, 0, 0, 1053, 223, 0)),
    (0.20521, (3069, 3515, 0, 0, 621, 1341, 462, 0, 77, 187, 729, 0)),
    (0.31850, (3651, 3372, 0, 0, 0, 1864, 304, 0, 0, 0, 448, 359)),
    (0.44958, (4225, 3073, 0, 0, 805, 1077, 0, 0, 0, 0, 0, 820)),
    (0.54238, (4630, 2969, 0, 0, 426, 1254, 66, 0, 0, 0, 0, 655)),
)
"""Leak per key bit at the threshold, and columns of each of `DEGREES` in 10 000."""


def degree_shares(leak: float) -> tuple[float, ...]:
    """Share of columns of each of `DEGREES`, for a code of this many rows per column.

    Linear between the rows of the table; outside, its first and last rows serve.
    """
    leak = min(max(leak, TABLE[0][0]), TABLE[-1][0])
    for (low, a), (high, b) in pairwise(TABLE):
        if leak <= high:
            part = (leak - low) / (high - low)
            mixed = [x * (1.0 - part) + y * part for x, y in zip(a, b, strict=True)]
            break
    total = sum(mixed)
    return tuple(share / total for share in mixed)
