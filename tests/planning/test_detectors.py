"""Parameter sets: overlays, and what a link is through detectors that rest and repeat."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics.link_clicks import left_out, shares_matter
from mdiqkd_net.planning.detectors import BUILT_IN, FILE, Detectors, chosen, receiver_with, seen


@pytest.fixture
def link():
    arm = UserLink(
        x=Setting(0.05, 0.2),
        y=Setting(0.2, 0.1),
        z=Setting(0.5, 0.6),
        length_km=20.0,
        attenuation_db_per_km=0.2,
    )
    return Link(
        n_pulses=10**12,
        alice=arm,
        bob=replace(arm, length_km=30.0),
        receiver=ReceiverParams(
            efficiency=0.5, dark_probability=1e-6, misalignment=0.01, mode_overlap=0.98
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def test_the_file_itself_changes_nothing(link):
    light = seen(link, BUILT_IN[FILE], 1e9)
    assert (light.link, light.pulse_rate_hz, light.live) == (link, 1e9, 1.0)


def test_tables_of_a_user_add_to_what_is_built_in():
    own = {"snspd": Detectors(capital_eur=5.0), "mine": Detectors(efficiency=0.3)}
    sets = chosen(["snspd", "mine"], own)
    assert sets["snspd"] == replace(BUILT_IN["snspd"], capital_eur=5.0)
    assert sets["mine"] == Detectors(efficiency=0.3)
    with pytest.raises(ConfigError, match="found 'none'; allowed: file, spad, snspd, mine"):
        chosen(["none"], own)
    with pytest.raises(ConfigError, match="each name once"):
        chosen(["spad", "spad"], {})


def test_costs_per_hour_need_all_three_numbers():
    whole = Detectors(capital_eur=8766.0, per_year_eur=8766.0, lifetime_years=2.0)
    assert whole.cost_per_hour_eur == pytest.approx(1.5)
    assert Detectors(capital_eur=1.0, per_year_eur=1.0).cost_per_hour_eur is None


def test_dark_counts_are_those_of_the_gate(link):
    for gate_s, expected_s in ((0.2e-9, 0.2e-9), (5e-9, 0.5e-9), (None, 0.5e-9)):
        detectors = Detectors(dark_rate_hz=1e4, gate_s=gate_s)
        found = receiver_with(link.receiver, detectors, 1e9)
        assert found.dark_probability == pytest.approx(1e4 * expected_s)
        assert found.efficiency == 0.5


def test_the_receivers_own_dead_time_counts_unless_a_set_has_one(link):
    slow = replace(link, receiver=replace(link.receiver, dead_time_s=20e-9))
    as_a_set = seen(link, Detectors(dead_time_s=20e-9), 1e9)
    assert seen(slow, BUILT_IN[FILE], 1e9).live == as_a_set.live < 1.0
    assert seen(slow, Detectors(dead_time_s=0.0), 1e9).live == 1.0


def test_slow_detectors_slow_the_clock_and_lose_psi_plus(link):
    light = seen(link, Detectors(max_pulse_rate_hz=1e8, dead_time_s=6e-9), 1e9)
    assert light.pulse_rate_hz == 1e8
    assert light.link.bell_states == ("psi_minus",)
    assert seen(link, Detectors(dead_time_s=0.4e-9), 1e9).link.bell_states == link.bell_states
    with pytest.raises(ConfigError, match="cannot tell psi_plus"):
        seen(replace(link, bell_states=("psi_plus",)), Detectors(dead_time_s=1e-9), 1e9)


@pytest.mark.parametrize("dead_gates", [20, 200])
def test_load_against_a_simulation_of_gates(link, dead_gates):
    """Two detectors, gate by gate; false alarm: a deviation beyond 7 standard errors."""
    rng = np.random.default_rng(3)
    n_gates = 400_000
    detectors = Detectors(dead_time_s=dead_gates * 0.5e-9, afterpulse_probability=0.05)
    light = seen(link, detectors, 1e9)
    again = (light.link.receiver.dark_probability - 1e-6) / 0.05  # clicks per live gate
    mean = sum(
        u.transmittance * float(np.dot(u.probabilities, u.intensities))
        for u in (link.alice, link.bob)
    )
    assert again == pytest.approx((0.25 * 0.5 * mean + 1e-6) / 0.95)
    chance = -math.expm1(-again)
    alive = np.ones(n_gates, dtype=bool)
    both = np.ones(n_gates, dtype=bool)
    for _ in range(2):
        alive[:] = True
        at = 0
        while at < n_gates:
            at += int(rng.geometric(chance))
            alive[at : at + dead_gates] = False
            at += dead_gates
        both &= alive
    # Samples are correlated over a dead time; blocks of 40 of them are nearly independent.
    size = 40 * dead_gates
    shares = both[: n_gates // size * size].reshape(-1, size).mean(axis=1)
    error = shares.std() / math.sqrt(shares.size)
    assert abs(shares.mean() - light.live) < 7.0 * error + 0.01 * light.live
    assert light.link.n_pulses == round(link.n_pulses * light.live)


def test_memory_of_the_file_is_charged_once(link):
    """By the live pulses and more darks; what is left to predict has independent gates."""
    spad = replace(link, receiver=replace(link.receiver, detector="spad_ingaas"))
    light = seen(spad, BUILT_IN[FILE], 1e8)
    assert light.live < 1.0
    assert left_out(light.link) == []
    assert not shares_matter(light.link)
    # A set without a dead time takes that of the file away.
    rested = seen(spad, Detectors(dead_time_s=0.0, afterpulse_probability=0.0), 1e8)
    assert rested.live == 1.0
    assert not shares_matter(rested.link)
