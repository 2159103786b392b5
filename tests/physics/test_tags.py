"""Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM."""

import bisect
import heapq
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import cumulative_trapezoid
from scipy.stats import binomtest, chi2_contingency, chisquare, expon, exponnorm, kstest, norm
from tag_light import (
    BINS_PS,
    CLOCK,
    PERFECT,
    USUAL,
    all_tags,
    amplitudes,
    batches,
    fit,
    fixed_states,
    gate_patterns,
    hashed_states,
    link,
)

from mdiqkd_net.blocks import Segment
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import _draws
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.matching import Gates, Matcher
from mdiqkd_net.physics.receiver import FLIPPED, generator_state
from mdiqkd_net.physics.tags import TagDetector, TagMaker, draw_candidates, tag_tables

FALSE_ALARM = 1e-6
GATE_PS = 400.0
DARK = 0 * USUAL
SNSPD = TagDetector(0.8, dark_rate_hz=1e5, dead_time_s=20e-9, jitter_s=20e-12)
NOISY = TagDetector(
    0.3,
    dark_rate_hz=2e7,
    dead_time_s=1.3e-9,
    jitter_s=150e-12,
    tail_weight=0.3,
    tail_s=400e-12,
    skew_s=-120e-12,
    afterpulses=((0.1, 2e-9), (0.2, 30e-9)),
)
EVERYTHING = link((NOISY, SNSPD), (0.5, 0.3), misalignment=0.05, splitter=0.4, mode_overlap=0.9)
DRIFTING = PulseClock(((0, 1000.25), (37, 1001.5), (1500, 998.75)), start_ps=-300.125)

