"""The reduced, certified minimum against brute force over the whole rectangle."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.estimation.accounting import constant_bits, planned_leak_bits, tail_beta
from mdiqkd_net.estimation.asymptotic import z_single_photon_pairs
from mdiqkd_net.estimation.boxes import NoChannelError
from mdiqkd_net.estimation.decoy import Region, region
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.params import Security


def entropy(x):
    x = np.clip(x, 1e-300, 1 - 1e-16)
    return -x * np.log2(x) - (1 - x) * np.log2(1 - x)


def brute_force(area: Region, z_pairs, n_zz, beta, h, m):
    """Private bits at points (h, m), straight from the formulas."""
    s11 = np.clip(area.s11(m - h), 0.0, 1.0)
    pairs = z_pairs * s11
    n11 = np.minimum(n_zz, np.maximum(0.0, pairs - np.sqrt(2 * beta * pairs)))
    wrong = z_pairs * np.maximum(0.0, m - h / 2) / area.single
    k = wrong + beta / 2 + np.sqrt(2 * beta * wrong + beta**2 / 4)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bits = n11 * (1 - entropy(k / n11))
    bits = np.where((n11 > 0) & (2 * k < n11), bits, 0.0)
    # Half of the vacuum events are errors: points with fewer are no truth.
    return np.where(m - h / 2 >= 0.0, bits, np.inf)


def grid(area, points):
    h = np.linspace(area.h_lower, area.h_upper, points)[:, None]
    m = np.linspace(area.m_lower, area.m_upper, points)[None, :]
    return h, m


@settings(max_examples=60, deadline=None)
@given(
    base=st.floats(-0.02, 1.0),
    h=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    m=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    weight=st.floats(0.05, 1.0),
    z_pairs=st.floats(10.0, 1e12),
    n_zz=st.floats(0.0, 1.0),
    beta=st.floats(1.0, 60.0),
)
def test_never_above_brute_force_and_hardly_below(base, h, m, weight, z_pairs, n_zz, beta):
    area = Region(
        base=base,
        weight=weight,
        denominator=1.0,
        single=1.0,
        h_lower=min(h),
        h_upper=max(h),
        m_lower=min(m),
        m_upper=max(m),
    )
    if area.m_upper < area.h_lower / 2:
        with pytest.raises(NoChannelError, match="fewer X errors than vacuum"):
            double_scan(area, z_pairs=z_pairs, n_zz=n_zz * z_pairs, beta=beta)
        return
    found = double_scan(area, z_pairs=z_pairs, n_zz=n_zz * z_pairs, beta=beta)
    everywhere = brute_force(area, z_pairs, n_zz * z_pairs, beta, *grid(area, 201))
    assert found.private_bits <= everywhere.min() * (1 + 1e-12)
    # The worst point lies on one of two edges; a fine walk along them comes close from above.
    fine_h = np.linspace(area.h_lower, area.h_upper, 20001)
    fine_m = np.linspace(area.m_lower, area.m_upper, 20001)
    edges = min(
        brute_force(area, z_pairs, n_zz * z_pairs, beta, area.h_upper, fine_m).min(),
        brute_force(area, z_pairs, n_zz * z_pairs, beta, fine_h, area.m_upper).min(),
    )
    assert found.private_bits >= edges - 0.03 - 1e-3 * edges - 1e-7 * z_pairs
    assert all(math.isfinite(v) for v in dataclasses.astuple(found))
    assert 0.0 <= found.s11 <= 1.0
    assert 0.0 <= found.e11 <= 0.5


def benchmark_area(case, security=None):
    security = security or Security()
    beta = tail_beta(security)
    area = region(case.tallies, case.source, case.source, beta)
    return area, beta, z_single_photon_pairs(case.tallies, case.source, case.source)


def rate(case, private):
    leak = planned_leak_bits(case.tallies.n["zz"], case.tallies.m["zz"], 1.16)
    return (private - leak - constant_bits(Security())) / case.tallies.n_pulses


def test_benchmark_double_scan(benchmark_case):
    area, beta, z_pairs = benchmark_area(benchmark_case)
    n_zz = benchmark_case.tallies.n["zz"]
    found = double_scan(area, z_pairs=z_pairs, n_zz=n_zz, beta=beta)
    assert rate(benchmark_case, found.private_bits) == pytest.approx(1.41911e-4, rel=1e-5)
    everywhere = brute_force(area, z_pairs, n_zz, beta, *grid(area, 801))
    assert found.private_bits <= everywhere.min()
    assert found.private_bits >= everywhere.min() * (1 - 1e-5)
    # The point reported is the one that the bits belong to.
    assert 0 < found.phase_errors < found.n11 / 2
    assert found.s11 > 0.0080000  # the joint point may exceed the true yield


def test_benchmark_scans_pay_off(benchmark_case):
    """Scanning H alone gives the figure of the independent program; scanning nothing is worst."""
    area, beta, z_pairs = benchmark_area(benchmark_case)
    n_zz = benchmark_case.tallies.n["zz"]

    def with_separate_m(h_for_pairs, h_for_errors):
        pairs = z_pairs * area.s11(area.m_lower - h_for_pairs)
        n11 = pairs - np.sqrt(2 * beta * pairs)
        wrong = z_pairs * area.error_yield(area.m_upper, h_for_errors)
        k = wrong + beta / 2 + np.sqrt(2 * beta * wrong + beta**2 / 4)
        return float(n11 * (1 - entropy(k / n11)))

    none = with_separate_m(area.h_upper, area.h_lower)
    h_scan = min(with_separate_m(h, h) for h in np.linspace(area.h_lower, area.h_upper, 2001))
    assert rate(benchmark_case, h_scan) == pytest.approx(1.22331e-4, rel=1e-5)
    both = double_scan(area, z_pairs=z_pairs, n_zz=n_zz, beta=beta).private_bits
    assert none < h_scan < both


def test_no_more_single_photons_than_events(benchmark_case):
    area, beta, z_pairs = benchmark_area(benchmark_case)
    found = double_scan(area, z_pairs=z_pairs, n_zz=1000.0, beta=beta)
    assert found.n11 <= 1000.0
    assert found.private_bits <= 1000.0


def test_a_degenerate_rectangle():
    area = Region(
        base=0.1,
        weight=1.0,
        denominator=1.0,
        single=1.0,
        h_lower=0.01,
        h_upper=0.01,
        m_lower=0.01,
        m_upper=0.01,
    )
    found = double_scan(area, z_pairs=1e9, n_zz=1e9, beta=50.0)
    alone = brute_force(area, 1e9, 1e9, 50.0, np.array([0.01]), np.array([0.01]))[0]
    assert found.private_bits == pytest.approx(alone, rel=1e-9)
