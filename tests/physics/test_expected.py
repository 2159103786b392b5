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
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected

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
):
    users = [
        UserLink(
            x=Setting(mu[0], 0.13),
            y=Setting(mu[1], 0.024),
            z=Setting(mu[2], 0.82),
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
            efficiency=efficiency, dark_probability=dark, misalignment=flip, mode_overlap=overlap
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=bell_states,
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
