"""The tag level as a level: its keys, what it refuses, and what only a tagger sees.

Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM.
"""

import math

import msgspec
import numpy as np
import pytest
from imperfect import make_link
from light_checks import FALSE_ALARM, LINKS, level, params, with_
from scipy.stats import binomtest, norm

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import TaggerParams
from mdiqkd_net.physics.levels import check_level
from mdiqkd_net.physics.link_clicks import left_out
from mdiqkd_net.physics.sampling import Draw
from mdiqkd_net.physics.tagging import tagging_of

NANOWIRE_FWHM = math.sqrt(8 * math.log(2))


def tag_params(**keys):
    tagger = {key: keys.pop(key) for key in list(keys) if key in TaggerParams.__struct_fields__}
    return params(level="tag", tagger=TaggerParams(**tagger), **keys)


def counts_of(receiver, n_pulses, seed=3, transmittance=0.3):
    """What became of the tags of a segment, states drawn for all candidates."""
    link = (receiver, (transmittance, transmittance), LINKS["20 dB"][2])
    made = level(link)
    drawing, detecting = np.random.SeedSequence(seed).spawn(2)
    candidates, detection = made.drawing(drawing, n_pulses), made.detection(detecting, n_pulses)
    rng = np.random.default_rng(seed)
    while detection.n_decided < n_pulses:
        draw = candidates.next(50_000)
        detection.detect(draw, *rng.integers(0, 7, (2, draw.pulses.size), dtype=np.uint8))
        assert detection.n_decided <= draw.n_covered
    return detection.matcher.counts


@pytest.mark.parametrize(
    ("keys", "rate_hz", "width_ps", "dark_rate_hz"),
    [
        ({"dark": 1e-6}, 1e9, 500.0, 2e3),
        ({"dark": 1e-6, "gate_width_ps": 200.0}, 1e9, 200.0, 5e3),
        ({"dark": 1e-6, "bin_separation_s": 0.3e-9}, 1e9, 300.0, 3.3333e3),
        ({"dark": 1e-6, "bin_separation_s": 0.8e-9}, 1e9, 200.0, 5e3),
        ({"dark": 1e-6, "skew_ps": (-20.0, 30.0)}, 1e9, 450.0, 2.2222e3),
        ({"dark": 1e-6, "clock_offset_ppm": 5.0}, 1e9, 499.0, 2.004e3),
        ({"dark": 1e-6}, 3e9, 1e3 / 6, 6e3),
        ({"dark": 1e-6, "dark_rate_hz": 2000.5}, 1e9, 500.0, 2000.5),
        ({"dark": 0.3}, 1e9, 500.0, -math.log(0.7) / 500e-12),
    ],
)
def test_gates_and_darks_follow_from_each_other(keys, rate_hz, width_ps, dark_rate_hz):
    tagging = tagging_of(tag_params(**keys), rate_hz)
    assert tagging.gates.width_ps == pytest.approx(width_ps, rel=1e-9)
    for detector in tagging.detectors:
        assert detector.dark_rate_hz == pytest.approx(dark_rate_hz, rel=1e-4)


@pytest.mark.parametrize("detector", ["ideal", "snspd", "spad_ingaas", "spad_silicon"])
def test_every_preset_works(detector):
    receiver = tag_params(detector=detector, gate_width_ps=400.0)
    made = level((receiver, (1e-3, 1e-3), LINKS["20 dB"][2]))
    assert made.tables.detectors[0].afterpulses.probability == {
        "spad_ingaas": 0.02,
        "spad_silicon": 0.0171,
    }.get(detector, 0.0)
    counts = counts_of(receiver, 300_000, transmittance=1e-2)
    assert counts.n_gated > 100
    assert (counts.n_outside > 0) == detector.startswith("spad")


def test_jitter_beyond_the_bins_is_for_this_level():
    """A gate of ±h keeps erf(h / (√2 σ)) of the light; some spills into the next gates."""
    sigma_ps = 120.0
    receiver = tag_params(dark=0.0, jitter_s=1e-12 * NANOWIRE_FWHM * sigma_ps, gate_width_ps=200.0)
    counts = counts_of(receiver, 2_000_000)
    # A gate of the other bin begins 400 ps from the center, and one of a neighbor as well.
    spill = 2 * (norm.sf(400 / sigma_ps) - norm.sf(600 / sigma_ps))
    inside = math.erf(100.5 / sigma_ps / math.sqrt(2)) + spill
    assert counts.n_tags > 100_000
    assert binomtest(counts.n_gated, counts.n_tags, inside).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    "keys",
    [
        {"skew_ps": (150.0, -90.0)},
        {"clock_offset_ppm": 300.0},
        {"clock_offset_ppm": -300.0},
        {"clock_drift_ppm_per_s": 900.0, "clock_offset_ppm": -20.0},
        {"skew_ps": (60.0, 0.0), "clock_drift_ppm_per_s": -900.0},
    ],
)
def test_a_calibrated_receiver_sees_through_skew_and_clock(keys):
    n_pulses = 300_000
    keys = {"dark": 0.0, "gate_width_ps": 100.0, "jitter_s": 30e-12} | keys
    plain = counts_of(tag_params(dark=0.0, gate_width_ps=100.0, jitter_s=30e-12), n_pulses)
    counts = counts_of(tag_params(**keys), n_pulses)
    assert counts.n_outside <= plain.n_outside + 30
    assert counts.n_events == pytest.approx(plain.n_events, rel=0.01)
    lost = counts_of(tag_params(calibrated=False, **keys), n_pulses)
    assert lost.n_outside > 0.05 * lost.n_tags


