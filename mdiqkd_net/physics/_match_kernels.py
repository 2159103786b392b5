"""Compiled loops of the coincidence logic. Callers check the arguments; nothing is checked here."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

LONG_AGO: Final = -(2**62)

PIECE, ANCHOR_PULSE, ANCHOR_TIME, CURRENT, PATTERN, SPOILED, DEAD_UNTIL_0, DEAD_UNTIL_1 = range(8)
"""Where the whole numbers of a stream's state are."""

SHIFT, SPAN, UNREST_0, UNREST_1 = range(4)
"""Where the broken ones are."""

N_OTHER, N_OUTSIDE, N_VETOED = range(3)
"""Where the counters are."""

_ANCHOR_BITS: Final = 20
"""Pulses between anchors, as a power of 2: from an anchor on, a float64 places a tag to 2^-12 ps
at periods up to a microsecond."""


@njit(cache=True, nogil=True)
def first_disorder(times: NDArray[np.int64], earliest: int) -> int:
    """Index of the first time below its predecessor (below `earliest`, for the first), or -1."""
    n = times.shape[0]
    falls = n > 0 and times[0] < earliest
    for i in range(1, n):  # without a way out, so that it is done several at a time
        falls |= times[i] < times[i - 1]
    if not falls:
        return -1
    before = earliest
    i = 0
    while times[i] >= before:
        before = times[i]
        i += 1
    return i


@njit(cache=True, nogil=True)
def _anchor(
    whole: NDArray[np.int64],
    broken: NDArray[np.float64],
    first: NDArray[np.int64],
    clock_times: NDArray[np.int64],
    fractions: NDArray[np.float64],
    periods: NDArray[np.float64],
    origin: float,
    time: int,
) -> None:
    """Move the anchor of the stream to the last one at or before `time`.

    It depends on `time` and on the clock alone, so that no result depends on how a stream is cut.
    """
    piece = whole[PIECE]
    while piece + 1 < periods.shape[0]:
        if np.float64(time - clock_times[piece + 1]) < fractions[piece + 1] + origin:
            break
        piece += 1
    period = periods[piece]
    since = np.float64(time - clock_times[piece]) - fractions[piece] - origin
    anchor = (np.int64(np.floor(since / period)) >> _ANCHOR_BITS) << _ANCHOR_BITS
    if anchor < 0:
        anchor = np.int64(0)
    period_floor = np.floor(period)
    rest = fractions[piece] + np.float64(anchor) * (period - period_floor)
    rest_floor = np.floor(rest)
    whole[PIECE] = piece
    whole[ANCHOR_PULSE] = first[piece] + anchor
    whole[ANCHOR_TIME] = clock_times[piece] + anchor * np.int64(period_floor) + np.int64(rest_floor)
    broken[SHIFT] = rest - rest_floor + origin
    n_left = min(np.int64(1) << _ANCHOR_BITS, first[piece + 1] - whole[ANCHOR_PULSE])
    broken[SPAN] = np.float64(n_left) * period


@njit(cache=True, nogil=True)
def pulse_at(
    whole: NDArray[np.int64],
    broken: NDArray[np.float64],
    first: NDArray[np.int64],
    clock_times: NDArray[np.int64],
    fractions: NDArray[np.float64],
    periods: NDArray[np.float64],
    origin: float,
    time: int,
) -> int:
    """The pulse in whose window `time` lies; may be negative or beyond the segment.

    Arguments as in `match`.
    """
    _anchor(whole, broken, first, clock_times, fractions, periods, origin, time)
    since = np.float64(time - whole[ANCHOR_TIME]) - broken[SHIFT]
    period = periods[whole[PIECE]]
    k = np.floor(since / period)
    phase = since - k * period
    if phase >= period:
        k += 1.0
    elif phase < 0.0:
        k -= 1.0
    return whole[ANCHOR_PULSE] + np.int64(k)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def close(
    whole: NDArray[np.int64],
    broken: NDArray[np.float64],
    gates: NDArray[np.float64],
    n_events: int,
    pulses: NDArray[np.int64],
    patterns: NDArray[np.uint8],
    counters: NDArray[np.int64],
) -> int:
    """Write down the current pulse if it is an event, and forget it. Arguments as in `match`."""
    pattern = whole[PATTERN]
    whole[PATTERN] = 0
    if not (pattern & 3 and pattern & 12):
        return n_events
    if whole[SPOILED] or broken[UNREST_0] > gates[0, 0] or broken[UNREST_1] > gates[1, 0]:
        counters[N_VETOED] += 1
        return n_events
    pulses[n_events] = whole[CURRENT]
    patterns[n_events] = pattern
    return n_events + 1


