import json
import math

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from mdiqkd_net.laboratory.finding import (
    Finding,
    Row,
    curve_chi_square,
    multinomial_chi_square,
    pooled,
    ratio_point,
)

FALSE_ALARM = 1e-6


def finding(chi_square, degrees):
    return Finding("gains", "20 dB", "coincidence", 1000, 10, chi_square, degrees)


def test_p_values_are_uniform_if_counts_follow_the_expectation():
    """Kolmogorov-Smirnov over 400 samples; false alarm 1e-6."""
    rng = np.random.default_rng(1)
    mean = np.array([30.0, 100.0, 5.0, 3.0, 40.0, 0.0, 20.0])
    p_values = []
    for _ in range(400):
        statistic, degrees = multinomial_chi_square(rng.poisson(mean).astype(float), mean)
        assert degrees == 4  # three large cells, and the rest in one
        p_values.append(chi2.sf(statistic, degrees))
    assert kstest(p_values, "uniform").pvalue > FALSE_ALARM


def test_what_cannot_be_must_not_be_counted():
    statistic, degrees = multinomial_chi_square(np.array([100.0, 1.0]), np.array([100.0, 0.0]))
    assert finding(statistic, degrees).p_value == 0.0


def test_ratios_and_curves():
    point = ratio_point(2.0, 30, 100, 0.25)
    assert (point.measured, point.sigma) == (0.3, pytest.approx(math.sqrt(0.25 * 0.75 / 100)))
    statistic, degrees = curve_chi_square([point, point])
    assert statistic == pytest.approx(2 * (0.05 / point.sigma) ** 2)
    assert degrees == 2
    assert ratio_point(2.0, 0, 0, 0.25).sigma == math.inf


def test_findings_add_up():
    assert pooled([finding(3.0, 4), finding(5.0, 6)])[:2] == (8.0, 10)
    assert pooled([finding(3.0, 4)])[2] == finding(3.0, 4).p_value


def test_rows_deviate():
    assert Row("zz events", 110, 100).deviation == pytest.approx(1.0)
    assert Row("zz events", 0, 0).deviation == 0.0
    assert Row("zz events", 1, 0).deviation == math.inf


def test_a_finding_is_json():
    plain = json.loads(json.dumps(finding(3.0, 4).as_dict()))
    assert plain["p_value"] == pytest.approx(0.5578, abs=1e-4)
    assert plain["degrees_of_freedom"] == 4
