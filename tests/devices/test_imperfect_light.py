"""Simulated light with every flaw, against the closed form; false alarm 1e-6 each, fixed seeds."""

import math

import msgspec
import numpy as np
import pytest
from imperfect import FLAWS, STILL_IDEAL, make_link
from scipy.stats import chi2, t

from mdiqkd_net.blocks import EARLY_0, EARLY_1, Segment
from mdiqkd_net.devices.simulated import SimulatedReceiver
from mdiqkd_net.imperfections import Drift, FreeSpace, PatternEffect, Process, TransmitterParams
from mdiqkd_net.params import ReceiverParams, Setting, UserLink
from mdiqkd_net.physics.drift import NOMINAL, ArmDrift
from mdiqkd_net.physics.expected import state_click_probabilities
from mdiqkd_net.physics.pair_optics import Arm, pair_optics
from mdiqkd_net.physics.settings import SegmentSettings

FALSE_ALARM = 1e-6
ALICE, BOB = b"a" * 32, b"b" * 32
RATE_HZ = 1e9


def optics_of(link):
    arms = Arm.of(link.alice), Arm.of(link.bob)
    return pair_optics(link.receiver, arms, pulse_rate_hz=RATE_HZ)


def receiver_of(link, seed=7, **more):
    optics = optics_of(link)
    return SimulatedReceiver(
        receiver=optics.receiver,
        transmittances=optics.transmittances,
        light=optics.light,
        phase=optics.phase,
        seed=seed,
        **more,
    )


def clicks_of(device, link, segment, batch=50_000):
    """Clicks of a segment, and both users' states at them."""
    alice, bob = SegmentSettings(ALICE, link.alice.source), SegmentSettings(BOB, link.bob.source)
    device.begin(segment)
    blocks = []
    while (candidates := device.next_candidates(batch)) is not None:
        states = alice.states_at(candidates.asked), bob.states_at(candidates.asked)
        blocks.append(device.detect(candidates, *states))
    pulses = np.concatenate([block.pulses for block in blocks])
    patterns = np.concatenate([block.patterns for block in blocks])
    return pulses, patterns, alice.states_at(pulses), bob.states_at(pulses)


def p_value(link, clicks, n_pulses):
    """Chi-square of every pair of states and click pattern against the closed form."""
    _, patterns, alice, bob = clicks
    cells = (7 * alice.astype(int) + bob) * 16 + patterns
    counts = np.bincount(cells, minlength=49 * 16).astype(float)

    def of_states(user: UserLink):
        o, x, y, z = user.probabilities
        return np.array([o, x / 2, x / 2, y / 2, y / 2, z / 2, z / 2])

    shares = np.outer(of_states(link.alice), of_states(link.bob))
    mean = n_pulses * (shares[..., None] * state_click_probabilities(link)).ravel()
    in_both = np.array([p & 3 > 0 and p & 12 > 0 for p in range(16)] * 49)
    large = in_both & (mean >= 25)
    small = in_both & ~large
    observed = np.array([*counts[large], counts[small].sum(), n_pulses - counts.sum()])
    expected = np.array([*mean[large], mean[small].sum(), mean[~in_both].sum()])
    if expected[-2] < 25:
        observed, expected = np.delete(observed, -2), np.delete(expected, -2)
    assert large.sum() > 100
    return chi2.sf(((observed - expected) ** 2 / expected).sum(), observed.size - 1)


@pytest.mark.parametrize("name", FLAWS | STILL_IDEAL)
def test_a_flaw_counts_what_its_closed_form_expects(name):
    link = make_link(**(FLAWS | STILL_IDEAL)[name])
    clicks = clicks_of(receiver_of(link), link, Segment(0, 0, link.n_pulses))
    assert p_value(link, clicks, link.n_pulses) > FALSE_ALARM
    # The same sample refutes a link without the flaw, so that the test is able to fail.
    ideal = make_link(brightness=FLAWS.get(name, {}).get("brightness", 1.0))
    assert (p_value(ideal, clicks, link.n_pulses) > FALSE_ALARM) == (name in STILL_IDEAL)


AT_TAGS = [
    "angle errors",
    "noise and pattern",
    "few phases",
    "classical channels",
    "walking phases",
]


@pytest.mark.parametrize("name", AT_TAGS)
def test_tags_tell_of_a_flaw_what_its_closed_form_expects(name):
    link = make_link(**(FLAWS | STILL_IDEAL)[name])
    link = msgspec.structs.replace(
        link, receiver=msgspec.structs.replace(link.receiver, level="tag")
    )
    clicks = clicks_of(receiver_of(link), link, Segment(0, 0, link.n_pulses))
    assert p_value(link, clicks, link.n_pulses) > FALSE_ALARM


EVERYTHING = make_link(
    TransmitterParams(
        intensity_noise=0.1,
        pattern_effect=PatternEffect(z=0.2),
        phase_randomization="discrete",
        coherence_time_s=2e-6,
        vacuum_extinction_db=20.0,
    ),
    TransmitterParams(intensity_noise=0.05, phase_randomization="none"),
)