LINKS = {
    "equal": link((TagDetector(0.8, dark_rate_hz=1e4),) * 2, mode_overlap=0.99),
    "unequal detectors": link(
        (TagDetector(0.9, dark_rate_hz=1e6), TagDetector(0.4, dark_rate_hz=5e6)),
        (0.5, 0.1),
        (amplitudes(0.02, 0.1, 0.4), amplitudes(0.2, 0.9, 0.5)),
        misalignment=0.03,
        mode_overlap=0.96,
    ),
    "unbalanced splitter": link(
        (TagDetector(0.9), TagDetector(0.7)), (0.4, 0.3), splitter=0.35, mode_overlap=0.9
    ),
    "bright": link((TagDetector(0.9),) * 2, (0.9, 0.5), (5 * USUAL, 2 * USUAL), misalignment=0.1),
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
        self.tables = tag_tables(**description)
        self.detectors = description["detectors"]
        self.clock = clock
        seeds = seed.spawn(7)
        light, more, jitter, tail, traps, *darks = map(generator_state, seeds)
        self.light, self.more = uniforms(light), uniforms(more)
        self.jitter, self.tail_state, self.trap_state = jitter, tail, traps
        early, late = self.tables.reach_ps
        margin = math.ceil(max(period for _, period in clock.pieces))
        self.begin = math.floor(clock.arrival_ps(0)) + min(0, early) - margin
        self.end = math.ceil(clock.arrival_ps(n_pulses)) + max(0, late) + margin
        self.clicks = []
        for s, detector in enumerate(self.detectors):
            at = self.begin - 1
            while detector.dark_rate_hz:
                at += 1 + int(_draws.exponential(darks[s]) * (1e12 / detector.dark_rate_hz))
                if at >= self.end:
                    break
                self.clicks.append((at, s))

    def absorb(self, pulses, alice, bob):
        for pulse, a, b in zip(pulses.tolist(), alice.tolist(), bob.tolist(), strict=True):
            for gate in self.lit_gates(a, b):
                self.clicks.append((self.time_of(pulse, gate), gate & 1))

    def lit_gates(self, a, b):
        tables, u = self.tables, next(self.light)
        if not math.isinf(tables.mean) and u < tables.many[0]:
            return [int(np.searchsorted(tables.single[7 * a + b], u, "right"))][
                : int(u < tables.single[7 * a + b, 3])
            ]
        flip = tables.misalignment > 0 and next(self.more) < tables.misalignment
        pair = 7 * a + int(FLIPPED[b] if flip else b)
        point = 0j
        while not 0 < abs(point) <= 1:
            point = complex(2 * next(self.more) - 1, 2 * next(self.more) - 1)
        turn = point**2 / abs(point) ** 2
        light = np.maximum(0, tables.base[pair] + (tables.beat[pair] * turn).real)
        if math.isinf(tables.mean):
            return [gate for gate in range(4) if next(self.more) < -math.expm1(-light[gate])]
        n_photons = 1 + int(np.searchsorted(tables.many, u, "right"))
        landed = [
            int(np.searchsorted(np.cumsum(light), next(self.more) * tables.mean, "right"))
            for _ in range(n_photons)
        ]
        return sorted(set(landed) - {4})

    def time_of(self, pulse, gate):
        s = gate & 1
        detector, drawn = self.detectors[s], np.empty(1)
        _draws.fill_normal(self.jitter, drawn)
        delay = self.tables.centers_ps[gate] + 1e12 * detector.jitter_s * drawn[0]
        if detector.tail_weight and _draws.uniform(self.tail_state) < detector.tail_weight:
            delay += 1e12 * detector.tail_s * _draws.exponential(self.tail_state)
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
            detector = self.detectors[s]
            until[s] = time + round(1e12 * detector.dead_time_s)
            out.append((time, s))
            if any(d.afterpulses for d in self.detectors):
                cuts = np.cumsum([chance for chance, _ in detector.afterpulses])
                kind = bisect.bisect_right(cuts.tolist(), _draws.uniform(self.trap_state))
                if kind < cuts.size:
                    mean = 1e12 * detector.afterpulses[kind][1]
                    wait = int(_draws.exponential(self.trap_state) * mean)
                    heapq.heappush(waiting, (time + 1 + wait, s))
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
    tables, state = tag_tables(**description), generator_state(drawing)
    maker = TagMaker(
        tables, clock=clock, n_pulses=n_pulses, seed=np.random.SeedSequence(3).spawn(2)[1]
    )
    python = PythonMaker(description, clock, n_pulses, making)
    at, got = 0, []
    while at < n_pulses:
        pulses, at = draw_candidates(
            tables, state, position=at, n_pulses=n_pulses, max_candidates=100
        )
        states = hashed_states(None, pulses)
        tags = maker.detect(pulses, *states, at)
        got += zip(tags.times_ps.tolist(), tags.channels.tolist(), strict=True)
        python.absorb(pulses, *states)
    assert len(got) > 50
    assert got == python.tags()


def test_candidates_are_those_of_plain_python():
    tables = tag_tables(**LINKS["equal"])
    state, own = (generator_state(np.random.SeedSequence(1)) for _ in range(2))
    pulses, position = draw_candidates(
        tables, state, position=7, n_pulses=10**5, max_candidates=10**4
    )
    expected, at = [], 7
    while (at := at + int(_draws.exponential(own) * (1.0 / tables.mean))) < 10**5:
        expected.append(at)
        at += 1
    assert pulses.tolist() == expected
    assert position == 10**5


def test_no_light_has_no_candidates():
    tables = tag_tables(**link(light=(DARK, DARK)))
    state = generator_state(np.random.SeedSequence(1))
    pulses, position = draw_candidates(
        tables, state, position=0, n_pulses=10**12, max_candidates=10
    )
    assert (pulses.size, position) == (0, 10**12)


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
        tag_tables(**description),
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
    """Every pulse in numpy, then every click in time order: tags per detector."""
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
    for s, detector in enumerate(description["detectors"]):
        clicks = [
            rng.uniform(0, 1000 * n_pulses, rng.poisson(detector.dark_rate_hz * n_pulses * 1e-9))
        ]
        for m in range(2):
            u, v = ports[s]
            same = np.abs(u * a[:, m] + math.sqrt(overlap) * v * b[:, m]) ** 2
            photons = same + (1 - overlap) * np.abs(v * b[:, m]) ** 2
            lit = np.flatnonzero(rng.random(n_pulses) < -np.expm1(-detector.efficiency * photons))
            late = rng.random(lit.size) < detector.tail_weight
            delay = rng.normal(0, 1e12 * detector.jitter_s, lit.size)
            delay += late * rng.exponential(1e12 * detector.tail_s, lit.size)
            clicks.append(1000.0 * lit + BINS_PS[m] + 1e12 * detector.skew_s + delay)
        waiting, tags, until = sorted(np.concatenate(clicks).tolist()), [], -math.inf
        while waiting:
            time = heapq.heappop(waiting)
            if time < until:
                continue
            tags.append(time)
            until = time + 1e12 * detector.dead_time_s
            u = rng.random()
            for chance, release_s in detector.afterpulses:
                if u < chance:
                    heapq.heappush(waiting, time + rng.exponential(1e12 * release_s))
                    break
                u -= chance
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


@pytest.mark.parametrize("dead_time_s", [0.0, 3e-9, 50e-9])
def test_dark_counts_are_a_renewal_process(dead_time_s):
    """A detector of rate r and dead time τ clicks r / (1 + r τ) times per second."""
    rate, n_pulses = 1e8, 4_000_000
    darks = TagDetector(0.5, dark_rate_hz=rate, dead_time_s=dead_time_s)
    times, channels, end = all_tags(link((darks, PERFECT), light=(DARK, DARK)), n_pulses, 8)
    assert not channels.any()
    seconds = (end - times[0]) * 1e-12
    mean = rate * seconds / (1 + rate * dead_time_s)
    # Cox, Renewal Theory (1962): the variance falls with the cube.
    sigma = math.sqrt(rate * seconds / (1 + rate * dead_time_s) ** 3)
    assert abs(times.size - mean) < norm.isf(FALSE_ALARM / 2) * sigma
    gaps = np.diff(times) - 1e12 * dead_time_s
    assert gaps.min() >= 0
    # Whole picoseconds of an exponential are geometric; smeared over them they are exponential.
    smeared = gaps - (dead_time_s == 0.0) + np.random.default_rng(1).random(gaps.size)
    assert kstest(smeared * rate * 1e-12, expon.cdf).pvalue > FALSE_ALARM


def test_a_dead_detector_does_not_see_the_next_bin():
    """Dazzling light in every bin, dead for one bin and a half: every other bin clicks."""
    dazzling = np.full((7, 2), 100.0 + 0j)
    detector = TagDetector(1.0, dead_time_s=750e-12)
    description = link((detector, TagDetector(0.0)), (1.0, 0.0), (dazzling, DARK), mode_overlap=0.0)
    times, _, _ = all_tags(description, 10, 9)
    assert times.tolist() == [1000 * k + 250 for k in range(10)]


def test_afterpulses_follow_their_chance_and_their_release_times():
    chances, releases = (0.05, 0.15), (20e-9, 300e-9)
    detector = TagDetector(
        0.5, dark_rate_hz=1e4, afterpulses=tuple(zip(chances, releases, strict=True))
    )
    quiet = TagDetector(0.5)
    times, channels, end = all_tags(link((detector, quiet), light=(DARK, DARK)), 4 * 10**9, 10)
    assert not channels.any()
    # A Galton-Watson process: each dark count has 1 / (1 - p) clicks on average, all told, with
    # a variance of p / (1 - p)³ around it.
    p = sum(chances)
    n_darks = 1e4 * (end - times[0]) * 1e-12
    mean = n_darks / (1 - p)
    sigma = math.sqrt(n_darks * (p / (1 - p) ** 3 + 1 / (1 - p) ** 2))
    assert abs(times.size - mean) < norm.isf(FALSE_ALARM / 2) * sigma
    # The next click is the release, unless the trap is empty: then it is the next dark count.
    gaps = np.diff(times) * 1e-12

    def silence(t):
        full = sum(c * np.exp(-t / r) for c, r in zip(chances, releases, strict=True))
        return (1 - p + full) * np.exp(-1e4 * t)

    # A dark count before the release breaks this law, three times in a thousand full traps.
    edges = np.geomspace(1e-9, 3e-6, 30)
    chance = -np.diff(np.concatenate([[1.0], silence(edges), [0.0]]))
    observed = np.bincount(np.searchsorted(edges, gaps), minlength=31)
    assert chisquare(observed, gaps.size * chance).pvalue > FALSE_ALARM


def test_dead_time_outlives_short_traps():
    """Of traps with release time r, a dead time τ lets exp(-τ/r) through."""
    detector = TagDetector(
        0.5, dark_rate_hz=1e3, dead_time_s=50e-9, afterpulses=((0.3, 10e-9), (0.1, 100e-9))
    )
    times, _, _ = all_tags(link((detector, TagDetector(0.5)), light=(DARK, DARK)), 3 * 10**10, 11)
    alive = 0.3 * math.exp(-5.0) + 0.1 * math.exp(-0.5)
    soon = np.diff(times) < 2_000_000
    # Within 2 µs every trap is empty; a dark count comes with 0.2 %.
    chance = 1 - (1 - alive) * math.exp(-1e3 * (2e-6 - 50e-9))
    assert soon.size > 20_000
    assert binomtest(int(soon.sum()), soon.size, chance).pvalue > FALSE_ALARM


def delays(description, seed):
    """From the center of the early bin to the tag, of light that is early only, smeared to 1 ps."""
    times, _, _ = all_tags(
        description,
        4_000_000,
        seed,
        states_of=fixed_states(5, 0),
        clock=PulseClock(((0, 10_000.0),)),
    )
    smear = np.random.default_rng(seed).random(times.size) - 0.5
    return (times + 5000) % 10_000 - 5000 - 250 + smear


@pytest.mark.parametrize("sigma_ps", [6.05, 80.0])
def test_jitter_costs_what_the_error_function_says(sigma_ps):
    detector = TagDetector(1.0, jitter_s=sigma_ps * 1e-12)
    delay = delays(link((detector, detector), (0.1, 0.0)), 12)
    assert kstest(delay, norm(0, sigma_ps).cdf).pvalue > FALSE_ALARM
    for half in (0.5, 1.0, 2.5):
        inside = math.erf(half / math.sqrt(2))
        n_inside = int((np.abs(delay) < half * sigma_ps).sum())
        assert binomtest(n_inside, delay.size, inside).pvalue > FALSE_ALARM


def test_jitter_with_a_tail_is_an_exponentially_modified_gaussian():
    detector = TagDetector(1.0, jitter_s=30e-12, tail_weight=0.25, tail_s=120e-12, skew_s=40e-12)
    delay = delays(link((detector, detector), (0.1, 0.0)), 13) - 40

    def cdf(x):
        return 0.75 * norm.cdf(x, 0, 30) + 0.25 * exponnorm.cdf(x, 120 / 30, 0, 30)

    assert kstest(delay, cdf).pvalue > FALSE_ALARM


def test_clock_drift_shows_and_a_clock_that_knows_takes_it_away():
    """A tagger that runs 0.1 ppm fast moves pulses out of their gates after two million."""
    sigma_ps, n_pulses = 20.0, 2_700_000
    detector = TagDetector(0.8, jitter_s=sigma_ps * 1e-12)
    description = link((detector, detector), (0.05, 0.05))
    clock = PulseClock.drifting(1000.0, [(0, 1e-7), (1_000_000, 0.9e-7)])
    counts = {}
    for name, assumed in (("nominal", CLOCK), ("true", clock)):
        matcher = Matcher(Gates.at(BINS_PS, GATE_PS))
        matcher.begin(Segment(0, 0, n_pulses), assumed)
        for _, _, tags in batches(description, n_pulses, 14, clock=clock):
            matcher.feed(tags.times_ps, tags.channels, tags.watermark_ps)
        counts[name] = matcher.counts
    assert counts["true"].n_outside == 0
    k = np.arange(0, n_pulses, 100)
    late = 1e-4 * k - 1e-5 * np.maximum(0, k - 1_000_000)
    inside = norm.cdf((200 - late) / sigma_ps) + norm.sf((300 - late) / sigma_ps)
    kept = counts["nominal"]
    assert binomtest(kept.n_gated, kept.n_tags, inside.mean()).pvalue > FALSE_ALARM


def test_a_long_segment_keeps_its_picoseconds():
    """At pulse 10^14 of a broken period, tags are where exact arithmetic puts them."""
    clock, n_pulses = PulseClock(((0, 1000.1234567),)), 10**14
    tables = tag_tables(**link((PERFECT, PERFECT), (0.9, 0.0)))
    maker = TagMaker(tables, clock=clock, n_pulses=n_pulses, seed=np.random.SeedSequence(1))
    pulses = np.arange(n_pulses - 1000, n_pulses)
    z0 = np.full(1000, 5, dtype=np.uint8)
    tags = maker.detect(pulses, z0, 0 * z0, n_pulses)
    base = clock.arrival_ps(n_pulses - 1000)
    exact = np.array([float(clock.arrival_ps(int(k)) - base) + 250 for k in pulses])
    found = np.array([float(int(time) - base) for time in tags.times_ps])
    assert found.size > 500
    assert np.abs(found[:, None] - exact).min(axis=1).max() < 0.7


SNSPD_DATA = Path(__file__).resolve().parents[3] / "shared/data/real/snspd"


@pytest.mark.skipif(not SNSPD_DATA.exists(), reason="the recording is not here")
def test_a_measured_nanowire_is_a_gaussian_of_its_width():
    """The response of PRJ.437834, digitised: tags of the model have its shape and its width."""
    fwhm_ps = json.loads((SNSPD_DATA / "expected.json").read_text())["jitter_fwhm_ps"]
    measured = np.loadtxt(SNSPD_DATA / "timing_jitter.csv", delimiter=",", skiprows=1)
    center_ps, height = measured.T
    detector = TagDetector(0.6, jitter_s=fwhm_ps / math.sqrt(8 * math.log(2)) * 1e-12)
    delay = np.sort(delays(link((detector, detector), (0.1, 0.0)), 15))
    area = cumulative_trapezoid(height, center_ps, initial=0.0)
    model = np.searchsorted(delay, center_ps) / delay.size
    # The measured curve itself is 0.7 % from the Gaussian of its width.
    assert np.abs(model - area / area[-1]).max() < 0.01
    above = center_ps[height > height.max() / 2]
    assert above[-1] - above[0] == pytest.approx(fwhm_ps, abs=0.6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: m.detect(*chosen([3], [7]), 10), "states of alice: found .* up to 7; allowed"),
        (lambda m: m.detect(np.arange(3), *np.zeros((2, 2), np.uint8), 10), "states of alice: fou"),
        (lambda m: m.detect(*chosen([12]), 10), "candidates: found 12 to 12; allowed: 0 to 9"),
        (lambda m: m.detect(*chosen([3]), 2000), "found 2000 pulses covered; allowed: 0 to 1000"),
        (
            lambda m: (m.detect(*chosen([3]), 10), m.detect(*chosen([5]), 20)),
            "candidates: found 5 to 5; allowed: 10 to 19",
        ),
    ],
)
def test_batches_that_do_not_follow_are_refused(make, words):
    maker = TagMaker(
        tag_tables(**link()), clock=CLOCK, n_pulses=1000, seed=np.random.SeedSequence(1)
    )
    with pytest.raises(DeviceError, match=words):
        make(maker)


def chosen(pulses, states=None):
    states = np.array(states or [1] * len(pulses), dtype=np.uint8)
    return np.array(pulses), states, np.ones_like(states)


def test_a_dead_time_longer_than_the_segment_is_refused():
    tables = tag_tables(**link((PERFECT, TagDetector(0.5, dead_time_s=1e-3))))
    with pytest.raises(DeviceError, match=r"dead time of detector 1: found 0\.001 s; allowed: at"):
        TagMaker(tables, clock=CLOCK, n_pulses=1000, seed=np.random.SeedSequence(1))


def test_a_segment_of_more_than_a_month_is_refused():
    with pytest.raises(DeviceError, match=r"pulses: found 1e\+19 ps"):
        TagMaker(tag_tables(**link()), clock=CLOCK, n_pulses=10**16, seed=np.random.SeedSequence(1))
