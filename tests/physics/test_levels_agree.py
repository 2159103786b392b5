"""Three levels, one physics: chi-square of all pairs of states and patterns, two samples each.

Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM.
"""

import math

import numpy as np
import pytest
from light_checks import BOTH_BINS, FALSE_ALARM, LINKS, level, with_
from scipy.stats import chi2_contingency, chisquare

from mdiqkd_net.imperfections import TaggerParams
from mdiqkd_net.physics.dead_time import registered_patterns
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.optics import raw_patterns

HALF_DB = (*LINKS["20 dB"][:1], (0.5, 0.4), LINKS["20 dB"][2])
FAST = ("coincidence", "tag")
EVERY_CLICK = ("click", "tag")
CASES = {
    "at rest": (FAST, HALF_DB),
    "dark": (FAST, LINKS["misaligned, dark, dull"]),
    "bright": (FAST, LINKS["bright"]),
    "unequal detectors": (FAST, LINKS["unequal detectors"]),
    "20 ns": (FAST, with_(HALF_DB, dead_time_s=20e-9)),
    "20 ns, every click": (EVERY_CLICK, with_(HALF_DB, dead_time_s=20e-9)),
    "0.3 ns": (FAST, with_(HALF_DB, dead_time_s=0.3e-9)),
    "close bins": (FAST, with_(HALF_DB, dead_time_s=3.1e-9, bin_separation_s=0.2e-9)),
    "nanowires": (FAST, with_((*HALF_DB[:1], (0.1, 0.1), HALF_DB[2]), detector="snspd")),
    "afterpulses": (
        EVERY_CLICK,
        with_(HALF_DB, dead_time_s=5e-9, afterpulse_probability=0.3, afterpulse_decay_s=100e-9),
    ),
}


def events(link, n_pulses, seed):
    """Events per pair of states and pattern, (49, 16), whoever was asked for them."""
    sent = np.random.default_rng(seed).integers(0, 7, (2, n_pulses), dtype=np.uint8)
    made = level(link)
    drawing, detecting = np.random.SeedSequence(seed).spawn(2)
    candidates, detection = made.drawing(drawing, n_pulses), made.detection(detecting, n_pulses)
    counts, covered = np.zeros(49 * 16, dtype=np.int64), 0
    while covered < n_pulses:
        draw = candidates.next(50_000)
        covered = draw.n_covered
        pulses, patterns = detection.detect(draw, *sent[:, draw.pulses])
        alice, bob = sent[:, pulses].astype(int)
        counts += np.bincount((7 * alice + bob) * 16 + patterns, minlength=counts.size)
    return counts.reshape(49, 16)


@pytest.mark.parametrize("name", CASES)
def test_levels_agree_on_every_pair_and_pattern(name):
    levels, link = CASES[name]
    n_pulses = 20_000_000 if name == "nanowires" else 4_000_000
    samples = [
        events(with_(link, level=chosen), n_pulses, seed)[:, BOTH_BINS]
        for seed, chosen in enumerate(levels, start=41)
    ]
    frequent = sum(samples) >= 50
    assert min(table.sum() for table in samples) > 1000
    rows = [[*table[frequent], table[~frequent].sum(), n_pulses - table.sum()] for table in samples]
    assert frequent.sum() > 20
    assert chi2_contingency(np.array(rows)).pvalue > FALSE_ALARM


def test_the_veto_takes_a_share_of_all_events_alike():
    """What passes has the law of detectors at rest, whose late click an early one may still hide.

    Levels without a veto count more: those that a detector that wakes up in between lets through.
    """
    link = with_(HALF_DB, dead_time_s=20e-9, level="tag", tagger=TaggerParams(veto=True))
    n_pulses = 20_000_000
    passed = events(link, n_pulses, 43)[:, BOTH_BINS]
    receiver, transmittances, light = HALF_DB
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    seen = np.zeros_like(raw)
    for pattern in range(16):
        seen[:, pattern & ~((pattern & 3) << 2)] += raw[:, pattern]
    expected = n_pulses / 49 * seen[:, BOTH_BINS]
    share = passed.sum() / expected.sum()
    kept = share * expected >= 25
    observed = np.append(passed[kept], passed[~kept].sum())
    mean = share * np.append(expected[kept], expected[~kept].sum())
    assert kept.sum() > 50
    assert chisquare(observed, mean).pvalue > FALSE_ALARM
    without = registered_patterns(raw, np.full(49, 1 / 49), gates_of(link[0], 1e9).reach)
    n_without = n_pulses / 49 * without[:, BOTH_BINS].sum()
    assert passed.sum() < n_without - 4.9 * math.sqrt(n_without)
