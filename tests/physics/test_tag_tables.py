import math

import numpy as np
import pytest
from tag_light import USUAL, amplitudes, gate_patterns, link

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.tags import TagDetector, tag_tables

WEAK = TagDetector(efficiency=0.4)
GOOD = TagDetector(efficiency=0.9)


def any_amplitudes(seed):
    rng = np.random.default_rng(seed)
    return 0.3 * (rng.normal(size=(7, 2)) + 1j * rng.normal(size=(7, 2)))


LINKS = {
    "equal": link((GOOD, GOOD)),
    "unequal detectors": link((GOOD, WEAK), misalignment=0.02),
    "unbalanced splitter": link((GOOD, WEAK), splitter=0.3, mode_overlap=0.9),
    "any amplitudes": link((WEAK, GOOD), light=(any_amplitudes(1), any_amplitudes(2))),
}


@pytest.mark.parametrize("name", LINKS)
def test_no_pair_clicks_more_often_than_the_bound(name):
    tables = tag_tables(**LINKS[name])
    aligned = LINKS[name] | {"misalignment": 0.0}
    clicks = 1.0 - gate_patterns(aligned, 0.0)[..., 0]
    assert clicks.max() <= tables.bound
    # Of unequal detectors the bound is that of the best phase, which not every pulse has.
    assert tables.bound < (1.1 if name == "equal" else 1.5) * clicks.max()


@pytest.mark.parametrize("name", LINKS)
def test_single_photons_land_as_the_average_over_phases_says(name):
    """To first order in the light, the chance of a click is that of its one photon."""
    faint = LINKS[name] | {"transmittances": (1e-6, 3e-7)}
    tables = tag_tables(**faint)
    per_gate = np.diff(tables.single, axis=1, prepend=0.0).reshape(7, 7, 4) * tables.bound
    clicks = gate_patterns(faint, 0.0)[..., [1, 2, 4, 8]]
    np.testing.assert_allclose(per_gate, clicks, rtol=1e-5, atol=1e-15)


def test_a_balanced_splitter_and_equal_detectors_beat_to_nothing_in_all():
    tables = tag_tables(**LINKS["equal"])
    beats = tables.beat.reshape(49, 2, 2)
    assert np.abs(beats).max() > 0
    np.testing.assert_allclose(beats.sum(axis=2), 0.0, atol=1e-18)
    assert tables.mean == pytest.approx(tables.base.sum(axis=1).max(), rel=1e-12)


@pytest.mark.parametrize("mean", [1e-12, 0.02, 0.9])
def test_many_is_the_poisson_law_of_those_that_have_any(mean):
    z = amplitudes(0.1, 0.2, mean / 2)  # both send z, and the pair is the brightest
    z[1:5] = 0.0
    tables = tag_tables(**link(transmittances=(1.0, 1.0), light=(z, z)))
    terms = [
        math.exp(-mean) * mean**n / math.factorial(n) / -math.expm1(-mean) for n in range(1, 40)
    ]
    n = tables.many.size
    np.testing.assert_allclose(tables.many, np.cumsum(terms)[:n], rtol=1e-12)
    assert 1.0 - sum(terms[:n]) < 1e-15
    assert tables.many[-1] == 1.0


def test_bright_light_makes_every_pulse_a_candidate():
    tables = tag_tables(**link(transmittances=(1.0, 1.0), light=(3 * USUAL, USUAL)))
    assert tables.bound == 1.0
    assert tables.mean == math.inf


def test_reach_holds_the_widest_jitter():
    slow = TagDetector(0.5, jitter_s=20e-12, tail_weight=0.1, tail_s=100e-12, skew_s=-300e-12)
    early, late = tag_tables(**link((GOOD, slow))).reach_ps
    assert early == 250 - 300 - 10 * 20 - 1
    assert late == 750 - 300 + 10 * 20 + 40 * 100 + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transmittances": (1.2, 0.5)}, "transmittance of alice's arm: found 1.2; allowed: 0 to"),
        ({"transmittances": (0.2, math.nan)}, "transmittance of bob's arm: found nan"),
        ({"light": (USUAL, USUAL[:6])}, r"light of bob: found shape \(6, 2\)"),
        ({"light": (np.full((7, 2), np.inf), USUAL)}, "light of alice: found nan or infinity"),
        ({"misalignment": 0.6}, "misalignment: found 0.6; allowed: 0 to 0.5"),
        ({"mode_overlap": -0.1}, "mode_overlap: found -0.1"),
        ({"splitter": 1.1}, "splitter: found 1.1; allowed: 0 to 1"),
        ({"bins_ps": (500.0, 0.0)}, "bins: found .* early before late"),
    ],
)
def test_numbers_that_no_receiver_has_are_refused(change, words):
    with pytest.raises(DeviceError, match=words):
        tag_tables(**(link() | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"efficiency": 1.1}, "efficiency: found 1.1; allowed: 0 to 1"),
        ({"dark_rate_hz": -1.0}, "dark_rate_hz: found -1.0; allowed: 0 to"),
        ({"dead_time_s": math.nan}, "dead_time_s: found nan"),
        ({"jitter_s": -1e-12}, "jitter_s: found -1e-12"),
        ({"tail_weight": 2.0}, "tail_weight: found 2.0"),
        ({"tail_s": 2.0}, "tail_s: found 2.0; allowed: 0 to 1"),
        ({"skew_s": -2.0}, "skew_s: found -2.0; allowed: -1 to 1"),
        ({"afterpulses": ((1.5, 1e-6),)}, "chance of an afterpulse: found 1.5"),
        ({"afterpulses": ((0.1, -1e-6),)}, "release time of an afterpulse: found -1e-06"),
        ({"afterpulses": ((0.6, 1e-6), (0.5, 1e-7))}, "chances of afterpulses: found 1.1 in all"),
    ],
)
def test_numbers_that_no_detector_has_are_refused(change, words):
    with pytest.raises(DeviceError, match=words):
        TagDetector(**({"efficiency": 0.5} | change))
