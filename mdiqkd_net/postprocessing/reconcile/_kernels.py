"""The Cascade state machine of all frames, one round per call.

Both users run these kernels on the XOR of the parities that they sent each other, and so stay in
the same state; `flips` alone tells Bob, whose key bits are turned.

A frame is in one phase at a time: TOPS waits for the parities of a pass that was just begun, SEARCH
for those of pieces of its odd leaves, IDLE asks nothing. When all frames of a *group* are idle,
their group compares *checks*, parities of random halves of all their bits, and HUNTs for an error
under an odd one. A round holds the groups in order, a group its frames, and a frame its questions
in the order of `_leaves.choose`: no index travels.

Arrays of one frame (those of a batch have one axis more in front), P passes, N nodes:

    nodes   (P, N, 4) uint64: own bits in the order of each pass, corrected as errors are found,
            and what is known of differences, see `_leaves`
    items   (B,) uint32: the leaves that were asked about, see `_leaves.choose`
    record  (N_ODD + P,) int64: PHASE to N_ODD, from where on it counts odd blocks of each pass

of one group

    group   (8,) int64: STAGE to N_ASKED; its frames are FIRST to END - 1, the odd checks the ones
            of CHECK, and the error that is hunted is between the bits LOW and HIGH of the group

and of the batch

    tables  (kinds, P, 5, W) uint16: permutations of pass 0 into pass p, for frames of either size
    cuts    (kinds, P, 3) uint64: the blocks of each pass, see `_leaves`
    masks   (W, C) uint64: random halves of the bits of a frame, in the order of pass 0
"""

from typing import Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._bits import (
    bit,
    eight,
    element,
    from_on,
    gather,
    popcount,
    prefetch,
    put_eight,
    put_element,
    share,
    spread,
    up_to,
)
from mdiqkd_net.postprocessing.reconcile._jit import (
    I64,
    U8,
    U16,
    U32,
    U64,
    Int,
    called,
    inlined,
    kernel,
)
from mdiqkd_net.postprocessing.reconcile._leaves import (
    KEY,
    ask,
    ask_blocks,
    choose,
    flip,
    flip_block,
    hear_blocks,
    n_blocks,
    plant,
    search,
    turn,
)
from mdiqkd_net.postprocessing.reconcile._permute import backward, forward, permute

PHASE, BEGUN, ACTIVE_PASS, PIECES, N_WORDS, KIND, N_FOUND, N_ODD = range(8)
TOPS, SEARCH, IDLE = range(3)

STAGE, FIRST, END, CHECK, LOW, HIGH, N_BITS, N_ASKED = range(8)
GROUP_SIZE: Final = 8
PASSES, CHECKS, CHECKED, HUNT, DONE = range(5)

MOST_PIECES: Final = 8
HUNT_PIECES: Final = 16


@inlined
def _correct(
    nodes: U64,
    n_rows: Int,
    record: I64,
    tables: U16,
    cuts: U64,
    found_in: Int,
    base: Int,
    flips: bool,
) -> bool:
    """Tell all passes of the error at `base` of pass 0 that pass `found_in` has located.

    Returns false if a pass knows better: a peer has lied.
    """
    record[N_FOUND] += 1
    for p in range(record[BEGUN]):
        there = forward(tables, p, base) if p else base
        if p != found_in:
            if not flip(nodes[p], n_rows, there):
                return False
            record[N_ODD + p] += flip_block(nodes[p], n_rows, cuts[p], there)
        if flips:
            turn(nodes[p], n_rows, there)
    return True


@called
def _next(
    nodes: U64,
    record: I64,
    items: U32,
    tables: U16,
    cuts: U64,
    budget: Int,
    spare: U64,
    out: U8,
    at: Int,
    chosen: bool,
) -> Int:
    """Ask about the first pass with an odd block, or begin the next pass, or nothing.

    `chosen` says that `items` holds what would be chosen of the active pass.
    """
    n_rows = record[N_WORDS] >> 6
    p = record[ACTIVE_PASS]
    if record[N_ODD + p] == 0:
        chosen = False
        p = 0
        while p < record[BEGUN] and record[N_ODD + p] == 0:
            p += 1
    if p < record[BEGUN]:
        n = record[N_ODD + p]
        pieces = 2
        while pieces < MOST_PIECES and 2 * pieces * n <= budget:
            pieces *= 2
        record[PHASE], record[ACTIVE_PASS], record[PIECES] = SEARCH, p, pieces
        if not chosen:
            choose(nodes[p], n_rows, cuts[p], items)
        for i in range(n):
            at = ask(nodes[p], n_rows, element(items, i), pieces, out, at)
        return at
    while record[BEGUN] < nodes.shape[0]:
        p = record[BEGUN]
        record[BEGUN] += 1
        if p:
            permute(nodes[0], tables, p, record[N_WORDS], nodes[p], spare)
        plant(nodes[p], n_rows, cuts[p])
        end = ask_blocks(nodes[p], n_rows, cuts[p], out, at)
        if p:
            # The number of errors is even whenever a later pass begins, so the parity of the
            # last block follows from those of the others.
            end -= 1
        if end > at:
            record[PHASE] = TOPS
            return end
    record[PHASE] = IDLE
    return at


