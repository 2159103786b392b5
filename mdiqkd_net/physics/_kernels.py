"""The generator, gaps and settings, compiled. Callers check the arguments; nothing is checked."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_UNIT: Final = 2.0**-53


def generator_state(seed: np.random.SeedSequence) -> NDArray[np.uint64]:
    """State of the kernels' generator (xoshiro256++), shape (4,); the kernels advance it."""
    return np.asarray(seed.generate_state(4, np.uint64), dtype=np.uint64)


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
def uniform(state: NDArray[np.uint64]) -> float:
    """Uniform in [0, 1), a multiple of 2^-53."""
    return np.float64(next_word(state) >> np.uint64(11)) * _UNIT


def _ziggurat() -> tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]:
    """256 layers of equal area under exp(-x): inner share and width of each in 2^-53, and height.

    Source: Marsaglia & Tsang, J. Stat. Softw. 5, 8 (2000); the area and the edge are theirs.
    """
    area = 0.0039496598225815571993
    edges = np.zeros(256)
    edges[255] = _EDGE
    for i in range(255, 1, -1):
        edges[i - 1] = -math.log(math.exp(-edges[i]) + area / edges[i])
    widths = edges.copy()
    widths[0] = area / math.exp(-_EDGE)  # the lowest layer has the tail, too
    inner = np.concatenate([[_EDGE], edges[:-1]]) / widths
    return (inner * 2.0**53).astype(np.uint64), widths * _UNIT, np.exp(-edges)


_EDGE: Final = 7.69711747013104972
_INNER, _WIDTHS, _HEIGHTS = _ziggurat()


@njit(cache=True, nogil=True)
def exponential(state: NDArray[np.uint64]) -> float:
    """Exponential of mean 1, without a logarithm."""
    beyond = 0.0
    while True:
        word = next_word(state)
        layer = word & np.uint64(255)
        j = word >> np.uint64(11)
        x = np.float64(j) * _WIDTHS[layer]
        if j < _INNER[layer]:
            return beyond + x  # type: ignore[no-any-return]
        if layer == np.uint64(0):
            beyond += _EDGE  # the tail is an exponential again
            continue
        low, high = _HEIGHTS[layer], _HEIGHTS[layer - np.uint64(1)]
        if low + (high - low) * uniform(state) < math.exp(-x):
            return beyond + x  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def draw_candidates(
    state: NDArray[np.uint64],
    scale: float,
    position: int,
    n_pulses: int,
    pulses: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill `pulses` with the next candidates after `position` pulses have been decided.

    Gaps are geometric: floor(-E / ln(1 - bound)) pulses are passed over, E exponential.

    Args:
        state: Of the generator, (4,) uint64, changed in place.
        scale: -1 / ln(1 - bound), at least 0.
        position: Pulses of the segment decided so far.
        n_pulses: Of the segment.
        pulses: Output, (n,) int64.

    Returns:
        How many candidates there are, and the pulses that are decided now.
    """
    for i in range(pulses.shape[0]):
        skipped = exponential(state) * scale
        # Compared before it is cut to an integer: a gap at a tiny bound may not fit an int64.
        if skipped >= np.float64(n_pulses - position):
            return i, n_pulses
        position += int(skipped)
        pulses[i] = position
        position += 1
    return pulses.shape[0], position


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
