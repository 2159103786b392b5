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
    element,
    field,
    flip_field,
    from_on,
    highest,
    lowest,
    next_after,
    popcount,
    prefetch,
    put_element,
    put_field,
    share,
    span,
    up_to,
)
from mdiqkd_net.postprocessing.reconcile._jit import U8, U32, U64, Int, called, inlined

ONE: Final = np.uint64(1)
START, ODD, KEY, MARKS = range(4)
BLOCKS, PENDING = range(2)
COLUMNS: Final = 4
AHEAD: Final = 16


def n_nodes(n_rows: int) -> int:
    """Nodes of a pass of `n_rows` rows."""
    return 66 * n_rows + 2


@inlined
def mark(nodes: U64, n_rows: Int, node: Int, odd: Int) -> None:
    """Enter in the marks above whether a node has an odd leaf (1) or none (0)."""
    line, index = 64 * n_rows + (node >> 6), 65 * n_rows + 1
    place = node & 63
    marks = (field(nodes, line, MARKS) & ~bit(place)) | (np.uint64(odd) << np.uint64(place))
    put_field(nodes, line, MARKS, marks)
    place = node >> 6
    lines = field(nodes, index, MARKS) & ~bit(place)
    put_field(nodes, index, MARKS, lines | (np.uint64(marks != 0) << np.uint64(place)))


@called
def plant(nodes: U64, n_rows: Int, cuts: U64) -> None:
    """Make the blocks, and sum up the own bits."""
    level, top = np.int64(cuts[0]), 65 * n_rows
    total = np.uint64(0)
    for row in range(n_rows):
        parities = np.uint64(0)
        for w in range(64):
            parities |= np.uint64(popcount(field(nodes, row * 64 + w, KEY)) & 1) << np.uint64(w)
            if level == 0:
                put_field(nodes, row * 64 + w, START, cuts[1 + (w & 1)])
        put_field(nodes, 64 * n_rows + row, KEY, parities)
        total |= np.uint64(popcount(parities) & 1) << np.uint64(row)
        if level == 1:
            put_field(nodes, 64 * n_rows + row, START, cuts[1])
    put_field(nodes, top, KEY, total)
    if level == 2:
        put_field(nodes, top, START, cuts[1])


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
        word = field(nodes, node, KEY)
        cut = cuts[1 if level else 1 + (node & 1)]
        starts = cut
        while starts:
            first = lowest(starts)
            end = next_after(cut, first, n_rows if level == 2 else 64)
            put_element(out, at, span(word, first, end - first))
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
            odd |= np.uint64(element(heard, at)) << np.uint64(lowest(starts))
            starts &= starts - ONE
            at += 1
        if odd:
            n_odd += popcount(odd)
            put_field(nodes, node, ODD, odd)
            if level:
                put_field(nodes, 65 * n_rows + 2 + node - begin, BLOCKS, odd)
            mark(nodes, n_rows, node, 1)
    return at, n_odd


@inlined
def choose(nodes: U64, n_rows: Int, cuts: U64, items: U32) -> Int:
    """Write one odd leaf of each odd block to `items`, as 64 x its node + its first unit.

    It is a leaf of a word if there is one, the cheapest to bisect. Returns how many there are.
    """
    n: Int = np.int64(0)
    level, cut = np.int64(cuts[0]), cuts[1]
    index = 65 * n_rows + 1
    seen = np.uint64(0)
    lines = field(nodes, index, MARKS)
    while lines:
        line = lowest(lines)
        lines &= lines - ONE
        marks = field(nodes, 64 * n_rows + line, MARKS)
        while marks:
            inside = lowest(marks)
            marks &= marks - ONE
            node = line * 64 + inside
            odd = field(nodes, node, ODD)
            while odd:
                first = lowest(odd)
                put_element(items, n, 64 * node + first)
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
                    put_field(nodes, where, PENDING, field(nodes, where, BLOCKS))
                block = bit(highest(up_to(cut, word if level == 1 else row)))
                if field(nodes, where, PENDING) & block:
                    flip_field(nodes, where, PENDING, block)
                    n += 1
    return n


