"""The dead-slot veto on simulated tags.

Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM.
"""

import numpy as np
import pytest
from light_checks import USUAL
from scipy.stats import binomtest
from tag_light import BINS_PS, CLOCK, batches, detector, fit, gate_patterns, link

from mdiqkd_net.blocks import Segment
from mdiqkd_net.physics.matching import Gates, Matcher

FALSE_ALARM = 1e-6
GATES = Gates.at(BINS_PS, 400.0)
BOTH_BINS = [p for p in range(16) if p & 3 and p & 12]


def counted_patterns(description, n_pulses, seed, dead_ps):
    """Events by pair of states and pattern, (7, 7, 16), with states drawn for all pulses."""
    rng = np.random.default_rng(seed)
    sent = rng.integers(0, 7, (2, n_pulses), dtype=np.uint8)
    matcher = Matcher(GATES, dead_times_ps=(dead_ps, dead_ps))
    matcher.begin(Segment(0, 0, n_pulses), CLOCK)
    counts = np.zeros(49 * 16, dtype=np.int64)
    chosen = batches(description, n_pulses, seed, states_of=lambda _, pulses: sent[:, pulses])
    for _, _, tags in chosen:
        block = matcher.feed(tags.times_ps, tags.channels, tags.watermark_ps)
        alice, bob = sent[:, block.pulses].astype(int)
        counts += np.bincount((7 * alice + bob) * 16 + block.patterns, minlength=counts.size)
    assert block.last
    return counts.reshape(7, 7, 16), matcher.counts


@pytest.mark.parametrize(
    ("dead_time_s", "dark_rate_hz", "transmittance", "n_pulses"),
    [(0.0, 1e6, 0.5, 3_000_000), (90e-12, 1e8, 0.5, 3_000_000), (20e-9, 1e6, 0.15, 20_000_000)],
)
def test_events_that_pass_the_veto_follow_the_law_of_detectors_at_rest(
    dead_time_s, dark_rate_hz, transmittance, n_pulses
):
    """Dead time takes a share of all events alike, if the veto sorts out what it distorts.

    The third hides late clicks behind early ones of the same detector, too, always.
    """
    made = detector(0.8, dark_rate_hz=dark_rate_hz, dead_time_s=dead_time_s)
    description = link((made, made), (transmittance,) * 2, mode_overlap=0.97)
    dead_ps = round(1e12 * dead_time_s)
    counts, tally = counted_patterns(description, n_pulses, 31, dead_ps)
    chances = gate_patterns(description, GATES.width_ps)
    hiding = dead_time_s > 900e-12
    if hiding:
        seen = np.zeros_like(chances)
        for pattern in range(16):
            seen[..., pattern & ~((pattern & 3) << 2)] += chances[..., pattern]
        chances = seen
    expected = n_pulses / 49 * chances[..., BOTH_BINS]
    share = counts[..., BOTH_BINS].sum() / expected.sum()
    p_value, n_cells = fit(counts[..., BOTH_BINS].reshape(-1), expected.reshape(-1))
    assert n_cells > (20 if hiding else 100)
    assert p_value > FALSE_ALARM
    if dead_time_s == 0.0:
        n_events = int(counts.sum())
        assert binomtest(n_events, n_pulses, expected.sum() / n_pulses).pvalue > FALSE_ALARM
        assert tally.n_vetoed == 0
    else:
        assert tally.n_vetoed > 100
        assert 0.3 < share < 0.99


def test_without_the_veto_dead_time_distorts():
    """What the veto is for: dead detectors pass off triple clicks as pairs."""
    made = detector(0.9, dead_time_s=700e-12)
    description = link((made, made), (0.9, 0.9), (2 * USUAL, 2 * USUAL))
    chances = gate_patterns(description, GATES.width_ps)
    seen = np.zeros_like(chances)
    for pattern in range(16):
        seen[..., pattern & ~((pattern & 3) << 2)] += chances[..., pattern]
    p_values = []
    for dead_ps in (0, 700):
        counts, _ = counted_patterns(description, 1_000_000, 32, dead_ps)
        p_values.append(
            fit(counts[..., BOTH_BINS].reshape(-1), seen[..., BOTH_BINS].reshape(-1) * 20_000)[0]
        )
    assert p_values[0] < 1e-12
    assert p_values[1] > FALSE_ALARM
