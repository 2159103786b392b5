"""The generator and settings, compiled. Callers check the arguments; nothing is checked."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


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
