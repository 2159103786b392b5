"""Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM."""

import bisect
import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light_checks import USUAL, amplitudes
from scipy.stats import chi2_contingency
from tag_light import (
    BINS_PS,
    CLOCK,
    PERFECT,
    all_tags,
    batches,
    detector,
    fit,
    gate_patterns,
    hashed_states,
    link,
    tables_of,
)

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import _draws
from mdiqkd_net.physics.clicks import ClickDrawing
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.optics import FLIPPED
from mdiqkd_net.physics.sampling import generator_state
from mdiqkd_net.physics.tags import TagMaker

FALSE_ALARM = 1e-6
GATE_PS = 400.0
DARK = 0 * USUAL
SNSPD = detector(0.8, dark_rate_hz=1e5, dead_time_s=20e-9, sigma_s=20e-12)
NOISY = detector(
    0.3,
    dark_rate_hz=2e7,
    dead_time_s=1.3e-9,
    sigma_s=150e-12,
    jitter_tail_share=0.3,
    jitter_tail_s=400e-12,
    afterpulses=((0.1, 2e-9), (0.2, 30e-9)),
)
EVERYTHING = link(
    (NOISY, SNSPD),
    (0.5, 0.3),
    misalignment=0.05,
    splitter=0.4,
    mode_overlap=0.9,
    skews_ps=(-120.0, 0.0),
)
DRIFTING = PulseClock(((0, 1000.25), (37, 1001.5), (1500, 998.75)), start_ps=-300.125)

LINKS = {
    "equal": link((detector(0.8, dark_rate_hz=1e4),) * 2, mode_overlap=0.99),
    "unequal detectors": link(
        (detector(0.9, dark_rate_hz=1e6), detector(0.4, dark_rate_hz=5e6)),
        (0.5, 0.1),
        (amplitudes(0.02, 0.1, 0.4), amplitudes(0.2, 0.9, 0.5)),
        misalignment=0.03,
        mode_overlap=0.96,
    ),
    "unbalanced splitter": link(
        (detector(0.9), detector(0.7)), (0.4, 0.3), splitter=0.35, mode_overlap=0.9
    ),
    "bright": link((detector(0.9),) * 2, (0.9, 0.5), (5 * USUAL, 2 * USUAL), misalignment=0.1),
}


def gated_patterns(description, n_pulses, seed):
    """Pulses per pair of states and pattern, (7, 7, 16), those without a click in pattern 0.

    States are drawn for all pulses, as only candidates are asked for them otherwise.
    """
    rng = np.random.default_rng(seed)
    sent = rng.integers(0, 7, (2, n_pulses), dtype=np.uint8)
    patterns = np.zeros(n_pulses, dtype=np.int64)
    chosen = batches(description, n_pulses, seed, states_of=lambda _, pulses: sent[:, pulses])
    for _, _, tags in chosen:
        pulse, phase = np.divmod(tags.times_ps, 1000)
        gate = 2 * (phase >= 500) + tags.channels
        inside = (np.abs(phase - np.array(BINS_PS)[(phase >= 500).astype(int)]) <= GATE_PS / 2) & (
            (pulse >= 0) & (pulse < n_pulses)
        )
        np.bitwise_or.at(patterns, pulse[inside], 1 << gate[inside])
    cells = (7 * sent[0].astype(int) + sent[1]) * 16 + patterns
    return np.bincount(cells, minlength=49 * 16).reshape(7, 7, 16)


@pytest.mark.parametrize("name", LINKS)
def test_gated_clicks_follow_the_closed_form(name):
    """Every pattern, the empty one and single clicks included, of every pair of states."""
    n_pulses = 400_000 if name == "bright" else 4_000_000
    counts = gated_patterns(LINKS[name], n_pulses, seed=21)
    # A gate takes tags from its first to its last picosecond, both included.
    expected = n_pulses / 49 * gate_patterns(LINKS[name], GATE_PS + 1)
    p_value, n_cells = fit(counts.reshape(-1), expected.reshape(-1))
    assert n_cells > 150
    assert p_value > FALSE_ALARM


