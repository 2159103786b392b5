"""How often monitors cry over honest blocks, at a level where that can be counted."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from triangle import SOURCE
from watched import public

from mdiqkd_net.monitoring import rules, table
from mdiqkd_net.monitoring.watch import Watch

LEVEL = 0.03
N_BLOCKS = 200
CHANCES = np.repeat(SOURCE.probabilities, [1, 2, 2, 2]) / [1, 2, 2, 2, 2, 2, 2]
LIGHT = np.repeat(SOURCE.intensities, [1, 2, 2, 2])
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "monitors.md"


def steady_block(rng, n_pulses=60_000, density=0.1):
    """Events of one law: pulses without a memory, settings by the yields of single photons."""
    pulses = np.cumsum(rng.geometric(density, int(1.2 * density * n_pulses))) - 1
    pulses = pulses[pulses < n_pulses]
    weights = np.outer(CHANCES * LIGHT, CHANCES * LIGHT).ravel()
    pairs = rng.choice(weights.size, pulses.size, p=weights / weights.sum())
    states = tuple(side.astype(np.uint8) for side in np.divmod(pairs, LIGHT.size))
    outcomes = rng.integers(0, 2, pulses.size, dtype=np.uint8)
    return public(pulses, outcomes, states, n_pulses)


def test_monitors_cry_over_honest_blocks_as_rarely_as_they_say(monkeypatch):
    """The level raised to 3 %; each count passes its limit by chance in 1e-6 of all runs."""
    monkeypatch.setattr(rules, "FALSE_ALARM", LEVEL)
    monkeypatch.setattr(rules, "RATE_Z", stats.norm.isf(LEVEL / 2))
    rng, watch = np.random.default_rng(11), Watch()
    n_alarms = dict.fromkeys(rules.RULES, 0)
    for i in range(N_BLOCKS):
        for alarm in watch.observe(steady_block(rng), 600.0 * i).alarms:
            if alarm.monitor in n_alarms:
                n_alarms[alarm.monitor] += 1
    most = stats.binom.isf(1e-6, N_BLOCKS, LEVEL)
    assert all(n <= most for n in n_alarms.values()), n_alarms
    assert sum(n_alarms.values()) > 0, "the level was not raised"


def test_every_monitor_states_its_chance():
    assert list(table.LIMITS) == [f"MON-{i:02d}" for i in range(1, 11)]
    no_chance = {name for name, limit in table.LIMITS.items() if limit.chance is None}
    assert no_chance == {"MON-08", "MON-09"}
    for name in table.LIMITS.keys() - no_chance:
        assert table.LIMITS[name].chance == pytest.approx(1e-6, rel=0.3)


def test_a_fair_share_of_labels_passes_its_limit_as_rarely_as_stated():
    n = rules.ENOUGH_FOR_SHARE
    beyond = 2.0 * stats.binom.sf(np.floor((0.5 + rules.SHARE_LIMIT) * n), n, 0.5)
    assert 0.0 < beyond <= rules.FALSE_ALARM


def test_the_manual_shows_the_table():
    assert table.markdown() in PAGE.read_text(encoding="utf-8")
