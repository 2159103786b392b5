"""The Cascade state machine of all frames, one round per call.

Both users run these kernels on the XOR of the parities that they sent each other, and so stay in
the same state; `flips` alone tells Bob, whose key bits are turned.

A frame is in one phase at a time: TOPS and CHECKS wait for the parities of a pass that was just
begun, SEARCH bisects odd nodes, DONE asks nothing. *Items* are the odd blocks that are being
bisected; blocks that turned odd and wait for their turn are in a *queue*. A round holds the frames
in order, and a frame its items in order: no index travels.

Arrays of one frame (those of a batch have one axis more in front), with P passes, at most W words
and B blocks over all passes:

    tree    (P, W + 16, 4) uint64: own bits in the order of each pass, and what is known of
            differences, see `_tree`; the EXTRA words of pass FIXED mark positions of pass 0 that
            are corrected, those of pass QUEUED the blocks that are in queue or items
    record  (10,) int64: see the constants below
    items   (B + 1, 5) int32: see the constants BLOCK to LEVELS
    queue   (3 B + 64,) int32: queued blocks, and from B on scratch for positions

and of all frames of one size or of the batch:

    tables  (P, 5, W) int32: permutations of the key into pass 0, and of pass 0 into pass p
    masks   (C, W) uint64: random subsets of the bits in the order of pass 0
    plan    int64: see PARALLEL, WIDE and SIZES; from SIZES on the log2 block sizes of the passes,
            then the number of the first block of each pass, then B
    key     (n,) uint8: own key, corrected as errors are found
"""

from typing import Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._jit import I32, I64, U8, U64, Int, inlined, kernel
from mdiqkd_net.postprocessing.reconcile._permute import backward, forward, permute
from mdiqkd_net.postprocessing.reconcile._tree import (
    DIFFERENCE,
    EXTRA,
    KEY,
    ONE,
    SPLIT,
    check_parity,
    flip,
    known,
    learn,
    node_parity,
)

TOPS, CHECKS, SEARCH, DONE = range(4)
PHASE, BEGUN, N_ITEMS, N_QUEUED, CHECK, N_WORDS, KIND, FIRST, N_FOUND, N_ASKED = range(10)
RECORD_SIZE: Final = 10
FIXED, QUEUED = 0, 1
PARALLEL, WIDE, SIZES = 0, -1, 4
"""`plan[WIDE + m]` is the most items for which m = 2 to 4 levels are asked in one round."""
MAX_LEVELS: Final = 4
BLOCK, PASS, SIZE, PLACE, LEVELS = range(5)
ITEM_SIZE: Final = 5


@inlined
def _enqueue(tree: U64, record: I64, queue: I32, block: Int) -> None:
    bit = ONE << np.uint64(block & 63)
    if not tree[QUEUED, block >> 6, EXTRA] & bit:
        tree[QUEUED, block >> 6, EXTRA] |= bit
        queue[record[N_QUEUED]] = block
        record[N_QUEUED] += 1


@inlined
def _pass_of(plan: I64, n_passes: Int, block: Int) -> Int:
    p = 0
    while p < n_passes and block >= plan[SIZES + n_passes + p + 1]:
        p += 1
    return p


@kernel
def _correct(
    tree: U64,
    record: I64,
    queue: I32,
    tables: I32,
    masks: U64,
    plan: I64,
    key: U8,
    base: Int,
    flips: bool,
) -> None:
    """Record the error at position `base` of pass 0: all passes, all checks, and Bob's bits."""
    n_passes = tree.shape[0]
    word, bit = base >> 6, ONE << np.uint64(base & 63)
    if tree[FIXED, word, EXTRA] & bit:
        return
    tree[FIXED, word, EXTRA] |= bit
    record[N_FOUND] += 1
    for p in range(min(record[BEGUN], n_passes)):
        position = forward(tables, p, base) if p else base
        s = plan[SIZES + p]
        if flips:
            tree[p, position >> 6, KEY] ^= ONE << np.uint64(position & 63)
        if flip(tree, p, s, position):
            _enqueue(tree, record, queue, plan[SIZES + n_passes + p] + (position >> s))
    if record[BEGUN] > n_passes:
        for c in range(masks.shape[0]):
            if masks[c, word] & bit:
                record[CHECK] ^= 1 << c
    if flips:
        place = record[FIRST] + backward(tables, 0, base)
        # Only a peer that lies makes padding differ; that fails verification but breaks nothing.
        if place < key.size:
            key[place] ^= 1