class PythonMaker:
    """The definition of the tags: every click in a sorted list, every release in a heap."""

    def __init__(self, description, clock, n_pulses, seed):
        self.tables = tables_of(description)
        self.detectors = description["detectors"]
        self.clock = clock
        light, jitter, tail, traps, *darks = map(generator_state, seed.spawn(6))
        self.light = uniforms(light)
        self.jitter, self.tail_state, self.trap_state = jitter, tail, traps
        early, late = self.tables.reach_ps
        margin = math.ceil(max(period for _, period in clock.pieces))
        self.begin = math.floor(clock.arrival_ps(0)) + min(0, early) - margin
        self.end = math.ceil(clock.arrival_ps(n_pulses)) + max(0, late) + margin
        self.clicks = []
        for s, made in enumerate(self.detectors):
            at = self.begin - 1
            while made.dark_rate_hz:
                at += 1 + int(_draws.exponential(darks[s]) * (1e12 / made.dark_rate_hz))
                if at >= self.end:
                    break
                self.clicks.append((at, s))

    def absorb(self, pulses, alice, bob):
        for pulse, a, b in zip(pulses.tolist(), alice.tolist(), bob.tolist(), strict=True):
            for gate in self.lit_gates(a, b):
                self.clicks.append((self.time_of(pulse, gate), gate & 1))

    def lit_gates(self, a, b):
        column, rest = divmod(16 * next(self.light), 1)
        row, column = 7 * a + b, int(column)
        kept = rest < self.tables.keep[row, column]
        pattern = column if kept else int(self.tables.other[row, column])
        return [gate for gate in range(4) if pattern >> gate & 1]

    def time_of(self, pulse, gate):
        s = gate & 1
        made, drawn = self.detectors[s], np.empty(1)
        _draws.fill_normal(self.jitter, drawn)
        delay = self.tables.centers_ps[gate] + 1e12 * made.jitter_sigma_s * drawn[0]
        if made.has_tail and _draws.uniform(self.tail_state) < made.jitter_tail_share:
            delay += 1e12 * made.jitter_tail_s * _draws.exponential(self.tail_state)
        arrival = self.clock.arrival_ps(pulse)
        whole = math.floor(arrival)
        return whole + math.floor(float(arrival - whole) + delay + 0.5)

    def tags(self):
        waiting, until, out = sorted(self.clicks), [-(2**62)] * 2, []
        heapq.heapify(waiting)
        while waiting:
            time, s = heapq.heappop(waiting)
            if time >= self.end:
                break
            if time < until[s]:
                continue
            made = self.detectors[s]
            until[s] = time + round(1e12 * made.dead_time_s)
            out.append((time, s))
            if any(d.afterpulses.probability for d in self.detectors):
                traps = made.afterpulses
                cuts = np.cumsum([share * traps.probability for share, _ in traps.decays])
                kind = bisect.bisect_right(cuts.tolist(), _draws.uniform(self.trap_state))
                if kind < cuts.size:
                    mean = 1e12 * traps.decays[kind][1]
                    wait = int(_draws.exponential(self.trap_state) * mean)
                    heapq.heappush(waiting, (until[s] + 1 + wait, s))
        return out


def uniforms(state):
    while True:
        yield float(_draws.uniform(state))


