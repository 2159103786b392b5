"""Closed forms of flawed light by second routes that share no code with the first."""

import itertools
import math

import msgspec
import numpy as np
import pytest
from imperfect import CROOKED, FLAWS, NOISY_FIBER, STILL_IDEAL, TURN, both, make_link
from scipy.integrate import simpson
from scipy.linalg import expm
from scipy.special import i0e

from mdiqkd_net.blocks import EARLY_0, EARLY_1
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import (
    Drift,
    FreeSpace,
    PatternEffect,
    Process,
    TransmitterParams,
)
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.drift import Conditions
from mdiqkd_net.physics.pair_optics import (
    UNIFORM,
    Arm,
    arm_transmittance,
    averaged_optics,
    light_of,
    pair_optics,
)

PERFECT = ReceiverParams(efficiency=1.0, dark_probability=0.0, misalignment=0.0, mode_overlap=1.0)
FLIPPED = [0, 2, 1, 4, 3, 6, 5]
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def bloch(theta, phi):
    """A mode from its Bloch vector: the eigenvector of n·σ to +1."""
    n = (math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta))
    values, vectors = np.linalg.eigh(np.tensordot(n, PAULI, axes=1))
    return vectors[:, np.argmax(values)]


def modes_by_hand(user, receiver):
    """States of a user in the receiver's modes, up to a phase of each."""
    t = user.transmitter
    if t.encoding == "phase":
        angles = [[math.pi / 2, a * math.pi / 2] for a in (1, 3, 1, 3, 0, 2)]
        # A third of a turn about the diagonal of the axes: Z to the poles, X to the reals.
        turned = (np.eye(2) + 1j * PAULI.sum(axis=0)) / 2
    else:
        right = math.pi / 2
        angles = [[right, phi] for phi in (0, math.pi) * 2] + [[0, 0], [math.pi, 0]]
        turned = np.eye(2)
    if t.mode_extinction_db is not None:
        tilt = 2 * math.atan(10 ** (-t.mode_extinction_db / 20))
        angles[4][0] += tilt
        angles[5][0] -= tilt
    for angle, name in zip(angles, ("x0", "x1", "y0", "y1", "z0", "z1"), strict=True):
        error = getattr(t.angle_errors, name)
        angle[0] += error.polar_rad
        angle[1] += error.azimuth_rad
    rotation = np.eye(2)
    if t.encoding == "polarization":
        rotation = expm(-0.5j * np.tensordot(user.polarization_rotation_rad, PAULI, axes=1))
    late = np.exp(-2j * np.pi * t.frequency_offset_hz * (receiver.bin_separation_s or 0.0))
    states = [turned @ np.diag([1, late]) @ rotation @ bloch(*angle) for angle in angles]
    return [states[0], *states]