@pytest.mark.parametrize("level", ["coincidence", "tag"])
@pytest.mark.parametrize("batch", [1, 17, 1000])
def test_draws_do_not_depend_on_the_batches(batch, level):
    segment = Segment(3, 10**9, 4_000)
    link = msgspec.structs.replace(
        EVERYTHING, receiver=msgspec.structs.replace(EVERYTHING.receiver, level=level)
    )
    whole = clicks_of(receiver_of(link), link, segment, 10**6)
    cut = clicks_of(receiver_of(link), link, segment, batch)
    assert whole[0].size > 50
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_transmitter_with_memory_is_asked_about_the_pulse_before():
    device = receiver_of(EVERYTHING)
    device.begin(Segment(0, 0, 200))
    batch = device.next_candidates(10**6)
    with_previous = set(batch.pulses) | {t - 1 for t in batch.pulses if t > 0}
    assert batch.asked.tolist() == sorted(with_previous)
    assert batch.asked.size > batch.pulses.size
    plain = receiver_of(make_link())
    plain.begin(Segment(0, 0, 200))
    batch = plain.next_candidates(10**6)
    assert batch.asked is batch.pulses


def test_the_first_pulse_of_a_segment_follows_rest():
    """Alice is dark but after x, which no pulse number 0 follows; chance of a miss below 1e-6."""
    dark = PatternEffect(o=-1.0 + 1e-9, y=-1.0 + 1e-9, z=-1.0 + 1e-9)
    link = make_link(
        TransmitterParams(pattern_effect=dark),
        receiver=ReceiverParams(
            efficiency=1.0, dark_probability=0.0, misalignment=0.0, mode_overlap=1.0
        ),
        brightness=100.0,
        arm={"length_km": 0.0},
    )
    device = receiver_of(link)
    first, second = 0, 0
    for number in range(300):
        device.begin(Segment(number, 0, 2))
        batch = device.next_candidates(10)
        # Bob is always early and Alice x0: only light of Alice makes a click late.
        alice, bob = (np.full(batch.asked.size, k, dtype=np.uint8) for k in (1, 5))
        block = device.detect(batch, alice, bob)
        first += int((block.pulses == 0).sum())
        second += int((block.pulses == 1).sum())
    assert first == 0
    assert second > 100


# The correlation of phases.


def scores_of(link, n_pulses, seed):
    """Pulse, and which detector alone clicked early (+1, -1, both 0); states always x0 and x0."""
    device = receiver_of(link, seed)
    device.begin(Segment(0, 0, n_pulses))
    blocks = []
    while (candidates := device.next_candidates(200_000)) is not None:
        ones = np.ones(candidates.asked.size, dtype=np.uint8)
        blocks.append(device.detect(candidates, ones, ones))
    pulses = np.concatenate([block.pulses for block in blocks])
    early = np.concatenate([block.patterns for block in blocks]) & 3
    return pulses, (early == EARLY_0).astype(float) - (early == EARLY_1)


def mean_score(link):
    """E[score | phase] of an event, on a grid of phases."""
    optics = optics_of(link)
    eta = link.receiver.efficiency
    (a, _), (b, _) = (
        math.sqrt(eta * arm) * light.amplitudes[1]
        for arm, light in zip(optics.transmittances, optics.light, strict=True)
    )
    phases = 2 * np.pi * np.arange(64) / 64
    overlap = optics.receiver.mode_overlap
    light = abs(a) ** 2 + abs(b) ** 2
    swing = 2 * math.sqrt(overlap) * abs(a * b) * np.cos(phases)
    dark = optics.receiver.dark_probability
    p, q = (1 - (1 - dark) * np.exp(-(light + s * swing) / 2) for s in (1, -1))
    return (p - q) / (1 - (1 - p) * (1 - q))


WALKS = {
    "one laser walks": ({"coherence_time_s": 2e-6}, {}),
    "both walk": ({"coherence_time_s": 4e-6}, {"coherence_time_s": 2e-6}),
    "walk and beat": (
        {"coherence_time_s": 2e-6, "pulse_width_ps": 1.0},
        {"pulse_width_ps": 1.0, "frequency_offset_hz": 3e5},
    ),
}


