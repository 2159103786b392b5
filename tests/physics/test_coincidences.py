"""The coincidence level. Statistical tests use fixed seeds and fail by chance below FALSE_ALARM."""

import numpy as np
import pytest
from light_checks import (
    BOTH_BINS,
    FALSE_ALARM,
    LINKS,
    amplitudes,
    draws,
    fit,
    level,
    params,
    simulate,
    uniform_states,
    with_,
)
from naive_light import run_loop
from scipy.stats import binomtest, chi2_contingency

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1
from mdiqkd_net.physics import _click_kernels, _draws
from mdiqkd_net.physics.coincidences import CLICK, EVENT
from mdiqkd_net.physics.dead_time import registered_patterns
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.optics import raw_patterns
from mdiqkd_net.physics.sampling import gap_scale, generator_state

PSI_MINUS_PATTERNS = [EARLY_0 | LATE_1, EARLY_1 | LATE_0]
PSI_PLUS_PATTERNS = [EARLY_0 | LATE_0, EARLY_1 | LATE_1]

HALF_DB = (*LINKS["20 dB"][:1], (0.5, 0.4), LINKS["20 dB"][2])
WITH_MEMORY = {
    "20 dB, 20 ns": with_(LINKS["20 dB"], dead_time_s=20e-9),
    "no loss to speak of, 20 ns": with_(HALF_DB, dead_time_s=20e-9),
    "shorter than the bins": with_(HALF_DB, dead_time_s=0.3e-9),
    "to the next pulse": with_(LINKS["misaligned, dark, dull"], dead_time_s=0.6e-9),
    "close bins": with_(HALF_DB, dead_time_s=3.1e-9, bin_separation_s=0.2e-9),
    "unequal detectors": with_(LINKS["unequal detectors"], dead_time_s=2.5e-9),
    "bright": with_(LINKS["bright"], dead_time_s=4e-9),
    "darks only": with_(LINKS["darks only"], dead_time_s=40e-9),
}


def registered(link):
    receiver, transmittances, light = link
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    return registered_patterns(raw, np.full(49, 1 / 49), gates_of(receiver, 1e9).reach)


@pytest.mark.parametrize("name", LINKS)
def test_without_memory_events_follow_the_raw_patterns(name):
    receiver, transmittances, light = link = LINKS[name]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    chances = raw[:, BOTH_BINS]
    n_pulses = int(5e5 / chances.mean() / 9)
    counts = simulate(link, n_pulses, seed=11)
    assert counts.sum() == counts[:, BOTH_BINS].sum()
    p_value, n_cells = fit(counts[:, BOTH_BINS], n_pulses / 49 * chances, n_pulses)
    assert n_cells > 80
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_with_dead_time_events_follow_the_closed_form(name):
    link = WITH_MEMORY[name]
    chances = registered(link)[:, BOTH_BINS]
    n_pulses = int(min(2e5 / chances.mean() / 9, 3e5 / level(link).bound))
    counts = simulate(link, n_pulses, seed=12)
    assert counts.sum() == counts[:, BOTH_BINS].sum()
    assert counts.sum() > 3000
    p_value, _ = fit(counts[:, BOTH_BINS], n_pulses / 49 * chances, n_pulses)
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("name", ["shorter than the bins", "to the next pulse", "close bins"])
def test_with_dead_time_events_are_those_of_a_loop_over_every_gate(name):
    """Two samples: chi-square of all pairs and patterns. The loop counts seconds, not pulses."""
    link, n = WITH_MEMORY[name], 2_000_000
    slow = run_loop(link, n, seed=5)[0][:, BOTH_BINS]
    fast = simulate(link, n, seed=6)[:, BOTH_BINS]
    frequent = slow + fast >= 50
    assert slow.sum() > 500
    rows = [[*table[frequent], table[~frequent].sum(), n - table.sum()] for table in (slow, fast)]
    assert chi2_contingency(np.array(rows)).pvalue > FALSE_ALARM


