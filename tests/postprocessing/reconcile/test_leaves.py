"""What the kernels know after each round, and which blocks they ask about."""

import itertools

import numpy as np
import pytest
from cascades import FRAME, SEED, pair, run
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.postprocessing.reconcile import _kernels
from mdiqkd_net.postprocessing.reconcile._leaves import BLOCKS, KEY, MARKS, ODD, START
from mdiqkd_net.postprocessing.reconcile._permute import forward
from mdiqkd_net.postprocessing.reconcile.cascade import Cascade
from mdiqkd_net.postprocessing.reconcile.parameters import (
    Schedule,
    first_leaves,
)


def bits_of(words):
    return np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")


def places(word):
    return [place for place in range(64) if int(word) >> place & 1]


def leaves_of(nodes, n_rows):
    """All leaves of a pass as (first bit, end, odd), read off the three levels."""
    found = []
    levels = [(12, 0, n_rows, nodes[65 * n_rows])]
    levels += [(6, 64 * row, 64, nodes[64 * n_rows + row]) for row in range(n_rows)]
    levels += [(0, 64 * w, 64, nodes[w]) for w in range(64 * n_rows)]
    for shift, first, limit, words in levels:
        starts = places(words[START])
        assert set(places(words[ODD])) <= set(starts)
        for start, end in itertools.pairwise([*starts, limit]):
            if shift == 0 or end - start > 1:
                odd = int(words[ODD]) >> start & 1
                found.append(((first + start) << shift, (first + end) << shift, odd))
            else:
                assert not int(words[ODD]) >> start & 1  # it is told on the level below
    return sorted(found)


def check_pass(errors, key, nodes, n_rows, cuts):
    """What is stored of a pass against the errors themselves; returns its number of odd blocks."""
    total = np.concatenate(([0], np.cumsum(errors, dtype=np.int64)))
    leaves = leaves_of(nodes, n_rows)
    assert [first for first, _, _ in leaves] == [0, *(end for _, end, _ in leaves[:-1])]
    assert leaves[-1][1] == errors.size
    for first, end, odd in leaves:
        assert odd == (total[end] - total[first]) % 2
    words = key.reshape(-1, 64).sum(axis=1) % 2
    level = int(cuts[0])
    unit = 64**level
    width = n_rows if level == 2 else 64
    index = 65 * n_rows + 1
    n_odd = 0
    for i in range(max(1, 64 * n_rows >> 6 * level) if level < 2 else 1):
        odd_blocks = []
        starts = places(cuts[1 + i % 2])
        for start, end in zip(starts, [*starts[1:], width], strict=True):
            first, last = (64 * i + start) * unit, (64 * i + end) * unit
            if (total[last] - total[first]) % 2:
                odd_blocks.append(start)
        n_odd += len(odd_blocks)
        if level:
            assert places(nodes[index + 1 + i, BLOCKS]) == odd_blocks
    rows = words.reshape(n_rows, 64)
    for row in range(n_rows):
        assert places(nodes[64 * n_rows + row, KEY]) == np.flatnonzero(rows[row]).tolist()
    assert places(nodes[65 * n_rows, KEY]) == np.flatnonzero(rows.sum(axis=1) % 2).tolist()
    lines = []
    for line in range(n_rows + 1):
        end = min(64 * line + 64, index)
        marked = np.flatnonzero(nodes[64 * line : end, ODD]).tolist()
        assert places(nodes[64 * n_rows + line, MARKS]) == marked
        lines += [line] if marked else []
    assert places(nodes[index, MARKS]) == lines
    return n_odd


