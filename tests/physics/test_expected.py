"""Closed-form gains against published formulas, an independent expansion, and fixed numbers."""

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import i0, i0e

from mdiqkd_net.blocks import CATEGORIES, N_STATES
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.dead_time import registration
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.optics import raw_patterns

BOTH = ("psi_minus", "psi_plus")
INTENSITY = {"x": 0.04, "y": 0.16, "z": 0.5}


def make_link(
    *,
    efficiency=0.4,
    dark=1e-7,
    flip=0.015,
    overlap=1.0,
    km=(25.0, 25.0),
    alice=(0.04, 0.16, 0.5),
    bob=(0.04, 0.16, 0.5),
    bell_states=BOTH,
    shares=(0.13, 0.024, 0.82),
    pulse_rate_hz=None,
    **receiver,
):
    users = [
        UserLink(
            x=Setting(mu[0], shares[0]),
            y=Setting(mu[1], shares[1]),
            z=Setting(mu[2], shares[2]),
            length_km=length,
            attenuation_db_per_km=0.2,
        )
        for mu, length in zip((alice, bob), km, strict=True)
    ]
    return Link(
        n_pulses=10**12,
        alice=users[0],
        bob=users[1],
        receiver=ReceiverParams(
            efficiency=efficiency,
            dark_probability=dark,
            misalignment=flip,
            mode_overlap=overlap,
            **receiver,
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=bell_states,
        pulse_rate_hz=pulse_rate_hz,
    )


# Benchmark link; computed by an independent program, digits as printed there.
GOLDEN_COUNTS = {
    "oo": "2.70400e-5",
    "ox": "21553.4718",
    "oy": "62937.6297",
    "xx": "429947.0482",
    "xy": "490829.8486",
    "yy": "230047.4563",
    "zz": "1223202915.68",
    "oz": "257.197152",
}
GOLDEN_ERRORS = {
    "xx": "110587.6709",
    "xy": "168912.4384",
    "yy": "58955.6458",
    "zz": "18355670.8867",
}


def half_last_digit(printed):
    mantissa, _, exponent = printed.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.51 * 10.0 ** (int(exponent or 0) - decimals)


@pytest.mark.parametrize(("category", "printed"), GOLDEN_COUNTS.items())
def test_benchmark_counts(category, printed):
    found = expected.expected_counts(make_link())[category]
    assert found == pytest.approx(float(printed), abs=half_last_digit(printed), rel=0)


@pytest.mark.parametrize(("category", "printed"), GOLDEN_ERRORS.items())
def test_benchmark_errors(category, printed):
    found = expected.expected_errors(make_link())[category]
    assert found == pytest.approx(float(printed), abs=half_last_digit(printed), rel=0)


def test_benchmark_single_photons():
    assert expected.y11(make_link()) == pytest.approx(0.008000044196, abs=5.1e-13)
    assert expected.e11(make_link()) == pytest.approx(0.015002776395, abs=5.1e-13)


def test_benchmark_infinite_decoy_rate_at_the_best_z():
    def rate(z):
        link = make_link(alice=(0.04, 0.16, z), bob=(0.04, 0.16, z))
        return expected.infinite_decoy_rate(link)

    assert max(map(rate, np.arange(0.58, 0.61, 0.001))) == pytest.approx(4.3492e-4, abs=5.1e-9)


LINKS = st.builds(
    make_link,
    efficiency=st.floats(0.05, 1.0),
    dark=st.floats(0.0, 0.01),
    flip=st.floats(0.0, 0.5),
    overlap=st.floats(0.0, 1.0),
    km=st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 30.0)),
    alice=st.tuples(st.floats(0.01, 0.1), st.floats(0.11, 0.6), st.floats(0.1, 1.5)),
    bob=st.tuples(st.floats(0.01, 0.1), st.floats(0.11, 0.6), st.floats(0.1, 1.5)),
    bell_states=st.sampled_from([BOTH, ("psi_minus",), ("psi_plus",)]),
)


