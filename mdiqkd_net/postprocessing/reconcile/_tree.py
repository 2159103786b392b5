"""Parities of dyadic intervals, and what is known of their differences.

A node (s, p) of a pass is the interval of 2^s bits that starts at p, a multiple of 2^s, clipped
to the frame. For a node one may know its *difference*: the parity of Alice's bits XOR that of
Bob's. A node is *split* once the differences of its two halves are known.

Each word of 64 key bits is the first of four words that share a cache line, `tree[p, word] =
(KEY, SPLIT, DIFFERENCE, EXTRA)`. SPLIT and DIFFERENCE are binary heaps over the nodes of up to 64
bits, root in bit 1. Larger nodes are a heap over at most 1024 words in the last 16 rows of the
pass. The difference of a single bit is not stored: a bit whose difference is known to be 1 is
corrected at once, and is equal from then on.

Shape of `tree`, one frame: (n_passes, n_words + 16, 4), uint64.
"""

from typing import Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._jit import U64, Int, inlined, kernel

ONE: Final = np.uint64(1)
UPPER_ROWS: Final = 16
KEY, SPLIT, DIFFERENCE, EXTRA = range(4)


@inlined
def parity(word: np.uint64) -> Int:
    """Parity of 64 bits."""
    word ^= word >> np.uint64(32)
    word ^= word >> np.uint64(16)
    word ^= word >> np.uint64(8)
    word ^= word >> np.uint64(4)
    return np.int64((np.uint64(0x6996) >> (word & np.uint64(15))) & ONE)


@inlined
def node_parity(tree: U64, p: Int, s: Int, position: Int, n_words: Int) -> Int:
    """Parity of the own bits of a node."""
    word = position >> 6
    if s < 6:
        chunk = tree[p, word, KEY] >> np.uint64(position & 63)
        return parity(chunk & ((ONE << np.uint64(1 << s)) - ONE))
    total = np.uint64(0)
    for w in range(word, min(word + (1 << (s - 6)), n_words)):
        total ^= tree[p, w, KEY]
    return parity(total)


@kernel
def check_parity(tree: U64, masks: U64, c: Int, s: Int, position: Int, n_words: Int) -> Int:
    """Parity of those own bits of a node of pass 0 that row c of `masks` selects."""
    word = position >> 6
    if s < 6:
        chunk = (tree[0, word, KEY] & masks[c, word]) >> np.uint64(position & 63)
        return parity(chunk & ((ONE << np.uint64(1 << s)) - ONE))
    total = np.uint64(0)
    for w in range(word, min(word + (1 << (s - 6)), n_words)):
        total ^= tree[0, w, KEY] & masks[c, w]
    return parity(total)


@inlined
def known(tree: U64, p: Int, what: Int, s: Int, position: Int) -> Int:
    """Whether a node is split (SPLIT), or what its difference is (DIFFERENCE)."""
    if s > 6:
        node = (1 << (16 - s)) + (position >> s)
        row = tree.shape[1] - UPPER_ROWS + (node >> 6)
        return np.int64((tree[p, row, what] >> np.uint64(node & 63)) & ONE)
    node = (1 << (6 - s)) + ((position & 63) >> s)
    return np.int64((tree[p, position >> 6, what] >> np.uint64(node)) & ONE)


@inlined
def learn(tree: U64, p: Int, what: Int, s: Int, position: Int, value: Int) -> None:
    """Mark a node as split (SPLIT), or set its difference (DIFFERENCE), to `value`."""
    if s > 6:
        node = (1 << (16 - s)) + (position >> s)
        row = tree.shape[1] - UPPER_ROWS + (node >> 6)
    else:
        node = (1 << (6 - s)) + ((position & 63) >> s)
        row = position >> 6
    bit = np.uint64(node & 63)
    tree[p, row, what] = (tree[p, row, what] & ~(ONE << bit)) | (np.uint64(value) << bit)


@kernel
def flip(tree: U64, p: Int, s: Int, position: Int) -> Int:
    """Invert all known differences of the nodes from size 2^s down that contain `position`.

    Returns the new difference of the largest of them.
    """
    first = 1 ^ known(tree, p, DIFFERENCE, s, position)
    upper = tree.shape[1] - UPPER_ROWS
    while s > 6:
        node = (1 << (16 - s)) + (position >> s)
        bit = np.uint64(node & 63)
        tree[p, upper + (node >> 6), DIFFERENCE] ^= ONE << bit
        if not (tree[p, upper + (node >> 6), SPLIT] >> bit) & ONE:
            return first
        s -= 1
    word, inside = position >> 6, position & 63
    split, path = tree[p, word, SPLIT], np.uint64(0)
    while s > 0:
        bit = ONE << np.uint64((1 << (6 - s)) + (inside >> s))
        path |= bit
        if not split & bit:
            break
        s -= 1
    tree[p, word, DIFFERENCE] ^= path
    return first
