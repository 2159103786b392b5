"""Compiled loops over candidates and clicks. Callers check the arguments; nothing is here."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.physics._draws import exponential, fill_exponential, uniform

_RECOVERED: Final = 40.0
"""Time constants after which 1 - exp(-t) is 1 in a double."""


@njit(cache=True, nogil=True)
def draw_candidates(
    state: NDArray[np.uint64],
    scale: float,
    position: int,
    n_pulses: int,
    drawn: NDArray[np.float64],
    pulses: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill `pulses` with the next candidates after `position` pulses have been decided.

    Gaps are geometric: the whole part of an exponential number of mean -1 / ln(1 - bound).

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        scale: That mean.
        position: Pulses of the segment decided so far.
        n_pulses: Of the segment.
        drawn: (n,) work space.
        pulses: Output, (n,) int64.

    Returns:
        How many candidates there are, and the pulses that are decided now.
    """
    fill_exponential(state, drawn)
    for i in range(pulses.shape[0]):
        skipped = drawn[i] * scale
        # Compared before it is cut to an integer: a gap at a tiny bound may not fit an int64.
        if skipped >= np.float64(n_pulses - position):
            return i, n_pulses
        position += int(skipped)
        pulses[i] = position
        position += 1
    return pulses.shape[0], position


@njit(cache=True, nogil=True)
def draw_clusters(  # numba kernels take no keywords
    state: NDArray[np.uint64],
    scale: float,
    scale_click: float,
    memory: int,
    n_pulses: int,
    progress: NDArray[np.int64],
    waiting: NDArray[np.int64],
    pulses: NDArray[np.int64],
    kinds: NDArray[np.uint8],
) -> int:
    """Fill `pulses` with the next candidates: clicks that may matter, then the event they precede.

    The gap to the next event candidate is geometric. From there click candidates are drawn
    backward, geometrically, too, down to the first stretch of `memory` pulses without any, or to
    the previous event candidate: pulses from there down are decided already.

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        scale: -1 / ln(1 - chance of an event candidate), at least 0.
        scale_click: Likewise of a click candidate.
        memory: Pulses before a pulse that matter for it.
        n_pulses: Of the segment.
        progress: (4,) changed in place: one past the last event candidate, or `n_pulses` if
            no more come; the same for the one before; how many candidates are waiting; whether more
            have to be drawn before them, for which `waiting` must grow if it is full.
        waiting: (room,) candidates that are drawn and not yet given out, latest first.
        pulses: Output, (n,) int64.
        kinds: Output, (n,) uint8: 0 event candidate, 1 click candidate.

    Returns:
        How many candidates there are.
    """
    position, earliest, n_waiting, walking = progress[0], progress[1], progress[2], progress[3]
    n = 0
    while True:
        if walking:
            at = waiting[n_waiting - 1]
            while n_waiting < waiting.shape[0]:
                skipped = exponential(state) * scale_click
                if skipped >= np.float64(memory) or skipped >= np.float64(at - earliest):
                    walking = 0
                    break
                at -= 1 + int(skipped)
                waiting[n_waiting] = at
                n_waiting += 1
            if walking:
                break
        while n_waiting > 0 and n < pulses.shape[0]:
            n_waiting -= 1
            pulses[n] = waiting[n_waiting]
            kinds[n] = 1
            n += 1
            if n_waiting == 0:  # the event candidate lies at the bottom
                kinds[n - 1] = 0
        if n == pulses.shape[0] or position >= n_pulses:
            break
        skipped = exponential(state) * scale
        # Compared before it is cut to an integer: a gap at a tiny bound may not fit an int64.
        if skipped >= np.float64(n_pulses - position):
            position = n_pulses
            break
        earliest = position
        waiting[0] = position + int(skipped)
        n_waiting = 1
        position = waiting[0] + 1
        walking = 1 if memory > 0 else 0
    progress[0], progress[1], progress[2], progress[3] = position, earliest, n_waiting, walking
    return n


