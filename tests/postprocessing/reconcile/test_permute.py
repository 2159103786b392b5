import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.postprocessing.reconcile._leaves import KEY
from mdiqkd_net.postprocessing.reconcile._permute import (
    LANES,
    backward,
    forward,
    permute,
    random_words,
    tables,
    transpose,
)

SEED = bytes(range(32))


def unpack(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")


def test_transpose_is_a_matrix_transpose_of_every_block():
    blocks = np.random.default_rng(1).integers(0, 2**64, 64 * LANES, dtype=np.uint64)
    before = [unpack(blocks[lane::LANES]).reshape(64, 64) for lane in range(LANES)]
    transpose(blocks)
    for lane, block in enumerate(before):
        assert np.array_equal(unpack(blocks[lane::LANES]).reshape(64, 64), block.T)


@pytest.mark.parametrize("n_words", [64, 128, 576, 960, 1024])
def test_permutation_moves_each_bit_to_where_forward_says(n_words):
    table = tables(SEED, "pass 1", n_words)[np.newaxis]
    source = np.random.default_rng(n_words).integers(0, 2**64, (n_words, 4), dtype=np.uint64)
    target = np.zeros((n_words, 4), np.uint64)
    permute(source, table, 0, n_words, target, np.zeros(64 * LANES, np.uint64))
    # The oracle applies the definition in the docstring to single bits.
    take, _, rotate, put, _ = table[0]
    rows = unpack(source[take, KEY]).reshape(n_words, 64)
    rows = np.stack([np.roll(row, turn) for row, turn in zip(rows, rotate, strict=True)])
    rows = rows.reshape(-1, 64, 64).transpose(0, 2, 1).reshape(n_words, 64)
    expected = np.empty_like(rows)
    expected[put] = rows
    assert np.array_equal(unpack(target[:, KEY]), expected.reshape(-1))

    assert not target[:, [c for c in range(4) if c != KEY]].any()
    places = np.array([forward.py_func(table, 0, i) for i in range(n_words * 64)])
    assert np.array_equal(unpack(target[:, KEY])[places], unpack(source[:, KEY]))
    assert [backward.py_func(table, 0, int(place)) for place in places] == list(range(n_words * 64))


@settings(max_examples=20, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), groups=st.integers(1, 16))
def test_tables_are_permutations_with_their_inverses(seed, groups):
    n_words = 64 * groups
    take, taken, rotate, put, putten = tables(seed, "pass 0", n_words)
    assert np.array_equal(np.sort(take), np.arange(n_words))
    assert np.array_equal(take[taken], np.arange(n_words))
    assert np.array_equal(put[putten], np.arange(n_words))
    assert rotate.min() >= 0
    assert rotate.max() < 64


def test_public_randomness_is_the_same_on_every_platform():
    # hashlib.shake_256((32).to_bytes(8, "little") + bytes(range(32)) + b"checks").digest(16)
    import hashlib

    digest = hashlib.shake_256(bytes([32, *[0] * 7, *range(32)]) + b"checks").digest(16)
    words = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)]
    assert random_words(SEED, "checks", 2).tolist() == words


def test_neighbors_are_parted():
    """No two bits of a word share a word after a pass: bursts are spread."""
    table = tables(SEED, "pass 2", 1024)[np.newaxis]
    for word in range(0, 1024, 37):
        after = {forward.py_func(table, 0, word * 64 + bit) >> 6 for bit in range(64)}
        assert len(after) == 64
