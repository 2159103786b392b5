import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing import amplify as module
from mdiqkd_net.postprocessing.amplify import amplify, parities, seed_bits


def pack(bits) -> bytes:
    return np.packbits(np.array(bits, np.uint8)).tobytes()


def oracle(bits: np.ndarray, seed: bytes, n_out: int) -> bytes:
    """The definition, row by row, in Python integers: bit j of an int stands for element j."""
    rest = bits.size - n_out
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=bits.size - 1)
    x = sum(int(bit) << j for j, bit in enumerate(bits[n_out:]))
    out = []
    for i in range(n_out):
        row = sum(int(diagonals[i - j + rest - 1]) << j for j in range(rest))
        out.append(int(bits[i]) ^ (row & x).bit_count() % 2)
    return pack(out)


@st.composite
def problems(draw, most):
    n_in = draw(st.integers(1, most))
    n_out = draw(st.integers(1, n_in))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, 2, n_in, dtype=np.uint8), rng.bytes(-(-(n_in - 1) // 8)), n_out


@settings(max_examples=60, deadline=None)
@given(problem=problems(most=120))
def test_amplify_is_the_definition(problem):
    assert amplify(*problem) == oracle(*problem)


@settings(max_examples=60, deadline=None)
@given(problem=problems(most=600), log_length=st.integers(4, 7), rows=st.integers(1, 5))
def test_blocks_and_their_seams_do_not_show(problem, log_length, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOG_LENGTH_MAX", log_length)
        patch.setattr(module, "OUTPUT_BLOCKS_MAX", rows)
        assert amplify(*problem) == oracle(*problem)


@pytest.mark.parametrize("n_out", [1, 100_000, 131_072, 131_073, 1_000_000])
def test_ten_million_bits_are_exact(n_out):
    n_in = 10_000_019
    rng = np.random.default_rng(n_out)
    bits = rng.integers(0, 2, n_in, dtype=np.uint8)
    seed = rng.bytes(-(-(n_in - 1) // 8))
    got = np.unpackbits(np.frombuffer(amplify(bits, seed, n_out), np.uint8), count=n_out)
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=n_in - 1)
    rest = n_in - n_out
    reversed_rest = bits[n_out:][::-1]
    sample = {0, n_out - 1, *rng.integers(0, n_out, 20).tolist()}
    for i in sample:
        products = np.bitwise_and(diagonals[i : i + rest], reversed_rest)
        assert got[i] == bits[i] ^ (np.count_nonzero(products) & 1)


def test_the_greatest_sums_are_exact():
    """All ones make every sum as large as it can be: each output is x_i plus their number."""
    n_in, n_out = 10_000_000, 300_001
    seed = bytes([255]) * -(-(n_in - 1) // 8)
    got = np.unpackbits(
        np.frombuffer(amplify(np.ones(n_in, np.uint8), seed, n_out), np.uint8), count=n_out
    )
    assert np.array_equal(got, np.full(n_out, 1 ^ (n_in - n_out) % 2, np.uint8))


def test_nothing_to_compress_changes_nothing():
    bits = np.random.default_rng(1).integers(0, 2, 77, dtype=np.uint8)
    assert amplify(bits, bytes(10), 77) == pack(bits)


@pytest.mark.parametrize(("n_in", "n_out"), [(5, 2), (6, 3), (5, 4)])
def test_the_family_is_universal(n_in, n_out):
    """No two keys collide under more than a fraction 2^-n_out of all seeds; exhaustively."""
    keys = [np.array(k, np.uint8) for k in itertools.product((0, 1), repeat=n_in)]
    seeds = [pack(s) for s in itertools.product((0, 1), repeat=n_in - 1)]
    collisions = Counter()
    for seed in seeds:
        images = [amplify(key, seed, n_out) for key in keys]
        collisions.update(
            pair
            for pair in itertools.combinations(range(len(keys)), 2)
            if images[pair[0]] == images[pair[1]]
        )
    assert max(collisions.values()) <= len(seeds) / 2**n_out


@pytest.mark.parametrize("value", [0.25, 1.5, 7.7, float("nan"), float("inf")])
def test_unsafe_rounding_is_refused(value):
    with np.errstate(invalid="ignore"), pytest.raises(LocalProtocolError, match="rounding"):
        parities(np.array([[0.0, value]]))


def test_safe_rounding_counts_modulo_two():
    assert parities(np.array([[-0.2, 0.9, 2.1, 4095.2]])).tolist() == [[0, 1, 0, 1]]


def test_accumulate_is_a_sum_of_complex_products():
    rng = np.random.default_rng(2)
    ring = rng.normal(size=(10, 2, 1030))
    inputs = rng.normal(size=(5, 2, 1030))
    total = rng.normal(size=(3, 2, 1030))

    def joined(planes):
        return planes[:, 0] + 1j * planes[:, 1]

    expected = joined(total)
    for i, k in itertools.product(range(3), range(5)):
        expected[i] += joined(ring)[(i - 8 - k) % 10] * joined(inputs)[k]
    module._accumulate(total, ring, inputs, 8)
    assert np.allclose(joined(total), expected, rtol=0, atol=1e-12)


def test_seed_bits():
    assert seed_bits(1000, 10) == 999
    assert seed_bits(1, 1) == 0


@pytest.mark.parametrize("n_out", [0, -1, 9])
def test_impossible_lengths_are_refused(n_out):
    with pytest.raises(LocalProtocolError, match=r"n_out: found .*; allowed: 1 to n_in"):
        amplify(np.zeros(8, np.uint8), bytes(1), n_out)


@pytest.mark.parametrize("seed", [b"", bytes(2)])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(LocalProtocolError, match=r"seed: found \d bytes; allowed: 1"):
        amplify(np.zeros(8, np.uint8), seed, 4)


@pytest.mark.parametrize(
    "bits", [np.zeros((2, 4), np.uint8), np.zeros(8, np.int64), np.full(8, 3, np.uint8)]
)
def test_wrong_keys_are_refused(bits):
    with pytest.raises(LocalProtocolError, match="bits: found shape"):
        amplify(bits, bytes(1), 4)
