import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import chi2

from mdiqkd_net.blocks import Segment
from mdiqkd_net.devices.simulated import Candidates, SimulatedReceiver
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import TaggerParams
from mdiqkd_net.params import Link, ReceiverParams, Setting, Source, UserLink
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.expected import state_click_probabilities
from mdiqkd_net.physics.settings import SegmentSettings

FALSE_ALARM = 1e-6
ALICE, BOB = b"a" * 32, b"b" * 32


def setting(intensity: float, probability: float) -> Setting:
    return Setting(intensity=intensity, probability=probability)


SHORT = Link(
    n_pulses=100_000_000,
    alice=UserLink(
        x=setting(0.08, 0.35),
        y=setting(0.30, 0.15),
        z=setting(0.45, 0.45),
        length_km=10.0,
        attenuation_db_per_km=0.2,
        insertion_loss_db=0.5,
    ),
    bob=UserLink(
        x=setting(0.15, 0.20),
        y=setting(0.60, 0.20),
        z=setting(0.50, 0.40),
        length_km=40.0,
        attenuation_db_per_km=0.18,
    ),
    receiver=ReceiverParams(
        efficiency=0.6, dark_probability=1e-4, misalignment=0.02, mode_overlap=0.95
    ),
    eps_sec=1e-10,
    eps_cor=1e-15,
    f_ec=1.16,
    bell_states=("psi_minus", "psi_plus"),
)


def with_receiver(**changes) -> Link:
    return replace(SHORT, receiver=replace(SHORT.receiver, **changes))


RECEIVERS = {
    "ideal": SHORT,
    "dead time": with_receiver(dead_time_s=7e-9),
    "long dead time": with_receiver(dead_time_s=30e-9, efficiency_ratio=0.6),
    "click level": with_receiver(level="click", detector="spad_silicon", jitter_s=0.0),
    "tag level": with_receiver(
        level="tag",
        detector="spad_silicon",
        tagger=TaggerParams(
            gate_width_ps=300.0, skew_ps=(40.0, -30.0), clock_drift_ppm_per_s=900.0, veto=True
        ),
    ),
    "lost tagger": with_receiver(
        level="tag", tagger=TaggerParams(clock_offset_ppm=900.0, calibrated=False)
    ),
    "lost slow tagger": with_receiver(
        level="tag", tagger=TaggerParams(clock_offset_ppm=-900.0, calibrated=False)
    ),
}
"""The same light on other detectors."""


def optics_of(link: Link = SHORT, seed: int | tuple[int, ...] = 7) -> SimulatedReceiver:
    return SimulatedReceiver(
        receiver=link.receiver,
        transmittances=(link.alice.transmittance, link.bob.transmittance),
        light=(light_table(link.alice.source), light_table(link.bob.source)),
        seed=seed,
    )


def clicks_of(optics, segment, batch_sizes, link=SHORT):
    """All clicks of a segment, (pulses, patterns), in batches of the given sizes in turn."""
    alice = SegmentSettings(ALICE, link.alice.source)
    bob = SegmentSettings(BOB, link.bob.source)
    optics.begin(segment)
    pulses, patterns, turn, decided = [], [], 0, 0
    while True:
        candidates = optics.next_candidates(batch_sizes[turn % len(batch_sizes)])
        if candidates is None:
            return np.concatenate(pulses), np.concatenate(patterns)
        states = alice.states_at(candidates.pulses), bob.states_at(candidates.pulses)
        block = optics.detect(candidates, *states)
        assert block.n_elapsed <= candidates.n_covered
        assert not block.pulses.size or decided <= block.pulses[0] <= block.pulses[-1]
        decided = block.n_elapsed
        assert not block.pulses.size or block.pulses[-1] < decided
        assert block.last == (block.n_elapsed == segment.n_pulses)
        pulses.append(block.pulses)
        patterns.append(block.patterns)
        turn += 1


def test_a_link_counts_what_the_closed_form_expects():
    """Chi-square of every pair of states and pattern, settings by AES; false alarm 1e-6."""
    n = SHORT.n_pulses
    pulses, patterns = clicks_of(optics_of(), Segment(0, 0, n), [32_768])
    alice = SegmentSettings(ALICE, SHORT.alice.source).states_at(pulses).astype(int)
    bob = SegmentSettings(BOB, SHORT.bob.source).states_at(pulses).astype(int)
    counts = np.bincount((7 * alice + bob) * 16 + patterns, minlength=49 * 16).astype(float)

    def of_states(source: Source):
        o, x, y, z = source.probabilities
        return np.array([o, x / 2, x / 2, y / 2, y / 2, z / 2, z / 2])

    shares = np.outer(of_states(SHORT.alice.source), of_states(SHORT.bob.source))
    chances = (shares[..., None] * state_click_probabilities(SHORT)).ravel()
    in_both = np.array([p & 3 > 0 and p & 12 > 0 for p in range(16)] * 49)
    mean = n * chances
    assert not counts[~in_both].any()
    large = in_both & (mean >= 25)
    small = in_both & ~large
    observed = np.array([*counts[large], counts[small].sum(), n - counts.sum()])
    expected = np.array([*mean[large], mean[small].sum(), mean[~in_both].sum()])
    assert expected.min() >= 25
    assert large.sum() > 200
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, observed.size - 1) > FALSE_ALARM