@kernel
def _hear_tops(tree: U64, record: I64, queue: I32, plan: I64, heard: U8, at: Int) -> Int:
    n_passes = tree.shape[0]
    p = record[BEGUN] - 1
    s = plan[SIZES + p]
    n_blocks = (record[N_WORDS] * 64 + (1 << s) - 1) >> s
    rest: Int = 0
    for block in range(n_blocks):
        odd: Int = rest
        if p == 0 or block < n_blocks - 1:
            odd = np.int64(heard[at])
            at += 1
            rest ^= odd
        if odd:
            learn(tree, p, DIFFERENCE, s, block << s, 1)
            _enqueue(tree, record, queue, plan[SIZES + n_passes + p] + block)
    return at


@kernel
def _hear_items(
    tree: U64,
    record: I64,
    items: I32,
    queue: I32,
    tables: I32,
    plan: I64,
    odd: I64,
    heard: U8,
    at: Int,
) -> tuple[Int, Int]:
    """Learn the answers; returns the places read to, and found to in `queue`; `odd` is scratch."""
    n_passes = tree.shape[0]
    located = plan[SIZES + 2 * n_passes]
    for i in range(record[N_ITEMS]):
        p, levels = items[i, PASS], items[i, LEVELS]
        s, position = np.int64(items[i, SIZE]), np.int64(items[i, PLACE])
        if levels == 1 and 1 < s <= 6 and p < n_passes:
            # By far the most frequent case: both halves lie in one word of the tree.
            node: Int = (1 << (6 - s)) + ((position & 63) >> s)
            halves = np.uint64(2 - np.int64(heard[at]))  # which half is odd: 1 left, 2 right
            at += 1
            row = position >> 6
            tree[p, row, SPLIT] |= ONE << np.uint64(node)
            tree[p, row, DIFFERENCE] |= halves << np.uint64(2 * node)
            continue
        odd[1] = 1
        for level in range(levels):
            half = s - level - 1
            for k in range(1 << level):
                node = (1 << level) + k
                answer = np.int64(heard[at])
                at += 1
                odd[2 * node] = answer
                odd[2 * node + 1] = odd[node] ^ answer
                left = position + (k << (half + 1))
                if p < n_passes:
                    learn(tree, p, SPLIT, half + 1, left, 1)
                for side in range(2):
                    place = left + (side << half)
                    if half == 0 and odd[2 * node + side]:
                        queue[located] = backward(tables, p, place) if 0 < p < n_passes else place
                        located += 1
                    elif half and p < n_passes:
                        learn(tree, p, DIFFERENCE, half, place, odd[2 * node + side])
        if p == n_passes:
            # A check is not learnt; its search goes on from the leftmost odd descendant.
            k = 0
            while not odd[(1 << levels) + k]:
                k += 1
            items[i, SIZE] = s - levels
            items[i, PLACE] = position + (k << (s - levels))
    return at, located


