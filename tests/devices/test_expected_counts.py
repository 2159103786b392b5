"""What users count behind every kind of receiver, against predictions; false alarm 1e-6 each."""

import msgspec
import numpy as np
import pytest
from scipy.stats import chi2, norm

from mdiqkd_net.blocks import CATEGORIES, Segment, bit_of, setting_of
from mdiqkd_net.devices.simulated import SimulatedReceiver
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.settings import SegmentSettings

FALSE_ALARM = 1e-6
SAME_BASIS = [c for c in CATEGORIES if c == "zz" or set(c) <= {"x", "y"}]
RECEIVERS = {
    "dead time": {"dead_time_s": 20e-9},
    "unequal detectors": {"efficiency_ratio": 0.6},
    "splitter": {"splitter_transmittance": 0.4},
    "all together": {
        "dead_time_s": 20e-9,
        "efficiency_ratio": 0.6,
        "splitter_transmittance": 0.4,
    },
    "dead within the pulse": {"dead_time_s": 0.3e-9, "efficiency_ratio": 1.2},
}


def link_of(n_pulses: int, **receiver) -> Link:
    """20 dB in both arms together, at 1 GHz, users and receiver alike in nothing."""
    alice, bob = (
        UserLink(
            x=Setting(x, 0.35),
            y=Setting(y, 0.15),
            z=Setting(z, 0.45),
            length_km=km,
            attenuation_db_per_km=0.2,
        )
        for x, y, z, km in ((0.08, 0.30, 0.45, 40.0), (0.15, 0.5, 0.7, 60.0))
    )
    return Link(
        n_pulses=n_pulses,
        alice=alice,
        bob=bob,
        receiver=ReceiverParams(
            efficiency=0.8,
            dark_probability=1e-6,
            misalignment=0.02,
            mode_overlap=0.95,
            **receiver,
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
        pulse_rate_hz=1e9,
    )


def counted(link: Link, seed: int) -> tuple[dict[str, int], dict[str, int]]:
    """Accepted events and errors by category, as both users would tally them."""
    device = SimulatedReceiver(
        receiver=link.receiver,
        transmittances=(link.alice.transmittance, link.bob.transmittance),
        light=(light_table(link.alice.source), light_table(link.bob.source)),
        pulse_rate_hz=link.pulse_rate_hz,
        seed=seed,
    )
    alice, bob = SegmentSettings(b"a" * 32, link.alice), SegmentSettings(b"b" * 32, link.bob)
    n, m = dict.fromkeys(CATEGORIES, 0), dict.fromkeys(CATEGORIES, 0)
    device.begin(Segment(0, 0, link.n_pulses))
    while (candidates := device.next_candidates(50_000)) is not None:
        states = alice.states_at(candidates.asked), bob.states_at(candidates.asked)
        block = device.detect(candidates, *states)
        minus, plus = np.isin(block.patterns, (6, 9)), np.isin(block.patterns, (5, 10))
        pulses = block.pulses[minus | plus]
        minus = minus[minus | plus]
        a, b = alice.states_at(pulses), bob.states_at(pulses)
        both_z = (setting_of(a) == 3) & (setting_of(b) == 3)
        wrong = bit_of(a) ^ bit_of(b) ^ (both_z | minus)
        kind = 4 * setting_of(a).astype(int) + setting_of(b)
        for i, category in enumerate(CATEGORIES):
            n[category] += int((kind == i).sum())
            m[category] += int(wrong[kind == i].sum())
    return n, m


def deviations(link: Link, n: dict[str, int], m: dict[str, int]):
    """Chi-square's p-value over all cells, and the distance of each in standard deviations."""
    mean, errors = expected.expected_counts(link), expected.expected_errors(link)
    cells = [(m[c], errors[c]) for c in SAME_BASIS]
    cells += [(n[c] - m[c], mean[c] - errors[c]) for c in SAME_BASIS]
    cells += [(n[c], mean[c]) for c in CATEGORIES if c not in SAME_BASIS]
    large = [cell for cell in cells if cell[1] >= 25]
    small = np.array([cell for cell in cells if cell[1] < 25]).reshape(-1, 2).sum(axis=0)
    observed, wanted = np.array([*large, *([small] if small[1] >= 25 else [])]).T
    sigmas = (observed - wanted) / np.sqrt(wanted)
    return chi2.sf((sigmas**2).sum(), wanted.size), sigmas


@pytest.mark.parametrize("level", ["coincidence", "click"])
@pytest.mark.parametrize("name", RECEIVERS)
def test_users_count_what_was_predicted(name, level):
    """Counts are Poissonian; dead time makes them a little more even than that."""
    # A splitter of 0.4 changes little but the interference, by 2 %: it takes more light to see.
    n_pulses = {"coincidence": 10**10 if name == "splitter" else 10**9, "click": 10**8}[level]
    link = link_of(n_pulses, level=level, **RECEIVERS[name])
    n, m = counted(link, seed=31)
    p_value, sigmas = deviations(link, n, m)
    assert sigmas.size >= 14
    assert p_value > FALSE_ALARM
    assert np.abs(sigmas).max() < norm.isf(FALSE_ALARM / 2 / sigmas.size)
    if level == "coincidence":  # The same sample refutes the ideal receiver.
        ideal = msgspec.structs.replace(link, receiver=link_of(1).receiver)
        assert deviations(ideal, n, m)[0] < FALSE_ALARM


def test_a_dead_time_beyond_the_chain_is_predicted_too():
    """At 200 pulses of dead time detectors are taken as independent, which they are not quite."""
    link = link_of(2 * 10**8, dead_time_s=200e-9)
    counts = sum(counted(link, seed=32)[0].values())
    mean = sum(expected.expected_counts(link).values())
    slack = norm.isf(FALSE_ALARM / 2) * np.sqrt(mean)
    assert abs(counts - mean) < slack + 0.02 * mean
    resting = sum(expected.expected_counts(link_of(link.n_pulses)).values())
    assert counts < 0.1 * resting
