"""What is known of the differences of one pass: leaves, each with the parity of its errors.

The bits of a pass are cut into intervals, its *leaves*, and the parity of the errors in each leaf
is known. A question cuts an odd leaf in two or more, and the answers tell which of the pieces are
odd. Nothing else is kept: the parity of anything larger is the sum over its leaves. The leaves
that a pass begins with are its *blocks*.

Three levels of words hold the leaves, so that every step is a few operations on words:

    level 0   bits in words of the key    leaf  (W, 4): START, ODD, KEY and padding
    level 1   words in rows of 64 words   upper (17, 8), rows 0 to 15: START to BLOCKS
    level 2   rows in the frame           upper, row TOP: START to BLOCKS

START marks the first unit of each leaf, ODD the first unit of each odd one. A leaf that is a
single unit of level 1 or 2 is told on the level below, as a leaf of all the units there; a word or
row where START is empty belongs to a leaf of a level above. KEY is the own bits, above level 0 the
parity of those of each unit. ACTIVE of a row marks its words with an odd leaf. In the top row, bits
0 to 15 of ACTIVE mark rows with ODD, 16 to 31 rows with ACTIVE, 32 to 47 rows with BLOCKS. BLOCKS
marks the first unit of each odd block, on the level of the blocks if that is not 0.
"""

from typing import Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._bits import (
    bit,
    from_on,
    highest,
    lowest,
    next_after,
    popcount,
    span,
    up_to,
)
from mdiqkd_net.postprocessing.reconcile._jit import I32, U8, U64, Int, inlined

ONE: Final = np.uint64(1)
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
LOW: Final = np.uint64(0xFFFF)
START, ODD, KEY, ACTIVE, BLOCKS = range(5)
LEAF_COLUMNS: Final = 4
UPPER_COLUMNS: Final = 8
TOP: Final = 16
UPPER_ROWS: Final = 17


@inlined
def plant(leaf: U64, upper: U64, n_rows: Int, level: Int, cut: np.uint64) -> None:
    """Make the blocks: `cut` is START of every word, every row or the top, whichever is `level`."""
    top = upper[TOP]
    for row in range(n_rows):
        parities = np.uint64(0)
        for w in range(64):
            word = row * 64 + w
            parities |= np.uint64(popcount(leaf[word, KEY]) & 1) << np.uint64(w)
            if level == 0:
                leaf[word, START] = cut
        upper[row, KEY] = parities
        top[KEY] |= np.uint64(popcount(parities) & 1) << np.uint64(row)
        if level < 2:
            upper[row, START] = cut if level else ALL
    top[START] = ALL if level < 2 else cut


@inlined
def ask_blocks(
    leaf: U64, upper: U64, n_rows: Int, level: Int, cut: np.uint64, out: U8, at: Int
) -> Int:
    """Own parities of all blocks; returns the place written to."""
    for i in range((64 * n_rows) >> (6 * level) if level < 2 else 1):
        word = leaf[i, KEY] if level == 0 else upper[i if level == 1 else TOP, KEY]
        starts = cut
        while starts:
            first = lowest(starts)
            end = next_after(cut, first, n_rows if level == 2 else 64)
            out[at] = span(word, first, end - first)
            at += 1
            starts &= starts - ONE
    return at


@inlined
def hear_blocks(
    leaf: U64, upper: U64, n_rows: Int, level: Int, cut: np.uint64, heard: U8, at: Int
) -> tuple[Int, Int]:
    """Learn the parities of all blocks; returns the place read to and how many are odd."""
    n_odd: Int = np.int64(0)
    top = upper[TOP]
    for i in range((64 * n_rows) >> (6 * level) if level < 2 else 1):
        odd = np.uint64(0)
        starts = cut
        while starts:
            odd |= np.uint64(heard[at]) << np.uint64(lowest(starts))
            starts &= starts - ONE
            at += 1
        if not odd:
            continue
        n_odd += popcount(odd)
        if level == 0:
            row = i >> 6
            leaf[i, ODD] = odd
            upper[row, ACTIVE] |= bit(i & 63)
            top[ACTIVE] |= bit(16 + row)
        else:
            row = i if level == 1 else TOP
            upper[row, ODD] = odd
            upper[row, BLOCKS] = odd
            if level == 1:
                top[ACTIVE] |= bit(row) | bit(32 + row)
    return at, n_odd


