import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.toeplitz import rfft as module
from mdiqkd_net.postprocessing.toeplitz.rfft import add_product, parities


def product(diagonals: np.ndarray, x: np.ndarray, m: int) -> np.ndarray:
    out = np.zeros(m, np.uint8)
    add_product(diagonals, x, out)
    return out


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 300),
    n=st.integers(1, 300),
    log_length=st.integers(4, 7),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_blocks_and_their_seams_do_not_show(m, n, log_length, rows, seed):
    rng = np.random.default_rng(seed)
    diagonals, x = (rng.integers(0, 2, size, dtype=np.uint8) for size in (m + n - 1, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOG_LENGTH_MAX", log_length)
        patch.setattr(module, "OUTPUT_BLOCKS_MAX", rows)
        got = product(diagonals, x, m)
    sums = np.convolve(diagonals.astype(int), x)[n - 1 : n - 1 + m]
    assert np.array_equal(got, sums % 2)


@pytest.mark.parametrize("m", [1, 131_073])
def test_ten_million_bits_are_exact(m):
    n = 9_000_019
    rng = np.random.default_rng(m)
    diagonals, x = (rng.integers(0, 2, size, dtype=np.uint8) for size in (m + n - 1, n))
    got = product(diagonals, x, m)
    for i in {0, m - 1, *rng.integers(0, m, 20).tolist()}:
        products = np.bitwise_and(diagonals[i : i + n], x[::-1])
        assert got[i] == np.count_nonzero(products) & 1


def test_the_greatest_sums_are_exact():
    """All ones make every sum as large as it can be."""
    m, n = 300_001, 9_699_999
    got = product(np.ones(m + n - 1, np.uint8), np.ones(n, np.uint8), m)
    assert np.array_equal(got, np.full(m, n % 2, np.uint8))


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
