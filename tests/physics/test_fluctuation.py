"""Levels of random intensities against moments and integrals of the continuous laws."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, kv
from scipy.stats import truncnorm

from mdiqkd_net.physics.fluctuation import (
    LEVELS,
    STEADY,
    gamma_gamma,
    gamma_gamma_shapes,
    gauss_rule,
    gaussian,
    levels_needed,
    product,
)


def test_a_gauss_rule_of_a_uniform_law_is_that_of_legendre():
    points = np.polynomial.legendre.leggauss(40)
    levels, weights = gauss_rule(points, 8)
    known_levels, known_weights = np.polynomial.legendre.leggauss(8)
    np.testing.assert_allclose(levels, known_levels, atol=1e-13)
    np.testing.assert_allclose(weights, known_weights / 2, rtol=1e-12)


def test_a_law_of_few_levels_stays_what_it_is():
    law = (np.array([0.5, 1.0, 3.0]), np.array([0.2, 0.5, 0.3]))
    levels, weights = gauss_rule(law)
    np.testing.assert_allclose(levels, law[0], rtol=1e-12)
    np.testing.assert_allclose(weights, law[1], rtol=1e-12)
    assert gauss_rule((np.ones(5), np.full(5, 0.2)))[0] == pytest.approx([1.0])


@pytest.mark.parametrize("deviation", [0.01, 0.1, 0.24])
@pytest.mark.parametrize("photons", [1e-3, 0.5, 3.0])
def test_noise_clicks_like_the_truncated_gaussian(deviation, photons):
    levels, weights = gaussian(deviation)
    assert levels.size == LEVELS
    assert levels.min() > 0.0
    assert weights.sum() == pytest.approx(1.0, rel=1e-14)
    assert weights @ levels == pytest.approx(1.0, rel=1e-14)
    law = truncnorm(-4.0, 4.0, loc=1.0, scale=deviation)
    assert weights @ (levels - 1) ** 2 == pytest.approx(law.var(), rel=1e-12)
    clicks = law.expect(lambda g: -math.expm1(-photons * g), epsabs=0, epsrel=1e-12)
    assert weights @ -np.expm1(-photons * levels) == pytest.approx(clicks, rel=1e-11)


@pytest.mark.parametrize("deviation", [0.01, 0.05, 0.24])
@pytest.mark.parametrize("photons", [1e-4, 0.05, 0.5])
def test_fewer_levels_do_for_fainter_light(deviation, photons):
    """The chance of two clicks keeps its relative precision at gains of 1e-10, too."""
    n = levels_needed(deviation, photons)
    levels, weights = gaussian(deviation, n)
    fine, shares = gaussian(deviation, 20)
    two, known = (
        w @ np.expm1(-photons * g / 2) ** 2 for g, w in ((levels, weights), (fine, shares))
    )
    assert two == pytest.approx(known, rel=1e-13)
    assert levels.size == n


def test_how_many_levels_it_takes():
    assert levels_needed(0.0, 1.0) == 2
    assert levels_needed(0.03, 0.05) == 4
    assert levels_needed(0.24, 3.0) == LEVELS


def gamma_gamma_density(fade, a, b):
    mean = 0.5 * (a + b)
    log = math.log(2) + mean * math.log(a * b) - gammaln(a) - gammaln(b)
    return math.exp(log + (mean - 1) * math.log(fade)) * kv(a - b, 2 * math.sqrt(a * b * fade))


@pytest.mark.parametrize("rytov", [0.05, 0.5, 2.0, 20.0])
def test_fades_have_the_moments_of_the_gamma_gamma_law(rytov):
    a, b = gamma_gamma_shapes(rytov)
    levels, weights = gamma_gamma(rytov)
    for n in range(2 * LEVELS):
        log = gammaln(a + n) + gammaln(b + n) - gammaln(a) - gammaln(b) - n * math.log(a * b)
        assert weights @ levels**n == pytest.approx(math.exp(log), rel=1e-8)


def test_scintillation_is_the_rytov_variance_if_weak_and_saturates_if_strong():
    def index(rytov):
        levels, weights = gamma_gamma(rytov)
        return weights @ levels**2 - 1.0

    assert index(1e-3) == pytest.approx(1e-3, rel=0.02)
    assert 1.0 < index(6.0) < 1.6
    assert gamma_gamma(0.0) is STEADY


@pytest.mark.parametrize("rytov", [0.3, 1.0])
def test_faded_light_clicks_like_the_integral_over_the_density(rytov):
    a, b = gamma_gamma_shapes(rytov)
    levels, weights = gamma_gamma(rytov)
    for photons in (1e-3, 0.1):
        mean, _ = quad(
            lambda f, n=photons: -math.expm1(-n * f) * gamma_gamma_density(f, a, b),
            0,
            60,
            epsrel=1e-10,
            limit=500,
        )
        assert weights @ -np.expm1(-photons * levels) == pytest.approx(mean, rel=1e-7)


def test_a_fade_is_cut_where_all_of_the_beam_is_caught():
    levels, weights = gamma_gamma(1.0, greatest=1.5)
    assert levels.max() < 1.5 + 1e-9
    a, b = gamma_gamma_shapes(1.0)
    mean, _ = quad(lambda f: min(f, 1.5) * gamma_gamma_density(f, a, b), 0, 80, limit=500)
    # The corner costs the fine rule its precision, but for a law that is cut at all it is enough.
    assert weights @ levels == pytest.approx(mean, rel=5e-3)


def test_factors_multiply():
    noise, fade = gaussian(0.2), gamma_gamma(0.4)
    levels, weights = product(noise, fade)
    assert levels.size == LEVELS
    for n in range(8):
        both = (noise[1] @ noise[0] ** n) * (fade[1] @ fade[0] ** n)
        assert weights @ levels**n == pytest.approx(both, rel=1e-10)
    for one, other in ((noise, STEADY), (STEADY, noise)):
        np.testing.assert_array_equal(product(one, other)[0], noise[0])
