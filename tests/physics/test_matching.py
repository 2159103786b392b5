import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tag_light import BINS_PS, CLOCK

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1, Segment
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import _match_kernels
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.matching import Gates, MatchCounts, Matcher

GATES = Gates.at(BINS_PS, 400.0)


def array(times):
    return np.array(times, dtype=np.int64)


def matched(times, channels, *, n_pulses=100, clock=CLOCK, gates=GATES, cuts=(), **kwargs):
    """Events [(pulse, pattern)], counts and blocks of a stream cut before these tags."""
    matcher = Matcher(gates, **kwargs)
    matcher.begin(Segment(3, 0, n_pulses), clock)
    times, channels = array(times), np.array(channels, dtype=np.uint8)
    end = math.ceil(clock.arrival_ps(n_pulses)) + 10**6
    blocks = []
    bounds = [0, *sorted(cuts), times.size]
    for start, stop in itertools.pairwise(bounds):
        blocks.append(matcher.feed(times[start:stop], channels[start:stop]))
        if blocks[-1].last:
            break
    if not blocks[-1].last:
        blocks.append(matcher.feed(array([]), np.empty(0, np.uint8), end))
    events = [
        event
        for block in blocks
        for event in zip(block.pulses.tolist(), block.patterns.tolist(), strict=True)
    ]
    return events, matcher.counts, blocks


@pytest.mark.parametrize(
    ("tags", "events"),
    [
        ([(250, 0), (750, 1)], [(0, EARLY_0 | LATE_1)]),
        ([(250, 1), (750, 0)], [(0, EARLY_1 | LATE_0)]),
        ([(5250, 0), (5750, 0)], [(5, EARLY_0 | LATE_0)]),
        ([(250, 0), (260, 1), (750, 0), (751, 1)], [(0, 15)]),
        ([(250, 0), (251, 0), (750, 1)], [(0, EARLY_0 | LATE_1)]),
        ([(250, 0), (1750, 1)], []),
        ([(750, 0), (1250, 1)], []),
        ([(50, 0), (949, 1)], [(0, EARLY_0 | LATE_1)]),
        ([(49, 0), (750, 1)], []),
        ([(450, 0), (750, 1)], []),
        ([(549, 1), (1050, 0), (1950, 1)], []),
        ([(-750, 0), (-250, 1)], []),
        ([(100_250, 0), (100_750, 1)], []),
        ([(99_250, 0), (99_750, 1)], [(99, EARLY_0 | LATE_1)]),
        ([(250, 7), (750, 1)], []),
    ],
)
def test_a_pulse_with_clicks_in_both_gates_is_an_event(tags, events):
    assert matched(*zip(*tags, strict=True))[0] == events


def test_every_tag_is_accounted_for():
    tags = [(-250, 0), (250, 0), (470, 1), (480, 9), (750, 1), (1250, 0), (1260, 0), (200_000, 1)]
    _, counts, _ = matched(*zip(*tags, strict=True))
    assert counts == MatchCounts(
        n_tags=8, n_other=1, n_outside=3, n_gated=4, n_events=1, n_vetoed=0
    )


@pytest.mark.parametrize(
    ("tags", "vetoed"),
    [
        # Detector 0 is dead for 700 ps, detector 1 for 100 ps.
        ([(750, 0), (1250, 1), (1750, 1)], True),  # until 1450: the early gate of pulse 1
        ([(350, 0), (1250, 1), (1750, 1)], False),  # until 1050, when the gate begins
        ([(351, 0), (1250, 1), (1750, 1)], True),
        ([(480, 0), (1250, 1), (1750, 1)], True),  # outside the gates
        ([(750, 1), (1250, 1), (1750, 1)], False),
        ([(960, 1), (1250, 1), (1750, 0)], True),
        ([(250, 0), (750, 1)], False),  # its own early click
        ([(250, 1), (470, 0), (750, 1)], True),  # dead from between the gates
        ([(250, 0), (470, 1), (750, 1)], True),
        ([(250, 0), (450, 1), (750, 1)], False),  # until 550
        ([(20, 1), (250, 0), (750, 1)], True),
        ([(250, 0), (750, 1), (960, 0)], False),  # afterwards
    ],
)
def test_an_event_in_a_dead_slot_is_vetoed(tags, vetoed):
    times, channels = zip(*tags, strict=True)
    events, counts, _ = matched(times, channels, dead_times_ps=(700, 100))
    assert (len(events), counts.n_vetoed) == ((0, 1) if vetoed else (1, 0))
    events, counts, _ = matched(times, channels)
    assert (len(events), counts.n_vetoed) == (1, 0)