@inlined
def leaf_size(n_rows: Int, node: Int, first: Int, start: np.uint64) -> Int:
    """Units of the leaf of a node that begins at `first`."""
    return next_after(start, first, n_rows if node == 65 * n_rows else 64) - first


@inlined
def ask(nodes: U64, n_rows: Int, item: Int, pieces: Int, out: U8, at: Int) -> Int:
    """Own parities of all pieces but the last of a leaf; returns the place written to."""
    node, first = item >> 6, item & 63
    key = field(nodes, node, KEY)
    size = leaf_size(n_rows, node, first, field(nodes, node, START))
    if pieces == 2:
        put_element(out, at, span(key, first, size >> 1))
        return at + 1
    n = min(pieces, size)
    a = first
    for i in range(1, n):
        end = first + share(size, i, n)
        put_element(out, at, span(key, a, end - a))
        at += 1
        a = end
    return at


@inlined
def halve(nodes: U64, n_rows: Int, item: Int, left: Int) -> tuple[Int, Int]:
    """Cut a leaf in two, of which the left one is odd (1) or the right one (0).

    Returns the odd half as an item, and its size. An error that is located is not in any odd leaf
    any more; its place stands for the item, and its size is 1.
    """
    node, first = item >> 6, item & 63
    start = field(nodes, node, START)
    size = leaf_size(n_rows, node, first, start)
    half = size >> 1
    middle = first + half
    right = 1 - left
    # Products, because nobody can predict this branch.
    rest = first + right * half
    put_field(nodes, node, START, start | bit(middle))
    odd = field(nodes, node, ODD) ^ bit(first)
    item += rest - first
    if half > 1:
        put_field(nodes, node, ODD, odd | bit(rest))
        return item, half + right * (size & 1)
    # Two units or three, so one or two of the pieces are single units.
    below = 64 * n_rows if node == 65 * n_rows else 64 * (node - 64 * n_rows)
    if node >= 64 * n_rows:
        put_field(nodes, below + first, START, ONE)
        put_field(nodes, below + first, ODD, np.uint64(left))
        if size == 2:
            put_field(nodes, below + middle, START, ONE)
            put_field(nodes, below + middle, ODD, np.uint64(right))
    if size == 3 and right:
        put_field(nodes, node, ODD, odd | bit(rest))
        return item, 2
    put_field(nodes, node, ODD, odd)
    if not odd:
        mark(nodes, n_rows, node, 0)
    if node < 64 * n_rows:
        return item, 1
    mark(nodes, n_rows, below + rest, 1)
    return 64 * (below + rest), 64


@called
def cut(
    nodes: U64,
    n_rows: Int,
    item: Int,
    pieces: Int,
    heard: U8,
    at: Int,
    errors: U32,
    n_found: Int,
) -> tuple[Int, Int, Int]:
    """Cut a leaf in up to `pieces` by the answers; errors that are located go to `errors`.

    Returns the place read to, the least of the odd leaves that are made of it, or -1 if they and
    the leaf are not odd together any more, and the number of errors.
    """
    node, first = item >> 6, item & 63
    start = field(nodes, node, START)
    size = leaf_size(n_rows, node, first, start)
    n = min(pieces, size)
    rest: Int = np.int64(1)
    pair, single = np.uint64(0), np.uint64(0)
    a = first
    for i in range(1, n + 1):
        end = first + share(size, i, n)
        answer = rest
        if i < n:
            answer = element(heard, at)
            at += 1
            rest ^= answer
        start |= bit(a)
        pair |= np.uint64(answer) << np.uint64(a)
        if end - a == 1:
            single |= bit(a)
        a = end
    settled = pair & single
    pair ^= settled
    odd = field(nodes, node, ODD) ^ bit(first) | pair
    put_field(nodes, node, START, start)
    put_field(nodes, node, ODD, odd)
    if not odd:
        mark(nodes, n_rows, node, 0)
    item += lowest(pair) - first
    if node < 64 * n_rows:
        if popcount(settled) & 1:
            item = -1
        while settled:
            put_element(errors, n_found, 64 * node + lowest(settled))
            n_found += 1
            settled &= settled - ONE
        return at, item, n_found
    below = 64 * n_rows if node == 65 * n_rows else 64 * (node - 64 * n_rows)
    if settled:
        item = 64 * (below + lowest(settled))
    while single:
        unit = lowest(single)
        single &= single - ONE
        put_field(nodes, below + unit, START, ONE)
        put_field(nodes, below + unit, ODD, (settled >> np.uint64(unit)) & ONE)
        if (settled >> np.uint64(unit)) & ONE:
            mark(nodes, n_rows, below + unit, 1)
    return at, item, n_found