@inlined
def _odd_leaf(leaf: U64, upper: U64, row: Int, first: Int) -> Int:
    """The item of the first odd leaf in a row from word `first` on."""
    inside = lowest(from_on(upper[row, ODD] | upper[row, ACTIVE], first))
    word = row * 64 + inside
    if upper[row, ODD] & bit(inside):
        return 4 * word + 1
    return 4 * (word * 64 + lowest(leaf[word, ODD]))


@inlined
def choose(leaf: U64, upper: U64, level: Int, cut: np.uint64, items: I32) -> None:
    """Write one odd leaf of each odd block to `items`, as 4 x its first unit + its level."""
    n: Int = np.int64(0)
    top = upper[TOP]
    if level == 0:
        rows = (top[ACTIVE] >> np.uint64(16)) & LOW
        while rows:
            row = lowest(rows)
            rows &= rows - ONE
            words = upper[row, ACTIVE]
            while words:
                word = row * 64 + lowest(words)
                words &= words - ONE
                odd = leaf[word, ODD]
                while odd:
                    first = lowest(odd)
                    inside = up_to(odd, next_after(cut, first, 64) - 1)
                    items[n] = 4 * (word * 64 + first)
                    n += popcount(inside) & 1
                    odd ^= inside
        return
    rows = top[ACTIVE] >> np.uint64(32) if level == 1 else bit(TOP)
    while rows:
        row = lowest(rows)
        rows &= rows - ONE
        blocks = upper[row, BLOCKS]
        while blocks:
            first = lowest(blocks)
            blocks &= blocks - ONE
            where, inside = row, first
            if level == 2:
                marked = (top[ACTIVE] | (top[ACTIVE] >> np.uint64(16))) & LOW | top[ODD]
                where, inside = lowest(from_on(marked, first)), np.int64(0)
            if level == 2 and top[ODD] & bit(where):
                items[n] = 4 * where + 2
            else:
                items[n] = _odd_leaf(leaf, upper, where, inside)
            n += 1


@inlined
def ask(leaf: U64, upper: U64, n_rows: Int, item: Int, pieces: Int, out: U8, at: Int) -> Int:
    """Own parities of all pieces but the last of a leaf; returns the place written to."""
    level, unit = item & 3, item >> 2
    first = unit & 63
    words = leaf[unit >> 6] if level == 0 else upper[unit >> 6 if level == 1 else TOP]
    size = next_after(words[START], first, n_rows if level == 2 else 64) - first
    if pieces == 2:
        out[at] = span(words[KEY], first, size >> 1)
        return at + 1
    n = min(pieces, size)
    a = first
    for i in range(1, n):
        end = first + size * i // n
        out[at] = span(words[KEY], a, end - a)
        at += 1
        a = end
    return at


