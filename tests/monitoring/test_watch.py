"""Monitors: quiet over honest blocks, and each loud over what it is for.

An honest block raises an alarm of one of the nine rules of chance in fewer than one of 10^5 cases
(`FALSE_ALARM` each); seeds are fixed.
"""

import copy

import msgspec
import numpy as np
import pytest
from triangle import RECEIVER, RELAY_KEY, SOURCE
from watched import public, simulated

from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.lists import Events
from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.monitoring.watch import RELAY_ENDS, Watch

N_PULSES = 20_000_000
STEP_S = 600.0


@pytest.fixture(scope="module")
def quiet():
    """A watch that has seen four honest blocks; and what it said."""
    watch = Watch()
    said = [watch.observe(simulated(seed), STEP_S * seed) for seed in range(1, 5)]
    return watch, said


def look(watch, block, t_s=5 * STEP_S):
    """Alarms over a block, without the watch taking note of it."""
    found = copy.deepcopy(watch).observe(block, t_s)
    return {alarm.monitor for alarm in found.alarms}


def test_honest_blocks_raise_no_alarm(quiet):
    _, said = quiet
    assert all(not found.alarms for found in said)
    assert {name for found in said for name in found.figures} == {
        f"MON-{i:02d}" for i in range(1, 11)
    }


def test_figures_are_plain_and_near_the_truth(quiet):
    _, said = quiet
    figures = msgspec.json.decode(msgspec.json.encode(said[-1].figures))
    assert figures["MON-01"]["psi_minus_share"] == pytest.approx(0.5, abs=0.01)
    assert figures["MON-03"]["qber_z"] == pytest.approx(0.01, abs=0.002)
    assert figures["MON-07"]["visibility"] == pytest.approx(0.5, abs=0.02)


AT_ONCE = {
    "blinding": {"MON-03"},
    "efficiency_mismatch": {"MON-01"},
    "time_selection": {"MON-05"},
}
"""What shows a hostile relay to a watch without a history."""


@pytest.mark.parametrize(
    "name", [name for name, c in BEHAVIOURS.items() if set(c.monitors) - {"MON-09"}]
)
def test_hostile_relays_are_shown_by_the_monitors_that_the_registry_names(quiet, name):
    conduct = BEHAVIOURS[name]
    behaviour = conduct.behaviour(Extent(), RELAY_KEY, np.random.default_rng(1))

    def lied(pulses, outcomes):
        events = behaviour.both(Events(pulses, outcomes, 0, N_PULSES))
        return events.pulses, events.outcomes

    receiver = msgspec.structs.replace(RECEIVER, attack=conduct.attack)
    block = simulated(9, receiver=receiver, twist=None if conduct.attack else lied)
    assert set(conduct.monitors) <= look(quiet[0], block)
    assert AT_ONCE.get(name, set()) <= look(Watch(), block)


def swapped(pulses, outcomes):
    coin = np.random.default_rng(1).random(outcomes.size) < 0.1
    return pulses, outcomes ^ coin.astype(np.uint8)


