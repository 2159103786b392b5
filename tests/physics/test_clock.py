from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.clock import PulseClock

PERIODS = st.floats(1.0, 1e6)


@st.composite
def clocks(draw):
    firsts = [0, *sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))]
    pieces = tuple((first, draw(PERIODS)) for first in firsts)
    return PulseClock(pieces, draw(st.floats(-1e9, 1e9)))


@given(clocks(), st.integers(0, 10**6 + 10))
def test_arrival_is_the_sum_of_the_periods_before(clock, pulse):
    at = Fraction(clock.start_ps)
    ends = [first for first, _ in clock.pieces[1:]] + [10**9]
    for (first, period_ps), end in zip(clock.pieces, ends, strict=True):
        at += max(0, min(pulse, end) - first) * Fraction(period_ps)
    assert clock.arrival_ps(pulse) == at


@given(clocks())
def test_the_table_tells_the_same_time(clock):
    table = clock.table(2 * 10**6)
    for i, first in enumerate(table.first[:-1].tolist()):
        told = int(table.times[i]) + Fraction(float(table.fractions[i]))
        assert abs(told - clock.arrival_ps(first)) < 1e-15
        assert table.periods[i] == dict(clock.pieces)[first]
    assert (np.diff(table.first) > 0).all()


def test_a_table_leaves_out_what_comes_after_the_segment():
    clock = PulseClock(((0, 10.0), (100, 11.0), (10**18, 12.0)))
    assert clock.table(1000).periods.tolist() == [10.0, 11.0]


def test_a_fast_tagger_counts_longer_periods():
    clock = PulseClock.drifting(1000.0, [(0, 0.0), (10, 2.0**-10)], start_ps=5.0)
    assert clock.pieces == ((0, 1000.0), (10, 1000.9765625))
    assert clock.arrival_ps(12) == 5 + 10 * 1000 + 2 * 1000.9765625
    assert clock.extended(20, 999.0).arrival_ps(21) == 5 + 10_000 + 10_009.765625 + 999


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PulseClock(()), r"found pulses \[\]; allowed: strictly rising from 0"),
        (lambda: PulseClock(((1, 10.0),)), r"found pulses \[1\]"),
        (lambda: PulseClock(((0, 10.0), (5, 9.0), (5, 8.0))), "strictly rising"),
        (lambda: PulseClock(((0, 10.0), (3, 0.5))), "period from pulse 3: found 0.5 ps; allowed"),
        (lambda: PulseClock(((0, float("nan")),)), "found nan ps"),
        (lambda: PulseClock(((0, 10.0),), float("inf")), "start of a clock: found inf ps"),
        (lambda: PulseClock(((0, 10.0),)).extended(0, 9.0), "strictly rising"),
        (lambda: PulseClock(((0, 1e6),)).table(10**13), r"10000000000000 pulses: found 1e\+19"),
    ],
)
def test_clocks_that_tell_no_time_are_refused(make, words):
    with pytest.raises(DeviceError, match=words):
        make()