@pytest.mark.parametrize(
    ("description", "clock"),
    [
        (EVERYTHING, DRIFTING),
        (EVERYTHING | {"light": (4 * USUAL, USUAL)}, DRIFTING),
        (link((SNSPD, SNSPD)), CLOCK),
        (link((NOISY, NOISY), light=(DARK, DARK)), CLOCK),
    ],
    ids=["everything", "bright", "plain", "no light"],
)
def test_tags_are_those_of_plain_python(description, clock):
    n_pulses = 3000
    drawing, making = np.random.SeedSequence(3).spawn(2)
    tables = tables_of(description)
    candidates = ClickDrawing(tables.bound, drawing, n_pulses)
    maker = TagMaker(
        tables, clock=clock, n_pulses=n_pulses, seed=np.random.SeedSequence(3).spawn(2)[1]
    )
    python = PythonMaker(description, clock, n_pulses, making)
    at, got = 0, []
    while at < n_pulses:
        draw = candidates.next(100)
        pulses, at = draw.pulses, draw.n_covered
        states = hashed_states(None, pulses)
        tags = maker.detect(pulses, *states, at)
        got += zip(tags.times_ps.tolist(), tags.channels.tolist(), strict=True)
        python.absorb(pulses, *states)
    assert len(got) > 50
    assert got == python.tags()


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6), bright=st.booleans())
def test_any_batches_make_the_same_tags(sizes, bright):
    description = EVERYTHING | ({"light": (4 * USUAL, USUAL)} if bright else {})
    whole = all_tags(description, 2000, 5, states_of=hashed_states, clock=DRIFTING)
    parts = list(
        batches(description, 2000, 5, states_of=hashed_states, clock=DRIFTING, sizes=sizes)
    )
    watermark = -(2**62)
    for _, _, tags in parts:
        # No batch goes back behind the watermark of the one before, or beyond its own.
        assert watermark <= tags.watermark_ps
        if tags.times_ps.size:
            assert watermark <= tags.times_ps[0]
            assert tags.times_ps[-1] < tags.watermark_ps
        watermark = tags.watermark_ps
    np.testing.assert_array_equal(whole[0], np.concatenate([t.times_ps for _, _, t in parts]))
    np.testing.assert_array_equal(whole[1], np.concatenate([t.channels for _, _, t in parts]))
    assert whole[2] == watermark
    assert (np.diff(whole[0]) >= 0).all()


def test_darkness_can_be_covered_step_by_step():
    description = link((NOISY, SNSPD), light=(DARK, DARK))
    times, channels, end = all_tags(description, 20_000, 16)
    maker = TagMaker(
        tables_of(description),
        clock=CLOCK,
        n_pulses=20_000,
        seed=np.random.SeedSequence(16).spawn(2)[1],
    )
    nothing = np.empty(0, dtype=np.uint8)
    steps = [
        maker.detect(nothing.astype(np.int64), nothing, nothing, n_covered)
        for n_covered in (1, 700, 700, 12_345, 20_000)
    ]
    assert times.size > 100
    np.testing.assert_array_equal(times, np.concatenate([tags.times_ps for tags in steps]))
    np.testing.assert_array_equal(channels, np.concatenate([tags.channels for tags in steps]))
    assert steps[-1].watermark_ps == end