@called
def search(
    nodes: U64,
    n_rows: Int,
    cuts: U64,
    items: U32,
    n: Int,
    pieces: Int,
    heard: U8,
    read: Int,
    out: U8,
    at: Int,
    errors: U32,
) -> tuple[Int, Int, Int, bool]:
    """Cut the n leaves in `items` by the answers, and keep there what `choose` would write.

    What is cut was the least odd leaf of its block, so the least odd piece of it is, too. While
    leaves are halved, the next questions, to halve the halves, are written out in passing; errors
    that are located lie in none of them. Places of errors go to `errors`.

    Returns the place read to, the number of blocks that are still odd, the number of errors, and
    whether the items are still in order.
    """
    level = np.int64(cuts[0])
    n_left: Int = np.int64(0)
    n_found: Int = np.int64(0)
    last: Int = np.int64(0)
    in_order = True
    for j in range(n):
        item = element(items, j)
        prefetch(nodes, element(items, min(j + AHEAD, n - 1)) >> 6)
        if pieces == 2:
            after, size = halve(nodes, n_rows, item, element(heard, read))
            read += 1
            if size > 1:
                key = field(nodes, after >> 6, KEY)
                put_element(out, at + n_left, span(key, after & 63, size >> 1))
            else:
                put_element(errors, n_found, after)
                n_found += 1
                after = -1
        else:
            read, after, n_found = cut(nodes, n_rows, item, pieces, heard, read, errors, n_found)
        if after < 0:
            if level:
                flip_block(nodes, n_rows, cuts, item)
            continue
        if after < last:
            in_order = False
        last = after
        put_element(items, n_left, after)
        n_left += 1
    return read, n_left, n_found, in_order


@inlined
def flip(nodes: U64, n_rows: Int, place: Int) -> bool:
    """Invert the leaf that holds the bit at `place`; false if the leaf is that bit alone."""
    node, inside = place >> 6, place & 63
    if not field(nodes, node, START):
        inside = node & 63
        node = 64 * n_rows + (node >> 6)
        if not field(nodes, node, START):
            inside = node - 64 * n_rows
            node = 65 * n_rows
    start = field(nodes, node, START)
    first = highest(up_to(start, inside))
    if node < 64 * n_rows and first == inside and next_after(start, first, 64) == first + 1:
        return False
    odd = flip_field(nodes, node, ODD, bit(first))
    mark(nodes, n_rows, node, np.int64(odd != 0))
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
        block = up_to(field(nodes, place >> 6, ODD), next_after(cut, inside, 64) - 1)
        return 2 * (popcount(from_on(block, highest(up_to(cut, inside)))) & 1) - 1
    row = place >> 12
    where = 65 * n_rows + 2 + (row if level == 1 else 0)
    first = bit(highest(up_to(cut, (place >> 6) & 63 if level == 1 else row)))
    return 1 if flip_field(nodes, where, BLOCKS, first) & first else -1


@inlined
def turn(nodes: U64, n_rows: Int, place: Int) -> None:
    """Invert one of the own bits."""
    flip_field(nodes, place >> 6, KEY, bit(place & 63))
    flip_field(nodes, 64 * n_rows + (place >> 12), KEY, bit((place >> 6) & 63))
    flip_field(nodes, 65 * n_rows, KEY, bit(place >> 12))