@pytest.mark.parametrize("name", WALKS)
def test_phases_remember_as_long_as_the_lasers_do(name):
    """Correlation of neighboring events against Σ |F_k|² cos(2πkνΔ) e^{-k² Δ (1/τ_A + 1/τ_B)}."""
    keys = WALKS[name]
    alice, bob = (TransmitterParams(phase_randomization="none", **k) for k in keys)
    link = make_link(alice, bob, brightness=0.3, separation_s=1e-21)
    pulses, scores = scores_of(link, 40_000_000, seed=5)
    gaps_s = np.diff(pulses) / RATE_HZ
    products = scores[1:] * scores[:-1]
    harmonics = np.abs(np.fft.rfft(mean_score(link)) / 64) ** 2
    harmonics[1:] *= 2
    rate = sum(1.0 / k["coherence_time_s"] for k in keys if "coherence_time_s" in k)
    beat_hz = keys[1].get("frequency_offset_hz", 0.0)
    k = np.arange(8)[:, None]
    waves = np.cos(2 * np.pi * k * beat_hz * gaps_s) * np.exp(-(k**2) * gaps_s * rate)
    excess = products - (harmonics[:8, None] * waves).sum(axis=0)
    assert products.mean() > 0.02
    # Neighbors depend on each other: means of long stretches do not.
    stretches = excess[: excess.size // 200 * 200].reshape(200, -1).mean(axis=1)
    z = stretches.mean() / stretches.std(ddof=1) * math.sqrt(200)
    assert 2 * t.sf(abs(z), 199) > FALSE_ALARM


def test_independent_phases_are_not_correlated():
    link = make_link(brightness=0.3)
    _, scores = scores_of(link, 40_000_000, seed=6)
    products = scores[1:] * scores[:-1]
    # Under independence the score's mean is zero, and its product has variance at most 1.
    assert abs(products.sum()) < 4.9 * math.sqrt(products.size)


# Drift and weather.


DRIFT = Drift(
    delay_ps=Process(kind="random_walk", size=60.0, time_s=100.0),
    frequency_hz=Process(kind="random_walk", size=2e8, time_s=100.0),
    polarization_rad=Process(kind="ornstein_uhlenbeck", size=0.8, time_s=50.0),
    loss_db=Process(kind="diurnal", size=3.0, time_s=400.0),
    intensity=Process(kind="random_walk", size=0.3, time_s=100.0),
)


@pytest.mark.parametrize("encoding", ["time_bin", "polarization"])
def test_a_drifting_segment_counts_like_a_link_that_stands_still_there(encoding):
    shape = TransmitterParams(encoding=encoding, pulse_width_ps=100.0)
    arm = {"drift": DRIFT, "insertion_loss_db": 3.0}
    link = make_link(shape, shape, arm=arm, separation_s=0.5e-9)
    drift = ArmDrift(link.alice.fiber, (3, 1))
    assert drift.changes
    arms = Arm.of(link.alice), Arm.of(link.bob)
    still = ArmDrift(link.bob.fiber, (3, 2))
    assert not still.changes

    def optics_at(segment):
        time_s = segment.number * 40.0
        return pair_optics(
            link.receiver, arms, (drift.at(time_s), still.at(time_s)), pulse_rate_hz=RATE_HZ
        )

    device = receiver_of(link, optics_of=optics_at)
    for number in (0, 1, 3):
        now = drift.at(number * 40.0)
        frozen = make_link(
            msgspec.structs.replace(
                shape, delay_ps=now.delay_ps, frequency_offset_hz=now.frequency_hz
            ),
            shape,
            arm={
                "insertion_loss_db": 3.0 + now.loss_db,
                "polarization_rotation_rad": now.rotation_rad,
            },
            separation_s=0.5e-9,
        )
        frozen = brighter(frozen, now.brightness)
        clicks = clicks_of(device, link, Segment(number, number * 10**9, 2_000_000))
        assert p_value(frozen, clicks, 2_000_000) > FALSE_ALARM
        assert (p_value(link, clicks, 2_000_000) > FALSE_ALARM) == (number == 0)


def brighter(link, factor):
    """Alice's intensities times a factor."""
    settings = {
        name: Setting(factor * getattr(link.alice, name).intensity, probability)
        for name, probability in zip("xyz", link.alice.probabilities[1:], strict=True)
    }
    return msgspec.structs.replace(link, alice=msgspec.structs.replace(link.alice, **settings))


def test_a_faded_segment_counts_like_a_link_with_that_loss():
    path = FreeSpace(length_km=1.0, beam_waist_m=0.02, receiver_radius_m=0.01, rytov_variance=0.5)
    link = make_link(arm={"free_space": path})
    drift = ArmDrift(link.alice.fiber, (5,))
    arms = Arm.of(link.alice), Arm.of(link.bob)
    calm = msgspec.structs.replace(path, rytov_variance=0.0)

    def optics_at(segment):
        now = drift.at(segment.number * path.fading_time_s), NOMINAL
        return pair_optics(link.receiver, arms, now, pulse_rate_hz=RATE_HZ)

    device = receiver_of(link, optics_of=optics_at)
    fades = []
    for number in range(3):
        fades.append(drift.at(number * path.fading_time_s).fade)
        loss_db = -10 * math.log10(fades[-1])
        frozen = make_link(arm={"free_space": calm, "length_km": 10.0 + loss_db / 0.2})
        clicks = clicks_of(device, link, Segment(number, 0, 2_000_000))
        assert p_value(frozen, clicks, 2_000_000) > FALSE_ALARM
    assert max(fades) / min(fades) > 1.2
