"""Tail bounds against exact arithmetic and against the exact Poisson and binomial tails."""

import math
from decimal import Decimal, localcontext

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


@given(n=st.integers(1, 400), p=st.floats(0.001, 0.999), eps=st.floats(1e-6, 0.3))
def test_binomial_coverage_of_both_directions(n, p, eps):
    """The probability that a bound fails, summed over all outcomes, is at most eps."""
    beta, mean = -math.log(eps), n * p
    outcomes = range(n + 1)
    weight = binom.pmf(outcomes, n, p)
    assert sum(weight[k] for k in outcomes if tails.expectation_upper(k, beta) < mean) <= eps
    assert sum(weight[k] for k in outcomes if tails.expectation_lower(k, beta) > mean) <= eps
    assert sum(weight[k] for k in outcomes if k > tails.realised_upper(mean, beta)) <= eps
    assert sum(weight[k] for k in outcomes if k < tails.realised_lower(mean, beta)) <= eps


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
        tails.realised_upper,
        tails.realised_lower,
    ):
        assert bound(low, beta) <= bound(high, beta) * slack + 1e-9