def oracle(link, states, n_noise=49):
    """Click patterns of the pairs `states`, by inclusion and exclusion with Bessel functions.

    The intensity noise is integrated by Simpson's rule, the discrete phases are all summed.
    """
    receiver = link.receiver
    z, laws = np.linspace(-4, 4, n_noise), []
    density = np.exp(-z * z / 2)
    for user in (link.alice, link.bob):
        t = user.transmitter
        previous = [(1.0, 1.0)]
        if t.pattern_effect is not None:
            previous = list(zip(t.pattern_effect.factors, user.probabilities, strict=True))
        weights = density / simpson(density, x=z)
        simpson_weights = simpson(np.diag(weights), x=z, axis=0)
        levels, share = (1 + t.intensity_noise * z), simpson_weights
        if t.intensity_noise == 0.0:
            levels, share = np.ones(1), np.ones(1)
        laws.append(
            (
                np.concatenate([f * levels for f, _ in previous]),
                np.concatenate([p * share for _, p in previous]),
            )
        )
    modes = [modes_by_hand(user, receiver) for user in (link.alice, link.bob)]
    eta = []
    for user in (link.alice, link.bob):
        loss = user.length_km * user.attenuation_db_per_km + user.splices * user.splice_loss_db
        value = 10 ** (-loss / 10) * receiver.efficiency
        if user.transmitter.encoding != "polarization":
            turn = expm(-0.5j * np.tensordot(user.polarization_rotation_rad, PAULI, axes=1))
            value *= abs(turn[0, 0]) ** 2
        eta.append(value)
    levels = [t.transmitter.phase_levels for t in (link.alice, link.bob)]
    discrete = [u.transmitter.phase_randomization for u in (link.alice, link.bob)]
    if any(u.transmitter.coherence_time_s is not None for u in (link.alice, link.bob)):
        discrete = ["uniform", "uniform"]
    n = [{"discrete": k, "none": 1, "uniform": 0}[d] for k, d in zip(levels, discrete, strict=True)]
    result = []
    for a, b in states:
        chances = np.zeros(16)
        for bob, share in ((b, 1 - receiver.misalignment), (FLIPPED[b], receiver.misalignment)):
            means = []
            for user, state in ((link.alice, a), (link.bob, bob)):
                intensities = user.intensities
                mu = intensities[(state + 1) // 2]
                if state == 0 and user.transmitter.vacuum_extinction_db is not None:
                    mu = max(intensities) * 10 ** (-user.transmitter.vacuum_extinction_db / 10)
                means.append(mu)
            mu_a = eta[0] * means[0] * laws[0][0][:, None]
            mu_b = eta[1] * means[1] * laws[1][0][None]
            weight = laws[0][1][:, None] * laws[1][1][None]
            u, v = modes[0][a], modes[1][bob]

            def silent(gates, mu_a=mu_a, mu_b=mu_b, u=u, v=v, weight=weight):
                c_a = 0.5 * sum(abs(u[g // 2]) ** 2 for g in gates)
                c_b = 0.5 * sum(abs(v[g // 2]) ** 2 for g in gates)
                cross = sum((1 - 2 * (g % 2)) * np.conj(u[g // 2]) * v[g // 2] for g in gates)
                k = np.sqrt(receiver.mode_overlap * mu_a * mu_b) * abs(cross)
                if n[0] and n[1]:
                    each_phase = np.subtract.outer(np.arange(n[1]) / n[1], np.arange(n[0]) / n[0])
                    cosines = np.cos(2 * np.pi * each_phase.ravel() + np.angle(cross))
                    swing = np.exp(-k[..., None] * cosines).mean(axis=-1)
                else:
                    swing = i0e(k) * np.exp(k)
                each = (1 - receiver.dark_probability) ** len(gates) * swing
                return (weight * each * np.exp(-c_a * mu_a - c_b * mu_b)).sum()

            for pattern in range(16):
                lit = [g for g in range(4) if pattern >> g & 1]
                dim = [g for g in range(4) if not pattern >> g & 1]
                chances[pattern] += share * sum(
                    (-1) ** m * silent([*dim, *extra])
                    for m in range(len(lit) + 1)
                    for extra in itertools.combinations(lit, m)
                )
        result.append(chances)
    return np.array(result)


PAIRS = [(0, 0), (0, 4), (1, 1), (1, 2), (2, 4), (3, 5), (5, 6), (6, 1)]
# Offsets change the overlap, classical light the darks, a telescope the loss: tested below.
BY_HAND = [
    name
    for name in FLAWS | STILL_IDEAL
    if name not in {"delay", "frequency", "unequal pulses", "classical channels", "free space"}
]


@pytest.mark.parametrize("name", BY_HAND)
def test_flaws_agree_with_inclusion_and_exclusion(name):
    link = make_link(**(FLAWS | STILL_IDEAL)[name])
    found = expected.state_click_probabilities(link)[*zip(*PAIRS, strict=True)]
    np.testing.assert_allclose(found, oracle(link, PAIRS), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["polarization", "phase encoding", "sixteen phases"])
def test_ideal_transmitters_are_all_alike(name):
    found = expected.state_click_probabilities(make_link(**STILL_IDEAL[name]))
    ideal = expected.state_click_probabilities(make_link())
    np.testing.assert_allclose(found, ideal, rtol=1e-11, atol=1e-15)


def shaped(**offsets):
    return TransmitterParams(pulse_width_ps=100.0, **offsets)


WEAK = 1e-3


@pytest.mark.parametrize("delay_ps", [0.0, 20.0, 60.0, 300.0])
def test_the_dip_of_hong_ou_and_mandel(delay_ps):
    """Coincidences in one bin over accidentals: 1 - M/2 for weak pulses, M a Gaussian of delay."""
    link = make_link(shaped(), shaped(delay_ps=delay_ps), brightness=WEAK, receiver=PERFECT)
    link = msgspec.structs.replace(link, bob=with_equal_light(link))
    chances = expected.state_click_probabilities(link)[5, 5]
    at_0, at_1, at_both = (
        sum(chances[p] for p in range(16) if p & mask == mask)
        for mask in (EARLY_0, EARLY_1, EARLY_0 | EARLY_1)
    )
    sigma = 100.0 / 2.3548200450309493
    overlap = math.exp(-((delay_ps / (2 * sigma)) ** 2))
    assert at_both / (at_0 * at_1) == pytest.approx(1 - overlap / 2, rel=2e-3)


def with_equal_light(link):
    """Bob with the intensities and the arm of Alice, and his own transmitter."""
    return msgspec.structs.replace(link.alice, transmitter=link.bob.transmitter)


@pytest.mark.parametrize("frequency_hz", [0.0, 5e7, 1.25e8, 5e8])
def test_x_errors_turn_with_the_frequency_difference(frequency_hz):
    """1/2 - (M/4) cos(2πντ) of weak pulses: the late bin turns against the early one."""
    link = make_link(
        shaped(),
        shaped(frequency_offset_hz=frequency_hz),
        brightness=WEAK,
        receiver=msgspec.structs.replace(PERFECT, bin_separation_s=1e-9),
    )
    link = msgspec.structs.replace(link, bob=with_equal_light(link))
    rate = expected.error_gains(link)["xx"] / expected.gains(link)["xx"]
    overlap = averaged_optics(link.receiver, arms_of(link)).receiver.mode_overlap
    cosine = math.cos(2 * math.pi * frequency_hz * 1e-9)
    assert rate == pytest.approx(0.5 - overlap / 4 * cosine, abs=1e-3)


def arms_of(link):
    return Arm.of(link.alice), Arm.of(link.bob)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, math.pi])
@pytest.mark.parametrize("encoding", ["time_bin", "phase"])
def test_a_wrong_phase_of_a_modulator_is_an_error_of_half_its_square(encoding, angle):
    """A single photon whose phase is off by δ errs with sin²(δ/2)."""
    crooked = {
        name: {"azimuth_rad": angle}
        for name in ("x0", "x1", "y0", "y1", *(("z0", "z1") if encoding == "phase" else ()))
    }
    alice = msgspec.convert({"encoding": encoding, "angle_errors": crooked}, TransmitterParams)
    link = make_link(alice, TransmitterParams(encoding=encoding), receiver=PERFECT)
    assert expected.e11(link) == pytest.approx(math.sin(angle / 2) ** 2, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_a_turn_about_h_and_v_is_an_error_in_x_alone(angle):
    arm = {"polarization_rotation_rad": (0.0, 0.0, angle)}
    link = make_link(**both(encoding="polarization"), receiver=PERFECT, arm=arm)
    assert expected.e11(link) == pytest.approx(math.sin(angle / 2) ** 2, abs=1e-12)
    assert expected.error_gains(link)["zz"] == pytest.approx(0.0, abs=1e-12)
    still = make_link(**both(encoding="polarization"), receiver=PERFECT)
    assert expected.y11(link) == pytest.approx(expected.y11(still))


def test_classical_light_is_a_dark_count():
    link = make_link(arm={"coexistence": NOISY_FIBER})
    optics = averaged_optics(link.receiver, arms_of(link))
    dark = optics.receiver.dark_probability
    assert dark > 2e-4
    same = make_link(receiver=msgspec.structs.replace(link.receiver, dark_probability=dark))
    np.testing.assert_allclose(
        expected.state_click_probabilities(link),
        expected.state_click_probabilities(same),
        rtol=1e-12,
    )


def test_gains_through_the_air_are_the_mean_over_fades():
    """Against a sample mean over drawn fades: within 4.9 standard errors."""
    path = FreeSpace(length_km=2.0, beam_waist_m=0.02, receiver_radius_m=0.02, rytov_variance=0.4)
    rng = np.random.default_rng(2)
    calm = msgspec.structs.replace(path, rytov_variance=0.0)
    a = math.expm1(0.49 * 0.4 / (1 + 1.11 * 0.4**1.2) ** (7 / 6))
    b = math.expm1(0.51 * 0.4 / (1 + 0.69 * 0.4**1.2) ** (5 / 6))
    mean = arm_transmittance(Arm.of(make_link(arm={"free_space": calm}).alice)) / 10**-0.2

    def gain(km, air):
        link = make_link(arm={"length_km": km, "free_space": air})
        return expected.gains(link)["xo"]

    sample = []
    for _ in range(500):
        fade = min(rng.gamma(1 / a) * a * rng.gamma(1 / b) * b, 1 / mean)
        sample.append(gain(50.0 - 50.0 * math.log10(fade), calm))
    error = np.std(sample) / math.sqrt(len(sample))
    assert abs(np.mean(sample) - gain(50.0, path)) < 4.9 * error
    assert gain(50.0, path) > 1.1 * gain(50.0, calm)


def test_conditions_change_what_they_name():
    shape = TransmitterParams(pulse_width_ps=100.0)
    link = make_link(shape, shape, arm=TURN, separation_s=1e-9)
    arms = arms_of(link)
    now = Conditions(
        delay_ps=30.0,
        frequency_hz=1e8,
        loss_db=-50.0,
        brightness=2.0,
        rotation_rad=(-0.5, 0.4, -0.3),
    )
    optics = pair_optics(link.receiver, arms, (now, Conditions()), pulse_rate_hz=1e9)
    # The drift undoes the fiber's turn, and no drift makes a fiber amplify.
    assert optics.transmittances[0] == pytest.approx(1.0)
    calm = pair_optics(link.receiver, arms, pulse_rate_hz=1e9)
    np.testing.assert_allclose(
        np.abs(optics.light[0].amplitudes), math.sqrt(2) * np.abs(calm.light[0].amplitudes)
    )
    sigma = 100e-12 / 2.3548200450309493
    overlap = math.exp(-((30e-12 / (2 * sigma)) ** 2) - (2 * math.pi * 1e8 * sigma) ** 2)
    assert optics.receiver.mode_overlap == pytest.approx(0.97 * overlap)
    turned = optics.light[0].modes[1] / calm.light[0].modes[1]
    assert np.angle(turned[1] / turned[0]) == pytest.approx(-2 * math.pi * 0.1)


def test_rows_of_a_light_table_are_variants_of_seven_states():
    transmitter = TransmitterParams(
        intensity_noise=0.1, pattern_effect=PatternEffect(y=0.5), angle_errors=CROOKED
    )
    arm = Arm.of(make_link(transmitter).alice)
    light = light_of(arm)
    assert light.remembers
    n = light.level_probabilities.size
    assert n > 4
    assert light.amplitudes.shape == (4 * n * 7, 2)
    assert light.previous_probabilities(arm.source).sum() == pytest.approx(1.0)
    means = (np.abs(light.amplitudes) ** 2).sum(axis=1).reshape(4, n, 7)
    np.testing.assert_allclose(means[2, 3], 1.5 * means[0, 3], rtol=1e-12)
    average = light.level_probabilities @ means[1]
    np.testing.assert_allclose(average, [0, 0.2, 0.2, 0.5, 0.5, 0.6, 0.6], rtol=1e-12)


@pytest.mark.parametrize(
    ("alice", "bob", "law"),
    [
        ({}, {"phase_randomization": "none"}, (True, 1, 0.0, 0.0)),
        ({"phase_levels": 6}, {"phase_levels": 4}, (False, 12, 0.0, 0.0)),
        ({"coherence_time_s": 1e-6}, {"coherence_time_s": 2e-6}, (False, 16, 0.0, 3e-3)),
    ],
)
def test_relative_phases(alice, bob, law):
    if alice:
        alice, bob = ({"phase_randomization": "discrete"} | keys for keys in (alice, bob))
    link = make_link(TransmitterParams(**alice), TransmitterParams(**bob))
    found = pair_optics(link.receiver, arms_of(link), pulse_rate_hz=1e9).phase
    assert (found.uniform, found.levels, found.advance) == law[:3]
    assert found.variance == pytest.approx(law[3])


def test_phases_that_move_are_uniform_on_average():
    moving = both(phase_randomization="none", coherence_time_s=1e-3)
    link = make_link(**moving)
    assert averaged_optics(link.receiver, arms_of(link)).phase == UNIFORM


def test_transmitters_that_do_not_fit_are_refused():
    link = make_link()
    alice, bob = arms_of(link)
    other = Arm(bob.source, bob.fiber, TransmitterParams(encoding="polarization"))
    with pytest.raises(DeviceError, match=r"transmitter.encoding: found 'time_bin' and 'polari"):
        pair_optics(link.receiver, (alice, other), pulse_rate_hz=1e9)
    with pytest.raises(DeviceError, match=r"pulse_width_ps: found none, with an offset"):
        pair_optics(
            link.receiver,
            (alice, bob),
            (Conditions(delay_ps=1.0), Conditions()),
            pulse_rate_hz=1e9,
        )


def test_drift_does_not_enter_the_closed_form():
    drift = Drift(loss_db=Process(kind="random_walk", size=1.0, time_s=1.0))
    assert expected.gains(make_link(arm={"drift": drift})) == expected.gains(make_link())
