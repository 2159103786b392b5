"""The closed form of dead time against renewal theory, brute force, and a loop."""

import itertools

import numpy as np
import pytest
from light_checks import LINKS

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.dead_time import registered_patterns
from mdiqkd_net.physics.optics import raw_patterns

ONE = np.ones(1)


def independent(p):
    """Raw patterns of four gates that click with chance p each."""
    clicks = np.array([bin(pattern).count("1") for pattern in range(16)])
    return (p**clicks * (1 - p) ** (4 - clicks))[None]


def clicks_per_gate(patterns):
    return [patterns[0, [p for p in range(16) if p >> k & 1]].sum() for k in range(4)]


@pytest.mark.parametrize("p", [1e-6, 0.01, 0.3])
@pytest.mark.parametrize("dead_gates", [1, 2, 7, 40])
def test_equal_gates_click_at_the_renewal_rate(p, dead_gates):
    """One click per 1/p + dead_gates - 1 gates, the discrete 1 / (1/r + dead time)."""
    # Gates are half a period apart: a dead time of n gates is n/2 periods.
    reach = np.ceil([[dead_gates / 2, (dead_gates - 1) / 2], [(dead_gates + 1) / 2] * 2])
    reach[1, 1] = reach[0, 0]
    found = registered_patterns(independent(p), ONE, reach.astype(np.int64))
    assert found.sum() == pytest.approx(1.0, rel=1e-12)
    rate = 1.0 / (1.0 / p + dead_gates - 1)
    np.testing.assert_allclose(clicks_per_gate(found), rate, rtol=1e-8)


def test_no_dead_time_changes_nothing():
    receiver, transmittances, light = LINKS["any amplitudes"]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    found = registered_patterns(raw, np.full(49, 1 / 49), np.zeros((2, 2), dtype=np.int64))
    np.testing.assert_allclose(found, raw, rtol=1e-12)


def by_brute_force(raw, reach, n_pulses=6):
    """Average over every sequence of raw patterns of a few pulses, from rested detectors."""
    likely = np.flatnonzero(raw)
    result = np.zeros(16)
    for sequence in itertools.product(likely, repeat=n_pulses):
        last, seen = [None, None], 0
        for t, pattern in enumerate(sequence):
            seen = 0
            for m, d in itertools.product(range(2), range(2)):
                dead = last[d] is not None and t - last[d][0] < reach[last[d][1], m]
                if pattern >> (2 * m + d) & 1 and not dead:
                    seen |= 1 << (2 * m + d)
                    last[d] = (t, m)
        result[seen] += np.prod(raw[list(sequence)])
    return result


@pytest.mark.parametrize("reach", [[[1, 0], [2, 1]], [[1, 1], [2, 1]], [[2, 2], [3, 2]]])
def test_unequal_gates_and_correlated_detectors_are_those_of_brute_force(reach):
    """Convergence is geometric, so a few pulses from rest are nearly stationary already."""
    raw = np.zeros(16)
    raw[[0, 1, 6, 9]] = [0.55, 0.1, 0.2, 0.15]
    reach = np.array(reach)
    found = registered_patterns(raw[None], ONE, reach)[0]
    np.testing.assert_allclose(found, by_brute_force(raw, reach), atol=0.01)


def test_pairs_of_states_share_the_past():
    """Detectors have the same history whatever is sent next: live gates are equally likely."""
    raw = np.vstack([independent(0.3), independent(1e-3)])
    reach = np.array([[3, 3], [4, 3]])
    mixed = registered_patterns(raw, np.array([0.4, 0.6]), reach)
    early = [
        [row[[p for p in range(16) if p & 1]].sum() for row in table] for table in (mixed, raw)
    ]
    live = np.divide(*early)
    assert live[0] == pytest.approx(live[1], rel=1e-9)
    assert 0.3 < live[0] < 0.9


def test_what_the_chain_cannot_hold_is_refused():
    with pytest.raises(DeviceError, match="dead time: found 499 pulses; allowed: 100"):
        registered_patterns(independent(0.1), ONE, np.full((2, 2), 500))
