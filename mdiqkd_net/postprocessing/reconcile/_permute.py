"""Structured pseudo-random permutations of a frame of 64-bit words.

A permutation of 64 G words is: a random order of the words, a random rotation of each word, a
64 x 64 bit transpose of every group of 64 words, again a random order of the words. It moves
4096 bits at a time and is inverted in O(1) with five small tables, which all frames of one size
share. Everything is integer arithmetic on the output of SHAKE-256, so both users derive the same
permutation on every platform.
"""

import hashlib
from typing import Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._bits import exchange, field, put_field, rotated
from mdiqkd_net.postprocessing.reconcile._jit import U16, U64, Int, inlined, kernel
from mdiqkd_net.postprocessing.reconcile._leaves import KEY

GROUP_WORDS: Final = 64
GROUP_BITS: Final = 64 * GROUP_WORDS

LANES: Final = 8
"""Blocks that are transposed at a time, one in each lane of vectors."""

_LANES: Final = (0,) * LANES

TAKE, TAKEN, ROTATE, PUT, PUTTEN = range(5)
"""Rows of a table: first order and its inverse, rotations, second order and its inverse."""


def random_words(seed: bytes, label: str, count: int) -> U64:
    """Public pseudo-random words: SHAKE-256 of the length-prefixed seed and a label.

    Shape of the result: (count,).
    """
    message = len(seed).to_bytes(8, "little") + seed + label.encode()
    stream = hashlib.shake_256(message).digest(8 * count)
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64)


def tables(seed: bytes, label: str, n_words: int) -> U16:
    """Tables of one permutation of `n_words` words (a multiple of 64); shape (5, n_words)."""
    draw = random_words(seed, f"permutation/{label}/{n_words}", 3 * n_words).reshape(3, n_words)
    result = np.empty((5, n_words), np.uint16)
    for row, inverse, keys in ((TAKE, TAKEN, draw[0]), (PUT, PUTTEN, draw[1])):
        result[row] = np.argsort(keys, kind="stable")
        result[inverse, result[row]] = np.arange(n_words)
    result[ROTATE] = draw[2] & np.uint64(63)
    return result


@kernel
def transpose(blocks: U64) -> None:
    """Transpose LANES blocks of 64 x 64 bits in place: bit c of word r becomes bit r of word c.

    Shape (64 * LANES,): word r of all blocks, one after the other, then word r + 1.
    """
    width: Int = np.int64(32)
    mask = np.uint64(0x00000000FFFFFFFF)
    while width:
        for start in range(0, 64, 2 * width):
            for r in range(start, start + width):
                exchange(blocks, LANES * r, LANES * (r + width), width, mask, _LANES)
        width >>= 1
        mask ^= mask << np.uint64(width)


@kernel
def permute(source: U64, tables: U16, p: Int, n_words: Int, target: U64, blocks: U64) -> None:
    """Write the words of `source`, permuted by table p, to `target`.

    Shapes: source and target (at least n_words, 4), of which column KEY is read and written;
    tables (passes, 5, at least n_words); blocks (64 * LANES,), overwritten.
    """
    for first in range(0, n_words, 64 * LANES):
        n_lanes = min(LANES, (n_words - first) >> 6)
        for lane in range(n_lanes):
            for row in range(64):
                at = first + 64 * lane + row
                word = field(source, np.int64(tables[p, TAKE, at]), KEY)
                turned = rotated(word, np.int64(tables[p, ROTATE, at]))
                blocks[LANES * row + lane] = turned
        transpose(blocks)
        for lane in range(n_lanes):
            for row in range(64):
                to = np.int64(tables[p, PUT, first + 64 * lane + row])
                put_field(target, to, KEY, blocks[LANES * row + lane])


@inlined
def forward(tables: U16, p: Int, position: Int) -> Int:
    """Where table p moves the bit at `position`."""
    row = np.int64(tables[p, TAKEN, position >> 6])
    column = ((position & 63) + np.int64(tables[p, ROTATE, row])) & 63
    return (np.int64(tables[p, PUT, (row & ~63) + column]) << 6) + (row & 63)


@inlined
def backward(tables: U16, p: Int, position: Int) -> Int:
    """From where table p moved the bit that is now at `position`."""
    middle = np.int64(tables[p, PUTTEN, position >> 6])
    row = (middle & ~63) + (position & 63)
    turned = (middle & 63) - np.int64(tables[p, ROTATE, row])
    return (np.int64(tables[p, TAKE, row]) << 6) + (turned & 63)