@kernel
def _settle(tree: U64, record: I64, items: I32, plan: I64, slot: Int) -> Int:
    """Move an item to the deepest known odd node of its block.

    Returns 1, or 0 if the block is not odd (any more), or -1 if what is known contradicts itself.
    """
    n_passes = tree.shape[0]
    p = items[slot, PASS]
    s, position = np.int64(items[slot, SIZE]), np.int64(items[slot, PLACE])
    if p == n_passes:
        return 1 if s else 0
    if not known(tree, p, DIFFERENCE, s, position):
        s = plan[SIZES + p]
        position = (items[slot, BLOCK] - plan[SIZES + n_passes + p]) << s
        if not known(tree, p, DIFFERENCE, s, position):
            return 0
    while True:
        middle = position + (1 << (s - 1))
        if middle >= record[N_WORDS] * 64:
            learn(tree, p, SPLIT, s, position, 1)
            learn(tree, p, DIFFERENCE, s - 1, position, 1)
        elif not known(tree, p, SPLIT, s, position):
            break
        s -= 1
        if s == 0:
            return -1
        if not known(tree, p, DIFFERENCE, s, position):
            position = middle
    items[slot, SIZE], items[slot, PLACE] = s, position
    return 1


@kernel
def _choose_items(tree: U64, record: I64, items: I32, queue: I32, plan: I64) -> bool:
    """Keep the items that are still odd, and admit queued blocks; false on a contradiction."""
    n_passes = tree.shape[0]
    kept = 0
    for i in range(record[N_ITEMS]):
        block = items[i, BLOCK]
        if kept < i:
            for column in range(ITEM_SIZE):
                items[kept, column] = items[i, column]
        verdict = _settle(tree, record, items, plan, kept)
        if verdict < 0:
            return False
        kept += verdict
        if verdict == 0 and block < plan[SIZES + 2 * n_passes]:
            tree[QUEUED, block >> 6, EXTRA] &= ~(ONE << np.uint64(block & 63))
    record[N_ITEMS] = kept
    waiting = record[N_QUEUED]
    if waiting and (kept == 0 or waiting + kept <= plan[PARALLEL]):
        # The pass with the smallest blocks first; if little is left, all passes at once.
        last_pass = n_passes
        if waiting + kept > plan[PARALLEL]:
            for i in range(waiting):
                p = _pass_of(plan, n_passes, queue[i])
                s = plan[SIZES + p]
                start = (queue[i] - plan[SIZES + n_passes + p]) << s
                if p < last_pass and known(tree, p, DIFFERENCE, s, start):
                    last_pass = p
        record[N_QUEUED] = 0
        for i in range(waiting):
            block = queue[i]
            p = _pass_of(plan, n_passes, block)
            if p > last_pass:
                queue[record[N_QUEUED]] = block
                record[N_QUEUED] += 1
                continue
            items[kept, BLOCK], items[kept, PASS] = block, p
            items[kept, SIZE] = plan[SIZES + p]
            items[kept, PLACE] = (block - plan[SIZES + n_passes + p]) << plan[SIZES + p]
            verdict = _settle(tree, record, items, plan, kept)
            if verdict < 0:
                return False
            kept += verdict
            if verdict == 0:
                tree[QUEUED, block >> 6, EXTRA] &= ~(ONE << np.uint64(block & 63))
    if kept == 0 and record[BEGUN] > n_passes and record[CHECK]:
        c = 0
        while not (record[CHECK] >> c) & 1:
            c += 1
        items[0, BLOCK], items[0, PASS] = plan[SIZES + 2 * n_passes] + c, n_passes
        items[0, SIZE], items[0, PLACE] = 16, 0
        kept = 1
    record[N_ITEMS] = kept
    return True


@kernel
def _ask_items(tree: U64, record: I64, items: I32, masks: U64, plan: I64, out: U8, at: Int) -> Int:
    n_passes = tree.shape[0]
    n_blocks = plan[SIZES + 2 * n_passes]
    n_words = record[N_WORDS]
    n_items = record[N_ITEMS]
    wanted: Int = 1
    for more in range(2, MAX_LEVELS + 1):
        if n_items <= plan[WIDE + more]:
            wanted = more
    for i in range(n_items):
        p = items[i, PASS]
        s, position = np.int64(items[i, SIZE]), np.int64(items[i, PLACE])
        if p == n_passes:
            # The right half of a check's node may be empty; trees skip such nodes themselves.
            while position + (1 << (s - 1)) >= n_words * 64:
                s -= 1
            items[i, SIZE] = s
        levels: Int = min(wanted, s) if position + (1 << s) <= n_words * 64 else 1
        items[i, LEVELS] = levels
        record[N_ASKED] += (1 << levels) - 1
        for level in range(levels):
            half = s - level - 1
            for k in range(1 << level):
                left = position + (k << (half + 1))
                if p == n_passes:
                    out[at] = check_parity(
                        tree, masks, items[i, BLOCK] - n_blocks, half, left, n_words
                    )
                else:
                    out[at] = node_parity(tree, p, half, left, n_words)
                at += 1
    return at


