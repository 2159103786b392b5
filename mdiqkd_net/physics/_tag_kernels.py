"""Compiled loops of the tag level. Callers check the arguments; nothing is checked here.

Clicks travel as keys, 2 time + detector, so that one integer sorts by time and then by detector.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.physics._draws import (
    exponential,
    fill_normal,
    fill_uniform,
    uniform,
)

NEVER: Final = 2**62 - 1
"""A time beyond every other; its key still fits an int64."""

WIDEST_NORMAL: Final = 10.0
WIDEST_EXPONENTIAL: Final = 40.0
"""Where jitter ends: chances of 2e-23 and 4e-18, for the sake of a finite reorder horizon."""

_LOWEST: Final = np.array([0, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0], dtype=np.uint8)
"""The lowest gate of a pattern."""


@njit(cache=True, nogil=True)
def light_gates(
    state: NDArray[np.uint64],
    keep: NDArray[np.float64],
    other: NDArray[np.uint8],
    n_bob: int,
    rows_alice: NDArray[np.integer],
    rows_bob: NDArray[np.integer],
    drawn: NDArray[np.float64],
    lit_candidates: NDArray[np.int64],
    lit_gates: NDArray[np.uint8],
) -> int:
    """Gates that the light of the candidates would click in.

    Gate g is bin g // 2 of detector g % 2, as in the bits of a click pattern.

    Args:
        state: Of the generator of one number per candidate, (4,) uint64, changed in place.
        keep: Of `sampling.alias_tables`.
        other: Likewise.
        n_bob: Rows of Bob's light.
        rows_alice: (n,) rows of Alice's light at the candidates, with the cell of the phase.
        rows_bob: (n,) of Bob's.
        drawn: (n,) work space.
        lit_candidates: Output, room for 4 n + 1: which candidate.
        lit_gates: Output, room for 4 n + 1: which gate.

    Returns:
        How many gates are lit.
    """
    fill_uniform(state, drawn)
    n = 0
    for i in range(rows_alice.shape[0]):
        row = n_bob * np.int64(rows_alice[i]) + np.int64(rows_bob[i])
        x = 16.0 * drawn[i]
        column = np.int64(x)
        kept = x - np.float64(column) < keep[row, column]
        pattern = column if kept else np.int64(other[row, column])
        # Nobody can predict whether there is a click, and where: the first is written without a
        # branch, and overwritten if there is none. A second is rare.
        lit_candidates[n] = i
        lit_gates[n] = _LOWEST[pattern]
        n += int(pattern > 0)
        rest = pattern & (pattern - 1)
        while rest > 0:
            lit_candidates[n] = i
            lit_gates[n] = _LOWEST[rest]
            n += 1
            rest &= rest - 1
    return n


@njit(cache=True, nogil=True)
def time_clicks(
    state: NDArray[np.uint64],
    tail_state: NDArray[np.uint64],
    centers: NDArray[np.float64],
    jitter: NDArray[np.float64],
    tail: NDArray[np.float64],
    clock_first: NDArray[np.int64],
    clock_times: NDArray[np.int64],
    clock_fractions: NDArray[np.float64],
    clock_periods: NDArray[np.float64],
    piece: int,
    pulses: NDArray[np.int64],
    lit_candidates: NDArray[np.int64],
    lit_gates: NDArray[np.uint8],
    drawn: NDArray[np.float64],
    keys: NDArray[np.int64],
    n_keys: int,
) -> tuple[int, int]:
    """When the light would click on detectors at rest. The clock is a `clock.ClockTable`.

    Args:
        state: Of the generator of one normal number per click, (4,) uint64, changed in place.
        tail_state: Of the generator of the exponential delays, changed in place.
        centers: (4,) from the arrival of the pulse to an average click, ps.
        jitter: (2,) standard deviation, ps.
        tail: (2, 2) weight and mean in ps of the exponential delay.
        clock_first: First pulse of each piece of the clock.
        clock_times: Its arrival, whole ps.
        clock_fractions: And the rest.
        clock_periods: Period, ps.
        piece: Of the clock, at or before the first candidate.
        pulses: The candidates.
        lit_candidates: (n,) which candidate.
        lit_gates: (n,) and which of its gates.
        drawn: (n,) work space.
        keys: In and out, rising, room for n more.
        n_keys: How many there are.

    Returns:
        How many keys there are now, and the piece of the last candidate.
    """
    fill_normal(state, drawn)
    beyond_piece = clock_first[piece + 1]
    period = np.floor(clock_periods[piece])
    origin = clock_times[piece] - clock_first[piece] * np.int64(period)
    for i in range(lit_candidates.shape[0]):
        pulse = pulses[lit_candidates[i]]
        while pulse >= beyond_piece:
            piece += 1
            beyond_piece = clock_first[piece + 1]
            period = np.floor(clock_periods[piece])
            origin = clock_times[piece] - clock_first[piece] * np.int64(period)
        gate = np.int64(lit_gates[i])
        s = gate & 1
        x = np.float64(pulse - clock_first[piece]) * (clock_periods[piece] - period)
        x += clock_fractions[piece] + centers[gate]
        x += jitter[s] * max(-WIDEST_NORMAL, min(WIDEST_NORMAL, drawn[i]))
        if tail[s, 0] > 0.0 and uniform(tail_state) < tail[s, 0]:
            x += tail[s, 1] * min(WIDEST_EXPONENTIAL, exponential(tail_state))
        key = 2 * (origin + pulse * np.int64(period) + np.int64(np.floor(x + 0.5))) + s
        j = n_keys
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key
        n_keys += 1
    return n_keys, piece


@njit(cache=True, nogil=True)
def dark_after(state: NDArray[np.uint64], time: int, mean: float) -> int:
    """The next dark count after `time`: the first of a Bernoulli trial per picosecond.

    Args:
        state: Of the generator, changed in place.
        time: Of the last one, ps.
        mean: Between them, ps; infinite if there are none.
    """
    gap = exponential(state) * mean
    if not gap < np.float64(NEVER - 1 - time):
        return NEVER
    return time + 1 + int(gap)


@njit(cache=True, nogil=True)
def release(
    limit: int,
    keys: NDArray[np.int64],
    start: int,
    n_keys: int,
    dead: NDArray[np.int64],
    dead_until: NDArray[np.int64],
    dark_states: NDArray[np.uint64],
    dark_mean: NDArray[np.float64],
    next_dark: NDArray[np.int64],
    trap_state: NDArray[np.uint64],
    trap_chance: NDArray[np.float64],
    trap_mean: NDArray[np.float64],
    traps: NDArray[np.int64],
    n_traps: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Let the clicks of light, darks and traps run into the detectors, in the order of time.

    Args:
        limit: Keys from here on wait for more light.
        keys: Clicks of the light, rising.
        start: The first that has not been released.
        n_keys: One past the last.
        dead: (2,) dead time per detector, ps.
        dead_until: (2,) when each is at rest again, changed in place.
        dark_states: (2, 4) generators, changed in place.
        dark_mean: (2,) ps between dark counts.
        next_dark: (2,) time of the next, changed in place.
        trap_state: Generator of the afterpulses, changed in place.
        trap_chance: (2, k) cumulative chance of each kind of trap to be filled by a click.
        trap_mean: (2, k) mean time from the end of the dead time to its release, ps.
        traps: Keys of the releases to come, falling; room for one per tag. Empty without traps.
        n_traps: How many.
        times: Output, (n,).
        channels: Output, (n,).

    Returns:
        The first key that is left, the releases to come, and how many tags there are. There may
        be more to release before the limit if the output is full.
    """
    trapping = trap_chance[0, -1] + trap_chance[1, -1] > 0.0
    n = 0
    while n < times.shape[0]:
        # What comes next that is not light; the light until then needs no other comparison.
        dark = min(2 * next_dark[0], 2 * next_dark[1] + 1)
        other = min(dark, limit)
        if n_traps > 0:
            other = min(other, traps[n_traps - 1])
        if start < n_keys and keys[start] < other:
            if not trapping:
                # Without a branch on whether the detector is at rest, which nobody can predict.
                while start < n_keys and keys[start] < other and n < times.shape[0]:
                    s = keys[start] & 1
                    time = keys[start] >> 1
                    times[n] = time
                    channels[n] = s
                    at_rest = time >= dead_until[s]
                    dead_until[s] = time + dead[s] if at_rest else dead_until[s]
                    n += int(at_rest)
                    start += 1
                continue
            key = keys[start]
            start += 1
        elif other == limit:
            break
        elif other == dark:
            key = dark
            s = dark & 1
            next_dark[s] = dark_after(dark_states[s], next_dark[s], dark_mean[s])
        else:
            n_traps -= 1
            key = traps[n_traps]
        s = key & 1
        time = key >> 1
        if time < dead_until[s]:
            continue
        dead_until[s] = time + dead[s]
        times[n] = time
        channels[n] = s
        n += 1
        if trapping:
            u = uniform(trap_state)
            kind = 0
            while kind < trap_chance.shape[1] and u >= trap_chance[s, kind]:
                kind += 1
            if kind < trap_chance.shape[1]:
                wait = exponential(trap_state) * trap_mean[s, kind]
                trapped = 2 * (dead_until[s] + 1 + int(wait)) + s
                j = n_traps
                while j > 0 and traps[j - 1] < trapped:
                    traps[j] = traps[j - 1]
                    j -= 1
                traps[j] = trapped
                n_traps += 1
    return start, n_traps, n
