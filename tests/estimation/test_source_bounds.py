"""What the engine says of declared bounds: monotone, exact at none, refused where unproven."""

import itertools
import math

import msgspec
import numpy as np
import pytest

from mdiqkd_net.estimation import decoy
from mdiqkd_net.estimation.accounting import private_bits
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import z_single_photon_pairs, z_single_photon_pairs_upper
from mdiqkd_net.estimation.boxes import box_events
from mdiqkd_net.estimation.decoy import Tallies, scan_events
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.estimation.engine import blocks_needed, eps_ledger, estimate
from mdiqkd_net.estimation.methods import METHODS
from mdiqkd_net.estimation.tails import TAILS, Tail
from mdiqkd_net.params import Security, SourceBounds


def with_bounds(case, **bounds):
    return msgspec.structs.replace(case.source, bounds=SourceBounds(**bounds))


def key(case, method="double_scan", **bounds):
    declared = with_bounds(case, **bounds)
    found = estimate(case.tallies, declared, declared, Security(), Analysis(method=method))
    return found.key_length_bits


LADDERS = {
    "x_relative": (0.0, 1e-9, 1e-4, 0.01, 0.05, 0.2),
    "y_relative": (0.0, 1e-9, 1e-4, 0.01, 0.05, 0.2),
    "z_relative": (0.0, 1e-9, 1e-4, 0.01, 0.05, 0.2),
    "vacuum_intensity": (0.0, 1e-9, 1e-7, 1e-5, 1e-3, 0.03),
    "phase_nonuniformity": (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4),
}


@pytest.mark.parametrize("light", ["any", "x"])
@pytest.mark.parametrize("method", ["double_scan", "tangent_lp", "asymptotic"])
@pytest.mark.parametrize("name", LADDERS)
def test_wider_bounds_never_give_more_key(benchmark_case, name, method, light):
    keys = [key(benchmark_case, method, vacuum_light=light, **{name: v}) for v in LADDERS[name]]
    # The search for a tangent stops at a relative distance of 1e-7 of the minimum.
    slack = 3e-7 * keys[0] if method == "tangent_lp" else 3.0
    assert all(wide <= narrow + slack for narrow, wide in itertools.pairwise(keys))
    assert keys[-1] < 0.9 * keys[0]


@pytest.mark.parametrize("method", ["double_scan", "tangent_lp", "asymptotic"])
def test_bounds_of_no_width_change_nothing(benchmark_case, method):
    source, tallies = benchmark_case.source, benchmark_case.tallies
    ideal = estimate(tallies, source, source, Security(), Analysis(method=method))
    declared = with_bounds(benchmark_case, vacuum_light="x")
    assert estimate(tallies, declared, declared, Security(), Analysis(method=method)) == ideal
    narrow = key(benchmark_case, method, x_relative=1e-13, y_relative=1e-13, z_relative=1e-13)
    assert narrow == pytest.approx(ideal.key_length_bits, rel=1e-8)


def test_bounds_of_one_user_count_alone_and_names_do_not_matter(benchmark_case):
    ideal, case = benchmark_case.source, benchmark_case
    wide = with_bounds(case, x_relative=0.01, vacuum_intensity=1e-6, phase_nonuniformity=1e-8)
    tallies = case.tallies
    other = Tallies(
        tallies.n_pulses,
        {c[::-1]: n for c, n in tallies.n.items()},
        {c[::-1]: m for c, m in tallies.m.items()},
    )
    both = estimate(tallies, wide, wide, Security()).key_length_bits
    for method, slack in (("double_scan", 1), ("tangent_lp", 100)):
        analysis = Analysis(method=method)
        of_alice = estimate(tallies, wide, ideal, Security(), analysis).key_length_bits
        of_bob = estimate(other, ideal, wide, Security(), analysis).key_length_bits
        assert abs(of_alice - of_bob) <= slack
    assert both < estimate(tallies, wide, ideal, Security()).key_length_bits


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"intensity_correlation": 1e-6}, "correlated intensities: no finite-key analysis"),
        ({"trojan_photons": 1e-9}, "Trojan-horse leakage: no bound"),
        ({"y_relative": 0.7, "x_relative": 0.5}, "cannot separate photon numbers"),
        ({"vacuum_intensity": 0.04}, "o must be dimmer than x"),
    ],
)
def test_what_is_not_proven_is_refused_by_every_method(benchmark_case, method, bounds, words):
    """Whichever user declares it, and whatever is asked of the engine."""
    ideal, declared = benchmark_case.source, with_bounds(benchmark_case, **bounds)
    for name, users in (("Alice", (declared, ideal)), ("Bob", (ideal, declared))):
        arguments = (benchmark_case.tallies, *users, Security(), Analysis(method=method))
        found = estimate(*arguments)
        assert found.key_length_bits == found.asymptotic_key_length_bits == 0
        assert words in found.reason
        assert name in found.reason
        assert blocks_needed(*arguments) is None


