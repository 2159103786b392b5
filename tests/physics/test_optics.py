"""Raw click patterns of a pulse against two independent integrations, and what is refused."""

import itertools
import math

import numpy as np
import pytest
from light_checks import BOTH_BINS, LINKS, USUAL, params

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import Link, Setting, UserLink
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.expected import state_click_probabilities
from mdiqkd_net.physics.optics import raw_patterns


def named(name):
    receiver, transmittances, light = LINKS[name]
    return {"receiver": receiver, "transmittances": transmittances, "light": light}


def oracle(receiver, transmittances, light, n_phases=128):
    """Chance of each of the 16 click patterns per pair of states, (7, 7, 16), by integration."""
    patterns = np.zeros((7, 7, 16))
    alice, bob = (table * math.sqrt(t) for table, t in zip(light, transmittances, strict=True))
    phases = np.exp(2j * np.pi * (np.arange(n_phases) + 0.37) / n_phases)
    through = receiver.splitter_transmittance
    shares = [(through, 1 - through), (1 - through, through)]
    for a, b in itertools.product(range(7), range(7)):
        no_click = {}
        for m, s in itertools.product(range(2), range(2)):
            # The part of Bob's light in Alice's mode interferes, the rest adds its photons.
            of_alice, of_bob = shares[s]
            same = math.sqrt(of_bob * receiver.mode_overlap) * bob[b, m] * phases * (-1) ** s
            other = of_bob * (1 - receiver.mode_overlap) * abs(bob[b, m]) ** 2
            photons = np.abs(math.sqrt(of_alice) * alice[a, m] + same) ** 2 + other
            silence = np.exp(-receiver.efficiency * receiver.efficiency_ratio**s * photons)
            no_click[2 * m + s] = (1 - receiver.dark_probability) * silence
        for pattern in range(16):
            chance = np.ones(n_phases)
            for k in range(4):
                chance *= 1 - no_click[k] if pattern >> k & 1 else no_click[k]
            patterns[a, b, pattern] = chance.mean()
    e_d = receiver.misalignment
    return (1 - e_d) * patterns + e_d * patterns[:, [0, 2, 1, 4, 3, 6, 5]]


@pytest.mark.parametrize("name", LINKS)
def test_patterns_are_those_of_an_integration_over_the_phase(name):
    found = raw_patterns(**named(name))
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-13)
    np.testing.assert_allclose(found, oracle(*LINKS[name]).reshape(49, 16), rtol=1e-9, atol=2e-15)


def test_patterns_are_those_of_the_closed_form_to_their_last_digits():
    """Faint light and few darks: chances down to 1e-21 agree in relative precision."""
    users = [
        UserLink(
            x=Setting(0.04, 0.2),
            y=Setting(0.2, 0.2),
            z=Setting(0.5, 0.4),
            length_km=km,
            attenuation_db_per_km=0.2,
        )
        for km in (90.0, 40.0)
    ]
    link = Link(
        n_pulses=1,
        alice=users[0],
        bob=users[1],
        receiver=params(0.5, 1e-9, 0.01, 0.97),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus",),
    )
    found = raw_patterns(
        receiver=link.receiver,
        transmittances=(link.alice.transmittance, link.bob.transmittance),
        light=(light_table(link.alice.source), light_table(link.bob.source)),
    )
    expected = state_click_probabilities(link).reshape(49, 16)
    assert expected[:, BOTH_BINS].min() < 1e-17
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_an_unbalanced_splitter_keeps_the_light_of_a_bin_but_unequal_detectors_do_not():
    """Interference cannot change how much light there is, whatever the splitter does with it."""
    _, transmittances, light = LINKS["unequal detectors"]
    turned = (light[0] * np.exp([[1j, 0]]), light[1])  # another phase between the two bins

    def any_click(**changes):
        made = params(0.8, 1e-4, 0.0, 0.95, **changes)
        early = [
            raw_patterns(receiver=made, transmittances=transmittances, light=seen)[:, [0, 4, 8, 12]]
            for seen in (light, turned)
        ]
        return [table.sum(axis=1) for table in early]

    photons = 0.5 * abs(light[0][:, 0, None]) ** 2 + 0.2 * abs(light[1][None, :, 0]) ** 2
    silence = (1 - 1e-4) ** 2 * np.exp(-0.8 * photons).ravel()
    for table in any_click(splitter_transmittance=0.2):
        np.testing.assert_allclose(table, silence, rtol=1e-12)
    assert abs(any_click(efficiency_ratio=0.5)[0] / silence - 1).max() > 0.01


def test_a_dark_port_that_rounding_makes_negative_is_dark():
    """Equal strong light that interferes completely, whatever its phase: no nan, no negatives."""
    dazzling = np.exp(0.3j) * amplitudes_of(1e4)
    found = raw_patterns(
        receiver=params(1.0, 0.0, 0.0, 1.0), transmittances=(0.3, 0.3), light=(dazzling,) * 2
    )
    assert (found >= 0.0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    by_phase = oracle(params(1.0, 0.0, 0.0, 1.0), (0.3, 0.3), (dazzling,) * 2, n_phases=8192)
    np.testing.assert_allclose(found, by_phase.reshape(49, 16), atol=1e-12)
    # Only within 3 % of all phases is one port or the other dark enough not to click.
    assert 0.96 < found[7 * 3 + 3, 15] < 0.97


def amplitudes_of(intensity):
    return USUAL * math.sqrt(intensity / 0.45)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"transmittances": (1.2, 0.5)}, "transmittance of alice's arm: found 1.2; allowed: 0"),
        ({"transmittances": (0.2, math.nan)}, "transmittance of bob's arm: found nan"),
        ({"light": (USUAL, USUAL[:6])}, r"light of bob: found shape \(6, 2\)"),
        ({"light": (np.full((7, 2), np.inf), USUAL)}, "light of alice: found nan or infinity"),
        ({"receiver": params(misalignment=0.6)}, "misalignment: found 0.6; allowed: 0 to 0.5"),
        ({"receiver": params(overlap=-0.1)}, "mode_overlap: found -0.1"),
        ({"receiver": params(efficiency=2.0)}, "efficiency: found 2.0"),
        ({"receiver": params(dark=-1e-9)}, "dark_probability: found -1e-09"),
        ({"receiver": params(dark=math.nan)}, "dark_probability: found nan"),
        ({"receiver": params(efficiency_ratio=-1.0)}, "efficiency of detector 1: found -0.8"),
        ({"receiver": params(splitter_transmittance=1.5)}, "splitter_transmittance: found 1.5"),
        ({"receiver": params(detector="cat")}, "detector: found 'cat'; allowed: ideal, snspd"),
    ],
)
def test_numbers_that_no_receiver_has_are_refused(change, word):
    with pytest.raises(DeviceError, match=word):
        raw_patterns(**(named("20 dB") | change))
