"""Tail bounds for sums of independent yes-no events, each holding except with probability eps.

Throughout, `beta` is ln(1/eps) > 0. Two directions exist and must not be mixed up: from an observed
count to the expectation behind it (`expectation_upper`, `expectation_lower`), and from a known
expectation to the count that will be realised (`realised_upper`, `realised_lower`). The first
direction has three kinds, chosen by name in `TAILS`; the second is the same for all of them.

Sources: Chernoff's bound; in the form used here, Zhang, Zhao, Razavi & Ma, PRA 95, 012333 (2017),
and for the MDI protocol Jiang, Yu, Hu & Wang, PRA 103, 012402 (2021). Poisson tails: Garwood,
Biometrika 28, 437 (1936), for the limits, with Robbins, Am. Math. Mon. 62, 26 (1955), for the
factorial; Hoeffding, Ann. Math. Stat. 27, 713 (1956), Theorem 4, and Anderson & Samuels, Proc. 5th
Berkeley Symp. 1, 1 (1967), for events that are not Poisson.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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

_LEAST_BETA: Final = math.log(4.0)
"""Poisson tails dominate those of yes-no events for eps up to 1/4 (argued at `poisson_lower`)."""

_CLOSE: Final = 1e-13
"""Relative width at which the search of a Poisson bound ends."""


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


def poisson_upper(observed: float, beta: float) -> float:
    """Greatest expectation that is compatible with an observed count; Poisson tail.

    The chance that Poisson(U) is x or less is its term at x times at most 1 / (1 - x / U), and U
    makes this product eps. For yes-no events of any chances with expectation E the probability of
    x or fewer is at most that of Poisson(E) if x <= E - 1 (Hoeffding; Anderson & Samuels). A bound
    fails only where E > U(x), and U(x) >= x + 1 for eps <= 1/e.
    """
    beta = max(beta, _LEAST_BETA)
    chernoff = expectation_upper(observed, beta)
    if observed <= 0.0:
        return chernoff

    def slack(w: float) -> float:
        return _term_exponent(observed, w) + math.log(-math.expm1(-w)) - beta

    return min(chernoff, _refined(observed, chernoff, slack) * (1.0 + _OUTWARD))


def poisson_lower(observed: float, beta: float) -> float:
    """Least expectation that is compatible with an observed count; Poisson tail.

    The chance that Poisson(L) is x or more is its term at x times at most 1 / (1 - L / (x + 1)),
    and L makes this product eps; for one event L is eps, where the union bound rules. For yes-no
    events of any chances with expectation E the probability of x or more is at most that of
    Poisson(E) if x >= E + 1 (Hoeffding; Anderson & Samuels). A bound fails only where E < L(x), and
    L(x) <= x - 1 for x >= 2 and eps <= P(Poisson(1) >= 2) = 0.264.
    """
    beta = max(beta, _LEAST_BETA)
    if observed < 2.0:
        # Between whole counts, where only predictions go, the bound of the count below is safe.
        return math.exp(-beta) * (1.0 - _OUTWARD) if observed >= 1.0 else 0.0
    chernoff = expectation_lower(observed, beta)
    if chernoff <= 0.0:
        return 0.0

    def slack(w: float) -> float:
        beyond = (1.0 - observed * math.expm1(w)) / (observed + 1.0)
        return _term_exponent(observed, w) + math.log(beyond) - beta

    return max(chernoff, _refined(observed, chernoff, slack) * (1.0 - _OUTWARD))


def _term_exponent(observed: float, w: float) -> float:
    """-ln of the term of Poisson(x e^w) at x, at most; by Robbins' lower bound of the factorial."""
    stirling = 0.5 * math.log(2.0 * math.pi * observed) + 1.0 / (12.0 * observed + 1.0)
    return observed * (math.expm1(w) - w) + stirling


def _refined(observed: float, chernoff: float, slack: Callable[[float], float]) -> float:
    """Bound close to the count at which `slack` is not negative, starting from Chernoff's.

    Regula falsi in Illinois form between a point that is safe and one that is not; only a point
    whose slack was evaluated is ever returned, so that no error of the search can be unsafe.
    """
    safe = math.log(chernoff / observed)
    above = slack(safe)
    if above < 0.0:
        return chernoff
    other, below = 0.5 * safe, slack(0.5 * safe)
    while below >= 0.0:
        safe, above = other, below
        other, below = 0.5 * safe, slack(0.5 * safe)
    was_safe: bool | None = None
    for _ in range(_MAX_STEPS):
        between = safe + (other - safe) * above / (above - below)
        if abs(safe - other) <= _CLOSE * abs(safe) or between in {safe, other}:
            break
        value = slack(between)
        if value >= 0.0:
            safe, above = between, value
            below *= 0.5 if was_safe else 1.0
        else:
            other, below = between, value
            above *= 0.5 if was_safe is False else 1.0
        was_safe = value >= 0.0
    return observed * math.exp(safe)


def closed_upper(observed: float, beta: float) -> float:
    """Greatest expectation compatible with an observed count; Chernoff's bound in closed form.

    From P(X <= E - t) <= exp(-t^2 / (2 E)).
    """
    bound = observed + beta + math.sqrt(2.0 * beta * observed + beta * beta)
    return bound * (1.0 + _OUTWARD)


def closed_lower(observed: float, beta: float) -> float:
    """Least expectation compatible with an observed count; Chernoff's bound in closed form.

    From P(X >= E + t) <= exp(-t^2 / (2 E + t)), which would even permit + beta / 2; the form is
    kept as it is printed in the literature.
    """
    bound = observed - 0.5 * beta - math.sqrt(2.0 * beta * observed + 0.25 * beta * beta)
    return max(0.0, bound - _OUTWARD * (observed + beta))


def realised_upper(expectation: float, beta: float) -> float:
    """Greatest count that an expectation lets us expect; multiplicative Chernoff."""
    mean = max(expectation, 0.0)
    return mean + 0.5 * beta + math.sqrt(2.0 * beta * mean + 0.25 * beta * beta)


def realised_lower(expectation: float, beta: float) -> float:
    """Least count that an expectation lets us expect; multiplicative Chernoff, never negative."""
    mean = max(expectation, 0.0)
    return max(0.0, mean - math.sqrt(2.0 * beta * mean))


Bound = Callable[[float, float], float]
"""Observed count and beta to a bound on the expectation."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Both bounds from an observed count to the expectation behind it, and what they rest on."""

    lower: Bound
    upper: Bound
    source: str


CHERNOFF: Final = Tail(
    lower=expectation_lower,
    upper=expectation_upper,
    source="exact Chernoff, r - 1 - ln r = beta / x (Zhang et al. 2017)",
)

TAILS: Final[Mapping[str, Tail]] = MappingProxyType(
    {
        "chernoff": CHERNOFF,
        "poisson": Tail(
            lower=poisson_lower,
            upper=poisson_upper,
            source="Poisson tails (Garwood 1936, Hoeffding 1956, Anderson & Samuels 1967)",
        ),
        "closed": Tail(
            lower=closed_lower,
            upper=closed_upper,
            source="Chernoff in closed form (Zhang et al. 2017)",
        ),
    }
)
"""Bounds from counts to expectations by name; each holds for every outcome."""


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
