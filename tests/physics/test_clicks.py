"""The click level. Statistical tests use fixed seeds and fail by chance below FALSE_ALARM."""

import math

import numpy as np
import pytest
from light_checks import (
    BOTH_BINS,
    FALSE_ALARM,
    LINKS,
    draws,
    fit,
    level,
    params,
    simulate,
    uniform_states,
    with_,
)
from naive_light import afterpulse_cuts_of, run_loop
from scipy.stats import binomtest, chi2_contingency, chisquare, geom

from mdiqkd_net.physics import _draws
from mdiqkd_net.physics.dead_time import registered_patterns
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.gates import first_gates, gates_of
from mdiqkd_net.physics.optics import raw_patterns
from mdiqkd_net.physics.sampling import generator_state

HALF_DB = (*LINKS["20 dB"][:1], (0.5, 0.4), LINKS["20 dB"][2])
MEMORIES = {
    "none": with_(LINKS["misaligned, dark, dull"], level="click"),
    "20 ns": with_(HALF_DB, level="click", dead_time_s=20e-9),
    "unequal detectors": with_(LINKS["unequal detectors"], level="click", dead_time_s=2.5e-9),
    "short": with_(HALF_DB, level="click", dead_time_s=0.3e-9),
}
SPADS = {
    "afterpulses": with_(
        HALF_DB,
        level="click",
        dead_time_s=3.3e-9,
        afterpulse_probability=0.3,
        afterpulse_decay_s=8e-9,
    ),
    "afterpulses in the same pulse": with_(
        LINKS["unequal detectors"],
        level="click",
        dead_time_s=0.2e-9,
        bin_separation_s=0.3e-9,
        afterpulse_probability=0.2,
        afterpulse_decay_s=1e-9,
    ),
    "silicon": with_(HALF_DB, level="click", detector="spad_silicon", jitter_s=0.0),
}
RECOVERING = {
    "recovery": with_(HALF_DB, level="click", dead_time_s=2.2e-9, recovery_s=6e-9),
    "recovery without dead time": with_(
        LINKS["unequal detectors"], level="click", recovery_s=0.7e-9, bin_separation_s=0.3e-9
    ),
    "recovery with afterpulses": with_(
        HALF_DB,
        level="click",
        dead_time_s=1.1e-9,
        recovery_s=4e-9,
        afterpulse_probability=0.3,
        afterpulse_decay_s=3e-9,
    ),
    "nanowire": with_(
        (HALF_DB[0], (0.3, 0.25), HALF_DB[2]), level="click", detector="snspd_recovering"
    ),
}
REMEMBERING = {**SPADS, **RECOVERING}
DARK = (0 * LINKS["20 dB"][2][0],) * 2


def all_clicks(link, n_pulses, seed, **how):
    """Pulses and patterns of every click."""
    made = [
        done.clicks(draw, *states) for draw, *states, done in draws(link, n_pulses, seed, **how)
    ]
    return tuple(np.concatenate(parts) for parts in zip(*made, strict=True))


@pytest.mark.parametrize("name", MEMORIES)
def test_without_afterpulses_clicks_follow_the_closed_form(name):
    """All patterns, also those in one bin."""
    receiver, transmittances, light = link = MEMORIES[name]
    raw = raw_patterns(receiver=receiver, transmittances=transmittances, light=light)
    reach = gates_of(receiver, 1e9).reach
    chances = registered_patterns(raw, np.full(49, 1 / 49), reach)[:, 1:]
    n_pulses, counts = 3_000_000, np.zeros((49, 16), dtype=np.int64)
    for draw, alice, bob, done in draws(link, n_pulses, 21):
        clicked, patterns = done.clicks(draw, alice, bob)
        index = np.searchsorted(draw.pulses, clicked)
        assert (draw.pulses[index] == clicked).all()
        np.add.at(counts, (7 * alice[index].astype(int) + bob[index], patterns), 1)
    p_value, n_cells = fit(counts[:, 1:], n_pulses / 49 * chances, n_pulses)
    assert n_cells > 200
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("name", MEMORIES)
def test_coincidences_are_those_of_the_coincidence_level(name):
    """Two levels, two samples: chi-square of all pairs and patterns."""
    n = 4_000_000
    click = simulate(MEMORIES[name], n, 22)[:, BOTH_BINS]
    fast = simulate(with_(MEMORIES[name], level="coincidence"), n, 23)[:, BOTH_BINS]
    frequent = click + fast >= 50
    assert click.sum() > 1000
    rows = [[*table[frequent], table[~frequent].sum(), n - table.sum()] for table in (click, fast)]
    assert chi2_contingency(np.array(rows)).pvalue > FALSE_ALARM


def histogram(registered, n_pulses):
    """Frequencies of the patterns, and of each detector's gaps between clicks in gates."""
    parts = [np.bincount(registered, minlength=16)]
    for d in range(2):
        gates = np.flatnonzero(
            np.stack([registered >> d & 1, registered >> (2 + d) & 1], axis=1).ravel()
        )
        parts.append(np.bincount(np.minimum(np.diff(gates), 100), minlength=101))
    assert registered.size == n_pulses
    return np.concatenate(parts)


