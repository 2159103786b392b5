import math

import numpy as np
import pytest
from light_checks import USUAL
from tag_light import detector, gate_patterns, link, tables_of

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.detectors.snspd import RECOVERING
from mdiqkd_net.physics.tags import tag_tables

WEAK = detector(0.4)
GOOD = detector(0.9)


def any_amplitudes(seed):
    rng = np.random.default_rng(seed)
    return 0.3 * (rng.normal(size=(7, 2)) + 1j * rng.normal(size=(7, 2)))


LINKS = {
    "equal": link((GOOD, GOOD)),
    "unequal detectors": link((GOOD, WEAK), misalignment=0.02),
    "unbalanced splitter": link((GOOD, WEAK), splitter=0.3, mode_overlap=0.9),
    "any amplitudes": link((WEAK, GOOD), light=(any_amplitudes(1), any_amplitudes(2))),
    "bright": link((GOOD, GOOD), (1.0, 1.0), (9 * USUAL, USUAL)),
}


@pytest.mark.parametrize("name", LINKS)
def test_candidates_light_each_gate_as_often_as_the_closed_form_says(name):
    """And no pair of states is a candidate more often than the brightest one."""
    tables = tables_of(LINKS[name])
    kept = np.clip(tables.keep, 0.0, 1.0) / 16
    chances = kept.copy()
    for row, alias, own in zip(chances, tables.other, kept, strict=True):
        np.add.at(row, alias, 1 / 16 - own)
    patterns = gate_patterns(LINKS[name], 0.0).reshape(49, 16)
    np.testing.assert_allclose(tables.bound * chances[:, 1:], patterns[:, 1:], atol=1e-13)
    assert tables.bound == pytest.approx(1.0 - patterns[:, 0].min(), rel=1e-9)


def test_reach_holds_the_widest_jitter():
    slow = detector(0.5, sigma_s=20e-12, jitter_tail_share=0.1, jitter_tail_s=100e-12)
    early, late = tables_of(link((GOOD, slow), skews_ps=(0.0, -300.0))).reach_ps
    assert early == 250 - 300 - 10 * 20 - 1
    assert late == 750 - 300 + 10 * 20 + 40 * 100 + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bins_ps": (500.0, 0.0)}, "bins: found .* early before late"),
        ({"bins_ps": (0.0, math.nan)}, "bins: found .* early before late"),
        ({"skews_ps": (0.0, 2e12)}, r"skew_ps: found 2e\+12; allowed: at most 1 s"),
        ({"detectors": (GOOD, detector(0.5, sigma_s=2.0))}, "jitter_s: found .* level tag"),
        ({"detectors": (detector(0.5, dead_time_s=2.0), GOOD)}, "dead_time_s: found 2; allowed"),
        ({"detectors": (detector(0.5, dark_rate_hz=1e12), GOOD)}, "dark_rate_hz: found 1e"),
        (
            {"detectors": (GOOD, RECOVERING)},
            "recovery_s: found 7.9e-09; allowed at the level tag: at most 0",
        ),
        (
            {"detectors": (detector(0.5, afterpulses=((0.1, 1e4),)), GOOD)},
            "afterpulse_decay_s: found 10000; allowed at the level tag: at most 1000",
        ),
    ],
)
def test_times_that_no_count_of_picoseconds_holds_are_refused(change, words):
    patterns = np.eye(16)[np.zeros(49, dtype=int)]
    arguments = {"detectors": (GOOD, GOOD), "bins_ps": (250.0, 750.0)} | change
    with pytest.raises(DeviceError, match=words):
        tag_tables(patterns, **arguments)
