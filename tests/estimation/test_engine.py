"""The key length: fixed numbers, bad data, and blocks whose truth is known."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import constant_bits, private_bits
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits
from mdiqkd_net.estimation.decoy import NEEDED, Tallies
from mdiqkd_net.estimation.engine import Estimate, blocks_needed, estimate
from mdiqkd_net.params import Security, Setting, Source

SECURITY = Security()


def test_benchmark_rate(benchmark_case):
    source = benchmark_case.source
    found = estimate(benchmark_case.tallies, source, source, SECURITY)
    assert found.key_length_bits / 1e12 == pytest.approx(1.41911e-4, rel=1e-5)
    assert found.asymptotic_key_length_bits / 1e12 == pytest.approx(2.1605e-4, abs=5.1e-9)
    assert found.constant_bits == pytest.approx(117.27, abs=0.01)
    assert found.leak_ec_bits == pytest.approx(1.59484e8, rel=1e-5)
    assert found.reason == ""
    private = private_bits(found.n11_lower, found.phase_errors_upper)
    left = private - found.leak_ec_bits - found.constant_bits
    # The certified bound lies within 0.01 bits below the least value seen; the length is whole.
    assert left - 1.1 < found.key_length_bits <= left


def test_whole_counts_and_expected_counts_agree(benchmark_case):
    source, tallies = benchmark_case.source, benchmark_case.tallies
    counts = Counts(
        n_pulses=10**12,
        n={c: round(n) for c, n in tallies.n.items()},
        m={c: round(m) for c, m in tallies.m.items()},
    )
    whole = estimate(counts, source, source, SECURITY).key_length_bits
    exact = estimate(tallies, source, source, SECURITY).key_length_bits
    assert whole == pytest.approx(exact, rel=1e-4)


def test_categories_that_are_not_needed_change_nothing(benchmark_case):
    source, tallies = benchmark_case.source, benchmark_case.tallies
    needed = Tallies.of(tallies)
    assert set(needed.n) < set(tallies.n)
    assert estimate(needed, source, source, SECURITY) == estimate(tallies, source, source, SECURITY)


@pytest.mark.parametrize(("eps_sec", "ratio"), [(1e-6, 1.09), (1e-8, 1.04), (1e-12, 0.96)])
def test_what_stricter_secrecy_costs(benchmark_case, eps_sec, ratio):
    source = benchmark_case.source
    base, other = (
        estimate(benchmark_case.tallies, source, source, Security(eps_sec=eps)).key_length_bits
        for eps in (1e-10, eps_sec)
    )
    assert other / base == pytest.approx(ratio, abs=0.0075)


def test_better_reconciliation_pays(benchmark_case):
    source = benchmark_case.source
    base, other = (
        estimate(benchmark_case.tallies, source, source, Security(f_ec=f)).key_length_bits
        for f in (1.16, 1.05)
    )
    assert other / base == pytest.approx(1.11, abs=0.005)


def test_a_measured_leak_is_charged_to_the_bit(benchmark_case):
    source = benchmark_case.source
    lengths = [
        estimate(benchmark_case.tallies, source, source, SECURITY, leak_ec_bits=leak)
        for leak in (0, 12345)
    ]
    assert lengths[0].key_length_bits - lengths[1].key_length_bits == 12345
    assert lengths[1].leak_ec_bits == 12345


NO_X = ("oo", "ox", "xo", "oy", "yo", "xx")


def altered(tallies, n=None, m=None, n_pulses=None):
    return Tallies(
        n_pulses or tallies.n_pulses, {**tallies.n, **(n or {})}, {**tallies.m, **(m or {})}
    )


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("errors in", {"m": {"xx": 1e12}}),
        ("pulse pairs", {"n": {"zz": 1e13}}),
        ("nan", {"n": {"yy": math.nan}}),
        ("no z events", {"n": {"zz": 0}, "m": {"zz": 0}}),
        ("X events", {"m": {"xx": 210000.0}}),
        (
            "0 X events",
            {"n": dict.fromkeys(NO_X, 0), "m": dict.fromkeys(NO_X, 0)},
        ),
        ("do not cover", {"m": {"zz": 2e8}}),
    ],
)
def test_bad_data_gives_no_key_and_a_reason(benchmark_case, words, change):
    source = benchmark_case.source
    found = estimate(altered(benchmark_case.tallies, **change), source, source, SECURITY)
    assert found.key_length_bits == 0
    assert words in found.reason


def test_a_negative_leak_is_refused(benchmark_case):
    source = benchmark_case.source
    found = estimate(benchmark_case.tallies, source, source, SECURITY, leak_ec_bits=-5)
    assert found.key_length_bits == 0
    assert "-5" in found.reason
    assert found.leak_ec_bits == 0


NUMBER = st.one_of(st.integers(0, 10), st.integers(0, 10**6), st.integers(0, 10**13))
MU = st.floats(1e-6, 5.0)
SOURCE = st.builds(
    lambda x, y, z, p, q, r: Source(
        x=Setting(min(x, y), p / 3), y=Setting(max(x, y) * 1.0001, q / 3), z=Setting(z, r / 3)
    ),
    MU,
    MU,
    MU,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)


@settings(max_examples=150, deadline=None)
@given(
    n=st.fixed_dictionaries(dict.fromkeys(NEEDED, NUMBER)),
    m=st.fixed_dictionaries({"xx": NUMBER, "zz": NUMBER}),
    n_pulses=st.integers(0, 10**15),
    alice=SOURCE,
    bob=SOURCE,
    leak=st.one_of(st.none(), st.integers(0, 10**9)),
    eps=st.floats(1e-30, 0.99),
)
def test_no_data_breaks_the_estimate(n, m, n_pulses, alice, bob, leak, eps):
    counts = Counts(n_pulses, n, m)
    found = estimate(counts, alice, bob, Security(eps_sec=eps), leak_ec_bits=leak)
    for value in dataclasses.asdict(found).values():
        assert isinstance(value, str) or math.isfinite(value)
    assert 0 <= found.key_length_bits <= n["zz"]
    assert (found.key_length_bits == 0) == bool(found.reason)
    assert 0.0 <= found.s11_lower <= 1.0
    assert 0.0 <= found.e11_upper <= 0.5


@settings(max_examples=40, deadline=None)
@given(
    category=st.sampled_from(["xx", "zz"]),
    share=st.floats(0.0, 1.0),
    more=st.floats(0.0, 0.5),
)
def test_more_errors_never_give_more_key(benchmark_case, category, share, more):
    source, tallies = benchmark_case.source, benchmark_case.tallies
    few = 0.5 * share * tallies.n[category]
    many = few + more * (0.5 * tallies.n[category] - few)

    def length(errors):
        changed = altered(tallies, m={category: errors})
        return estimate(changed, source, source, SECURITY).key_length_bits

    assert length(many) <= length(few) + 1


def test_longer_blocks_approach_the_limit(benchmark_case):
    source = benchmark_case.source
    rates = []
    for factor in (0.1, 1.0, 10.0, 1e3, 1e6):
        scaled = Tallies.of(benchmark_case.tallies, factor)
        rates.append(estimate(scaled, source, source, SECURITY).key_length_bits / factor)
    assert rates == sorted(rates)
    limit = asymptotic_key_bits(benchmark_case.tallies, source, source, 1.16)
    assert rates[-1] < limit
    assert rates[-1] == pytest.approx(limit, rel=2e-3)


def test_blocks_needed(benchmark_case):
    source = benchmark_case.source

    def key(factor):
        scaled = Tallies.of(benchmark_case.tallies, factor)
        return estimate(scaled, source, source, SECURITY).key_length_bits

    small = Tallies.of(benchmark_case.tallies, 1e-4)
    factor = blocks_needed(small, source, source, SECURITY)
    assert factor > 1.0
    assert key(1e-4 * factor) > 0
    assert key(1e-4 * factor / 1.001) == 0
    assert blocks_needed(benchmark_case.tallies, source, source, SECURITY) == 1.0
    hopeless = altered(small, m={"zz": 0.3 * small.n["zz"]})
    assert blocks_needed(hopeless, source, source, SECURITY) is None
    impossible = altered(small, m={"zz": 2 * small.n["zz"]})
    assert blocks_needed(impossible, source, source, SECURITY) is None


def test_blocks_needed_scales_a_given_leak(benchmark_case):
    source = benchmark_case.source
    small = Tallies.of(benchmark_case.tallies, 1e-4)
    free = blocks_needed(small, source, source, SECURITY, leak_ec_bits=0)
    planned = blocks_needed(small, source, source, SECURITY)
    assert 1.0 <= free < planned
    assert blocks_needed(small, source, source, SECURITY, leak_ec_bits=10**8) is None


def test_a_node_starts_without_scipy():
    code = (
        "import sys; import mdiqkd_net.estimation.engine, mdiqkd_net.estimation.counts_file; "
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- blocks with a known truth -------------------------------------------------------------------

LOOSE = Security(eps_sec=0.9)
P_FAIL = (0.9 / 4) ** 2
BLOCKS = 400
FALSE_ALARM = 1e-9


def source(x, y, z):
    return Source(x=Setting(x, 0.4), y=Setting(y, 0.15), z=Setting(z, 0.4))


def honest(n_max=8):
    """Every photon arrives with probability 0.1; three and more behave alike."""
    arrive = 1 - 0.9 ** np.arange(n_max + 1)
    y = np.outer(arrive, arrive) / 2 + 1e-7
    e = np.full_like(y, 0.25)
    e[1, 1] = 0.02
    return y, e


def tight():
    """Only classes for which the bounds are exact: nothing but fluctuations protects the key."""
    y, e = np.zeros((9, 9)), np.zeros((9, 9))
    y[1, 1], e[1, 1] = 0.05, 0.05
    y[1, 2] = y[2, 1] = 0.05
    return y, e


def tight_with_vacuum():
    y, e = tight()
    y[0, :] = y[:, 0] = 1e-4
    return y, e


def bright_pairs():
    """Eve favors multi-photon pulses and spoils single photons."""
    y, e = honest()
    y[2:, 2:] = 1.0
    y[1, 1] = 0.02
    e[1, 1] = 0.11
    return y, e


def starved():
    """So few events that zeros are common."""
    y, e = tight()
    y[0, :] = y[:, 0] = 1e-7
    return y / 50, e


MIXES = {
    "honest": honest,
    "tight": tight,
    "tight with vacuum": tight_with_vacuum,
    "bright pairs": bright_pairs,
    "starved": starved,
}
SETTINGS = {
    "symmetric": (source(0.05, 0.25, 0.4), source(0.05, 0.25, 0.4)),
    "asymmetric": (source(0.03, 0.3, 0.5), source(0.1, 0.35, 0.3)),
    "asymmetric, exchanged": (source(0.1, 0.35, 0.3), source(0.03, 0.3, 0.5)),
}


def overestimates(found_bits, n11, phase_errors):
    return found_bits > private_bits(n11, phase_errors) - constant_bits(LOOSE)


@pytest.mark.parametrize("settings_name", SETTINGS)
@pytest.mark.parametrize("mix", MIXES)
def test_key_never_exceeds_the_truth_more_often_than_promised(channel, mix, settings_name):
    """Reconciliation is free here: the private bits alone are compared.

    The statements behind a key may fail with probability P_FAIL = 5 % at this eps_sec; a correct
    engine fails this test with probability below 1e-9.
    """
    truth = channel(*MIXES[mix]())
    alice, bob = SETTINGS[settings_name]
    rng = np.random.default_rng(20240611)
    wrong = keys = 0
    for _ in range(BLOCKS):
        counts, n11, phase_errors = truth.draw(alice, bob, 10**9, rng)
        found = estimate(counts, alice, bob, LOOSE, leak_ec_bits=0)
        keys += found.key_length_bits > 0
        wrong += found.key_length_bits > 0 and overestimates(
            found.key_length_bits, n11, phase_errors
        )
    assert keys > BLOCKS / 2
    assert binomtest(wrong, BLOCKS, P_FAIL, alternative="greater").pvalue > FALSE_ALARM


def test_the_truth_test_would_see_a_bound_without_margins(channel):
    """With the gains at face value, tight channels are overestimated in half of the blocks."""
    truth = channel(*tight())
    alice, bob = SETTINGS["symmetric"]
    rng = np.random.default_rng(20240612)
    wrong = 0
    for _ in range(200):
        counts, n11, phase_errors = truth.draw(alice, bob, 10**8, rng)
        bits = asymptotic_key_bits(counts, alice, bob, 1.16, leak_ec_bits=constant_bits(LOOSE))
        wrong += overestimates(bits, n11, phase_errors)
    assert binomtest(wrong, 200, P_FAIL, alternative="greater").pvalue < FALSE_ALARM


def test_drawn_blocks_have_the_expected_counts(channel):
    """Guards the simulation itself: 10 standard deviations of a Poisson mean are no chance."""
    truth = channel(*tight_with_vacuum())
    alice, bob = SETTINGS["asymmetric"]
    rng = np.random.default_rng(7)
    drawn = [truth.draw(alice, bob, 10**6, rng)[0] for _ in range(200)]
    for category, mean in truth.expected(alice, bob, 10**6).n.items():
        total = sum(c.n[category] for c in drawn)
        assert abs(total - 200 * mean) < 10 * math.sqrt(200 * mean) + 1


def test_estimates_are_values(benchmark_case):
    source = benchmark_case.source
    first, second = (estimate(benchmark_case.tallies, source, source, SECURITY) for _ in range(2))
    assert isinstance(first, Estimate)
    assert first == second
