"""Compiled loops of the simulated light. Callers check the arguments; nothing is checked here."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_UNIT: Final = 2.0**-53


@njit(cache=True, nogil=True)
def next_word(state: NDArray[np.uint64]) -> np.uint64:
    """Advance xoshiro256++ by one step and return its 64 bits.

    Source: Blackman & Vigna, ACM Trans. Math. Softw. 47, 36 (2021).

    Args:
        state: Shape (4,), uint64, not all zero; changed in place.
    """
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    s2 ^= s0
    s3 ^= s1
    state[1] = s1 ^ s2
    state[0] = s0 ^ s3
    state[2] = s2 ^ (s1 << np.uint64(17))
    state[3] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return word  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _uniform(state: NDArray[np.uint64]) -> float:
    """Uniform in [0, 1), a multiple of 2^-53."""
    return np.float64(next_word(state) >> np.uint64(11)) * _UNIT


@njit(cache=True, nogil=True)
def draw_candidates(
    state: NDArray[np.uint64],
    scale: float,
    position: int,
    n_pulses: int,
    pulses: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill `pulses` with the next candidates after `position` pulses have been decided.

    Gaps are geometric: floor(ln u / ln(1 - bound)) pulses are passed over, u uniform in (0, 1].

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        scale: 1 / ln(1 - bound), at most 0.
        position: Pulses of the segment decided so far.
        n_pulses: Of the segment.
        pulses: Output, (n,) int64.

    Returns:
        How many candidates there are, and the pulses that are decided now.
    """
    for i in range(pulses.shape[0]):
        skipped = math.log(1.0 - _uniform(state)) * scale
        # Compared before it is cut to an integer: a gap at a tiny bound may not fit an int64.
        if skipped >= np.float64(n_pulses - position):
            return i, n_pulses
        position += int(skipped)
        pulses[i] = position
        position += 1
    return pulses.shape[0], position


@njit(cache=True, nogil=True)
def _clicks(state: NDArray[np.uint64], p_0: float, p_1: float) -> int:
    """Which of two independent detectors clicked (bits 1 and 2), given that at least one did."""
    only_1 = (1.0 - p_0) * p_1
    at_0 = p_0 * (1.0 - p_1)
    u = _uniform(state) * (only_1 + at_0 + p_0 * p_1)
    if u < only_1:
        return 2
    if u < only_1 + at_0:
        return 1
    return 3


@njit(cache=True, nogil=True)
def detect(  # numba kernels take no keywords
    state: NDArray[np.uint64],
    accept: NDArray[np.float64],
    flipped: NDArray[np.uint8],
    base: NDArray[np.float64],
    beat: NDArray[np.complex128],
    still: NDArray[np.float64],
    dark: float,
    pulses: NDArray[np.int64],
    states_alice: NDArray[np.uint8],
    states_bob: NDArray[np.uint8],
    clicked: NDArray[np.int64],
    patterns: NDArray[np.uint8],
) -> int:
    """Accept or reject every candidate, and draw the clicks of the accepted ones.

    The tables are those of `receiver.PairTables`. One uniform number decides at once whether Bob's
    bit was flipped and whether the candidate is accepted.

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        accept: (49, 2); below column 0: accepted and flipped, below column 1: accepted.
        flipped: (7,) uint8, the state with the other bit.
        base: (49, 2) mean detected photons per detector and bin without interference.
        beat: (49, 2) complex amplitude of the interference.
        still: (49, 2) click probability of a detector where `beat` is zero.
        dark: Dark probability per detector and bin.
        pulses: (n,) candidates.
        states_alice: (n,) states at the candidates.
        states_bob: (n,) states at the candidates.
        clicked: Output, at least (n,): pulses with clicks in both bins.
        patterns: Output, at least (n,): their click patterns.

    Returns:
        How many pulses have clicks in both bins.
    """
    n = 0
    for i in range(pulses.shape[0]):
        pair = 7 * np.int64(states_alice[i]) + np.int64(states_bob[i])
        u = _uniform(state)
        if u >= accept[pair, 1]:
            continue
        if u < accept[pair, 0]:
            pair = 7 * np.int64(states_alice[i]) + np.int64(flipped[states_bob[i]])
        cos_phase = 1.0
        sin_phase = 0.0
        if beat[pair, 0] != 0.0 or beat[pair, 1] != 0.0:
            # Twice the angle of a uniform point of the unit disc is a uniform phase, and costs
            # neither a root nor a trigonometric function.
            while True:
                x = 2.0 * _uniform(state) - 1.0
                y = 2.0 * _uniform(state) - 1.0
                radius = x * x + y * y
                if 0.0 < radius <= 1.0:
                    break
            cos_phase = (x * x - y * y) / radius
            sin_phase = 2.0 * x * y / radius
        pattern = 0
        for m in range(2):
            if beat[pair, m] != 0.0:
                swing = beat[pair, m].real * cos_phase - beat[pair, m].imag * sin_phase
                # Rounding may leave a dark port a hair below zero.
                light_0 = max(0.0, base[pair, m] + swing)
                light_1 = max(0.0, base[pair, m] - swing)
                p_0 = dark - (1.0 - dark) * math.expm1(-light_0)
                p_1 = dark - (1.0 - dark) * math.expm1(-light_1)
            else:
                p_0 = p_1 = still[pair, m]
            pattern |= _clicks(state, p_0, p_1) << (2 * m)
        clicked[n] = pulses[i]
        patterns[n] = pattern
        n += 1
    return n


@njit(cache=True, nogil=True)
def choose_states(
    words: NDArray[np.uint64], thresholds: NDArray[np.uint64], states: NDArray[np.uint8]
) -> None:
    """Turn uniform words into states: the low bit is the bit, the 63 others the setting.

    Args:
        words: (n, 2) cipher blocks, of which the first word counts.
        thresholds: (3,) cumulative probabilities of o, x, y in units of 2^-63.
        states: Output, (n,).
    """
    t_x, t_y, t_z = thresholds[0], thresholds[1], thresholds[2]
    for i in range(states.shape[0]):
        word = words[i, 0]
        level = word >> np.uint64(1)
        setting = np.uint8(level >= t_x) + np.uint8(level >= t_y) + np.uint8(level >= t_z)
        bit = np.uint8(word & np.uint64(1))
        states[i] = 2 * setting - 1 + bit if setting > 0 else 0
