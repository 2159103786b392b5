"""Draws of single pulses; fixed seeds, false alarm at most 1e-6 each."""

import math

import numpy as np
import pytest
from imperfect import make_link
from scipy.stats import chisquare, kstest

from mdiqkd_net.imperfections import PatternEffect, TransmitterParams
from mdiqkd_net.physics.pair_optics import PHASE_CELLS, Arm, PairOptics, PhaseLaw, pair_optics
from mdiqkd_net.physics.pulse_draws import PulseDraws

FALSE_ALARM = 1e-6
PULSES = np.cumsum(np.random.default_rng(0).integers(1, 50, 50_000))


def optics(alice=None, bob=None, phase=None):
    link = make_link(alice or TransmitterParams(), bob or TransmitterParams())
    found = pair_optics(link.receiver, (Arm.of(link.alice), Arm.of(link.bob)), pulse_rate_hz=1e9)
    law = found.phase if phase is None else phase
    return PairOptics(found.receiver, found.transmittances, found.light, law)


def draws(seed=1, first_pulse=0, **keys):
    return PulseDraws(optics(**keys), np.random.SeedSequence(seed), first_pulse)


def test_without_ties_states_are_rows():
    plain = draws(alice=TransmitterParams(intensity_noise=0.1))
    states = np.zeros(PULSES.size, dtype=np.uint8), np.ones(PULSES.size, dtype=np.uint8)
    assert plain.asked(PULSES) is PULSES
    assert plain.rows(PULSES, PULSES, states) == states


def test_shared_phases_choose_the_nearest_cell():
    law = PhaseLaw(uniform=False, levels=4, variance=0.1)
    states = (np.full(PULSES.size, 3, dtype=np.uint8),) * 2
    alice, bob = draws(phase=law).rows(PULSES, PULSES, states)
    phases = draws(phase=law).phases(PULSES)
    assert set(bob.tolist()) == {3}
    assert set((alice % 7).tolist()) == {3}
    distance = (alice // 7) * 2 * np.pi / PHASE_CELLS - phases
    assert np.abs((distance + np.pi) % (2 * np.pi) - np.pi).max() < np.pi / PHASE_CELLS + 1e-9


def test_rows_of_a_transmitter_with_memory_name_the_setting_before():
    memory = TransmitterParams(pattern_effect=PatternEffect(z=0.1))
    remembering = draws(bob=memory)
    pulses = np.array([0, 3, 4, 9])
    asked = remembering.asked(pulses)
    assert asked.tolist() == [0, 2, 3, 4, 8, 9]
    alice = np.array([1, 1, 1, 1, 1, 1], dtype=np.uint8)
    bob = np.array([6, 5, 1, 3, 0, 2], dtype=np.uint8)
    rows = remembering.rows(pulses, asked, (alice, bob))
    assert rows[0].tolist() == [1, 1, 1, 1]
    # Before: rest, z, x, o.
    assert rows[1].tolist() == [6, 3 * 7 + 1, 1 * 7 + 3, 2]


def test_discrete_phases_are_equally_likely():
    law = PhaseLaw(uniform=False, levels=16)
    phases = draws(phase=law).phases(PULSES)
    levels = phases * 16 / (2 * math.pi)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-9)
    assert chisquare(np.bincount(np.rint(levels).astype(int), minlength=16)).pvalue > FALSE_ALARM


def test_a_walking_phase_has_independent_gaussian_steps_and_starts_anywhere():
    law = PhaseLaw(uniform=False, variance=1e-3)
    phases = draws(phase=law).phases(PULSES)
    steps = np.diff(phases) / np.sqrt(1e-3 * np.diff(PULSES))
    assert kstest(steps, "norm").pvalue > FALSE_ALARM
    starts = [draws(seed, phase=law).phases(PULSES[:1])[0] % (2 * math.pi) for seed in range(500)]
    assert kstest(np.array(starts) / (2 * math.pi), "uniform").pvalue > FALSE_ALARM


@pytest.mark.parametrize("advance", [0.125, -3.25, 1e-9])
def test_detuned_lasers_beat_from_the_first_pulse_of_the_block(advance):
    law = PhaseLaw(uniform=False, advance=advance)
    pulses = np.array([0, 1, 7, 10**9])
    turns = np.exp(1j * draws(first_pulse=10**6, phase=law).phases(pulses))
    exact = [math.fmod((10**6 + int(p)) * advance, 1.0) for p in pulses]
    np.testing.assert_allclose(turns, np.exp(2j * np.pi * np.array(exact)), atol=1e-6)


def test_all_laws_add_up_and_no_cut_shows():
    law = PhaseLaw(uniform=False, levels=4, advance=0.01, variance=0.1)
    whole, cut = draws(phase=law), draws(phase=law)
    parts = [cut.phases(part) for part in np.array_split(PULSES, [0, 1, 7, 4000])]
    np.testing.assert_array_equal(np.concatenate(parts), whole.phases(PULSES))