def brute_force(times, channels, clock, gates, n_pulses, dead):
    """Each tag to each gate of each pulse, by exact arithmetic."""
    begin = [
        [Fraction(c) - Fraction(gates.width_ps) / 2 for c in pair] for pair in gates.centers_ps
    ]
    starts = {
        (k, s, m): clock.arrival_ps(k) + begin[s][m]
        for k in range(n_pulses)
        for s in range(2)
        for m in range(2)
    }
    gated, patterns, n_outside = {}, Counter(), 0
    for i, (time, s) in enumerate(zip(times, channels, strict=True)):
        hit = [
            (k, m)
            for (k, s_, m), start in starts.items()
            if s_ == s and start <= time < start + Fraction(gates.width_ps)
        ]
        assert len(hit) <= 1
        for k, m in hit:
            gated[i] = k
            patterns[k] |= 1 << (2 * m + s)
        n_outside += not hit
    events, n_vetoed = [], 0
    for k in sorted(patterns):
        if not (patterns[k] & 3 and patterns[k] & 12):
            continue
        spoiled = any(
            time < starts[k, s, m] < time + dead[s]
            for i, (time, s) in enumerate(zip(times, channels, strict=True))
            for m in range(2)
            if gated.get(i) != k
        )
        n_vetoed += spoiled
        if not spoiled:
            events.append((k, patterns[k]))
    return events, n_outside, n_vetoed


@st.composite
def streams(draw):
    """Some pulses of a clock in pieces, with tags everywhere and often at the edges of gates."""
    periods = st.sampled_from([1000.0, 1000.25, 999.5, 1003.125])
    second = draw(st.integers(1, 5))
    clock = PulseClock(
        ((0, draw(periods)), (second, draw(periods)), (second + 3, draw(periods))),
        draw(st.sampled_from([0.0, -700.0, 123.375])),
    )
    width = draw(st.sampled_from([400.0, 333.0, 480.0]))
    skews = draw(st.sampled_from([(0.0, 0.0), (15.0, -4.0)]))
    gates = Gates.at(draw(st.sampled_from([BINS_PS, (0.0, 500.0)])), width, skews)
    edge = st.builds(
        lambda k, s, m, end, by: (
            math.floor(clock.arrival_ps(k) + Fraction(gates.centers_ps[s][m] + (end - 0.5) * width))
            + by
        ),
        st.integers(0, 9),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(-1, 1),
    )
    anywhere = st.integers(-3000, 12_000)
    times = sorted(draw(st.lists(edge | anywhere, max_size=40)))
    channels = draw(st.lists(st.integers(0, 1), min_size=len(times), max_size=len(times)))
    cuts = draw(st.lists(st.integers(0, len(times)), max_size=5))
    dead = draw(st.sampled_from([(0, 0), (700, 250), (2600, 40)]))
    return times, channels, clock, gates, cuts, dead


@settings(max_examples=150, deadline=None)
@given(streams())
def test_any_chunks_of_any_tags_match_as_by_brute_force(stream):
    times, channels, clock, gates, cuts, dead = stream
    events, n_outside, n_vetoed = brute_force(times, channels, clock, gates, 8, dead)
    got, counts, blocks = matched(
        times, channels, n_pulses=8, clock=clock, gates=gates, cuts=cuts, dead_times_ps=dead
    )
    assert got == events
    assert counts.n_vetoed == n_vetoed
    # Tags beyond the end are not fed once the segment is over.
    assert counts.n_outside == n_outside - (len(times) - counts.n_tags)
    elapsed = 0
    for block in blocks:
        assert all(elapsed <= pulse < block.n_elapsed for pulse in block.pulses.tolist())
        elapsed = block.n_elapsed
    assert (blocks[-1].last, elapsed) == (True, 8)