@kernel
def _begin(
    tree: U64, record: I64, tables: I32, masks: U64, plan: I64, spare: U64, out: U8, at: Int
) -> Int:
    """Begin the next pass, or the checks, or nothing: a frame that has no odd block."""
    n_passes = tree.shape[0]
    n_words = record[N_WORDS]
    while record[BEGUN] < n_passes:
        p = record[BEGUN]
        record[BEGUN] += 1
        if p:
            permute(tree[0], tables, p, n_words, tree[p], spare)
        s = plan[SIZES + p]
        n_tops = (n_words * 64 + (1 << s) - 1) >> s
        if p:
            # The number of errors is even whenever a later pass begins, so the difference of
            # the last block follows from those of the others.
            n_tops -= 1
        if n_tops:
            for block in range(n_tops):
                out[at + block] = node_parity(tree, p, s, block << s, n_words)
            record[PHASE] = TOPS
            record[N_ASKED] += n_tops
            return at + n_tops
    if record[BEGUN] == n_passes:
        record[BEGUN] += 1
        for c in range(masks.shape[0]):
            out[at + c] = check_parity(tree, masks, c, 16, 0, n_words)
        record[PHASE] = CHECKS
        record[N_ASKED] += masks.shape[0]
        return at + masks.shape[0]
    record[PHASE] = DONE
    return at


@kernel
def begin(tree: U64, record: I64, tables: I32, masks: U64, plan: I64, spare: U64, out: U8) -> Int:
    """First round: own parities to `out`; returns how many. Pass 0 must be in `tree`."""
    at: Int = np.int64(0)
    for f in range(record.shape[0]):
        at = _begin(tree[f], record[f], tables[record[f, KIND]], masks, plan, spare, out, at)
    return at


@kernel
def advance(
    tree: U64,
    record: I64,
    items: I32,
    queue: I32,
    tables: I32,
    masks: U64,
    plan: I64,
    key: U8,
    scratch: I64,
    spare: U64,
    heard: U8,
    out: U8,
    flips: bool,
) -> Int:
    """Take the differences of a round, own XOR the peer's; own next parities to `out`."""
    read: Int = np.int64(0)
    at: Int = np.int64(0)
    for f in range(record.shape[0]):
        if record[f, PHASE] == DONE:
            continue
        t, r, i, q = tree[f], record[f], items[f], queue[f]
        table = tables[r[KIND]]
        if r[PHASE] == TOPS:
            read = _hear_tops(t, r, q, plan, heard, read)
        elif r[PHASE] == CHECKS:
            r[CHECK] = 0
            for c in range(masks.shape[0]):
                r[CHECK] |= np.int64(heard[read]) << c
                read += 1
        else:
            read, located = _hear_items(t, r, i, q, table, plan, scratch, heard, read)
            for j in range(plan[SIZES + 2 * t.shape[0]], located):
                _correct(t, r, q, table, masks, plan, key, q[j], flips)
        r[PHASE] = SEARCH
        if not _choose_items(t, r, i, q, plan):
            # The peer's parities contradict each other; both users see that, and both give the
            # frame up. Verification refuses the key.
            r[PHASE] = DONE
        elif r[N_ITEMS]:
            at = _ask_items(t, r, i, masks, plan, out, at)
        else:
            at = _begin(t, r, table, masks, plan, spare, out, at)
    return at