def naive_tags(description, n_pulses, seed):
    """Every pulse in numpy, then every click in time order: tags per made."""
    rng = np.random.default_rng(seed)
    sent = hashed_states(rng, np.arange(n_pulses))
    light, arms = description["light"], description["transmittances"]
    flip = rng.random(n_pulses) < description["misalignment"]
    bob = np.where(flip, FLIPPED[sent[1]], sent[1])
    a = light[0][sent[0]] * math.sqrt(arms[0])
    b = light[1][bob] * math.sqrt(arms[1])
    b *= np.exp(2j * np.pi * rng.random(n_pulses))[:, None]
    t, overlap = description["splitter"], description["mode_overlap"]
    ports = [(math.sqrt(t), math.sqrt(1 - t)), (math.sqrt(1 - t), -math.sqrt(t))]
    found = []
    for s, made in enumerate(description["detectors"]):
        clicks = [rng.uniform(0, 1000 * n_pulses, rng.poisson(made.dark_rate_hz * n_pulses * 1e-9))]
        for m in range(2):
            u, v = ports[s]
            same = np.abs(u * a[:, m] + math.sqrt(overlap) * v * b[:, m]) ** 2
            photons = same + (1 - overlap) * np.abs(v * b[:, m]) ** 2
            lit = np.flatnonzero(rng.random(n_pulses) < -np.expm1(-made.efficiency * photons))
            late = rng.random(lit.size) < made.jitter_tail_share
            delay = rng.normal(0, 1e12 * made.jitter_sigma_s, lit.size)
            delay += late * rng.exponential(1e12 * made.jitter_tail_s, lit.size)
            clicks.append(1000.0 * lit + BINS_PS[m] + description["skews_ps"][s] + delay)
        waiting, tags, until = sorted(np.concatenate(clicks).tolist()), [], -math.inf
        while waiting:
            time = heapq.heappop(waiting)
            if time < until:
                continue
            tags.append(time)
            until = time + 1e12 * made.dead_time_s
            u = rng.random() / max(made.afterpulses.probability, 1e-300)
            for share, decay_s in made.afterpulses.decays:
                if u < share:
                    heapq.heappush(waiting, until + rng.exponential(1e12 * decay_s))
                    break
                u -= share
        found.append(np.array(tags))
    return found


def test_tags_are_distributed_as_by_a_loop_over_every_pulse():
    """Two samples: intervals between tags of a detector, and their phase in the period."""
    n_pulses = 200_000
    times, channels, _ = all_tags(EVERYTHING, n_pulses, 6, states_of=hashed_states)
    naive = naive_tags(EVERYTHING, n_pulses, 7)
    for s, dead in enumerate((1300, 20_000)):
        ours = times[channels == s]
        assert np.diff(ours).min() >= dead
        for edges, looks in (
            (np.geomspace(20, 4000, 40), [np.diff(x) - dead for x in (ours, naive[s])]),
            (np.linspace(25, 1000, 40), [np.mod(x, 1000) for x in (ours, naive[s])]),
        ):
            rows = [np.bincount(np.searchsorted(edges, look), minlength=41) for look in looks]
            table = np.array(rows)
            assert table.sum() > 10_000
            assert chi2_contingency(table[:, table.sum(axis=0) >= 20]).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: m.detect(*chosen([3], [7]), 10), "rows of alice: found .* up to 7; allowed"),
        (lambda m: m.detect(np.arange(3), *np.zeros((2, 2), np.uint8), 10), "rows of alice: fou"),
        (lambda m: m.detect(*chosen([12]), 10), "candidates: found 12 to 12; allowed: 0 to 9"),
        (lambda m: m.detect(*chosen([3]), 2000), "found 2000 pulses covered; allowed: 0 to 1000"),
        (
            lambda m: (m.detect(*chosen([3]), 10), m.detect(*chosen([5]), 20)),
            "candidates: found 5 to 5; allowed: 10 to 19",
        ),
    ],
)
def test_batches_that_do_not_follow_are_refused(make, words):
    maker = TagMaker(tables_of(link()), clock=CLOCK, n_pulses=1000, seed=np.random.SeedSequence(1))
    with pytest.raises(DeviceError, match=words):
        make(maker)


def chosen(pulses, states=None):
    states = np.array(states or [1] * len(pulses), dtype=np.uint8)
    return np.array(pulses), states, np.ones_like(states)


def test_a_dead_time_longer_than_the_segment_is_refused():
    tables = tables_of(link((PERFECT, detector(0.5, dead_time_s=1e-3))))
    with pytest.raises(DeviceError, match=r"dead time of detector 1: found 0\.001 s; allowed: at"):
        TagMaker(tables, clock=CLOCK, n_pulses=1000, seed=np.random.SeedSequence(1))


def test_a_segment_of_more_than_a_month_is_refused():
    with pytest.raises(DeviceError, match=r"pulses: found 1e\+19 ps"):
        TagMaker(tables_of(link()), clock=CLOCK, n_pulses=10**16, seed=np.random.SeedSequence(1))
