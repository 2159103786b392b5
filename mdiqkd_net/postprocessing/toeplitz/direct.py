"""Small Toeplitz products by the definition, 64 x 64 bits in one instruction.

Cheaper than the additive FFT up to a few hundred words of output. A level of Karatsuba's scheme
takes 3/4 of the multiplications, and pays only where the FFT is as fast, so it is not used.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.toeplitz.intrinsics import TILE_VECTORS, hankel_tile
from mdiqkd_net.postprocessing.toeplitz.words import read_words
from mdiqkd_net.secret import wipe

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

CHUNK: Final = 2048
"""64-bit words of the key at a time."""


def cost_ns(m: int, k: int) -> float:
    """What m x k words of 32 bits should take; a model fitted like that of `blocks.Plan`."""
    return 20_000 + 0.11 * (m + 16) * k


@njit(cache=True, nogil=True)
def hankel(w: U64, x: U64, low: U64, high: U64, lanes: tuple[int, ...]) -> None:
    """Sums of w[q + j] x[j] over j in GF(2)[x], low and high words.

    Shapes: x (n,), low and high (m,), w (n + m - 1,) at least; m in whole tiles.
    """
    for q in range(0, low.size, TILE_VECTORS * len(lanes)):
        hankel_tile(w, q, x, x.size, low, high, lanes)


def add_product(seed: U8, key: U8, n_in: int, n_out: int, out: U32, lanes: tuple[int, ...]) -> None:
    """Add T x_T to `out`, its words in order."""
    rest = n_in - n_out
    tile = TILE_VECTORS * len(lanes)
    n_words = -(-out.size // 2)
    n_sums = -(-(n_words + 1) // tile) * tile
    low, high = np.empty(n_sums, np.uint64), np.empty(n_sums, np.uint64)
    halves = np.empty(2 * (CHUNK + n_sums), np.uint32)
    total = np.zeros(n_words, np.uint64)
    for first in range(0, -(-rest // 64), CHUNK):
        n = min(CHUNK, -(-rest // 64) - first)
        x = _words64(key, n_out + 64 * first, n_in, halves[: 2 * n])[::-1].copy()
        start = rest - 64 * (first + n)
        w = _words64(seed, start, n_in - 1, halves[: 2 * (n + n_sums)])
        hankel(w, x, low, high, lanes)
        wipe(x)
        total ^= low[:n_words] ^ high[1 : n_words + 1]
    out[0::2] ^= (total >> np.uint64(32)).astype(np.uint32)[: out[0::2].size]
    out[1::2] ^= total.astype(np.uint32)[: out[1::2].size]
    wipe(total, low, high, halves)


def _words64(packed: U8, first: int, stop: int, halves: U32) -> U64:
    read_words(packed, first, stop, halves)
    return halves[0::2].astype(np.uint64) << np.uint64(32) | halves[1::2]
