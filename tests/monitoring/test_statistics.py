"""The tests behind the monitors, against other routes to the same numbers."""

import numpy as np
import pytest
from scipy import stats

from mdiqkd_net.monitoring import cusum
from mdiqkd_net.monitoring.patterns import (
    COMPOSITES,
    lag_counts,
    residue_counts,
    tail_of_gaps,
)
from mdiqkd_net.monitoring.statistics import (
    MIN_EXPECTED,
    above_p,
    chi_square_p,
    difference_z,
    fit_p,
    homogeneity_p,
    pooled,
    two_sided_p,
)


def test_tails_are_those_of_scipy():
    assert two_sided_p(-3.0) == pytest.approx(2 * stats.norm.sf(3.0))
    assert above_p(4.0) == pytest.approx(stats.norm.sf(4.0))
    assert chi_square_p(50.0, 9) == pytest.approx(stats.chi2.sf(50.0, 9))
    assert chi_square_p(5.0, 0) == 1.0


def test_fit_and_homogeneity_are_those_of_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.poisson(100.0, 12), rng.poisson(300.0, 12)
    expected = np.full(12, a.sum() / 12)
    assert fit_p(a, expected) == pytest.approx(stats.chisquare(a, expected).pvalue)
    table = stats.chi2_contingency(np.array([a, b]), correction=False)
    assert homogeneity_p(a, b) == pytest.approx(table.pvalue)
    assert homogeneity_p(a, 0 * b) == 1.0
    assert fit_p(np.array([3]), np.array([2.0])) == 1.0


def test_small_cells_are_pooled_and_nothing_is_lost():
    expected = np.array([1.0, 40.0, 3.0, 3.0, 30.0, 5.0])
    observed = np.arange(6)
    got, wanted = pooled(observed, expected)
    assert wanted.min() >= MIN_EXPECTED
    assert (got.sum(), wanted.sum()) == (observed.sum(), expected.sum())
    assert pooled(np.array([1]), np.array([2.0]))[0].size == 0


def test_p_values_of_a_true_law_are_uniform():
    """Kolmogorov-Smirnov on 2000 tables each; false alarm 1e-6."""
    rng = np.random.default_rng(2)
    fits = [
        fit_p(rng.multinomial(2000, np.full(20, 0.05)), np.full(20, 100.0)) for _ in range(2000)
    ]
    pairs = [
        homogeneity_p(*(rng.multinomial(n, np.full(20, 0.05)) for n in (2000, 5000)))
        for _ in range(2000)
    ]
    for values in (fits, pairs):
        assert stats.kstest(values, "uniform").pvalue > 1e-6


def test_a_difference_of_shares_has_unit_spread():
    rng = np.random.default_rng(3)
    z = [
        difference_z(rng.binomial(4000, 0.2), 4000, rng.binomial(900, 0.2), 900)
        for _ in range(3000)
    ]
    # Variance of 3000 normal values: chi-square law, false alarm 1e-6.
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], 3000) / 3000
    assert low < np.mean(np.square(z)) < high
    assert difference_z(1, 0, 1, 5) == difference_z(0, 5, 0, 5) == 0.0


def test_every_modulus_is_counted_as_it_is():
    rng = np.random.default_rng(4)
    n_pulses = 1_000_003
    pulses = np.flatnonzero(rng.random(n_pulses) < 0.01)
    seen = set()
    for modulus, counts, expected in residue_counts(pulses, n_pulses, range(2, 65)):
        seen.add(modulus)
        np.testing.assert_array_equal(counts, np.bincount(pulses % modulus, minlength=modulus))
        sent = np.bincount(np.arange(n_pulses) % modulus, minlength=modulus)
        np.testing.assert_allclose(expected, pulses.size * sent / n_pulses)
    assert seen == set(range(2, 65))
    assert all(any(c % m == 0 for c in COMPOSITES) for m in seen)
    assert [m for m, *_ in residue_counts(pulses, n_pulses, (2, 61))] == [2, 61]


def test_long_distances_are_geometric_whatever_the_short_ones_are():
    rng = np.random.default_rng(5)
    gaps = rng.geometric(0.01, 200_000)
    kept = (gaps > 30) | (rng.random(gaps.size) < 0.2)  # detectors that are half dead for a while
    gaps = np.diff(np.cumsum(gaps[kept]))
    assert fit_p(*tail_of_gaps(gaps, 30), fitted=1) > 1e-6
    assert fit_p(*tail_of_gaps(gaps, 0), fitted=1) < 1e-100
    assert fit_p(*tail_of_gaps(np.ones(99, np.int64), 30), fitted=1) == 1.0
    assert fit_p(*tail_of_gaps(np.ones(99, np.int64), 0), fitted=1) == 1.0


def test_successors_at_a_distance_are_those_of_a_plain_search():
    rng = np.random.default_rng(6)
    pulses = np.flatnonzero(rng.random(2000) < 0.3)
    settings = tuple(rng.integers(0, 4, pulses.size, dtype=np.uint8) for _ in range(2))
    for lag, user, followed, alone in lag_counts(pulses, settings, range(1, 9)):
        has = np.isin(pulses + lag, pulses)
        np.testing.assert_array_equal(followed, np.bincount(settings[user][has], minlength=4))
        np.testing.assert_array_equal(alone, np.bincount(settings[user][~has], minlength=4))


def test_the_chart_alarms_as_often_as_siegmund_says(monkeypatch):
    """At a low limit, where it happens: 590 alarms expected in 2e5 values, within a fifth.

    The spread of their number is about 24, so chance alone passes with 1e-6; the rest of the fifth
    is the approximation's.
    """
    monkeypatch.setattr(cusum, "LIMIT", 4.0)
    chart = cusum.Cusum()
    values = np.random.default_rng(7).normal(5.0, 0.1, 200_000)
    alarms = sum(chart.add(x) for x in values)
    assert alarms == pytest.approx(200_000 / cusum.run_length(4.0), rel=0.2)