@njit(cache=True, nogil=True)
def register(
    raw: int,
    pulse: int,
    reach: tuple[int, int, int, int],
    live_from: tuple[int, int, int, int],
) -> tuple[int, tuple[int, int, int, int]]:
    """Which raw clicks of a pulse the detectors register, without a branch.

    Args:
        raw: Pattern of the pulse.
        pulse: Its number.
        reach: Of `gates.Gates`, row by row.
        live_from: First pulse in which each gate is live again, ordered like the bits of a pattern.

    Returns:
        The registered pattern, and the new `live_from`.
    """
    e_0, e_1, l_0, l_1 = live_from
    early_0 = (raw & 1) & (pulse >= e_0)
    early_1 = (raw >> 1 & 1) & (pulse >= e_1)
    # An early click hides a late one of its own detector if its dead time reaches there.
    late_0 = (raw >> 2 & 1) & (pulse >= l_0) & (1 - (early_0 & (reach[1] > 0)))
    late_1 = (raw >> 3 & 1) & (pulse >= l_1) & (1 - (early_1 & (reach[1] > 0)))
    e_0 = pulse + reach[2] if late_0 else (pulse + reach[0] if early_0 else e_0)
    l_0 = pulse + reach[3] if late_0 else (pulse + reach[1] if early_0 else l_0)
    e_1 = pulse + reach[2] if late_1 else (pulse + reach[0] if early_1 else e_1)
    l_1 = pulse + reach[3] if late_1 else (pulse + reach[1] if early_1 else l_1)
    return early_0 | early_1 << 1 | late_0 << 2 | late_1 << 3, (e_0, e_1, l_0, l_1)


@njit(cache=True, nogil=True)
def _raw_pattern(
    state: NDArray[np.uint64], keep: NDArray[np.float64], other: NDArray[np.uint8], row: int
) -> int:
    """Draw one of 16 patterns with a row of the tables of `sampling.alias_tables`, (n, 16)."""
    x = 16.0 * uniform(state)
    pattern = int(x)
    return pattern if x - pattern < keep[row, pattern] else int(other[row, pattern])


@njit(cache=True, nogil=True)
def detect(
    state: NDArray[np.uint64],
    keep: NDArray[np.float64],
    other: NDArray[np.uint8],
    reach: NDArray[np.int64],
    live_from: NDArray[np.int64],
    pulses: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    n_bob: int,
    states_alice: NDArray[np.integer],
    states_bob: NDArray[np.integer],
    clicked: NDArray[np.int64],
    registered: NDArray[np.uint8],
) -> int:
    """Decide every candidate, and what the detectors make of it.

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        keep: (2 n_pairs, 16) of `sampling.alias_tables` for the raw patterns.
        other: Likewise.
        reach: Of `gates.Gates`.
        live_from: (4,) as in `register`, changed in place.
        pulses: (n,) candidates, increasing.
        kinds: (n,) which half of the tables.
        n_bob: Rows of Bob's light.
        states_alice: (n,) rows of Alice's light at the candidates, cells of the phase included.
        states_bob: (n,) rows of Bob's light.
        clicked: Output, at least (n,): pulses with registered clicks in both bins.
        registered: Output, at least (n,): their patterns.

    Returns:
        How many pulses have clicks in both bins.
    """
    of_click = (reach[0, 0], reach[0, 1], reach[1, 0], reach[1, 1])
    live = (live_from[0], live_from[1], live_from[2], live_from[3])
    n_pairs = keep.shape[0] >> 1
    n = 0
    for i in range(pulses.shape[0]):
        pair = n_bob * int(states_alice[i]) + int(states_bob[i])
        raw = _raw_pattern(state, keep, other, n_pairs * int(kinds[i]) + pair)
        pattern, live = register(raw, pulses[i], of_click, live)
        if (pattern & 3) != 0 and (pattern & 12) != 0:
            clicked[n] = pulses[i]
            registered[n] = pattern
            n += 1
    live_from[0], live_from[1], live_from[2], live_from[3] = live
    return n