def test_neighboring_events_are_as_far_apart_as_in_a_loop():
    """Not just how many: gaps between events up to twice the dead time, two samples."""
    link = with_(LINKS["bright"], dead_time_s=3.1e-9, bin_separation_s=0.4e-9)

    def gaps(pulses):
        return np.bincount(np.minimum(np.diff(pulses), 60), minlength=61)

    of_loop = run_loop(link, 2_000_000, seed=7)[1]
    slow = np.flatnonzero((of_loop & 3 > 0) & (of_loop & 12 > 0))
    fast = np.concatenate(
        [done.detect(draw, *states)[0] for draw, *states, done in draws(link, 2_000_000, 8)]
    )
    assert slow.size > 20_000
    table = np.array([gaps(slow), gaps(fast)])
    table = table[:, table.sum(axis=0) >= 50]
    assert table.shape[1] > 10
    assert chi2_contingency(table).pvalue > FALSE_ALARM


def test_dead_time_that_spans_the_bins_halves_the_candidates():
    """Both clicks in one detector cannot become an event then, so nobody need look for them."""
    ideal, dead = level(LINKS["20 dB"]), level(WITH_MEMORY["20 dB, 20 ns"])
    assert dead.bound == pytest.approx(ideal.bound / 2, rel=0.02)


def test_dead_time_that_spans_the_bins_leaves_no_psi_plus():
    counts = simulate(WITH_MEMORY["20 dB, 20 ns"], 20_000_000, seed=13)
    assert counts[:, PSI_MINUS_PATTERNS].sum() > 1000
    assert counts[:, PSI_PLUS_PATTERNS].sum() == 0


@pytest.mark.parametrize("name", ["20 dB", "unequal arms", "misaligned, dark, dull"])
def test_bell_states_are_equally_frequent(name):
    """With states drawn uniformly, psi_minus and psi_plus differ by chance alone."""
    counts = simulate(LINKS[name], 20_000_000, seed=3)
    minus = int(counts[:, PSI_MINUS_PATTERNS].sum())
    plus = int(counts[:, PSI_PLUS_PATTERNS].sum())
    assert minus + plus > 1000
    assert binomtest(minus, minus + plus, 0.5).pvalue > FALSE_ALARM


@pytest.mark.parametrize("overlap", [1.0, 0.9, 0.0])
def test_x_error_of_weak_pulses_is_half_less_a_quarter_of_the_overlap(overlap):
    """Multi-photon pulses cost 25 % in x even at perfect interference (theory: 1/2 - M/4)."""
    weak = amplitudes(1e-3, 2e-3, 1e-3)
    receiver, transmittances, light = link = (
        params(1.0, 0.0, 0.0, overlap),
        (1.0, 1.0),
        (weak, weak),
    )

    def x_states(rng, n):
        return rng.integers(1, 3, n, dtype=np.uint8), rng.integers(1, 3, n, dtype=np.uint8)

    def errors_and_total(table):
        x_table = table.reshape(7, 7, 16)[1:3, 1:3]
        minus = x_table[..., PSI_MINUS_PATTERNS].sum(axis=-1)
        plus = x_table[..., PSI_PLUS_PATTERNS].sum(axis=-1)
        return np.trace(minus) + plus.sum() - np.trace(plus), minus.sum() + plus.sum()

    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    wrong_chance, chance = errors_and_total(raw)
    # The limit of no light, up to a correction of the order of the intensity.
    assert wrong_chance / chance == pytest.approx(0.5 - overlap / 4, abs=1e-3)
    counts = simulate(link, 2 * 10**11, seed=8, states_of=x_states)
    wrong, total = errors_and_total(counts)
    assert total > 50_000
    assert binomtest(int(wrong), int(total), wrong_chance / chance).pvalue > FALSE_ALARM


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_the_two_coins_of_a_pulse_add_up_to_its_raw_patterns(name):
    receiver, transmittances, light = link = WITH_MEMORY[name]
    made = level(link)
    found = (
        made.bound * made.chances[EVENT] + (1 - made.bound) * made.bound_click * made.chances[CLICK]
    )
    found[:, 0] += (1 - made.bound) * (1 - made.bound_click)
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    np.testing.assert_allclose(found, raw, rtol=1e-10, atol=1e-15)
    assert made.chances.min() >= 0.0