def first_odd_leaves(nodes, n_rows, cuts):
    """The least item of each odd block, rising: 64 x node + first unit, words before rows."""
    found = {}
    level = int(cuts[0])
    for node in range(65 * n_rows + 1):
        for first in places(nodes[node, ODD]):
            if node < 64 * n_rows:
                bit = 64 * node + first
            elif node < 65 * n_rows:
                bit = 4096 * (node - 64 * n_rows) + 64 * first
            else:
                bit = 4096 * first
            unit = bit >> 6 * level
            own = unit >> 6
            starts = [start for start in places(cuts[1 + own % 2]) if start <= unit & 63]
            found.setdefault((own, starts[-1]), []).append(64 * node + first)
    return sorted(min(items) for items in found.values() if len(items) % 2)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule((13, 100, 3000), 0),
        Schedule((16, 512, 8192), 16),
        Schedule((8, 9), 64),
        Schedule((4096, 16384), 0),
        Schedule((43, 110, 2048), 8, 8),
    ],
)
def test_what_is_known_is_true_after_every_round(schedule, monkeypatch):
    """The oracle: all that is stored is true of the keys, and no odd block is forgotten."""
    # Two frames of three and two rows: one is no power of two, the other is padded.
    monkeypatch.setattr("mdiqkd_net.postprocessing.reconcile.cascade.FRAME_GROUPS", 3)
    monkeypatch.setattr("mdiqkd_net.postprocessing.reconcile.cascade.GROUP_FRAMES", 1)
    _, _, a, b = pair(5 * 4096 - 100, 0.04, np.random.default_rng(10), schedule=schedule)
    seen = set()

    def check():
        if a.rounds > 20 and a.rounds % 40:
            return  # most rounds of the long tail look alike
        for name in ("record", "group", "nodes"):
            left, right = getattr(a._batch, name), getattr(b._batch, name)
            kept = [c for c in range(left.shape[-1]) if name != "nodes" or c != KEY]
            assert np.array_equal(left[..., kept], right[..., kept])
        for f in range(2):
            record = a._batch.record[f]
            n_words = int(record[_kernels.N_WORDS])
            cuts = a._batch.cuts[record[_kernels.KIND]]
            seen.add(int(record[_kernels.PHASE]))
            for p in range(record[_kernels.BEGUN]):
                if p == record[_kernels.BEGUN] - 1 and record[_kernels.PHASE] == _kernels.TOPS:
                    continue  # nothing is known of this pass yet
                keys = [bits_of(side._batch.nodes[f, p, :n_words, KEY]) for side in (a, b)]
                for side, key in zip((a, b), keys, strict=True):
                    n_odd = check_pass(
                        keys[0] ^ keys[1],
                        key,
                        side._batch.nodes[f, p],
                        n_words // 64,
                        cuts[p],
                    )
                    assert record[_kernels.N_ODD + p] == n_odd
            if record[_kernels.PHASE] == _kernels.SEARCH:
                p = int(record[_kernels.ACTIVE_PASS])
                leaves = first_odd_leaves(a._batch.nodes[f, p], n_words // 64, cuts[p])
                assert a._batch.items[f, : len(leaves)].tolist() == leaves
                assert record[_kernels.N_ODD + p] == len(leaves)

    run(a, b, after_round=check)
    assert _kernels.SEARCH in seen


def test_the_first_parities_are_those_of_the_blocks_of_the_key():
    key = np.random.default_rng(12).integers(0, 2, 9000, dtype=np.uint8)
    a = Cascade(key, corrects=False, qber=0.02, seed=SEED, schedule=Schedule((32, 128, 4096)))
    payload = np.unpackbits(np.frombuffer(a.start(), np.uint8))
    padded = np.zeros(3 * 4096, np.uint8)
    padded[: key.size] = key
    assert np.array_equal(payload, padded.reshape(-1, 32).sum(axis=1) % 2)


def test_later_passes_ask_about_the_permuted_key():
    key = np.random.default_rng(14).integers(0, 2, 4096, dtype=np.uint8)
    schedule = Schedule((64, 128, 2048))
    a = Cascade(key, corrects=False, qber=0.02, seed=SEED, schedule=schedule)
    second = np.unpackbits(np.frombuffer(a.receive(a.start()), np.uint8))
    table = a._batch.tables[0]
    permuted = np.empty_like(key)
    for i, bit in enumerate(key):
        permuted[forward.py_func(table, 1, i)] = bit
    # The parity of the last block follows from the others, and is not asked.
    expected = permuted.reshape(-1, 128).sum(axis=1)[:-1] % 2
    assert np.array_equal(second[: expected.size], expected)
    assert a.leak_bits == 64 + 31


@settings(max_examples=40, deadline=None)
@given(
    n_rows=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    ends=st.tuples(st.integers(0, 40000), st.integers(0, 40000)),
    seed=st.integers(0, 2**32),
)
def test_check_parity_counts_the_selected_bits_of_the_interval(n_rows, ends, seed):
    rng = np.random.default_rng(seed)
    nodes = rng.integers(0, 2**64, (len(n_rows), 1, 200, 4), dtype=np.uint64)
    masks = rng.integers(0, 2**64, (192, 3), dtype=np.uint64)
    record = np.zeros((len(n_rows), 8), np.int64)
    record[:, _kernels.N_WORDS] = 64 * np.array(n_rows)
    group = np.zeros(_kernels.GROUP_SIZE, np.int64)
    group[_kernels.END] = len(n_rows)
    chosen = np.concatenate(
        [bits_of(nodes[f, 0, : 64 * n, KEY] & masks[: 64 * n, 1]) for f, n in enumerate(n_rows)]
    )
    low, high = sorted(min(end, chosen.size) for end in ends)
    found = _kernels.check_parity(nodes, record, group, masks, 1, low, high)
    assert found == chosen[low:high].sum() % 2


@settings(max_examples=100, deadline=None)
@given(block_bits=st.integers(2, 2**16), n_rows=st.integers(1, 16))
def test_blocks_are_as_large_as_asked_for(block_bits, n_rows):
    level, *cuts = first_leaves(block_bits, n_rows)
    n_units = (64, 64, n_rows)[level]
    sizes = np.concatenate([np.diff([*places(cut), n_units]) for cut in cuts]) * 64**level
    assert all(cut & 1 for cut in cuts)
    assert level == 0 or cuts[0] == cuts[1]
    assert sizes.sum() == 2 * n_units * 64**level
    assert sizes.min() >= (1, 128, 8192)[level]
    size = min(block_bits, n_rows * 4096)
    if level == 2 and n_rows >= 4:
        assert 0.4 * size <= sizes.mean() <= 2.1 * size
    if level < 2:
        assert 0.6 * size <= sizes.mean() <= 1.6 * max(size, 2)
    if 2 <= block_bits <= 64:
        assert sizes.mean() == pytest.approx(block_bits, rel=0.2)


def test_schedules_of_mixed_blocks_ask_about_each_word_as_it_is_cut():
    key = np.random.default_rng(18).integers(0, 2, 4096, dtype=np.uint8)
    a = Cascade(key, corrects=False, qber=0.02, seed=SEED, schedule=Schedule((43, 512)))
    payload = np.unpackbits(np.frombuffer(a.start(), np.uint8))
    words = key.reshape(32, 128)
    blocks = (words[:, :64], words[:, 64:96], words[:, 96:])
    expected = np.stack([block.sum(axis=1) % 2 for block in blocks], axis=1).ravel()
    assert np.array_equal(payload, expected)


def test_hurry_saves_rounds():
    rounds = []
    for hurry in (0, 8):
        rng = np.random.default_rng(19)
        alice, _, a, b = pair(16 * FRAME, 0.02, rng, schedule=Schedule((43, 256, 4096), 0, hurry))
        run(a, b)
        assert np.array_equal(alice, b.bits)
        rounds.append(a.rounds)
    assert rounds[1] < rounds[0]
