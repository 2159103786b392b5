"""What runs out or runs wrong at one node, in simulated networks (CHAOS-16, 22)."""

from datetime import timedelta

from mdiqkd_net.simulation import network
from mdiqkd_net.simulation.life import EPOCH, Life
from mdiqkd_net.simulation.seeds import simulate

SEED = 4
"""Draws two users, who want two blocks."""


def test_the_time_of_day_decides_nothing(monkeypatch):
    """Clocks that jump by ten years and back: the same run, to the last byte that is sent."""
    right = simulate(SEED, [])
    jumps = [timedelta(days=-3650), timedelta(hours=1), timedelta(days=3650), timedelta(hours=-1)]

    def jumping(_):
        jumps.append(jumps.pop(0))
        return EPOCH + jumps[-1]

    monkeypatch.setattr(Life, "utc_now", jumping)
    wrong = simulate(SEED, [])
    assert wrong.violations == right.violations == ()
    assert wrong.trace == right.trace
    assert wrong.keys > 0


def test_without_pads_there_is_no_key_and_the_operator_is_told(monkeypatch):
    """A lease takes all the pads; a restart abandons it. No computational tag takes their place."""
    monkeypatch.setattr(network, "N_PADS", 16)
    monkeypatch.setattr(network, "LIVENESS_S", 30.0)
    outcome = simulate(SEED, [])
    assert outcome.keys > 0
    restarted = next(i for i, line in enumerate(outcome.history) if "no more faults" in line)
    after = outcome.history[restarted:]
    assert any("pair.failed" in line and "are used up" in line for line in after)
    assert not any("block.key" in line for line in after)
    assert {violation[:4] for violation in outcome.violations} == {"K10:"}