@pytest.mark.parametrize("period_ps", [1000.0, 1000.0009765625, 777.7])
def test_a_long_stream_folds_as_exact_arithmetic_does(period_ps):
    """Over many anchors, in gaps of up to 10^9 pulses and beyond."""
    rng = np.random.default_rng(4)
    clock = PulseClock(((0, period_ps), (10**11, period_ps + 0.5)))
    n_pulses = 3 * 10**11
    pulses = np.unique(np.cumsum((10 ** rng.uniform(0, 9.5, 700)).astype(np.int64)))
    pulses = pulses[pulses < n_pulses]
    times = [
        math.floor(clock.arrival_ps(k) + Fraction(offset))
        for k in pulses.tolist()
        for offset in (100.0, 400.0)
    ]
    channels = np.tile(np.array([0, 1], dtype=np.uint8), pulses.size)
    assert pulses.size > 300
    gates = Gates.at((100.0, 400.0), 4.0)
    events, counts, _ = matched(times, channels, n_pulses=n_pulses, clock=clock, gates=gates)
    assert counts.n_outside == 0
    assert events == [(k, EARLY_0 | LATE_1) for k in pulses.tolist()]


def test_blocks_tell_how_far_the_segment_is():
    matcher = Matcher(GATES)
    matcher.begin(Segment(3, 0, 10), CLOCK)
    block = matcher.feed(array([250, 750]), np.array([0, 1], np.uint8))
    assert (block.segment, block.pulses.tolist(), block.n_elapsed, block.last) == (3, [], 0, False)
    # The window of a pulse ends where that of the next begins: in the middle between their gates.
    block = matcher.feed(array([]), np.empty(0, np.uint8), 999)
    assert (block.pulses.tolist(), block.n_elapsed) == ([], 0)
    block = matcher.feed(array([]), np.empty(0, np.uint8), 1000)
    assert (block.pulses.tolist(), block.n_elapsed) == ([0], 1)
    block = matcher.feed(array([5250]), np.zeros(1, np.uint8))
    assert (block.n_elapsed, block.last) == (5, False)
    block = matcher.feed(array([]), np.empty(0, np.uint8), 10**9)
    assert (block.n_elapsed, block.last) == (10, True)
    with pytest.raises(DeviceError, match=r"segment 3: found more tags; allowed: none"):
        matcher.feed(array([10**9]), np.zeros(1, np.uint8))


def test_a_new_segment_forgets_the_old_one():
    matcher = Matcher(GATES, dead_times_ps=(2000, 2000))
    for number in range(2):
        matcher.begin(Segment(number, 0, 10), CLOCK)
        matcher.feed(array([250]), np.zeros(1, np.uint8))
        block = matcher.feed(array([750]), np.ones(1, np.uint8), 10**6)
        assert (block.segment, block.pulses.tolist()) == (number, [0])
        assert matcher.counts.n_tags == 2


def test_a_tracked_clock_can_be_followed():
    """Told of each new period in time, the matcher sees what it would have seen at once."""
    periods = [1000.0, 1000.5, 999.25, 1001.0]
    clock = PulseClock(tuple((20 * i, period) for i, period in enumerate(periods)))
    times = [math.floor(clock.arrival_ps(k) + 250 + 500 * m) for k in range(80) for m in range(2)]
    channels = np.tile(np.array([0, 1], dtype=np.uint8), 80)
    events, _, _ = matched(times, channels, clock=clock, n_pulses=80)
    assert len(events) == 80
    known = PulseClock(((0, 1000.0),))
    matcher, got = Matcher(GATES), []
    matcher.begin(Segment(0, 0, 80), known)
    for i in range(4):
        if i:
            known = known.extended(20 * i, periods[i])
            matcher.retune(known)
        part = slice(40 * i, 40 * i + 40)
        block = matcher.feed(array(times[part]), channels[part])
        got += block.pulses.tolist()
    got += matcher.feed(array([]), np.empty(0, np.uint8), 10**6).pulses.tolist()
    assert got == list(range(80))
    fresh = Matcher(GATES)
    fresh.begin(Segment(0, 0, 80), CLOCK)
    fresh.feed(array([30_250]), np.zeros(1, np.uint8))
    with pytest.raises(DeviceError, match="another time for pulses before 31; allowed: changes"):
        fresh.retune(CLOCK.extended(20, 1000.5))
    # Half of what the period has beyond the gates lies before them, and stays there.
    fresh.retune(CLOCK.extended(50, 950.0))
    with pytest.raises(DeviceError, match=r"period of the clock: found 949\.0 ps; allowed: 950"):
        fresh.retune(CLOCK.extended(50, 949.0))