def test_an_uncalibrated_skew_moves_clicks_out_of_their_gates():
    """By the error function: of detector 0 all are off center by 40 ps, of detector 1 none."""
    keys = {"dark": 0.0, "jitter_s": 1e-12 * NANOWIRE_FWHM * 20.0, "gate_width_ps": 100.0}
    receiver = tag_params(calibrated=False, skew_ps=(40.0, 0.0), **keys)
    counts = counts_of(receiver, 2_000_000)
    # Tags are whole picoseconds, rounded, in a gate that is open at its end.
    inside = [norm.cdf((49.5 - s) / 20) - norm.cdf((-50.5 - s) / 20) for s in (40, 0)]
    assert binomtest(counts.n_gated, counts.n_tags, sum(inside) / 2).pvalue > FALSE_ALARM


def test_the_veto_drops_events_and_counts_them():
    keys = {"dark": 0.0, "dead_time_s": 20e-9}
    vetoed = counts_of(tag_params(veto=True, **keys), 4_000_000)
    plain = counts_of(tag_params(**keys), 4_000_000)
    assert plain.n_vetoed == 0
    assert vetoed.n_tags == plain.n_tags
    assert vetoed.n_events + vetoed.n_vetoed == plain.n_events
    assert vetoed.n_vetoed > 20


def test_a_long_dark_stretch_is_covered_step_by_step(monkeypatch):
    """The same events, however many darks are made at once."""
    link = (tag_params(dark=0.02), (0.0, 0.0), LINKS["20 dB"][2])
    found = []
    for at_once in (100, 10**9):
        monkeypatch.setattr("mdiqkd_net.physics.tagging._DARKS_AT_ONCE", at_once)
        detection = level(link).detection(np.random.SeedSequence(1), 50_000)
        nothing = np.empty(0, dtype=np.int64)
        draw = Draw(pulses=nothing, kinds=nothing.astype(np.uint8), n_covered=50_000)
        found.append(detection.detect(draw, nothing, nothing))
        assert detection.n_decided == 50_000
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    chance = (2 * 0.02 - 0.02**2) ** 2
    assert binomtest(found[0][0].size, 50_000, chance).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("keys", "rate_hz", "word"),
    [
        ({"gate_width_ps": 501.0}, 1e9, "gate_width_ps: found 501; allowed: above 0, and at most"),
        ({"gate_width_ps": 500.0, "skew_ps": (0.0, 9.0)}, 1e9, "at most 491, which bins, skews"),
        ({"skew_ps": (0.0, 600.0)}, 1e9, "gate_width_ps: found -100; allowed"),
        ({"dark_rate_hz": 1e4}, 1e9, "dark_rate_hz: found 10000, .* allowed: none, or 40"),
        ({"dark": 1.0}, 1e9, "dark_probability: found 1.0; allowed at the level tag"),
        ({"dead_time_s": 1.5}, 1e9, "dead_time_s: found 1.5; allowed at the level tag"),
        ({"jitter_s": 1.5}, 1e9, "jitter_s: found 1.5; allowed at the level tag"),
        ({"afterpulse_decay_s": 1e4}, 1e9, "afterpulse_decay_s: found 10000"),
        ({"jitter_tail_share": 1.5}, 1e9, "jitter_tail_share: found 1.5; allowed: 0 to 1"),
        ({}, 100, "period of the clock: found .* ps; allowed"),
        ({}, 2e12, "period from pulse 0: found 0.5 ps; allowed: 1 ps or longer"),
    ],
)
def test_what_tags_cannot_represent_is_refused_before_there_is_light(keys, rate_hz, word):
    with pytest.raises(DeviceError, match=word):
        check_level(tag_params(**keys), rate_hz)


def test_a_clock_that_drifts_too_far_is_refused():
    made = level((tag_params(clock_drift_ppm_per_s=900.0), (1e-3, 1e-3), LINKS["20 dB"][2]))
    with pytest.raises(DeviceError, match=r"clock_drift_ppm_per_s: found an offset of 17.* within"):
        made.detection(np.random.SeedSequence(1), 2 * 10**9)


def test_the_same_receiver_at_another_level_names_this_one():
    receiver = with_((tag_params(gate_width_ps=300.0),), level="click")[0]
    with pytest.raises(DeviceError, match=r"tagger: found .* level click; .* level tag"):
        check_level(receiver, 1e9)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"gate_width_ps": 300.0, "skew_ps": (20.0, 0.0), "veto": True}, []),
        ({"jitter_s": 1e-10}, ["jitter across the gates"]),
        ({"calibrated": False, "skew_ps": (20.0, 0.0)}, ["skew and clock of the tagger"]),
        ({"veto": True, "dead_time_s": 2e-8}, ["events that the veto drops"]),
    ],
)
def test_predictions_say_what_they_do_not_know_of_a_tagger(keys, words):
    link = make_link(receiver=tag_params(**keys))
    assert left_out(msgspec.structs.replace(link, pulse_rate_hz=10**9)) == words