SEGMENT = Segment(number=3, first_pulse=10**9, n_pulses=400_000)


@pytest.mark.parametrize("name", RECEIVERS)
@settings(max_examples=10, deadline=None)
@example(sizes=[1])
@given(sizes=st.lists(st.integers(20, 3000), min_size=1, max_size=5))
def test_clicks_do_not_depend_on_the_batches(name, sizes):
    link = RECEIVERS[name]
    segment = Segment(number=3, first_pulse=10**9, n_pulses=40_000)
    whole = clicks_of(optics_of(link), segment, [10**6])
    cut = clicks_of(optics_of(link), segment, sizes)
    assert whole[0].size > 1
    np.testing.assert_array_equal(whole[0], cut[0])
    np.testing.assert_array_equal(whole[1], cut[1])


def test_a_segment_replays_alone_and_differs_from_all_others():
    optics = optics_of(seed=(7, 1))
    clicks_of(optics, Segment(2, 0, 10_000), [1000])
    first = clicks_of(optics, SEGMENT, [1000])
    alone = clicks_of(optics_of(seed=(7, 1)), SEGMENT, [1000])
    np.testing.assert_array_equal(first[0], alone[0])
    np.testing.assert_array_equal(first[1], alone[1])
    others = [
        clicks_of(optics, SEGMENT, [1000]),  # the same number once more
        clicks_of(optics, Segment(4, 10**9, SEGMENT.n_pulses), [1000]),
        clicks_of(optics_of(seed=(7, 2)), SEGMENT, [1000]),
        clicks_of(optics_of(seed=7), SEGMENT, [1000]),
    ]
    for other in others:
        # Independent samples of about n clicks among N pulses share about n²/N of them.
        assert np.intersect1d(first[0], other[0]).size < 0.1 * first[0].size


@pytest.mark.parametrize("name", RECEIVERS)
def test_candidates_do_not_depend_on_the_states(name):
    """Whatever the transmitters answer, the next question is the same."""
    optics, other = optics_of(RECEIVERS[name]), optics_of(RECEIVERS[name])
    optics.begin(SEGMENT)
    other.begin(SEGMENT)
    while (batch := optics.next_candidates(500)) is not None:
        twin = other.next_candidates(500)
        np.testing.assert_array_equal(batch.pulses, twin.pulses)
        ones, fives = (np.full(batch.pulses.size, s, dtype=np.uint8) for s in (1, 5))
        optics.detect(batch, ones, ones)
        other.detect(twin, fives, ones)
    assert other.next_candidates(500) is None


@pytest.mark.parametrize("name", RECEIVERS)
def test_one_thread_may_draw_ahead_of_another(name):
    expected = clicks_of(optics_of(RECEIVERS[name]), SEGMENT, [100])
    optics = optics_of(RECEIVERS[name])
    alice = SegmentSettings(ALICE, SHORT.alice.source)
    bob = SegmentSettings(BOB, SHORT.bob.source)
    optics.begin(SEGMENT)
    drawn: list[Candidates] = []
    ready = threading.Semaphore(0)

    def draw():
        while (batch := optics.next_candidates(100)) is not None:
            drawn.append(batch)
            ready.release()

    thread = threading.Thread(target=draw)
    thread.start()
    blocks, last = [], False
    while not last:
        assert ready.acquire(timeout=30)
        batch = drawn[len(blocks)]
        states = alice.states_at(batch.pulses), bob.states_at(batch.pulses)
        blocks.append(optics.detect(batch, *states))
        last = blocks[-1].last
    thread.join()
    np.testing.assert_array_equal(np.concatenate([b.pulses for b in blocks]), expected[0])
    np.testing.assert_array_equal(np.concatenate([b.patterns for b in blocks]), expected[1])


def dark_link(dark: float) -> SimulatedReceiver:
    return SimulatedReceiver(
        receiver=ReceiverParams(
            efficiency=0.5, dark_probability=dark, misalignment=0.0, mode_overlap=1.0
        ),
        transmittances=(0.0, 0.0),
        light=(np.ones((7, 2), dtype=complex),) * 2,
        seed=0,
    )


def test_without_light_and_darks_one_empty_batch_covers_the_segment():
    optics = dark_link(0.0)
    assert optics.bound == 0.0
    optics.begin(Segment(0, 0, 2**40))
    batch = optics.next_candidates()
    assert batch is not None
    assert batch.pulses.size == 0
    assert batch.n_covered == 2**40
    nothing = np.empty(0, dtype=np.uint8)
    block = optics.detect(batch, nothing, nothing)
    assert block.last
    assert block.pulses.size == 0
    assert optics.next_candidates() is None