@inlined
def hear(
    leaf: U64, upper: U64, n_rows: Int, item: Int, pieces: Int, heard: U8, at: Int
) -> tuple[Int, np.uint64]:
    """Cut a leaf by the answers.

    Returns the place read to, and a word that marks the errors that were located in the word of
    the leaf; they are not in any odd leaf any more.
    """
    level, unit = item & 3, item >> 2
    first = unit & 63
    words = leaf[unit >> 6] if level == 0 else upper[unit >> 6 if level == 1 else TOP]
    start = words[START]
    odd = words[ODD] ^ bit(first)
    size = next_after(start, first, n_rows if level == 2 else 64) - first
    single = np.uint64(0)
    found = np.uint64(0)
    if pieces == 2:
        # By far the most frequent case, without a branch.
        left = np.uint64(heard[at])
        at += 1
        half = size >> 1
        middle = bit(first + half)
        pair = (left << np.uint64(first)) | ((ONE ^ left) << np.uint64(first + half))
        single = (bit(first) if half == 1 else np.uint64(0)) | (
            middle if size - half == 1 else np.uint64(0)
        )
        start |= middle
        found = pair & single
        odd |= pair ^ found
    else:
        n = min(pieces, size)
        rest: Int = np.int64(1)
        a = first
        for i in range(1, n + 1):
            end = first + size * i // n
            answer = rest
            if i < n:
                answer = np.int64(heard[at])
                at += 1
                rest ^= answer
            start |= bit(a)
            if end - a == 1:
                single |= bit(a)
                found |= np.uint64(answer) << np.uint64(a)
            else:
                odd |= np.uint64(answer) << np.uint64(a)
            a = end
    words[START] = start
    words[ODD] = odd
    if level == 0:
        if not odd:
            clear_word(upper, unit >> 6)
        return at, found
    top = upper[TOP]
    row = unit >> 6
    if level == 2:
        top[ACTIVE] |= found
    else:
        upper[row, ACTIVE] |= found
        if not odd:
            top[ACTIVE] &= ~bit(row)
        if found:
            top[ACTIVE] |= bit(16 + row)
    while single:
        below = lowest(single)
        single &= single - ONE
        words = leaf[row * 64 + below] if level == 1 else upper[below]
        words[START] = ONE
        words[ODD] = (found >> np.uint64(below)) & ONE
    return at, np.uint64(0)


@inlined
def clear_word(upper: U64, word: Int) -> None:
    """No leaf of a word is odd any more."""
    row = word >> 6
    upper[row, ACTIVE] &= ~bit(word & 63)
    if not upper[row, ACTIVE]:
        upper[TOP, ACTIVE] &= ~bit(16 + row)


@inlined
def flip_leaf(leaf: U64, upper: U64, place: Int) -> bool:
    """Invert the leaf that holds the bit at `place`; false if the leaf is that bit alone."""
    word, row, inside = place >> 6, place >> 12, place & 63
    top = upper[TOP]
    start = leaf[word, START]
    if start:
        first = highest(up_to(start, inside))
        if first == inside and next_after(start, first, 64) == first + 1:
            return False
        leaf[word, ODD] ^= bit(first)
        if leaf[word, ODD]:
            upper[row, ACTIVE] |= bit(word & 63)
            top[ACTIVE] |= bit(16 + row)
        else:
            clear_word(upper, word)
    elif upper[row, START]:
        upper[row, ODD] ^= bit(highest(up_to(upper[row, START], word & 63)))
        if upper[row, ODD]:
            top[ACTIVE] |= bit(row)
        else:
            top[ACTIVE] &= ~bit(row)
    else:
        top[ODD] ^= bit(highest(up_to(top[START], row)))
    return True


@inlined
def flip_block(leaf: U64, upper: U64, level: Int, cut: np.uint64, place: Int) -> Int:
    """Invert the parity of the block that holds the bit at `place`, after that of its leaf.

    Returns by how much the number of odd blocks has grown: 1 or -1.
    """
    if level == 0:
        inside = place & 63
        block = up_to(leaf[place >> 6, ODD], next_after(cut, inside, 64) - 1)
        return 2 * (popcount(from_on(block, highest(up_to(cut, inside)))) & 1) - 1
    row = place >> 12
    where = row if level == 1 else TOP
    first = bit(highest(up_to(cut, (place >> 6) & 63 if level == 1 else row)))
    upper[where, BLOCKS] ^= first
    if level == 1:
        if upper[row, BLOCKS]:
            upper[TOP, ACTIVE] |= bit(32 + row)
        else:
            upper[TOP, ACTIVE] &= ~bit(32 + row)
    return 1 if upper[where, BLOCKS] & first else -1


@inlined
def turn(leaf: U64, upper: U64, place: Int) -> None:
    """Invert one of the own bits."""
    leaf[place >> 6, KEY] ^= bit(place & 63)
    upper[place >> 12, KEY] ^= bit((place >> 6) & 63)
    upper[TOP, KEY] ^= bit(place >> 12)
