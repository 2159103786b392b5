"""The short version of the check, and that it would see a mistake."""

import msgspec
import pytest

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.check import LEAST_P, check
from mdiqkd_net.laboratory.experiments import EXPERIMENTS, dead_time, gains, overlap, recovery
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.levels import AVAILABLE

N_EVENTS = 20_000


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_light_agrees_with_the_closed_forms(name):
    """One seed per experiment; no p value at or below 1e-4, the command's own verdict."""
    for found in check([name], seed=1, n_events=N_EVENTS):
        for finding in found:
            assert finding.p_value > LEAST_P, finding
            assert finding.n_events > N_EVENTS / 10
            assert finding.points or finding.rows


@pytest.mark.parametrize("level", AVAILABLE)
def test_every_level_shows_the_same_gains(level):
    for found in check(["overlap", "hom_dip"], seed=2, n_events=N_EVENTS // 4, level=level):
        for finding in found:
            assert finding.level == level
            assert finding.p_value > LEAST_P, finding


def test_a_wrong_overlap_is_seen(monkeypatch):
    """The peers' mistake: X errors of lasers as if they were single photons."""
    right = expected.error_gains

    def single_photons(link):
        return {c: m * (0.04 / 0.25 if c[0] in "xy" else 1.0) for c, m in right(link).items()}

    monkeypatch.setattr(expected, "error_gains", single_photons)
    for finding in overlap.run((1,), N_EVENTS, "coincidence"):
        assert finding.p_value < LEAST_P


def test_a_gain_that_is_one_per_cent_off_is_seen():
    link = gains.link_at(20.0)
    n = light.pulses_for(link, 400_000)
    tally = light.run(msgspec.structs.replace(link, n_pulses=n), (1,))
    dimmer = msgspec.structs.replace(link.receiver, efficiency=0.8 * 0.995)
    wrong = msgspec.structs.replace(link, n_pulses=n, receiver=dimmer)
    total = light.expected_counts(wrong).sum()
    assert abs(tally.counts.sum() - total) > 4.0 * total**0.5


def test_a_wrong_dead_time_is_seen(monkeypatch):
    monkeypatch.setattr(dead_time, "_GATE_S", 0.6e-9)
    (finding,) = dead_time.run((1,), N_EVENTS, "click")
    assert finding.p_value < LEAST_P


def test_a_wrong_recovery_is_seen(monkeypatch):
    right = recovery._gap
    monkeypatch.setattr(recovery, "_gap", lambda recovery_s: right(1.3 * recovery_s))
    (finding,) = recovery.run((1,), N_EVENTS, "click")
    assert finding.p_value < LEAST_P


def test_the_same_seed_replays_bit_for_bit_also_in_parallel():
    names = ["overlap", "dead_time"]
    alone = list(check(names, seed=3, n_events=2000, repeats=2))
    together = list(check(names, seed=3, n_events=2000, repeats=2, jobs=2))
    assert alone == together
    # A repeat is a sample of its own, and an experiment does not depend on its company.
    assert alone[0] != alone[1]
    assert list(check(["dead_time"], seed=3, n_events=2000)) == [alone[2]]
    assert list(check(["dead_time"], seed=4, n_events=2000)) != [alone[2]]