def test_an_uncertain_intensity_above_one_photon_is_refused(benchmark_case, make_source):
    bright = make_source(z=0.99)
    tallies = benchmark_case.tallies
    assert decoy.faults(tallies, bright, bright) == ""
    uncertain = msgspec.structs.replace(bright, bounds=SourceBounds(z_relative=0.02))
    assert "z intensity is 0.9702 to 1.0098" in decoy.faults(tallies, bright, uncertain)


@pytest.mark.parametrize(
    ("bounds", "scan", "program"),
    [
        ({}, 15, 33),
        ({"x_relative": 0.1, "z_relative": 0.1}, 15, 33),
        ({"vacuum_intensity": 1e-6}, 20, 38),
        ({"vacuum_intensity": 1e-6, "vacuum_light": "x"}, 16, 33),
        ({"phase_nonuniformity": 1e-9}, 21, 42),
    ],
)
def test_every_further_use_of_a_tail_bound_is_in_the_ledger(benchmark_case, bounds, scan, program):
    declared = with_bounds(benchmark_case, **bounds)
    calls = set()

    def counted(side):
        def bound(observed, beta):
            calls.add((side, observed, beta))
            return getattr(TAILS["chernoff"], side)(observed, beta)

        return bound

    tail = Tail(lower=counted("lower"), upper=counted("upper"), source="")
    decoy.region(benchmark_case.tallies, declared, declared, 50.0, tail)
    strays = sum(name.startswith("stray") for name in scan_events(declared, declared))
    realised = 2
    assert len(calls) + strays + realised <= sum(scan_events(declared, declared).values()) == scan
    assert sum(box_events(benchmark_case.tallies, declared, declared).values()) == program
    for method, events in (("double_scan", scan), ("tangent_lp", program)):
        ledger = eps_ledger(
            benchmark_case.tallies, declared, declared, Security(), Analysis(method=method)
        )
        assert sum(s.times for s in ledger.shares if s.part == "statistics") == events
        assert ledger.spent("statistics") == pytest.approx((1e-10 / 4) ** 2)


def test_the_scan_with_bounds_finds_the_minimum(benchmark_case):
    """Brute force over H and M, with pairs and errors at opposite ends of the z interval."""
    declared = with_bounds(benchmark_case, x_relative=0.01, z_relative=0.05, vacuum_intensity=1e-7)
    tallies, beta = benchmark_case.tallies, 51.0
    area = decoy.region(tallies, declared, declared, beta)
    low = z_single_photon_pairs(tallies, declared, declared)
    high = z_single_photon_pairs_upper(tallies, declared, declared)
    assert low < high
    found = double_scan(area, z_pairs=low, z_pairs_upper=high, n_zz=tallies.n["zz"], beta=beta)
    least = math.inf
    for h in np.linspace(area.h_lower, area.h_upper, 201):
        for m in np.linspace(max(area.m_lower, h / 2), area.m_upper, 201):
            pairs, wrong = low * area.s11(m - h), high * area.error_yield(m, h)
            n11 = pairs - math.sqrt(2 * beta * pairs)
            k = wrong + beta / 2 + math.sqrt(2 * beta * wrong + beta**2 / 4)
            least = min(least, private_bits(n11, k))
    assert found.private_bits <= least
    assert found.private_bits == pytest.approx(least, rel=1e-4)