def invented(pulses, outcomes):
    rng = np.random.default_rng(2)
    more = np.setdiff1d(rng.integers(0, N_PULSES, pulses.size // 20), pulses)
    every = np.concatenate([pulses, more])
    labels = np.concatenate([outcomes, rng.integers(0, 2, more.size, dtype=np.uint8)])
    order = np.argsort(every)
    return every[order], labels[order]


def one_label_rarer(pulses, outcomes):
    kept = (outcomes == 0) | (np.arange(outcomes.size) % 2 == 0)
    return pulses[kept], outcomes[kept]


def every_seventh_weaker(pulses, outcomes):
    kept = (pulses % 7 > 0) | (np.random.default_rng(3).random(pulses.size) < 0.95)
    return pulses[kept], outcomes[kept]


def longer_dead_time(pulses, outcomes):
    kept = np.diff(pulses, prepend=-100) > 5
    return pulses[kept], outcomes[kept]


@pytest.mark.parametrize(
    ("twist", "monitors"),
    [
        (swapped, {"MON-03", "MON-07"}),
        (invented, {"MON-02", "MON-03"}),
        (one_label_rarer, {"MON-01"}),
        (every_seventh_weaker, {"MON-05"}),
        (longer_dead_time, {"MON-05"}),
    ],
)
def test_small_lies_are_shown(quiet, twist, monitors):
    assert monitors <= look(quiet[0], simulated(9, twist=twist))


def test_commissioned_figures_show_an_attack_in_the_first_block():
    honest = simulated(5)
    shares = np.outer(*honest.probabilities).ravel() * N_PULSES
    settings = honest.announced.settings
    counts = np.bincount(settings[0] << 2 | settings[1], minlength=16)
    names = [a + b for a in "oxyz" for b in "oxyz"]
    gains = dict(zip(names, (counts / shares).tolist(), strict=True))
    told = Commissioned(gains=gains, visibility=0.5, dead_pulses=0)
    assert look(Watch(told), honest) == set()
    receiver = msgspec.structs.replace(RECEIVER, attack="photon_number")
    assert {"MON-02", "MON-07"} <= look(Watch(told), simulated(9, receiver=receiver))


CHANCES = np.repeat(SOURCE.probabilities, [1, 2, 2, 2]) / [1, 2, 2, 2, 2, 2, 2]
"""Of the states 0 to 6."""


def random_block(rng, *, weight=None, n_pulses=3_000_000):
    """Events at a tenth of the pulses; `weight` of a pulse's chance, given all states."""
    states = tuple(rng.choice(7, n_pulses, p=CHANCES).astype(np.uint8) for _ in range(2))
    chance = 0.1 if weight is None else 0.1 * weight(states)
    pulses = np.flatnonzero(rng.random(n_pulses) < chance)
    outcomes = rng.integers(0, 2, pulses.size, dtype=np.uint8)
    return public(pulses, outcomes, tuple(of[pulses] for of in states), n_pulses)


def brighter_after_z(states):
    after = np.concatenate([[False], states[1][:-1] >= 5])
    return np.where(after, 1.1, 1.0)


def seen_less_in_z(states):
    return np.where((states[0] >= 5) & (states[1] >= 5), 0.3, 1.0)


def test_a_pattern_effect_shows_in_the_memory_alone():
    rng = np.random.default_rng(7)
    assert "MON-10" not in look(Watch(), random_block(rng))
    assert "MON-10" in look(Watch(), random_block(rng, weight=brighter_after_z))


def yields(states):
    """Single-photon pairs alone: both users must not be dark, brighter settings more often."""
    light = np.array([0.0, 0.12, 0.12, 0.38, 0.38, 0.55, 0.55])
    return 0.3 * light[states[0]] * light[states[1]]


def test_a_basis_that_is_seen_less_shows():
    rng = np.random.default_rng(8)
    assert "MON-04" not in look(Watch(), random_block(rng, weight=yields))
    worse = random_block(rng, weight=lambda states: yields(states) * seen_less_in_z(states))
    assert "MON-04" in look(Watch(), worse)


def test_bounds_that_fall_from_block_to_block_show():
    """Sixty honest blocks; then a shift by one spread. Chance alone: 60 times 7e-7."""
    rng, watch, alarms = np.random.default_rng(4), Watch(), []
    events = random_block(rng, n_pulses=1000)
    for i in range(120):
        level = 0.1 if i < 60 else 0.099
        y11 = float(rng.normal(level, 0.001))
        block = changed(events, y11_lower=y11, e11_upper=0.1)
        found = watch.observe(block, STEP_S * i)
        alarms += [i for alarm in found.alarms if alarm.monitor == "MON-06"]
    assert alarms
    assert min(alarms) >= 60


def changed(block, **fields):
    values = {name: getattr(block, name) for name in block.__slots__}
    return type(block)(**{**values, **fields})


def test_announcements_that_come_late_show():
    rng, watch = np.random.default_rng(6), Watch()
    covered = np.arange(1, 501) * 1000
    block = changed(random_block(rng, n_pulses=1000), covered=covered)
    steady = covered * 1e-4
    jitter = rng.exponential(0.2, covered.size)
    assert not watch.observe(block, 0.0, steady + jitter).alarms
    found = watch.observe(block, 60.0, steady + jitter)
    assert not found.alarms
    assert found.figures["MON-08"]["lag_p99_s"] > 0.5
    held = steady + np.where(np.arange(500) // 50 % 2, 5.0, 0.0)
    found = watch.observe(block, 120.0, held)
    assert [alarm.monitor for alarm in found.alarms] == ["MON-08"]
    assert found.figures["MON-08"]["late"] > 100


def ended(how):
    block = random_block(np.random.default_rng(1), n_pulses=1000)
    return changed(block, end=how, announced=None)


def test_an_equivocation_pages_at_once_and_calling_off_after_a_while():
    watch = Watch()
    assert [a.monitor for a in watch.observe(ended("equivocation"), 0.0).alarms] == ["MON-09"]
    for i in range(RELAY_ENDS):
        assert not watch.observe(ended("relay"), float(i)).alarms
    (alarm,) = watch.observe(ended("relay"), 10.0).alarms
    assert "6 sessions" in alarm.reason
    later = watch.observe(ended("relay"), 90_000.0)
    assert later.figures["MON-09"]["ends"] == {"relay": 1}
    assert not later.alarms


def test_a_block_without_events_or_reveals_is_only_counted():
    watch = Watch()
    none = np.empty(0, np.int64)
    labels = np.empty(0, np.uint8)
    empty = public(none, labels, (labels, labels), 1000, SOURCE, n_key=0, m_key=None)
    assert set(watch.observe(empty, 0.0).figures) == {"MON-08", "MON-09"}
    untold = random_block(np.random.default_rng(2), n_pulses=20_000)
    announced = changed(untold.announced, test_wrong=None)
    found = watch.observe(changed(untold, announced=announced, m_key=None), 1.0)
    assert found.figures["MON-07"] == {"visibility": None}


def test_an_alarmed_block_is_no_measure_for_later_ones(quiet):
    watch = copy.deepcopy(quiet[0])
    receiver = msgspec.structs.replace(RECEIVER, attack="time_selection")
    for i in range(2):
        found = watch.observe(simulated(10 + i, receiver=receiver), (5 + i) * STEP_S)
        assert "MON-01" in {alarm.monitor for alarm in found.alarms}
    assert not watch.observe(simulated(12), 8 * STEP_S).alarms
