"""Tests of hypotheses, each as the probability that chance alone does as badly.

All are asymptotic: cells are pooled until each expects `MIN_EXPECTED` counts, where the tails of
the chi-square law are close to the truth.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

MIN_EXPECTED: Final = 25.0

Floats = NDArray[np.float64]
Numbers = NDArray[np.float64] | NDArray[np.int64]


def chi_square_p(statistic: float, dof: int) -> float:
    """Chance of a chi-square variable beyond `statistic`; 1 with no degree of freedom."""
    return float(chdtrc(dof, statistic)) if dof > 0 else 1.0


def two_sided_p(z: float) -> float:
    """Chance of a standard normal variable beyond |z| on either side."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def above_p(z: float) -> float:
    """Chance of a standard normal variable above z."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def fit_p(
    observed: Numbers, expected: Floats, *, fitted: int = 0, scale_free: bool = True
) -> float:
    """Chance of counts as far from their expectation; shape (cells,) in.

    Args:
        observed: Counts.
        expected: Of each.
        fitted: Parameters of the expectation that were taken from the counts.
        scale_free: Whether the sum of the expectation was, too.
    """
    got, wanted = pooled(observed, expected)
    if wanted.size == 0:
        return 1.0
    statistic = float(((got - wanted) ** 2 / wanted).sum())
    return chi_square_p(statistic, wanted.size - fitted - scale_free)


def homogeneity_p(first: Numbers, second: Numbers) -> float:
    """Chance of two samples as different if one law made both; counts, shape (cells,) each."""
    n, m = float(first.sum()), float(second.sum())
    if not n or not m:
        return 1.0
    together = np.asarray(first, np.float64) + second
    share = min(n, m) / (n + m)
    order = np.argsort(together)[::-1]
    groups = _groups(together[order] * share)
    a, b = (_sums(np.asarray(counts, np.float64)[order], groups) for counts in (first, second))
    total = a + b
    statistic = sum(
        float(((part - total * size / (n + m)) ** 2 / (total * size / (n + m))).sum())
        for part, size in ((a, n), (b, m))
        if total.all()
    )
    return chi_square_p(statistic, a.size - 1)


def difference_z(m: float, n: float, m_before: float, n_before: float) -> float:
    """Distance of two shares in standard deviations of their difference, if both are the same."""
    if min(n, n_before) <= 0.0:
        return 0.0
    pooled_share = (m + m_before) / (n + n_before)
    variance = pooled_share * (1.0 - pooled_share) * (1.0 / n + 1.0 / n_before)
    if variance <= 0.0:
        return 0.0
    return float((m / n - m_before / n_before) / math.sqrt(variance))


def pooled(observed: Numbers, expected: Floats) -> tuple[Floats, Floats]:
    """Both with neighbouring cells together until each expects enough; (groups,) each."""
    groups = _groups(np.asarray(expected, np.float64))
    return _sums(np.asarray(observed, np.float64), groups), _sums(expected, groups)


def _groups(expected: Floats) -> Sequence[int]:
    """Where each group of neighbouring cells begins; the rest joins the last group."""
    if expected.min(initial=math.inf) >= MIN_EXPECTED:
        return range(expected.size)
    starts, inside = [0], 0.0
    for i, cell in enumerate(expected):
        if inside >= MIN_EXPECTED:
            starts.append(i)
            inside = 0.0
        inside += float(cell)
    if inside < MIN_EXPECTED:
        starts.pop()
    return starts


def _sums(values: Numbers, starts: Sequence[int]) -> Floats:
    if not len(starts):
        return np.empty(0)
    return np.add.reduceat(np.asarray(values, np.float64), np.asarray(starts))
