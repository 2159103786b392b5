"""What is known of the differences of one pass: leaves, each with the parity of its errors.

The bits of a pass are cut into intervals, its *leaves*, and the parity of the errors in each leaf
is known. A question cuts an odd leaf in two or more, and the answers tell which of the pieces are
odd. Nothing else is kept: the parity of anything larger is the sum over its leaves. The leaves
that a pass begins with are its *blocks*.

The leaves are told by *nodes*, each of which cuts up to 64 units; for a frame of R rows of 64
words, and in this order:

    level 0   64 R word nodes, whose units are bits
    level 1   R row nodes, whose units are the words of a row
    level 2   the top, whose units are the rows

The 64 nodes of a row of words make a line; rows and top make the last one. A node is four words:
START marks the first unit of each leaf, ODD the first unit of each odd one, KEY is the own parities
of the units. MARKS of row node r tells which nodes of line r have an odd leaf, MARKS of the top
does so for the last line, and MARKS of the *index*, which follows the top, for the lines. So every
step is a few operations on words. A leaf that is a single unit of a row or the top is told by the
node of that unit, as a leaf of all its units. A node whose START is empty belongs to a leaf of a
node above.

Blocks are of one level. `cuts` holds the level, START of the nodes of that level with an even
number, and of those with an odd number, which differ at level 0 alone. Behind the index follow
words that mark, in BLOCKS, the odd blocks of each row (level 1) or of the top (level 2); PENDING is
scratch beside it. At level 0 they are read off the leaves.
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
from mdiqkd_net.postprocessing.reconcile._jit import I32, U8, U64, Int, called, inlined

ONE: Final = np.uint64(1)
START, ODD, KEY, MARKS = range(4)
BLOCKS, PENDING = range(2)
COLUMNS: Final = 4


def n_nodes(n_rows: int) -> int:
    """Nodes of a pass of `n_rows` rows."""
    return 66 * n_rows + 2


@inlined
def mark(nodes: U64, n_rows: Int, node: Int) -> None:
    """Enter in the marks above whether a node has an odd leaf."""
    line = 64 * n_rows + (node >> 6)
    if nodes[node, ODD]:
        nodes[line, MARKS] |= bit(node & 63)
        nodes[65 * n_rows + 1, MARKS] |= bit(node >> 6)
    else:
        nodes[line, MARKS] &= ~bit(node & 63)
        if not nodes[line, MARKS]:
            nodes[65 * n_rows + 1, MARKS] &= ~bit(node >> 6)


@called
def plant(nodes: U64, n_rows: Int, cuts: U64) -> None:
    """Make the blocks, and sum up the own bits."""
    level, top = np.int64(cuts[0]), 65 * n_rows
    nodes[top, KEY] = 0
    for row in range(n_rows):
        parities = np.uint64(0)
        for w in range(64):
            parities |= np.uint64(popcount(nodes[row * 64 + w, KEY]) & 1) << np.uint64(w)
            if level == 0:
                nodes[row * 64 + w, START] = cuts[1 + (w & 1)]
        nodes[64 * n_rows + row, KEY] = parities
        nodes[top, KEY] |= np.uint64(popcount(parities) & 1) << np.uint64(row)
        if level == 1:
            nodes[64 * n_rows + row, START] = cuts[1]
    if level == 2:
        nodes[top, START] = cuts[1]


@inlined
def cut_nodes(n_rows: Int, level: Int) -> tuple[Int, Int]:
    """The first node of a level, and the end."""
    if level == 0:
        return 0, 64 * n_rows
    return (63 + level) * n_rows, 65 * n_rows + level - 1


@inlined
def n_blocks(n_rows: Int, cuts: U64) -> Int:
    """How many blocks a pass has."""
    begin, end = cut_nodes(n_rows, np.int64(cuts[0]))
    if cuts[0]:
        return popcount(cuts[1]) * (end - begin)
    return (popcount(cuts[1]) + popcount(cuts[2])) * (end >> 1)


@called
def ask_blocks(nodes: U64, n_rows: Int, cuts: U64, out: U8, at: Int) -> Int:
    """Own parities of all blocks; returns the place written to."""
    level = np.int64(cuts[0])
    begin, stop = cut_nodes(n_rows, level)
    for node in range(begin, stop):
        word = nodes[node, KEY]
        cut = cuts[1 if level else 1 + (node & 1)]
        starts = cut
        while starts:
            first = lowest(starts)
            end = next_after(cut, first, n_rows if level == 2 else 64)
            out[at] = span(word, first, end - first)
            at += 1
            starts &= starts - ONE
    return at


@called
def hear_blocks(nodes: U64, n_rows: Int, cuts: U64, heard: U8, at: Int) -> tuple[Int, Int]:
    """Learn the parities of all blocks; returns the place read to and how many are odd."""
    n_odd: Int = np.int64(0)
    level = np.int64(cuts[0])
    begin, stop = cut_nodes(n_rows, level)
    for node in range(begin, stop):
        odd = np.uint64(0)
        starts = cuts[1 if level else 1 + (node & 1)]
        while starts:
            odd |= np.uint64(heard[at]) << np.uint64(lowest(starts))
            starts &= starts - ONE
            at += 1
        if odd:
            n_odd += popcount(odd)
            nodes[node, ODD] = odd
            if level:
                nodes[65 * n_rows + 2 + node - begin, BLOCKS] = odd
            mark(nodes, n_rows, node)
    return at, n_odd


@inlined
def choose(nodes: U64, n_rows: Int, cuts: U64, items: I32) -> Int:
    """Write one odd leaf of each odd block to `items`, as 64 x its node + its first unit.

    It is a leaf of a word if there is one, the cheapest to bisect. Returns how many there are.
    """
    n: Int = np.int64(0)
    level, cut = np.int64(cuts[0]), cuts[1]
    index = 65 * n_rows + 1
    seen = np.uint64(0)
    lines = nodes[index, MARKS]
    while lines:
        line = lowest(lines)
        lines &= lines - ONE
        marks = nodes[64 * n_rows + line, MARKS]
        while marks:
            inside = lowest(marks)
            marks &= marks - ONE
            node = line * 64 + inside
            odd = nodes[node, ODD]
            while odd:
                first = lowest(odd)
                items[n] = 64 * node + first
                if level == 0:
                    block = up_to(odd, next_after(cuts[1 + (node & 1)], first, 64) - 1)
                    odd ^= block
                    n += popcount(block) & 1
                    continue
                odd &= odd - ONE
                row = line if line < n_rows else inside if inside < n_rows else first
                word = inside if line < n_rows else first
                where = index + 1 + (row if level == 1 else 0)
                if not seen & bit(where - index):
                    seen |= bit(where - index)
                    nodes[where, PENDING] = nodes[where, BLOCKS]
                block = bit(highest(up_to(cut, word if level == 1 else row)))
                if nodes[where, PENDING] & block:
                    nodes[where, PENDING] ^= block
                    n += 1
    return n


@inlined
def ask(nodes: U64, n_rows: Int, item: Int, pieces: Int, out: U8, at: Int) -> Int:
    """Own parities of all pieces but the last of a leaf; returns the place written to."""
    node, first = item >> 6, item & 63
    key = nodes[node, KEY]
    size = next_after(nodes[node, START], first, n_rows if node == 65 * n_rows else 64) - first
    if pieces == 2:
        out[at] = span(key, first, size >> 1)
        return at + 1
    n = min(pieces, size)
    a = first
    for i in range(1, n):
        end = first + size * i // n
        out[at] = span(key, a, end - a)
        at += 1
        a = end
    return at


@inlined
def hear(
    nodes: U64, n_rows: Int, item: Int, pieces: Int, heard: U8, at: Int
) -> tuple[Int, np.uint64]:
    """Cut a leaf by the answers.

    Returns the place read to, and a word that marks the errors that were located in the word of
    the leaf; they are not in any odd leaf any more.
    """
    node, first = item >> 6, item & 63
    start = nodes[node, START]
    odd = nodes[node, ODD] ^ bit(first)
    size = next_after(start, first, n_rows if node == 65 * n_rows else 64) - first
    single = np.uint64(0)
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
    else:
        n = min(pieces, size)
        rest: Int = np.int64(1)
        pair = np.uint64(0)
        a = first
        for i in range(1, n + 1):
            end = first + size * i // n
            answer = rest
            if i < n:
                answer = np.int64(heard[at])
                at += 1
                rest ^= answer
            start |= bit(a)
            pair |= np.uint64(answer) << np.uint64(a)
            if end - a == 1:
                single |= bit(a)
            a = end
    found = pair & single
    odd |= pair ^ found
    nodes[node, START] = start
    nodes[node, ODD] = odd
    if not odd:
        mark(nodes, n_rows, node)
    if node < 64 * n_rows:
        return at, found
    below = 64 * n_rows if node == 65 * n_rows else 64 * (node - 64 * n_rows)
    while single:
        unit = lowest(single)
        single &= single - ONE
        nodes[below + unit, START] = ONE
        nodes[below + unit, ODD] = (found >> np.uint64(unit)) & ONE
        if (found >> np.uint64(unit)) & ONE:
            mark(nodes, n_rows, below + unit)
    return at, np.uint64(0)


@inlined
def flip(nodes: U64, n_rows: Int, place: Int) -> bool:
    """Invert the leaf that holds the bit at `place`; false if the leaf is that bit alone."""
    node, inside = place >> 6, place & 63
    if not nodes[node, START]:
        inside = node & 63
        node = 64 * n_rows + (node >> 6)
        if not nodes[node, START]:
            inside = node - 64 * n_rows
            node = 65 * n_rows
    start = nodes[node, START]
    first = highest(up_to(start, inside))
    if node < 64 * n_rows and first == inside and next_after(start, first, 64) == first + 1:
        return False
    nodes[node, ODD] ^= bit(first)
    mark(nodes, n_rows, node)
    return True


@inlined
def flip_block(nodes: U64, n_rows: Int, cuts: U64, place: Int) -> Int:
    """Invert the parity of the block that holds the bit at `place`, after that of its leaf.

    Returns by how much the number of odd blocks has grown: 1 or -1.
    """
    level, cut = np.int64(cuts[0]), cuts[1]
    if level == 0:
        cut = cuts[1 + ((place >> 6) & 1)]
        inside = place & 63
        block = up_to(nodes[place >> 6, ODD], next_after(cut, inside, 64) - 1)
        return 2 * (popcount(from_on(block, highest(up_to(cut, inside)))) & 1) - 1
    row = place >> 12
    where = 65 * n_rows + 2 + (row if level == 1 else 0)
    first = bit(highest(up_to(cut, (place >> 6) & 63 if level == 1 else row)))
    nodes[where, BLOCKS] ^= first
    return 1 if nodes[where, BLOCKS] & first else -1


@inlined
def turn(nodes: U64, n_rows: Int, place: Int) -> None:
    """Invert one of the own bits."""
    nodes[place >> 6, KEY] ^= bit(place & 63)
    nodes[64 * n_rows + (place >> 12), KEY] ^= bit((place >> 6) & 63)
    nodes[65 * n_rows, KEY] ^= bit(place >> 12)
