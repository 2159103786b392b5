"""The decoy bounds hold for every channel that Eve could choose, on either branch."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation import accounting, decoy, tails
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.params import Security, Setting, Source

INTENSITIES = st.tuples(st.floats(0.005, 0.2), st.floats(1.2, 8.0), st.floats(0.05, 0.8))


def source_of(mu):
    x, ratio, z = mu
    return Source(x=Setting(x, 0.3), y=Setting(x * ratio, 0.2), z=Setting(z, 0.4))


@settings(max_examples=120, deadline=None)
@given(alice=INTENSITIES, bob=INTENSITIES, seed=st.integers(0, 2**32), spread=st.integers(0, 6))
def test_exact_gains_never_promise_too_much(channel, alice, bob, seed, spread):
    """Any yields at all, over many orders of magnitude: s11 <= y11, and e11 s11 >= e11 y11."""
    rng = np.random.default_rng(seed)
    y = 10.0 ** -(spread * rng.random((9, 9))) * (rng.random((9, 9)) < 0.6)
    truth = channel(y, rng.random((9, 9)))
    a, b = source_of(alice), source_of(bob)
    exact = decoy.region(truth.expected(a, b, 1e12), a, b, beta=None)
    assert exact.h_lower == exact.h_upper
    difference = exact.m_upper - exact.h_upper
    # The weights of a nearly equal x and y amplify the rounding of the gains.
    rounding = 1e-13 * (abs(exact.base) + exact.weight) / exact.denominator
    assert exact.s11(difference) <= truth.y11 + rounding
    single_errors = truth.y11 * truth.e11
    assert exact.error_yield(exact.m_upper, exact.h_upper) >= single_errors * (1 - 1e-9) - 1e-12


@pytest.mark.parametrize("swapped", [False, True])
def test_pairs_of_one_and_two_photons_are_removed_exactly(channel, make_source, swapped):
    """The branch matters: with two photons from the wrong user the other one would be invalid."""
    y = np.zeros((9, 9))
    y[1, 1], y[1, 2], y[2, 1] = 1e-3, 0.0, 0.5
    if swapped:
        y = y.T
    weak, strong = make_source(x=0.01, y=0.3), make_source(x=0.1, y=0.3)
    alice, bob = (weak, strong) if not swapped else (strong, weak)
    truth = channel(y, np.zeros((9, 9)))
    exact = decoy.region(truth.expected(alice, bob, 1e12), alice, bob, beta=None)
    assert exact.s11(exact.m_upper - exact.h_upper) < truth.y11
    # The pairs that the chosen branch removes leave the bound exact.
    removed = channel(y.T, np.zeros((9, 9)))
    exact = decoy.region(removed.expected(alice, bob, 1e12), alice, bob, beta=None)
    assert exact.s11(exact.m_upper - exact.h_upper) == pytest.approx(1e-3, rel=1e-9)


def test_alice_and_bob_may_change_names(benchmark_case, make_source):
    alice, bob = make_source(x=0.02, y=0.25, z=0.4), make_source(x=0.07, y=0.2, z=0.6)
    counts = benchmark_case.tallies
    other = Tallies(counts.n_pulses, {c[::-1]: n for c, n in counts.n.items()}, counts.m)
    assert decoy.region(counts, alice, bob, 50.0) == decoy.region(other, bob, alice, 50.0)


def test_the_region_holds_the_truth_and_closes_on_it(benchmark_case):
    source = benchmark_case.source
    exact = decoy.region(benchmark_case.tallies, source, source, None)
    wide = decoy.region(benchmark_case.tallies, source, source, 51.5)
    assert wide.h_lower < exact.h_lower < wide.h_upper
    assert wide.m_lower < exact.m_lower < wide.m_upper
    assert wide.base < exact.base
    much = Tallies.of(benchmark_case.tallies, 1e9)
    closed = decoy.region(much, source, source, 51.5)
    assert closed.h_upper == pytest.approx(exact.h_upper, rel=1e-4)
    assert closed.base == pytest.approx(exact.base, rel=1e-4)


@pytest.mark.parametrize("name", tails.TAILS)
def test_every_tail_bound_is_one_of_the_fifteen(benchmark_case, name):
    calls = []

    def counted(side):
        def bound(observed, beta):
            calls.append((side, observed, beta))
            return getattr(tails.TAILS[name], side)(observed, beta)

        return bound

    tail = tails.Tail(lower=counted("lower"), upper=counted("upper"), source="")
    source, security = benchmark_case.source, Security()
    beta = accounting.tail_beta(security)
    found = decoy.region(benchmark_case.tallies, source, source, beta, tail)
    assert found == decoy.region(benchmark_case.tallies, source, source, beta, tails.TAILS[name])
    n_realised = 2
    assert len(set(calls)) + n_realised == sum(accounting.TAIL_EVENTS.values())
    assert {call[2] for call in calls} == {beta}


@given(
    st.lists(st.tuples(st.floats(0, 1e3), st.integers(0, 10**6)), min_size=1, max_size=4),
    st.floats(1, 60),
)
def test_nested_sums(terms, beta):
    plain = math.fsum(c * n for c, n in terms)
    assert decoy._joint(decoy._face_value, 0.0, *terms) == pytest.approx(plain, abs=1e-6)
    upper = decoy._joint(tails.expectation_upper, beta, *terms)
    lower = decoy._joint(tails.expectation_lower, beta, *terms)
    one_by_one = math.fsum(c * tails.expectation_upper(n, beta) for c, n in terms)
    assert lower <= plain * (1 + 1e-9) + 1e-6
    assert plain * (1 - 1e-9) - 1e-6 <= upper <= one_by_one * (1 + 1e-9) + 1e-6
    for order in itertools.permutations(terms):
        assert decoy._joint(tails.expectation_upper, beta, *order) == pytest.approx(upper)


GOOD_N = {"oo": 0, "ox": 9, "xo": 8, "oy": 20, "yo": 22, "xx": 300, "yy": 150, "zz": 90000}
GOOD_M = {"xx": 80, "zz": 900}


def faults_of(n=None, m=None, n_pulses=10**9, **source):
    p = dict.fromkeys("xyz", 0.3) | source.get("p", {})
    mu = {"x": 0.05, "y": 0.2, "z": 0.5} | source.get("mu", {})
    alice = Source(**{k: Setting(mu[k], p[k]) for k in "xyz"})
    bob = Source(x=Setting(0.05, 0.3), y=Setting(0.2, 0.3), z=Setting(0.5, 0.3))
    return decoy.faults(Counts(n_pulses, GOOD_N | (n or {}), GOOD_M | (m or {})), alice, bob)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("xx has 301 errors in 300 events", {"m": {"xx": 301}}),
        ("zz has -1 events", {"n": {"zz": -1}}),
        ("zz has nan errors", {"m": {"zz": math.nan}}),
        ("events were counted in 1000 pulse pairs", {"n_pulses": 1000}),
        ("0 pulse pairs were sent", {"n_pulses": 0}),
        ("oo has 5000 events, but only about 1000", {"n": {"oo": 5000}, "n_pulses": 10**5}),
        ("Alice never sends setting y", {"p": {"y": 0.0}}),
        ("Alice never sends setting o", {"p": {"z": 0.4}}),
        ("Alice's x intensity is 0;", {"mu": {"x": 0.0}}),
        ("Alice's z intensity is 1e+06;", {"mu": {"z": 1e6}}),
    ],
)
def test_impossible_data_is_named(words, change):
    assert words in faults_of(**change)


def test_good_data_has_no_faults_and_missing_data_is_named():
    assert faults_of() == ""
    source = Source(x=Setting(0.05, 0.3), y=Setting(0.2, 0.3), z=Setting(0.5, 0.3))
    lacking = {c: n for c, n in GOOD_N.items() if c not in ("oy", "yy")}
    assert "oy, yy" in decoy.faults(Counts(10**9, lacking, GOOD_M), source, source)
    assert "errors of xx" in decoy.faults(Counts(10**9, GOOD_N, {"zz": 3}), source, source)
