"""Tail bounds for sums of independent yes-no events, each holding except with probability eps.

Throughout, `beta` is ln(1/eps) > 0. Two directions exist and must not be mixed up: from an observed
count to the expectation behind it (`expectation_upper`, `expectation_lower`), and from a known
expectation to the count that will be realised (`realised_upper`, `realised_lower`).

Source: Chernoff's bound; in the form used here, Zhang, Zhao, Razavi & Ma, PRA 95, 012333 (2017),
and for the MDI protocol Jiang, Yu, Hu & Wang, PRA 103, 012402 (2021).
"""

import math
from typing import Final

_OUTWARD: Final = 1e-12
"""Relative outward rounding of a solved bound.

Newton's iterates stay on the safe side of the root of a convex function, so only rounding can
push a result inward. Evaluating expm1(w) - w errs by at most 3 ulp of max(|w|, |expm1(w)|), hence
w by at most 3 ulp of max(1, |w / expm1(w)|) <= max(1, |w|). For w < -745 the factor exp(w) is zero
anyway, so its relative error stays below 745 * 3 * 2^-53 < 3e-13.
"""

_LEAST_SHARE: Final = 1e-100
"""Counts below this share of beta have the same upper bound as none, to the last digit."""

_HOPELESS: Final = 745.0
"""From beta = 745 x on, the factor of the lower bound is zero in doubles."""

_MAX_STEPS: Final = 100


def expectation_upper(observed: float, beta: float) -> float:
    """Greatest expectation that is compatible with an observed count; exact Chernoff.

    The result is x r with r > 1 and r - 1 - ln r = beta / x, and beta where nothing was observed.
    """
    # The bound grows with the count; a floor under it is safe and keeps t finite.
    observed = max(observed, _LEAST_SHARE * beta)
    t = beta / observed
    # expm1(v) - v >= v^2 / 2, and at v = log1p(2 t) it is 2 t - log1p(2 t) >= t once t >= 2.
    start = math.sqrt(2.0 * t) if t < 2.0 else math.log1p(2.0 * t)
    return observed * math.exp(_exponent(start, t)) * (1.0 + _OUTWARD)


def expectation_lower(observed: float, beta: float) -> float:
    """Least expectation that is compatible with an observed count; exact Chernoff.

    The result is x r with r < 1 and r - 1 - ln r = beta / x, and zero where nothing was observed.
    """
    if beta >= _HOPELESS * observed:
        return 0.0
    t = beta / observed
    # exp(-u) - 1 + u exceeds u - 1, and it exceeds t at u = sqrt(2 t) + t while t < 1/2.
    start = -(math.sqrt(2.0 * t) + t if t < 0.5 else t + 1.0)
    return observed * math.exp(_exponent(start, t)) * (1.0 - _OUTWARD)


def realised_upper(expectation: float, beta: float) -> float:
    """Greatest count that an expectation lets us expect; multiplicative Chernoff."""
    mean = max(expectation, 0.0)
    return mean + 0.5 * beta + math.sqrt(2.0 * beta * mean + 0.25 * beta * beta)


def realised_lower(expectation: float, beta: float) -> float:
    """Least count that an expectation lets us expect; multiplicative Chernoff, never negative."""
    mean = max(expectation, 0.0)
    return max(0.0, mean - math.sqrt(2.0 * beta * mean))


def _exponent(start: float, t: float) -> float:
    """Root w of expm1(w) - w = t on the side of `start`, which lies beyond it.

    The function is convex, so that Newton's iterates approach the root from beyond and never
    cross it; they stop as soon as rounding ends the approach.
    """
    w = start
    for _ in range(_MAX_STEPS):
        slope = math.expm1(w)
        if slope == 0.0:
            break
        step = (slope - w - t) / slope
        closer = w - step
        if abs(closer) >= abs(w) or closer * start <= 0.0:
            break
        w = closer
    return w
