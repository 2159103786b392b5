"""The closed form of dead time against renewal theory, brute force, and a loop."""

import itertools

import numpy as np
import pytest
from light_checks import LINKS, params

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import dead_time
from mdiqkd_net.physics.dead_time import registered_patterns, registration
from mdiqkd_net.physics.gates import gates_of
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


def by_iteration(raw, reach):
    """Registered patterns of detectors that start rested, pulse by pulse, until nothing changes.

    A plain chain over the ages of both detectors' last clicks, each with its bin.
    """
    memory = max(0, int(reach.max()) - 1)
    ages = [None] + [(age, m) for age in range(1, memory + 1) for m in range(2)]

    def registers(pattern, last, d):
        seen = None
        for m in range(2):
            dead = last is not None and last[0] < reach[last[1], m]
            hidden = m == 1 and seen == 0 and reach[0, 1] > 0
            if pattern >> (2 * m + d) & 1 and not dead and not hidden:
                yield m
                seen = m

    def then(last, seen):
        if seen and memory:
            return ages.index((1, seen[-1]))
        return 0 if last is None or last[0] == memory else ages.index((last[0] + 1, last[1]))

    seen = [[[list(registers(p, last, d)) for last in ages] for p in range(16)] for d in range(2)]
    after = np.array(
        [[[then(a, s) for a, s in zip(ages, row, strict=True)] for row in of] for of in seen]
    )
    bits = np.array(
        [
            [[sum(1 << (2 * m + d) for m in s) for s in row] for row in of]
            for d, of in enumerate(seen)
        ]
    )
    occupation = np.zeros((len(ages), len(ages)))
    occupation[0, 0] = 1.0
    for _ in range(100_000):
        now = np.zeros_like(occupation)
        for p in np.flatnonzero(raw):
            np.add.at(now, (after[0, p][:, None], after[1, p][None]), raw[p] * occupation)
        if np.abs(now - occupation).sum() < 1e-14:
            break
        occupation = now
    result = np.zeros((16, 16))
    for p in range(16):
        np.add.at(result[p], bits[0, p][:, None] | bits[1, p][None], now)
    return result


@pytest.mark.parametrize("dead_time_s", [0.3e-9, 0.6e-9, 1.2e-9, 7.7e-9])
@pytest.mark.parametrize("name", ["20 dB", "unequal arms", "misaligned, dark, dull"])
def test_the_chain_from_click_to_click_ends_where_pulses_lead(name, dead_time_s):
    receiver, transmittances, light = LINKS[name]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light).mean(axis=0)
    reach = gates_of(params(dead_time_s=dead_time_s, bin_separation_s=0.4e-9), 1e9).reach
    found = registration(raw, reach)
    np.testing.assert_allclose(found, by_iteration(raw, reach), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("reach", [[[1, 1], [2, 1]], [[3, 2], [3, 3]], [[20, 20], [21, 20]]])
def test_a_detector_by_itself_is_live_as_often_as_beside_the_other(reach):
    receiver, transmittances, light = LINKS["unequal detectors"]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light).mean(axis=0)
    together, alone = (
        registration(raw, np.array(reach), correlated=correlated) for correlated in (True, False)
    )
    for gate in range(4):
        clicks = [p for p in range(16) if p >> gate & 1]
        at_all = [raw @ table[:, clicks].sum(axis=1) for table in (together, alone)]
        assert at_all[0] == pytest.approx(at_all[1], rel=1e-10)
    # What they do together is another matter, and is why both are followed.
    both = [raw @ table[:, [5, 6, 9, 10]].sum(axis=1) for table in (together, alone)]
    assert abs(both[0] / both[1] - 1.0) > 1e-3


@pytest.mark.parametrize("name", ["20 dB", "unequal arms", "no interference"])
def test_taking_detectors_as_independent_costs_two_percent_at_most(name, monkeypatch):
    """At dead times that the chain of both could still hold, and is not asked to."""
    monkeypatch.setattr(dead_time, "MAX_MEMORY", 150)
    receiver, transmittances, light = LINKS[name]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light).mean(axis=0)
    reach = gates_of(params(dead_time_s=150e-9), 1e9).reach
    exact, independent = (
        raw @ registration(raw, reach, correlated=correlated)[:, [6, 9]].sum(axis=1)
        for correlated in (True, False)
    )
    assert 0.98 * exact < independent < exact


@pytest.mark.parametrize("dead_gates", [400, 20_001])
def test_detectors_by_themselves_may_be_dead_for_any_time(dead_gates):
    p = 1e-3
    reach = np.ceil([[dead_gates / 2, (dead_gates - 1) / 2], [(dead_gates + 1) / 2] * 2])
    reach[1, 1] = reach[0, 0]
    (raw,) = independent(p)
    found = raw @ registration(raw, reach.astype(np.int64), correlated=False)
    rate = 1.0 / (1.0 / p + dead_gates - 1)
    np.testing.assert_allclose(clicks_per_gate(found[None]), rate, rtol=1e-10)


def test_detectors_that_never_click_are_always_live():
    raw = np.zeros(16)
    raw[0] = 1.0
    for correlated in (True, False):
        found = registration(raw, np.array([[3, 3], [4, 3]]), correlated=correlated)
        assert found[6, 6] == 1.0


def test_detectors_that_never_forget_are_refused():
    raw = np.zeros(16)
    raw[15] = 1.0
    with pytest.raises(DeviceError, match="clicks so certain that detectors"):
        registration(raw, np.array([[3, 3], [4, 3]]))


def test_what_the_chain_cannot_hold_is_refused():
    with pytest.raises(DeviceError, match="dead time: found 499 pulses; allowed: 100"):
        registered_patterns(independent(0.1), ONE, np.full((2, 2), 500))