@njit(cache=True, nogil=True)
def _with_room(array: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The array, or one twice as long with the same contents if n entries fill it."""
    if n < array.shape[0]:
        return array
    longer = np.empty(2 * n, dtype=np.int64)
    longer[:n] = array
    return longer


@njit(cache=True, nogil=True)
def _push(heap: NDArray[np.int64], n: int, key: int) -> None:
    """Put a key into a binary heap of n keys that has room for it."""
    i = n
    while i > 0 and heap[(i - 1) >> 1] > key:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = key


@njit(cache=True, nogil=True)
def _pop(heap: NDArray[np.int64], n: int) -> None:
    """Remove the smallest of n keys, which is heap[0]."""
    key = heap[n - 1]
    i = 0
    while 2 * i + 1 < n - 1:
        child = 2 * i + 1
        if child + 1 < n - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = key


@njit(cache=True, nogil=True)
def _recovered(
    state: NDArray[np.uint64],
    pulse: int,
    m: int,
    last: int,
    dead_pulses: NDArray[np.float64],
    recovery_pulses: float,
) -> bool:
    """Whether a live detector registers a raw click in bin m of a pulse, the last one being `last`.

    Draws a number only while the detector recovers.
    """
    if last < 0:
        return True
    since = (pulse - (last >> 1) - dead_pulses[last & 1, m]) / recovery_pulses
    return since >= _RECOVERED or uniform(state) < -math.expm1(-since)


@njit(cache=True, nogil=True)
def make_clicks(
    state: NDArray[np.uint64],
    keep: NDArray[np.float64],
    other: NDArray[np.uint8],
    reach: NDArray[np.int64],
    first: NDArray[np.int64],
    live_from: NDArray[np.int64],
    dead_pulses: NDArray[np.float64],
    recovery_pulses: float,
    last: NDArray[np.int64],
    afterpulse_probability: float,
    afterpulse_cuts: NDArray[np.float64],
    afterpulse_scales: NDArray[np.float64],
    heap: NDArray[np.int64],
    n_heap: int,
    n_covered: int,
    pulses: NDArray[np.int64],
    n_bob: int,
    states_alice: NDArray[np.integer],
    states_bob: NDArray[np.integer],
    clicks: NDArray[np.int64],
) -> tuple[int, NDArray[np.int64], int, NDArray[np.int64]]:
    """Every registered click below `n_covered`, gate by gate in order of time.

    Afterpulses wait in a heap as 4 pulse + 2 bin + detector. Light, darks and afterpulses of one
    gate make one click, which a detector that recovers registers with the chance of `clicks`.

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        keep: (n_pairs, 16) of `sampling.alias_tables` for the raw patterns of a candidate.
        other: Likewise.
        reach: Of `gates.Gates`.
        first: `gates.first_gates` of it.
        live_from: (4,) as in `register`, changed in place.
        dead_pulses: Of `gates.Gates`.
        recovery_pulses: Likewise.
        last: (2,) the last click of each detector, as 2 pulse + bin, -1 for none; changed in place.
        afterpulse_probability: Of `gates.Gates`, like the next two.
        afterpulse_cuts: (2, 2 k).
        afterpulse_scales: (k,).
        heap: Afterpulses to come; changed in place, or replaced by a longer one.
        n_heap: Their number.
        n_covered: Pulses of the segment that are decided after this call.
        pulses: (n,) candidates, increasing, below `n_covered`: the pulses with a raw click of light
            or darks are among them.
        n_bob: Rows of Bob's light.
        states_alice: (n,) rows of Alice's light at the candidates, cells of the phase included.
        states_bob: (n,) rows of Bob's light.
        clicks: Output, at least (1,), replaced by a longer one if need be.

    Returns:
        How many pulses have a registered click; those, as 16 pulse + pattern; how many afterpulses
        are to come; those.
    """
    n = 0
    i = 0
    while True:
        pulse = pulses[i] if i < pulses.shape[0] else n_covered
        raw = 0
        if n_heap > 0 and heap[0] >> 2 < pulse:
            pulse = heap[0] >> 2
        elif pulse < n_covered:
            pair = n_bob * int(states_alice[i]) + int(states_bob[i])
            raw = _raw_pattern(state, keep, other, pair)
            i += 1
            if raw == 0 and (n_heap == 0 or heap[0] >> 2 > pulse):
                continue
        if pulse >= n_covered:
            break
        pattern = 0
        for m in range(2):
            while n_heap > 0 and heap[0] >> 1 == 2 * pulse + m:
                raw |= 1 << (2 * m + (heap[0] & 1))
                _pop(heap, n_heap)
                n_heap -= 1
            for d in range(2):
                bit = 1 << (2 * m + d)
                if not (raw & bit and pulse >= live_from[2 * m + d]):
                    continue
                if recovery_pulses > 0.0 and not _recovered(
                    state, pulse, m, last[d], dead_pulses, recovery_pulses
                ):
                    continue
                last[d] = 2 * pulse + m
                pattern |= bit
                live_from[d] = pulse + reach[m, 0]
                live_from[2 + d] = pulse + reach[m, 1]
                if afterpulse_probability == 0.0 or uniform(state) >= afterpulse_probability:
                    continue
                u = uniform(state)
                k = 0
                while u >= afterpulse_cuts[m, k]:
                    k += 1
                skipped = exponential(state) * afterpulse_scales[k >> 1]
                if skipped < 1e15:  # beyond any segment
                    gate = 2 * (pulse + first[m, k & 1] + int(skipped)) + (k & 1)
                    heap = _with_room(heap, n_heap)
                    _push(heap, n_heap, 2 * gate + d)
                    n_heap += 1
        if pattern == 0:
            continue
        clicks = _with_room(clicks, n)
        clicks[n] = 16 * pulse + pattern
        n += 1
    return n, clicks, n_heap, heap