def python_clusters(scales, memory, state, n_pulses):
    """What is asked about, candidate by candidate: (pulse, kind)."""
    position, asked = 0, []
    while True:
        skipped = int(_draws.exponential(state) * scales[0])
        if position + skipped >= n_pulses:
            return asked
        cluster = [(position + skipped, EVENT)]
        while memory:
            skipped = int(_draws.exponential(state) * scales[1])
            before = cluster[-1][0] - 1 - skipped
            if skipped >= memory or before < position:
                break
            cluster.append((before, CLICK))
        asked += cluster[::-1]
        position = cluster[0][0] + 1


@pytest.mark.parametrize(
    ("bounds", "memory"), [((1e-3, 0.07), 20), ((0.3, 0.5), 3), ((1e-4, 0.3), 1000), ((0.1, 1), 1)]
)
def test_clusters_are_those_of_plain_python(bounds, memory):
    scales = [gap_scale(p) for p in bounds]
    state = generator_state(np.random.SeedSequence(1))
    expected = python_clusters(scales, memory, state.copy(), 200_000)
    progress, waiting = np.zeros(4, dtype=np.int64), np.empty(100_000, dtype=np.int64)
    pulses, kinds = np.empty(200_000, dtype=np.int64), np.empty(200_000, dtype=np.uint8)
    n = _click_kernels.draw_clusters(
        state, *scales, memory, 200_000, progress, waiting, pulses, kinds
    )
    assert len(expected) > 150
    assert list(zip(pulses[:n].tolist(), kinds[:n].tolist(), strict=True)) == expected
    assert progress[0] == 200_000


def test_no_pulse_is_asked_about_twice_however_dense_the_clicks():
    """Where dead time spans many clicks, clusters merge, and in the end every pulse is asked."""
    link = with_(LINKS["bright"], dead_time_s=200e-9)
    pulses = np.concatenate([draw.pulses for draw, *_ in draws(link, 100_000, 1, batch=777)])
    assert (np.diff(pulses) > 0).all()
    assert pulses.size > 0.9 * level(link).bound_click * 100_000


def python_registered(raw, pulse, reach, last):
    """Gate by gate: a click is lost if the last one of its detector reaches here."""
    seen = 0
    for m in range(2):
        for d in range(2):
            dead = last[d] is not None and pulse - last[d][0] < reach[last[d][1], m]
            if raw >> (2 * m + d) & 1 and not dead:
                seen |= 1 << (2 * m + d)
                last[d] = (pulse, m)
    return seen


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_registered_clicks_are_those_of_plain_python(name):
    reach = gates_of(WITH_MEMORY[name][0], 1e9).reach
    rng = np.random.default_rng(3)
    pulses = np.cumsum(rng.integers(1, 1 + reach.max(), 3000))
    raws = rng.integers(0, 16, 3000)
    live, last = (0, 0, 0, 0), [None, None]
    for pulse, raw in zip(pulses.tolist(), raws.tolist(), strict=True):
        seen, live = _click_kernels.register(raw, pulse, tuple(reach.ravel().tolist()), live)
        assert seen == python_registered(raw, pulse, reach, last)


@pytest.mark.parametrize("name", ["20 dB, 20 ns", "bright"])
def test_detections_are_those_of_plain_python(name):
    link = WITH_MEMORY[name]
    made = level(link)
    drawing, detecting = np.random.SeedSequence(2).spawn(2)
    draw = made.drawing(drawing, 10**9).next(5000)
    alice, bob = uniform_states(np.random.default_rng(4), 5000)
    state, last, expected = generator_state(detecting), [None, None], []
    keep, other = made.tables
    for pulse, kind, pair in zip(
        draw.pulses.tolist(), draw.kinds.tolist(), (7 * alice + bob).tolist(), strict=True
    ):
        column, rest = divmod(16 * _draws.uniform(state), 1)
        row, column = 49 * kind + pair, int(column)
        raw = column if rest < keep[row, column] else int(other[row, column])
        seen = python_registered(raw, pulse, made.reach, last)
        if seen & 3 and seen & 12:
            expected.append((pulse, seen))
    clicked, patterns = made.detection(detecting, 10**9).detect(draw, alice, bob)
    assert len(expected) > 20
    assert list(zip(clicked.tolist(), patterns.tolist(), strict=True)) == expected