@pytest.mark.parametrize("name", REMEMBERING)
def test_clicks_are_those_of_a_loop_over_every_gate(name):
    """Two samples of patterns and of gaps between clicks; the loop counts seconds."""
    n = 2_000_000
    slow = histogram(run_loop(REMEMBERING[name], n, 24)[1], n)
    registered = np.zeros(n, dtype=np.uint8)
    pulses, patterns = all_clicks(REMEMBERING[name], n, 25)
    assert (np.diff(pulses) > 0).all()
    registered[pulses] = patterns
    fast = histogram(registered, n)
    for part in (slice(0, 16), slice(16, 117), slice(117, 218)):
        table = np.array([slow[part], fast[part]])
        table = table[:, table.sum(axis=0) >= 50]
        assert table.shape[1] > 8
        assert chi2_contingency(table).pvalue > FALSE_ALARM


@pytest.mark.parametrize("dead_time_s", [10e-9, 200e-9, 2e-6])
def test_darks_click_at_the_renewal_rate(dead_time_s):
    """1 / (1/r + dead time), in gates; gaps beyond the dead time are geometric."""
    dark, n_gates_dead = 2e-3, round(dead_time_s / 0.5e-9)
    link = (params(dark=dark, level="click", dead_time_s=dead_time_s), (0.0, 0.0), DARK)
    n_pulses = int(2e5 * (1 / dark + n_gates_dead) / 2)
    pulses, patterns = all_clicks(link, n_pulses, 26)
    rate = 1 / (1 / dark + n_gates_dead - 1)
    for d in range(2):
        clicks = np.stack([patterns >> d & 1, patterns >> (2 + d) & 1], axis=1)
        gates = (2 * pulses[:, None] + [0, 1])[clicks == 1]
        gaps = np.diff(gates) - n_gates_dead
        assert gaps.min() >= 0
        # The number of renewals is normal with the variance of a gap over its mean cubed.
        sigma = math.sqrt(2 * n_pulses * rate**3 * (1 - dark) / dark**2)
        assert abs(gates.size - 2 * n_pulses * rate) < 4.9 * sigma + 1
        edges = geom.ppf(np.arange(1, 20) / 20, dark)
        chances = np.diff([0, *geom.cdf(edges, dark), 1])
        observed = np.bincount(np.searchsorted(edges, gaps + 1), minlength=20)
        assert chisquare(observed, gaps.size * chances).pvalue > FALSE_ALARM


@pytest.mark.parametrize("recovery_s", [0.4e-9, 5e-9, 50e-9])
def test_gaps_in_the_dark_are_those_of_a_hazard_that_recovers(recovery_s):
    """The chance of a gap of k gates is q r(k) times that of none before."""
    dark, dead_time_s = 0.02, 1.6e-9
    receiver = params(dark=dark, level="click", dead_time_s=dead_time_s, recovery_s=recovery_s)
    pulses, patterns = all_clicks((receiver, (0.0, 0.0), DARK), 5_000_000, 30)
    live_s = np.maximum(0.5e-9 * np.arange(1, 3000) - dead_time_s, 0.0)
    hazard = dark * (1.0 - np.exp(-live_s / recovery_s))
    chances = hazard * np.cumprod([1.0, *(1.0 - hazard[:-1])])
    for d in range(2):
        clicks = np.stack([patterns >> d & 1, patterns >> (2 + d) & 1], axis=1)
        gaps = np.diff((2 * pulses[:, None] + [0, 1])[clicks == 1])
        observed = np.bincount(np.minimum(gaps, 300), minlength=301)[1:]
        mean = gaps.size * np.array([*chances[:299], 1.0 - chances[:299].sum()])
        assert not observed[mean == 0.0].any()
        frequent = mean >= 25.0
        assert frequent.sum() > 100
        rest = [observed[~frequent].sum(), mean[~frequent].sum()]
        assert (
            chisquare([*observed[frequent], rest[0]], [*mean[frequent], rest[1]]).pvalue
            > FALSE_ALARM
        )


@pytest.mark.parametrize("name", RECOVERING)
def test_clicks_of_recovering_detectors_do_not_depend_on_the_batches(name):
    def same_light(rng, n):
        return np.full(n, 3, dtype=np.uint8), np.full(n, 5, dtype=np.uint8)

    whole, pieces, single = (
        all_clicks(RECOVERING[name], 20_000, 31, states_of=same_light, batch=batch)
        for batch in (50_000, 777, 1)
    )
    assert whole[0].size > 1000
    for other in (pieces, single):
        np.testing.assert_array_equal(whole, other)