@called
def _hear_tops(nodes: U64, record: I64, cuts: U64, heard: U8, at: Int) -> Int:
    """Take the parities of the blocks of a pass that was just begun."""
    n_rows = record[N_WORDS] >> 6
    p = record[BEGUN] - 1
    last = at - 1 + n_blocks(n_rows, cuts[p])
    if not p:
        at, record[N_ODD] = hear_blocks(nodes[p], n_rows, cuts[p], heard, at)
        return at
    # The place of the parity that follows belongs to an answer that was not read yet.
    kept, heard[last] = heard[last], 0
    for i in range(at, last):
        heard[last] ^= heard[i]
    at, record[N_ODD + p] = hear_blocks(nodes[p], n_rows, cuts[p], heard, at)
    heard[last] = kept
    return last


@called
def _recheck(masks: U64, group: I64, base: Int) -> None:
    for c in range(masks.shape[1]):
        if masks[base >> 6, c] & bit(base & 63):
            group[CHECK] ^= 1 << c


@called
def _ask_checks(
    nodes: U64, record: I64, group: I64, masks: U64, sums: U64, out: U8, at: Int
) -> Int:
    """Own parities of all checks of a group; returns the place written to."""
    n_checks = masks.shape[1]
    for c in range(n_checks):
        sums[c] = 0
    for f in range(group[FIRST], group[END]):
        for w in range(record[f, N_WORDS]):
            word = nodes[f, 0, w, KEY]
            for c in range(n_checks):
                sums[c] ^= word & masks[w, c]
    for c in range(n_checks):
        out[at + c] = popcount(sums[c]) & 1
    return at + n_checks


@kernel
def check_parity(
    nodes: U64, record: I64, group: I64, masks: U64, c: Int, low: Int, high: Int
) -> Int:
    """Parity of those own bits `low` to `high` - 1 of a group that check c selects."""
    total = np.uint64(0)
    offset: Int = np.int64(0)
    for f in range(group[FIRST], group[END]):
        n_bits = record[f, N_WORDS] * 64
        first, end = max(low - offset, 0), min(high - offset, n_bits)
        offset += n_bits
        if first >= end:
            continue
        for w in range(first >> 6, (end + 63) >> 6):
            word = nodes[f, 0, w, KEY] & masks[w, c]
            if w == first >> 6:
                word = from_on(word, first & 63)
            if w == (end - 1) >> 6:
                word = up_to(word, (end - 1) & 63)
            total ^= word
    return popcount(total) & 1


@inlined
def _odd_check(group: I64) -> Int:
    c = 0
    while not (group[CHECK] >> c) & 1:
        c += 1
    return c


@called
def _ask_group(nodes: U64, record: I64, group: I64, masks: U64, sums: U64, out: U8, at: Int) -> Int:
    """When all passes are silent: ask the checks, hunt on, hunt for the next, or end."""
    if group[STAGE] == PASSES:
        group[STAGE] = CHECKS
        return _ask_checks(nodes, record, group, masks, sums, out, at)
    if group[STAGE] == CHECKED:
        if group[CHECK] == 0:
            group[STAGE] = DONE
            return at
        group[STAGE], group[LOW], group[HIGH] = HUNT, 0, group[N_BITS]
    c = _odd_check(group)
    low, size = group[LOW], group[HIGH] - group[LOW]
    n = min(HUNT_PIECES, size)
    for i in range(n - 1):
        out[at + i] = check_parity(
            nodes,
            record,
            group,
            masks,
            np.int64(c),
            low + share(size, i, n),
            low + share(size, i + 1, n),
        )
    return at + n - 1


