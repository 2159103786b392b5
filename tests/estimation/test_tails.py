"""Tail bounds against exact arithmetic and against the exact Poisson and binomial tails."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, poisson

from mdiqkd_net.estimation import tails

COUNTS = st.one_of(st.integers(1, 10**15).map(float), st.floats(1e-6, 1e15))
BETAS = st.floats(0.7, 500.0)


def excess(bound, observed, beta):
    """r - 1 - ln r - beta / x in 60 digits: positive if the bound lies beyond the exact one."""
    with localcontext() as context:
        context.prec = 60
        r = Decimal(bound) / Decimal(observed)
        return r - 1 - r.ln() - Decimal(beta) / Decimal(observed)


@given(observed=COUNTS, beta=BETAS)
def test_exact_chernoff_is_rounded_outward_and_little(observed, beta):
    upper = tails.expectation_upper(observed, beta)
    lower = tails.expectation_lower(observed, beta)
    assert 0.0 <= lower < observed < upper
    assert excess(upper, observed, beta) >= 0
    assert excess(upper * (1 - 3e-12), observed, beta) < 0
    if lower > 1e-290:
        assert excess(lower, observed, beta) >= 0
        assert excess(lower * (1 + 3e-12), observed, beta) < 0


@pytest.mark.parametrize("observed", [1.0, 7.0, 212.0, 1e6, 1e12])
@pytest.mark.parametrize("beta", [2.0, 51.5])
def test_exact_chernoff_against_a_bracketing_solver(observed, beta):
    def residue(r):
        return r - 1 - math.log(r) - beta / observed

    upper = brentq(residue, 1.0, 2.0 + 4.0 * beta, xtol=1e-15, rtol=1e-14)
    lower = brentq(residue, math.exp(-beta / observed - 1.0), 1.0, xtol=1e-300, rtol=1e-14)
    assert tails.expectation_upper(observed, beta) == pytest.approx(observed * upper, rel=1e-9)
    assert tails.expectation_lower(observed, beta) == pytest.approx(observed * lower, rel=1e-9)


@given(observed=st.integers(0, 10**6), beta=st.floats(0.7, 60.0))
def test_closed_forms_are_looser(observed, beta):
    closed = observed + beta + math.sqrt(2 * beta * observed + beta**2)
    assert observed < tails.expectation_upper(observed, beta) <= closed * (1 + 2e-12)


def test_nothing_observed():
    assert tails.expectation_lower(0.0, 50.0) == 0.0
    assert tails.expectation_upper(0.0, 50.0) == pytest.approx(50.0, rel=1e-11)
    assert tails.expectation_upper(0.0, 50.0) >= 50.0
    assert tails.expectation_upper(1e-6, 50.0) == pytest.approx(50.0, rel=1e-5)


@given(observed=st.integers(0, 2000), eps=st.floats(1e-12, 0.3))
def test_exact_poisson_tails_stay_below_eps(observed, eps):
    beta = -math.log(eps)
    assert poisson.cdf(observed, tails.expectation_upper(observed, beta)) <= eps
    lower = tails.expectation_lower(observed, beta)
    assert lower == 0.0 or poisson.sf(observed - 1, lower) <= eps


@pytest.mark.parametrize("name", tails.TAILS)
@given(n=st.integers(1, 400), p=st.floats(1e-5, 0.999), eps=st.floats(1e-6, 0.3))
def test_binomial_coverage_of_both_directions(name, n, p, eps):
    """The probability that a bound fails, summed over all outcomes, is at most eps."""
    beta, mean = -math.log(eps), n * p
    tail = tails.TAILS[name]
    outcomes = range(n + 1)
    weight = binom.pmf(outcomes, n, p)
    # What rounding may add to a sum of n terms.
    limit = eps * (1 + 1e-9)
    assert sum(weight[k] for k in outcomes if tail.upper(k, beta) < mean) <= limit
    assert sum(weight[k] for k in outcomes if tail.lower(k, beta) > mean) <= limit
    assert sum(weight[k] for k in outcomes if k > tails.realised_upper(mean, beta)) <= limit
    assert sum(weight[k] for k in outcomes if k < tails.realised_lower(mean, beta)) <= limit


@pytest.mark.parametrize("name", tails.TAILS)
@given(
    chances=st.lists(st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 0.01)), min_size=1, max_size=30),
    eps=st.floats(1e-4, 0.9),
)
def test_coverage_for_events_of_unequal_chances(name, chances, eps):
    """Nested sums mix categories; the exact distribution is a convolution."""
    weight = np.ones(1)
    for p in chances:
        weight = np.convolve(weight, [1 - p, p])
    beta, mean, tail = -math.log(eps), math.fsum(chances), tails.TAILS[name]
    limit = eps * (1 + 1e-9)
    assert sum(w for k, w in enumerate(weight) if tail.upper(k, beta) < mean) <= limit
    assert sum(w for k, w in enumerate(weight) if tail.lower(k, beta) > mean) <= limit


def poisson_tail(mean, count, upward):
    """P(Poisson(mean) >= count) or <= count, by its own series in 50 digits."""
    with localcontext() as context:
        context.prec = 50
        lam = Decimal(mean)
        term = total = Decimal(1)
        k = count
        while term > total * Decimal("1e-25") and (upward or k > 0):
            term *= lam / (k + 1) if upward else k / lam
            k += 1 if upward else -1
            total += term
        # ln of the first term; Stirling's series is good to 1e-20 from here on.
        n = Decimal(count)
        if count < 50:
            ln_factorial = Decimal(math.factorial(count)).ln()
        else:
            tau = Decimal("6.283185307179586476925286766559005768394338798750")
            series = 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5) - 1 / (1680 * n**7)
            ln_factorial = (tau * n).ln() / 2 + n * n.ln() - n + series
        return float((n * lam.ln() - lam - ln_factorial).exp() * total)


@pytest.mark.parametrize("observed", [2, 7, 257, 30_000, 2_000_000])
@pytest.mark.parametrize("beta", [2.0, 51.5, 400.0])
def test_poisson_limits_against_their_own_series(observed, beta):
    """On the safe side, and far closer to eps than Chernoff's, which lacks the term's size."""
    eps = math.exp(-beta)
    upper = poisson_tail(tails.poisson_upper(observed, beta), observed, upward=False)
    lower = poisson_tail(tails.poisson_lower(observed, beta), observed, upward=True)
    tight = 1.0 - 1.0 / beta if observed > beta else 0.4
    assert tight * eps <= upper <= eps * (1 + 1e-13)
    assert tight * eps <= lower <= eps * (1 + 1e-13)


def test_poisson_limits_where_there_is_nothing_to_solve():
    eps = math.exp(-50.0)
    assert tails.poisson_lower(0.0, 50.0) == tails.poisson_lower(0.5, 50.0) == 0.0
    # One event of probability eps: the union bound is exact, the Poisson tail would be wrong.
    assert tails.poisson_lower(1.0, 50.0) == pytest.approx(eps, rel=1e-11)
    assert tails.poisson_upper(0.0, 50.0) == pytest.approx(50.0, rel=1e-11)
    assert tails.poisson_lower(2.0, 5000.0) == 0.0
    # Unlikely to be asked for; the answer is that for eps = 1/4.
    assert tails.poisson_lower(100.0, 0.1) == tails.poisson_lower(100.0, math.log(4.0))


@given(observed=st.integers(0, 10**9), beta=st.floats(1.5, 500.0))
def test_kinds_of_tails_are_ordered(observed, beta):
    poisson_kind, chernoff, closed = (tails.TAILS[n] for n in ("poisson", "chernoff", "closed"))
    slack = 1 + 4e-12
    assert observed < poisson_kind.upper(observed, beta) <= chernoff.upper(observed, beta)
    assert chernoff.upper(observed, beta) <= closed.upper(observed, beta) * slack
    assert closed.lower(observed, beta) <= chernoff.lower(observed, beta) * slack + 1e-9
    assert chernoff.lower(observed, beta) <= poisson_kind.lower(observed, beta) <= observed


@given(expectation=st.floats(0.0, 1e15), beta=BETAS)
def test_realised_bounds_solve_the_multiplicative_chernoff_exponents(expectation, beta):
    upper = tails.realised_upper(expectation, beta) - expectation
    lower = expectation - tails.realised_lower(expectation, beta)
    scale = max(expectation, beta)
    assert upper**2 == pytest.approx(beta * (2 * expectation + upper), rel=1e-6, abs=1e-12 * scale)
    if tails.realised_lower(expectation, beta) > 0.0:
        assert lower**2 == pytest.approx(2 * beta * expectation, rel=1e-3)


def test_negative_expectations_count_as_none():
    assert tails.realised_lower(-5.0, 10.0) == 0.0
    assert tails.realised_upper(-5.0, 10.0) == tails.realised_upper(0.0, 10.0) == 10.0


@given(beta=BETAS, a=st.floats(0.0, 1e9), b=st.floats(0.0, 1e9))
def test_all_bounds_grow_with_the_count(beta, a, b):
    low, high = sorted((a, b))
    slack = 1.0 + 4e-12
    for bound in (
        tails.expectation_upper,
        tails.expectation_lower,
        tails.closed_upper,
        tails.closed_lower,
        tails.poisson_upper,
        tails.poisson_lower,
        tails.realised_upper,
        tails.realised_lower,
    ):
        assert bound(low, beta) <= bound(high, beta) * slack + 1e-9