def test_a_long_segment_at_a_tiny_bound_is_decided_at_once():
    optics = dark_link(5e-7)
    assert optics.bound == pytest.approx(1e-12, rel=1e-6)
    optics.begin(Segment(0, 0, 2**40))
    batch = optics.next_candidates()
    assert batch is not None
    assert batch.n_covered == 2**40
    # The number of candidates is Poisson of mean 1.1; more than 20 has a chance below 1e-18.
    assert batch.pulses.size <= 20


def test_a_batch_may_end_with_the_segment():
    optics = dark_link(1.0)
    optics.begin(Segment(0, 0, 10))
    batches = [optics.next_candidates(5), optics.next_candidates(5)]
    assert [b.n_covered for b in batches] == [5, 10]
    assert optics.next_candidates(5) is None


def refused(optics, batch, alice, bob, word):
    with pytest.raises(DeviceError, match=word):
        optics.detect(batch, alice, bob)


def test_bad_answers_are_refused_and_change_nothing():
    expected = clicks_of(optics_of(), SEGMENT, [1000])
    optics = optics_of()
    optics.begin(SEGMENT)
    batch = optics.next_candidates(10**6)
    good = (
        SegmentSettings(ALICE, SHORT.alice.source).states_at(batch.pulses),
        SegmentSettings(BOB, SHORT.bob.source).states_at(batch.pulses),
    )
    n = batch.pulses.size
    seven = good[0].copy()
    seven[-1] = 7
    refused(optics, batch, seven, good[1], "states of alice: found state 7; allowed: 0 to 6")
    refused(optics, batch, good[0], good[1][1:], rf"states of bob: found shape \({n - 1},\)")
    refused(optics, batch, good[0].astype(np.int64), good[1], "of int64; allowed")
    refused(optics, batch, good[0][None], good[1], "states of alice: found shape")
    block = optics.detect(batch, *good)
    np.testing.assert_array_equal(block.pulses, expected[0])
    np.testing.assert_array_equal(block.patterns, expected[1])


def test_batches_out_of_turn_are_refused():
    optics = optics_of()
    optics.begin(SEGMENT)
    first, second = optics.next_candidates(10), optics.next_candidates(10)
    zeros = np.zeros(10, dtype=np.uint8)
    refused(optics, second, zeros, zeros, "batch out of turn: found segment 3 from pulse")
    optics.detect(first, zeros, zeros)
    refused(optics, first, zeros, zeros, "found segment 3 from pulse 0; allowed: segment 3 from")
    optics.begin(Segment(4, 0, 10**6))
    refused(optics, second, zeros, zeros, "allowed: segment 4 from pulse 0")


def test_a_segment_outlasts_a_dead_time():
    optics = optics_of(RECEIVERS["long dead time"])
    with pytest.raises(DeviceError, match="dead time: found 30 pulses; allowed: less than the 30 "):
        optics.begin(Segment(0, 0, 30))
    optics.begin(Segment(0, 0, 31))


def test_the_clock_turns_dead_time_into_pulses():
    """7 ns hide no bin at 10 MHz; at 1 GHz they hide the late one from an early click."""
    link = RECEIVERS["dead time"]
    same_detector = {}
    for pulse_rate_hz in (1e7, 1e9):
        optics = SimulatedReceiver(
            receiver=link.receiver,
            transmittances=(link.alice.transmittance, link.bob.transmittance),
            light=(light_table(link.alice.source), light_table(link.bob.source)),
            seed=1,
            pulse_rate_hz=pulse_rate_hz,
        )
        _, patterns = clicks_of(optics, SEGMENT, [1000])
        same_detector[pulse_rate_hz] = int(np.isin(patterns, [5, 10]).sum())
    assert same_detector[1e7] > 100
    assert same_detector[1e9] == 0


def test_calls_without_sense_are_refused():
    optics = optics_of()
    with pytest.raises(DeviceError, match="no segment has begun"):
        optics.next_candidates()
    with pytest.raises(DeviceError, match="found 0 pulses; allowed: 1 to"):
        optics.begin(Segment(0, 0, 0))
    with pytest.raises(DeviceError, match="segment number: found -1"):
        optics.begin(Segment(-1, 0, 10))
    optics.begin(SEGMENT)
    with pytest.raises(DeviceError, match="max_candidates: found 0; allowed: 1 or greater"):
        optics.next_candidates(0)


@pytest.mark.parametrize("seed", [-1, (3, -2), ()])
def test_seeds_are_natural_numbers(seed):
    with pytest.raises(DeviceError, match="seed: found"):
        optics_of(seed=seed)
