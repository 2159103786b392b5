import numpy as np
import pytest
from gf2 import field_multiply, multiply
from numba import njit

from mdiqkd_net.postprocessing.toeplitz.field import leaf_additions
from mdiqkd_net.postprocessing.toeplitz.intrinsics import (
    add_run,
    adjoint_level,
    basis_leaf,
    basis_leaf_dual,
    basis_leaf_project,
    big_endian,
    contragredient_level,
    forward_level,
    hankel_tile,
    multiply_add,
)
from mdiqkd_net.postprocessing.toeplitz.vectors import instruction_lanes, target

pytestmark = pytest.mark.skipif(
    not instruction_lanes(*target()), reason="this CPU has no carry-less multiplication"
)


def words(seed, n):
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("t", [0, 1, 0x9E3779B97F4A7C15])
@pytest.mark.parametrize("name", ["forward", "contragredient", "adjoint"])
def test_levels_are_their_matrices(name, t):
    """With (a, b) -> M (a, b), M = [[1, t], [1, t + 1]]; its inverse is [[t + 1, t], [1, 1]]."""
    intrinsic, matrix = {
        "forward": (forward_level, ((1, t), (1, t ^ 1))),
        "contragredient": (contragredient_level, ((t ^ 1, 1), (t, 1))),
        "adjoint": (adjoint_level, ((1, 1), (t, t ^ 1))),
    }[name]

    @njit
    def kernel(a, first, half, t, lanes):
        intrinsic(a, first, half, t, lanes)

    a = words(1, 20)
    before = a.tolist()
    kernel(a, 3, 8, np.uint64(t), (0,) * 4)
    assert a[:3].tolist() == before[:3]
    assert a[19:].tolist() == before[19:]
    for i in range(3, 11):
        pair = before[i], before[i + 8]
        rows = [field_multiply(m, pair[0]) ^ field_multiply(n, pair[1]) for m, n in matrix]
        assert [a[i], a[i + 8]] == rows


def test_multiply_add():
    @njit
    def kernel(to, x, y, lanes):
        multiply_add(to, 1, x, 2, y, 3, 8, lanes)

    to, x, y = words(2, 12), words(3, 12), words(4, 12)
    expected = to.tolist()
    for r in range(8):
        expected[1 + r] ^= field_multiply(int(x[2 + r]), int(y[3 + r]))
    kernel(to, x, y, (0,) * 4)
    assert to.tolist() == expected


def test_hankel_tile():
    @njit
    def kernel(w, x, low, high, lanes):
        hankel_tile(w, 8, x, 5, low, high, lanes)

    w, x, low, high = words(5, 30), words(6, 5), words(7, 16), words(8, 16)
    kernel(w, x, low, high, (0,) * 2)
    for q in range(8, 16):
        total = 0
        for j in range(5):
            total ^= multiply(int(w[q + j]), int(x[j]))
        assert (int(high[q]) << 64 | int(low[q])) == total
    assert low[:8].tolist() == words(7, 16)[:8].tolist()


@pytest.mark.parametrize("n", [*range(18), 31])
def test_add_run(n):
    @njit
    def kernel(f, to, of, n):
        add_run(f, to, of, n)

    f = np.random.default_rng(n).integers(0, 2**32, 70, dtype=np.uint32)
    expected = f.copy()
    expected[2 : 2 + n] ^= expected[35 : 35 + n]
    kernel(f, 2, 35, n)
    assert np.array_equal(f, expected)


def test_leaves_of_the_change_of_basis():
    @njit
    def kernel(f, way):
        if way == 0:
            basis_leaf(f, 2)
        elif way == 1:
            basis_leaf_dual(f, 2)
        else:
            basis_leaf_project(f, 2)

    additions = leaf_additions()
    transposed = [(of, to) for to, of in additions]
    for way, (dtype, these) in enumerate(
        [(np.uint32, additions), (np.uint32, transposed), (np.uint64, transposed[::-1])]
    ):
        terms = words(9, 18).astype(dtype)
        expected = terms.copy()
        first = 2 if dtype is np.uint32 else 1
        for to, of in these:
            expected[first + to] ^= expected[first + of]
        kernel(terms.view(np.uint32), way)
        assert np.array_equal(terms, expected)


def test_big_endian():
    @njit
    def kernel(data, i):
        return big_endian(data, i)

    data = np.arange(1, 12, dtype=np.uint8)
    assert kernel(data, 3) == int.from_bytes(data[3:11].tobytes(), "big")