def test_recovery_matters_and_a_fast_one_is_none():
    """A hundredth of a gate is over before the next; bits are the same, numbers being left alone
    beyond 40 time constants."""
    n, dead = 200_000, MEMORIES["20 ns"]
    none = all_clicks(dead, n, 32)
    np.testing.assert_array_equal(none, all_clicks(with_(dead, recovery_s=0.0), n, 32))
    inside = with_(dead, dead_time_s=19.75e-9)
    fast = all_clicks(with_(inside, recovery_s=5e-12), n, 32)
    np.testing.assert_array_equal(none, fast)
    slow = all_clicks(with_(dead, recovery_s=20e-9), n, 32)
    assert slow[0].size < 0.9 * none[0].size


def test_afterpulses_come_at_their_rate_and_delay():
    """Rare darks, each with its chain: gaps after a click are those of the release times, and a
    chain goes on with the afterpulse probability. Primaries are too rare to disturb."""
    receiver = params(
        dark=1e-9,
        level="click",
        detector="spad_ingaas",
        dead_time_s=50e-9,
        afterpulse_probability=0.4,
    )
    pulses, patterns = all_clicks((receiver, (0.0, 0.0), DARK), 2**46, 27)
    for d in range(2):
        clicks = np.stack([patterns >> d & 1, patterns >> (2 + d) & 1], axis=1)
        gates = (2 * pulses[:, None] + [0, 1])[clicks == 1]
        gaps = np.diff(gates)
        followed = gaps < 400_000  # 0.2 ms: 20 of the longest decays; darks are 0.5 s apart
        assert gaps.size > 200_000
        assert binomtest(int(followed.sum()), gaps.size, 0.4).pvalue > FALSE_ALARM
        cuts = afterpulse_cuts_of(detector_of(receiver), 1e-9, 0.5e-9, 400_000)[0]
        edges = np.searchsorted(cuts, np.arange(1, 40) / 40) + 1
        chances = np.diff([0, *cuts[edges - 1], 1])
        observed = np.bincount(np.searchsorted(edges, gaps[followed]), minlength=40)
        assert chisquare(observed, followed.sum() * chances).pvalue > FALSE_ALARM


def test_clicks_of_the_two_detectors_have_nothing_to_do_with_each_other_in_the_dark():
    link = (
        params(dark=1e-3, level="click", dead_time_s=5e-9, afterpulse_probability=0.2),
        (0.0, 0.0),
        DARK,
    )
    n = 4_000_000
    _, patterns = all_clicks(link, n, 28)
    early = [int((patterns >> d & 1).sum()) for d in range(2)]
    both = int((patterns & 3 == 3).sum())
    assert binomtest(both, n, early[0] * early[1] / n**2).pvalue > FALSE_ALARM


def test_a_click_with_two_causes_is_one_click():
    """Every gate clicks by itself, so afterpulses find none that does not."""
    link = (params(dark=1.0, level="click", afterpulse_probability=0.9), (0.0, 0.0), DARK)
    pulses, patterns = all_clicks(link, 1000, 29)
    assert pulses.tolist() == list(range(1000))
    assert set(patterns.tolist()) == {15}


@pytest.mark.parametrize("name", REMEMBERING)
def test_clicks_are_those_of_plain_python(name):
    link = REMEMBERING[name]
    made, gates = level(link), gates_of(link[0], 1e9)
    first = first_gates(gates.reach)
    drawing, detecting = np.random.SeedSequence(2).spawn(2)
    draw = made.drawing(drawing, 10**9).next(3000)
    alice, bob = uniform_states(np.random.default_rng(4), 3000)
    got = made.detection(detecting, 10**9).clicks(draw, alice, bob)
    state = generator_state(detecting)
    keep, other = made.tables
    asked = dict(zip(draw.pulses.tolist(), (7 * alice + bob).tolist(), strict=True))
    due, last, expected = set(), [None, None], []
    for pulse in range(draw.n_covered):
        raw = 0
        if pulse in asked:
            column, rest = divmod(16 * _draws.uniform(state), 1)
            row, column = asked[pulse], int(column)
            raw = column if rest < keep[row, column] else int(other[row, column])
        seen = 0
        for m in range(2):
            for d in range(2):
                click = raw >> (2 * m + d) & 1 or (pulse, m, d) in due
                dead = last[d] is not None and pulse - last[d][0] < gates.reach[last[d][1], m]
                if not click or dead:
                    continue
                if gates.recovery_pulses > 0.0 and last[d] is not None:
                    live = pulse - last[d][0] - gates.dead_pulses[last[d][1], m]
                    times = live / gates.recovery_pulses
                    if times < 40.0 and _draws.uniform(state) >= -math.expm1(-times):
                        continue
                seen |= 1 << (2 * m + d)
                last[d] = (pulse, m)
                again = gates.afterpulse_probability
                if again > 0.0 and _draws.uniform(state) < again:
                    cuts = gates.afterpulse_cuts[m]
                    k = int(np.searchsorted(cuts, _draws.uniform(state), "right"))
                    skipped = int(_draws.exponential(state) * gates.afterpulse_scales[k // 2])
                    due.add((pulse + int(first[m, k % 2]) + skipped, k % 2, d))
        if seen:
            expected.append((pulse, seen))
    assert len(expected) > 500
    assert list(zip(*(part.tolist() for part in got), strict=True)) == expected
