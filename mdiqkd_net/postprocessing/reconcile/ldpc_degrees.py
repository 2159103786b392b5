"""Column degrees of `ldpc` codes, found by `density_evolution`.

The rows came from `python -m mdiqkd_net.postprocessing.reconcile.density_evolution` with
`--column-degree 5.7 0.0015 0.003 0.0055` for the first three, `0.01 0.018 0.03 0.055 0.09 0.12` for
the others.
"""

from itertools import pairwise
from typing import Final

DEGREES: Final = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25)

TABLE: Final = (
    (0.01866, (467, 4666, 0, 0, 522, 1769, 697, 295, 309, 1275, 0, 0)),
    (0.03307, (827, 4607, 0, 52, 679, 1298, 749, 268, 0, 1519, 0, 0)),
    (0.05413, (1353, 4378, 0, 0, 0, 2772, 0, 0, 0, 1201, 295, 0)),
    (0.08847, (2212, 3602, 0, 0, 2080, 464, 0, 0, 623, 1019, 0, 0)),
    (0.13967, (2644, 3489, 0, 343, 1140, 903, 77, 0, 0, 1326, 77, 0)),
    (0.20521, (3069, 3515, 0, 0, 621, 1341, 462, 0, 77, 187, 729, 0)),
    (0.31852, (3652, 3365, 0, 0, 173, 1555, 420, 0, 0, 195, 153, 488)),
    (0.44958, (4225, 3073, 0, 0, 805, 1077, 0, 0, 0, 0, 0, 820)),
    (0.54386, (4700, 3004, 0, 0, 321, 1156, 247, 0, 0, 0, 412, 160)),
    (0.55636, (4702, 2104, 1417, 712, 0, 0, 0, 0, 0, 0, 0, 1064)),
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