def test_matching_is_indifferent_to_how_disorder_is_looked_for():
    rng = np.random.default_rng(1)
    for n in (0, 1, 2, 3, 50):
        for _ in range(20):
            times = np.sort(rng.integers(0, 100, n)) - (rng.random(n) < 1 / (n + 1)) * 20
            falls = [i for i in range(n) if times[i] < (times[i - 1] if i else 5)]
            assert _match_kernels.first_disorder(array(times), 5) == (falls or [-1])[0]


@pytest.mark.parametrize(
    ("times", "channels", "watermark", "words"),
    [
        ([5200, 5100], [0, 0], None, "tag 3: found 5100 ps; allowed: 5200 ps or later"),
        ([1999], [0], None, "tag 2: found 1999 ps; allowed: 2000 ps or later"),
        ([5100], [0], 5099, r"watermark: found 5099 ps; allowed: 5100 ps"),
        ([], [], 1999, "watermark: found 1999 ps; allowed: 2000 ps"),
        ([2**61], [0], None, r"tags: found 2305843009213693952 ps; allowed: below 2\^61"),
        ([5100, 5200], [0], None, r"channels of tags: found shape \(1,\) of uint8; allowed: \(2,"),
    ],
)
def test_tags_out_of_order_are_refused_and_change_nothing(times, channels, watermark, words):
    matcher = Matcher(GATES)
    matcher.begin(Segment(0, 0, 10), CLOCK)
    matcher.feed(array([1250, 1300]), np.zeros(2, np.uint8), 2000)
    before = matcher.counts
    with pytest.raises(DeviceError, match=words):
        matcher.feed(array(times), np.array(channels, np.uint8), watermark)
    assert matcher.counts == before
    block = matcher.feed(array([2250, 2750]), np.array([0, 1], np.uint8), 10**5)
    assert block.pulses.tolist() == [2]


def test_tags_of_another_kind_are_refused():
    matcher = Matcher(GATES)
    with pytest.raises(DeviceError, match="no segment has begun"):
        matcher.feed(array([1]), np.zeros(1, np.uint8))
    matcher.begin(Segment(0, 0, 10), CLOCK)
    with pytest.raises(DeviceError, match=r"times of tags: found .* of float64; allowed"):
        matcher.feed(np.array([1.0]), np.zeros(1, np.uint8))
    with pytest.raises(DeviceError, match=r"channels of tags: found .* of int64; allowed"):
        matcher.feed(array([1]), array([1]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Gates.at(BINS_PS, 0.0), "width of the gates: found 0.0 ps; allowed: above 0"),
        (lambda: Gates.at(BINS_PS, 501.0), "gates of detector 0: found centers 250.0 and 750.0 ps"),
        (lambda: Gates(((0.0, 500.0), (500.0, 0.0)), 400.0), "gates of detector 1: found"),
        (lambda: Matcher(GATES, channels=(1, 1)), r"channels: found \(1, 1\); allowed: two"),
        (lambda: Matcher(GATES, channels=(1, 256)), r"channels: found \(1, 256\)"),
        (lambda: Matcher(GATES, dead_times_ps=(-1, 0)), r"dead times: found \(-1, 0\) ps"),
        (lambda: Matcher(GATES).begin(Segment(0, 0, 0), CLOCK), "segment: found 0 pulses"),
        (
            lambda: Matcher(GATES).begin(Segment(0, 0, 9), PulseClock(((0, 899.0),))),
            "period of the clock: found 899.0 ps; allowed: 900, which the gates take, to",
        ),
        (
            lambda: Matcher(GATES).begin(Segment(0, 0, 9), PulseClock(((0, 1e10),))),
            "period of the clock: found 10000000000.0 ps",
        ),
    ],
)
def test_matchers_that_make_no_sense_are_refused(make, words):
    with pytest.raises(DeviceError, match=words):
        make()