@called
def _hear_group(
    record: I64, group: I64, masks: U64, errors: U32, heard: U8, at: Int
) -> tuple[Int, Int]:
    """Take the answers of a group that asks about checks.

    Returns the place read to, and the frame of the error that was located, or -1; the place of
    the error is then in `errors`.
    """
    if group[STAGE] == CHECKS:
        for c in range(masks.shape[1]):
            group[CHECK] |= np.int64(heard[at + c]) << c
        group[STAGE] = CHECKED
        return at + masks.shape[1], -1
    low, size = group[LOW], group[HIGH] - group[LOW]
    n = min(HUNT_PIECES, size)
    i = 0
    while i < n - 1 and not heard[at + i]:
        i += 1
    group[LOW], group[HIGH] = low + share(size, i, n), low + share(size, i + 1, n)
    at += n - 1
    if group[HIGH] - group[LOW] > 1:
        return at, -1
    f, place = group[FIRST], group[LOW]
    while place >= record[f, N_WORDS] * 64:
        place -= record[f, N_WORDS] * 64
        f += 1
    group[STAGE] = CHECKED
    errors[0] = place
    return at, f


@kernel
def advance(
    nodes: U64,
    record: I64,
    group: I64,
    items: U32,
    tables: U16,
    cuts: U64,
    masks: U64,
    budget: Int,
    hurry: Int,
    spare: U64,
    errors: U32,
    parities: U8,
    packed: U8,
    flips: bool,
    n_asked: Int,
) -> Int:
    """Replace the peer's parities of a round in `packed` by the own next ones.

    They are packed, first bit in the high bit. `parities`, of shape (2, at least 64 more than are
    ever asked), keeps the own ones of a round, one in a byte, of which there are `n_asked`, and
    none before the first round; its other row is scratch.

    Returns how many there are in `packed`.
    """
    out, heard = parities[0], parities[1]
    for i in range((n_asked + 7) >> 3):
        put_eight(heard, 8 * i, spread(element(packed, i)) ^ eight(out, 8 * i))
    if n_asked:
        # Where few questions are left for many frames, more of them cost little and save rounds.
        budget = max(budget, share(hurry, record.shape[0], n_asked))
    read: Int = np.int64(0)
    at: Int = np.int64(0)
    for g in range(group.shape[0]):
        own = group[g]
        if own[STAGE] == DONE:
            continue
        start = at
        hunted: Int = np.int64(-1)
        p: Int = np.int64(-1)
        if own[STAGE] == CHECKS or own[STAGE] == HUNT:
            read, hunted = _hear_group(record, own, masks, errors, heard, read)
        for f in range(own[FIRST], own[END]):
            if record[f, PHASE] == SEARCH:
                p = record[f, ACTIVE_PASS]
                for j in range(min(record[f, N_ODD + p], 2)):
                    prefetch(nodes[f, p], element(items[f], j) >> 6)
        for f in range(own[FIRST], own[END]):
            frame = record[f]
            if frame[PHASE] == IDLE and f != hunted and frame[BEGUN]:
                continue
            kind, n_rows = frame[KIND], frame[N_WORDS] >> 6
            n_found: Int = np.int64(f == hunted)
            p = np.int64(-1)
            chosen = False
            if frame[PHASE] == TOPS:
                read = _hear_tops(nodes[f], frame, cuts[kind], heard, read)
            elif frame[PHASE] == SEARCH:
                p = frame[ACTIVE_PASS]
                read, frame[N_ODD + p], n_found, chosen = search(
                    nodes[f, p],
                    n_rows,
                    cuts[kind, p],
                    items[f],
                    frame[N_ODD + p],
                    frame[PIECES],
                    heard,
                    read,
                    out,
                    at,
                    errors,
                )
                for j in range(n_found):
                    base = element(errors, j)
                    if p:
                        base = backward(tables[kind], p, base)
                        put_element(errors, j, base)
                    for other in range(frame[BEGUN]):
                        place = forward(tables[kind], other, base) if other else base
                        prefetch(nodes[f, other], place >> 6)
            for j in range(n_found):
                base = element(errors, j)
                if not _correct(nodes[f], n_rows, frame, tables[kind], cuts[kind], p, base, flips):
                    own[STAGE] = DONE
                if own[STAGE] != PASSES:
                    _recheck(masks, own, base)
            n_odd = frame[N_ODD + p] if chosen else 0
            if n_odd and frame[PIECES] == 2 and 4 * n_odd > budget:
                # The search goes on, and has written its questions already.
                at += n_odd
                continue
            at = _next(
                nodes[f],
                frame,
                items[f],
                tables[kind],
                cuts[kind],
                budget,
                spare,
                out,
                at,
                chosen,
            )
        if own[STAGE] == DONE:
            # The peer's parities contradict each other; both users see that, and both give the
            # group up. Verification refuses it.
            at = start
        elif at == start:
            at = _ask_group(nodes, record, own, masks, spare, out, at)
        own[N_ASKED] += at - start
    put_eight(out, at, np.uint64(0))
    for i in range((at + 7) >> 3):
        put_element(packed, i, gather(eight(out, 8 * i)))
    return at