def by_inclusion_and_exclusion(link):
    """The same probabilities as signed sums of no-click probabilities with Bessel functions."""
    half = math.sqrt(0.5)
    modes = [(0, 0), (half, half), (half, -half), (half, half), (half, -half), (1, 0), (0, 1)]
    flipped = [0, 2, 1, 4, 3, 6, 5]
    eta = [u.transmittance * link.receiver.efficiency for u in (link.alice, link.bob)]
    mu = [
        [e * source.intensities[(s + 1) // 2] for s in range(7)]
        for e, source in zip(eta, (link.alice, link.bob), strict=True)
    ]
    dark, overlap = link.receiver.dark_probability, link.receiver.mode_overlap

    def silent(gates, s, t):
        u, v, a, b = modes[s], modes[t], mu[0][s], mu[1][t]
        c_a = 0.5 * sum(u[g // 2] ** 2 for g in gates)
        c_b = 0.5 * sum(v[g // 2] ** 2 for g in gates)
        cross = sum((1 - 2 * (g % 2)) * u[g // 2] * v[g // 2] for g in gates)
        k = math.sqrt(overlap * a * b) * abs(cross)
        return (1 - dark) ** len(gates) * math.exp(-c_a * a - c_b * b + k) * i0e(k)

    aligned = np.zeros((N_STATES, N_STATES, 16))
    for s, t, pattern in itertools.product(range(7), range(7), range(16)):
        lit = [g for g in range(4) if pattern >> g & 1]
        dim = [g for g in range(4) if not pattern >> g & 1]
        aligned[s, t, pattern] = sum(
            (-1) ** n * silent([*dim, *extra], s, t)
            for n in range(len(lit) + 1)
            for extra in itertools.combinations(lit, n)
        )
    flip = link.receiver.misalignment
    return (1 - flip) * aligned + flip * aligned[:, flipped]


@settings(max_examples=15, deadline=None)
@given(LINKS)
def test_patterns_agree_with_inclusion_and_exclusion(link):
    found = expected.state_click_probabilities(link)
    np.testing.assert_allclose(found, by_inclusion_and_exclusion(link), rtol=1e-9, atol=2e-14)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-13)
    assert (found >= 0.0).all()


def test_bright_light_is_averaged_over_enough_phases():
    link = make_link(efficiency=1.0, km=(0, 0), alice=(30.0, 60.0, 120.0), bob=(20.0, 70.0, 90.0))
    found = expected.state_click_probabilities(link)
    np.testing.assert_allclose(found, by_inclusion_and_exclusion(link), rtol=1e-9, atol=2e-14)


@pytest.mark.parametrize("flip", [0.0, 0.015, 0.2])
@pytest.mark.parametrize("letters", ["xx", "xy", "yy", "zz"])
def test_published_closed_form_for_full_overlap(letters, flip):
    """Ma & Razavi, PRA 86, 062319 (2012); intensities high enough for the formula's digits."""
    dark = 1e-3
    link = make_link(efficiency=0.9, km=(0, 5), dark=dark, flip=flip)
    a = link.alice.transmittance * 0.9 * INTENSITY[letters[0]]
    b = link.bob.transmittance * 0.9 * INTENSITY[letters[1]]
    total, x = a + b, math.sqrt(a * b) / 2
    y = (1 - dark) * math.exp(-total / 4)
    if letters == "zz":
        shared = 2 * (1 - dark) ** 2 * math.exp(-total / 2)
        right = shared * (1 - (1 - dark) * math.exp(-a / 2)) * (1 - (1 - dark) * math.exp(-b / 2))
        wrong = shared * dark * (i0(2 * x) - (1 - dark) * math.exp(-total / 2))
        gain, error_gain = right + wrong, flip * right + (1 - flip) * wrong
    else:
        gain = 2 * y**2 * (1 + 2 * y**2 - 4 * y * i0(x) + i0(2 * x))
        error_gain = gain / 2 - 2 * (0.5 - flip) * y**2 * (i0(2 * x) - 1)
    assert expected.gains(link)[letters] == pytest.approx(gain, rel=1e-10)
    assert expected.error_gains(link)[letters] == pytest.approx(error_gain, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(LINKS)
def test_vacuum_and_mixed_bases_tell_nothing(link):
    gains, errors = expected.gains(link), expected.error_gains(link)
    for category in CATEGORIES:
        assert 0.0 <= errors[category] <= gains[category] <= 1.0
        bases = {"z" if letter == "z" else "x" for letter in category}
        if "o" in category or len(bases) == 2:
            assert errors[category] == pytest.approx(gains[category] / 2, rel=1e-12)


@settings(max_examples=10, deadline=None)
@given(LINKS)
def test_the_two_bell_states_add_up(link):
    both, minus, plus = (
        msgspec.structs.replace(link, bell_states=states)
        for states in (BOTH, ("psi_minus",), ("psi_plus",))
    )
    for of in (expected.gains, expected.error_gains):
        for category in CATEGORIES:
            total = of(minus)[category] + of(plus)[category]
            assert of(both)[category] == pytest.approx(total, rel=1e-12)
    assert expected.y11(both) == pytest.approx(2 * expected.y11(minus), rel=1e-12)
    assert expected.e11(minus) == pytest.approx(expected.e11(plus), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    eta=st.tuples(st.floats(0.0, 150.0), st.floats(0.0, 150.0)),
    dark=st.floats(1e-9, 0.1),
    flip=st.floats(0, 0.5),
)
def test_single_photon_formula_for_full_overlap(eta, dark, flip):
    """Xu, Curty, Qi & Lo, NJP 15, 113007 (2013)."""
    link = make_link(efficiency=1.0, km=eta, dark=dark, flip=flip)
    a, b = link.alice.transmittance, link.bob.transmittance
    formula = (1 - dark) ** 2 * (
        a * b / 2 + (2 * a + 2 * b - 3 * a * b) * dark + 4 * (1 - a) * (1 - b) * dark**2
    )
    wrong = formula / 2 - (0.5 - flip) * (1 - dark) ** 2 * a * b / 2
    assert expected.y11(link) == pytest.approx(formula, rel=1e-12)
    assert expected.e11(link) * expected.y11(link) == pytest.approx(wrong, abs=1e-15)


def mixed_derivative_at_zero(values):
    """d2F/da db at 0 from F(h, h) - F(h, 0) - F(0, h) + F(0, 0) at halved h, extrapolated."""
    table = [second / h**2 for h, second in values]
    for order in range(1, len(table)):
        table = [
            (2**order * fine - coarse) / (2**order - 1)
            for coarse, fine in itertools.pairwise(table)
        ]
    return table[0]


@pytest.mark.parametrize("basis", ["x", "z"])
@pytest.mark.parametrize("overlap", [0.0, 0.6, 0.93, 1.0])
@pytest.mark.parametrize("bell_states", [BOTH, ("psi_minus",)])
def test_single_photons_are_the_derivative_of_the_generating_function(basis, overlap, bell_states):
    yields, errors = [], []
    for h in (0.08, 0.04, 0.02, 0.01, 0.005):
        mu = (h, 1.0, h)
        link = make_link(
            efficiency=0.8,
            dark=2e-3,
            flip=0.03,
            overlap=overlap,
            km=(1.0, 7.0),
            alice=mu,
            bob=mu,
            bell_states=bell_states,
        )
        for of, into in ((expected.gains, yields), (expected.error_gains, errors)):
            q = of(link)
            second = (
                q[basis * 2] * math.exp(2 * h)
                - (q[basis + "o"] + q["o" + basis]) * math.exp(h)
                + q["oo"]
            )
            into.append((h, second))
    y11 = mixed_derivative_at_zero(yields)
    assert y11 == pytest.approx(expected.y11(link), rel=1e-7)
    if basis == "x":
        e11 = mixed_derivative_at_zero(errors) / y11
        assert e11 == pytest.approx(expected.e11(link), rel=1e-7)


UNEQUAL = {"efficiency_ratio": 0.6, "splitter_transmittance": 0.4}
DEAD = {"dead_time_s": 20e-9, "pulse_rate_hz": 1e9}


def generated(link, h, receives):
    """Events and errors of pulses of mean h in one basis, times exp of what they hold of light.

    The detectors' past is that of `link`, whatever these pulses are: `receives` says what becomes
    of raw patterns.
    """
    user = [
        msgspec.structs.replace(u, x=Setting(h, 0.1), y=Setting(2 * h, 0.1), z=Setting(h, 0.1))
        for u in (link.alice, link.bob)
    ]
    raw = raw_patterns(
        receiver=link.receiver,
        transmittances=(link.alice.transmittance, link.bob.transmittance),
        light=(light_table(user[0].source), light_table(user[1].source)),
    )
    return (raw @ receives)[:, [6, 9, 5, 10]].reshape(7, 7, 4)


@pytest.mark.parametrize("receiver", [UNEQUAL, DEAD, UNEQUAL | DEAD], ids=str)
def test_single_photons_behind_any_receiver_are_the_derivative_too(receiver):
    """With a dead time, of pulses that come into the light of the link one at a time."""
    link = make_link(efficiency=0.9, dark=2e-3, flip=0.0, overlap=0.9, km=(1.0, 7.0), **receiver)
    receives = np.eye(16)
    if link.receiver.dead_time_s is not None:
        raw = raw_patterns(
            receiver=link.receiver,
            transmittances=(link.alice.transmittance, link.bob.transmittance),
            light=(light_table(link.alice.source), light_table(link.bob.source)),
        )
        of_user = [
            [p / (1 + (i > 0)) for i, p in enumerate(u.probabilities)]
            for u in (link.alice, link.bob)
        ]
        sent = [[o, x, x, y, y, z, z] for o, x, y, z in of_user]
        receives = registration(np.outer(*sent).ravel() @ raw, gates_of(link.receiver, 1e9).reach)
    z, right, wrong = [], [], []
    for h in (0.08, 0.04, 0.02, 0.01, 0.005):
        table = generated(link, h, receives)

        def second(a, b, columns, table=table, h=h):
            q = table[..., columns].sum(axis=-1)
            edges = (q[a, 0] + q[0, b]) * math.exp(h)
            return h, q[a, b] * math.exp(2 * h) - edges + q[0, 0]

        pairs = itertools.product((0, 1), (0, 1))
        minus, plus = [0, 1], [2, 3]
        of_bits = [
            (a == b, second(1 + a, 1 + b, minus), second(1 + a, 1 + b, plus)) for a, b in pairs
        ]
        right.append((h, sum(p[1] if e else m[1] for e, m, p in of_bits) / 4))
        wrong.append((h, sum(m[1] if e else p[1] for e, m, p in of_bits) / 4))
        total = sum(second(5 + a, 5 + b, minus + plus)[1] for a in (0, 1) for b in (0, 1))
        z.append((h, total / 4))
    assert expected.y11(link) == pytest.approx(mixed_derivative_at_zero(z), rel=1e-6)
    right, wrong = mixed_derivative_at_zero(right), mixed_derivative_at_zero(wrong)
    assert expected.e11(link) == pytest.approx(wrong / (right + wrong), rel=1e-6)


def test_two_photons_land_somewhere():
    alice, bob = np.array([0.6, 0.8j]), np.array([1.0, 1.0]) / math.sqrt(2)
    for splitter, efficiencies in itertools.product((0.5, 0.3), ((1.0, 1.0), (0.7, 0.2))):
        landed = expected.landing_probabilities(
            0.9, 0.4, alice, bob, 0.8, splitter=splitter, efficiencies=efficiencies
        )
        assert sum(landed.values()) == pytest.approx(1.0, rel=1e-12)
        assert min(landed.values()) >= 0.0
    # Whatever both detectors lose might as well be lost before.
    early = expected.landing_probabilities(0.9 * 0.7, 0.4 * 0.7, alice, bob, 0.8)
    late = expected.landing_probabilities(0.9, 0.4, alice, bob, 0.8, efficiencies=(0.7, 0.7))
    assert early == pytest.approx(late)


def test_dead_time_takes_its_share_and_depends_on_what_is_sent():
    bright, dim = (0.1, 0.1, 0.8), (0.4, 0.1, 0.1)
    rested = expected.gains(make_link(km=(5, 5)))["zz"]
    found = [
        expected.gains(make_link(km=(5, 5), shares=shares, **DEAD))["zz"]
        for shares in (bright, dim)
    ]
    assert found[0] < 0.7 * found[1] < 0.7 * rested
    # A detector that is dead between the bins never announces psi_plus.
    both, minus, plus = (
        expected.gains(make_link(bell_states=states, **DEAD))["zz"]
        for states in (BOTH, ("psi_minus",), ("psi_plus",))
    )
    assert plus == 0.0
    assert both == minus
    limits = [expected.infinite_decoy_rate(make_link(shares=s, **DEAD)) for s in (bright, dim)]
    assert limits[0] == pytest.approx(limits[1], rel=1e-12)


def test_dead_times_without_a_clock_are_refused():
    link = make_link(detector="snspd")
    with pytest.raises(ConfigError, match="pulse_rate_hz: found none, with a dead time of 2e-08 s"):
        expected.gains(link)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.968, 1.0])
def test_x_errors_of_weak_pulses_show_the_overlap(overlap):
    mu = (1e-4, 2e-4, 0.5)
    link = make_link(dark=0.0, flip=0.0, overlap=overlap, alice=mu, bob=mu)
    rate = expected.error_gains(link)["xx"] / expected.gains(link)["xx"]
    assert rate == pytest.approx(0.5 - overlap / 4, rel=1e-3)


def test_tiny_gains_keep_their_digits():
    link = make_link(efficiency=1.0, dark=0.0, flip=0.0, km=(400.0, 410.0))
    a = link.alice.transmittance * 0.5
    b = link.bob.transmittance * 0.5
    # Without dark counts only the two opposite bits succeed, each photon at either detector.
    leading = a * b / 2
    assert leading < 1e-16
    assert expected.gains(link)["zz"] == pytest.approx(leading, rel=1e-7)
    assert expected.error_gains(link)["zz"] == 0.0


def test_a_blind_receiver_sees_nothing_and_says_half():
    link = make_link(efficiency=0.0, dark=0.0)
    assert set(expected.gains(link).values()) == {0.0}
    assert expected.y11(link) == 0.0
    assert expected.e11(link) == 0.5
    assert expected.infinite_decoy_rate(link) == 0.0