@njit(cache=True, nogil=True)
def match(
    whole: NDArray[np.int64],
    broken: NDArray[np.float64],
    first: NDArray[np.int64],
    clock_times: NDArray[np.int64],
    fractions: NDArray[np.float64],
    periods: NDArray[np.float64],
    origin: float,
    gates: NDArray[np.float64],
    width: float,
    dead: NDArray[np.int64],
    detector_of: NDArray[np.uint8],
    n_pulses: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    pulses: NDArray[np.int64],
    patterns: NDArray[np.uint8],
    counters: NDArray[np.int64],
) -> int:
    """Fold tags by the clock, gate them, and write down the pulses with clicks in both bins.

    Args:
        whole: (8,) the whole numbers of the stream's state, changed in place.
        broken: (4,) the broken ones.
        first: Clock: first pulse of each piece.
        clock_times: Clock: its arrival in whole ps.
        fractions: Clock: and the rest.
        periods: Clock: ps.
        origin: Where the window of a pulse begins, ps after its arrival.
        gates: (2, 2) where the early and late gate of each detector begin, ps after `origin`.
        width: Of every gate, ps.
        dead: (2,) dead time per detector, ps.
        detector_of: (256,) detector of each channel; 2 for channels of neither.
        n_pulses: Of the segment.
        times: (n,) tags, ps, rising.
        channels: (n,)
        pulses: Output, at least n // 2 + 2: pulses of the events.
        patterns: Output, likewise: their click patterns.
        counters: (3,) changed in place.

    Returns:
        How many events are closed; the last pulse with a tag stays open.
    """
    n_events = 0
    n_other = 0
    n_outside = 0
    anchor_pulse, anchor_time = whole[ANCHOR_PULSE], whole[ANCHOR_TIME]
    shift, span = broken[SHIFT], broken[SPAN]
    period = periods[whole[PIECE]]
    per_period = 1.0 / period
    current, pattern, spoiled = whole[CURRENT], whole[PATTERN], whole[SPOILED]
    dead_until = whole[DEAD_UNTIL_0 : DEAD_UNTIL_1 + 1]
    unrest_0, unrest_1 = broken[UNREST_0], broken[UNREST_1]
    for i in range(times.shape[0]):
        s = np.int64(detector_of[channels[i]])
        if s > 1:
            n_other += 1
            continue
        time = times[i]
        since = np.float64(time - anchor_time) - shift
        if since >= span:
            _anchor(whole, broken, first, clock_times, fractions, periods, origin, time)
            anchor_pulse, anchor_time = whole[ANCHOR_PULSE], whole[ANCHOR_TIME]
            shift, span = broken[SHIFT], broken[SPAN]
            period = periods[whole[PIECE]]
            per_period = 1.0 / period
            since = np.float64(time - anchor_time) - shift
        k = np.floor(since * per_period)
        phase = since - k * period
        # The product may round across the border of a window.
        if phase >= period:
            k += 1.0
            phase -= period
        elif phase < 0.0:
            k -= 1.0
            phase += period
        pulse = anchor_pulse + np.int64(k)
        if pulse != current:
            if pattern & 3 and pattern & 12:
                whole[CURRENT], whole[PATTERN], whole[SPOILED] = current, pattern, spoiled
                broken[UNREST_0], broken[UNREST_1] = unrest_0, unrest_1
                n_events = close(whole, broken, gates, n_events, pulses, patterns, counters)
            current = pulse
            pattern = 0
            spoiled = 0
            # How far into this window each detector is dead from clicks before it.
            unrest_0 = np.float64(dead_until[0] - time) + phase
            unrest_1 = np.float64(dead_until[1] - time) + phase
        # Detector and bin are coins, so they index tables; a branch would be mispredicted.
        m = np.int64(phase >= gates[s, 1])
        since_gate = phase - gates[s, m]
        if 0.0 <= since_gate < width and 0 <= pulse < n_pulses:
            pattern |= 1 << (2 * m + s)
        else:
            n_outside += 1
            # A click outside the gates that leaves its detector dead when a gate of it begins.
            for gate in range(2):
                if phase < gates[s, gate] < phase + np.float64(dead[s]):
                    spoiled = 1
        dead_until[s] = time + dead[s]
    whole[CURRENT], whole[PATTERN], whole[SPOILED] = current, pattern, spoiled
    broken[UNREST_0], broken[UNREST_1] = unrest_0, unrest_1
    counters[N_OTHER] += n_other
    counters[N_OUTSIDE] += n_outside
    return n_events
