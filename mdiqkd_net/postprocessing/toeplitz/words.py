"""Packed bits, first bit in the high bit of the first byte, to and from words of 32 bits.

The first bit of a word is its high bit, too, so a word is a polynomial with descending powers.
"""

import sys
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.toeplitz.intrinsics import big_endian

WORD_BITS: Final = 32


@njit(cache=True, nogil=True)
def read_words(packed: NDArray[np.uint8], first: int, stop: int, words: NDArray[np.uint32]) -> None:
    """Fill `words` with bits first, first + 1, ...; those before 0 or from `stop` on are 0."""
    for i in range(words.size):
        bit = first + 32 * i
        byte, shift = bit >> 3, bit & 7
        if bit >= 0 and bit + 32 <= stop and byte + 8 <= packed.size:
            words[i] = (big_endian(packed, byte) << np.uint64(shift)) >> np.uint64(32)
            continue
        word = 0
        for b in range(max(bit, 0), min(bit + 32, stop)):
            value = packed[b >> 3] >> (7 - (b & 7)) & 1
            word |= value << (31 - (b - bit))
        words[i] = word


def pack_words(words: NDArray[np.uint32], n_bits: int, out: NDArray[np.uint8]) -> None:
    """Fill `out` with the first `n_bits` of `words`, packed; the rest of the last byte is 0.

    Shapes: words (ceil(n_bits / 32),), whose bytes are in another order afterwards; out
    (ceil(n_bits / 8),).
    """
    if sys.byteorder == "little":
        words.byteswap(inplace=True)
    out[:] = words.view(np.uint8)[: out.size]
    if n_bits % 8:
        out[-1] &= 0xFF << (8 - n_bits % 8) & 0xFF
