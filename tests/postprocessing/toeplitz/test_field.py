import itertools

import numpy as np
import pytest
from gf2 import FIELD, field_multiply, multiply, polynomial_value, reduce

from mdiqkd_net.postprocessing.toeplitz.field import (
    CANTOR_BASIS,
    LEAF_PASSES,
    LEAF_TERMS,
    basis_passes,
    even_points,
    leaf_additions,
)


def test_the_polynomial_is_irreducible():
    """Rabin's test: x^(2^64) = x, and x^(2^32) + x has no factor in common with it."""
    power = 2
    for i in range(64):
        power = field_multiply(power, power)
        if i == 31:
            a, b = FIELD, power ^ 2
            while b:
                while a.bit_length() >= b.bit_length():
                    a ^= b << (a.bit_length() - b.bit_length())
                a, b = b, a
            assert a == 1
    assert power == 2


def test_cantor_basis():
    assert CANTOR_BASIS[0] == 1
    for low, high in itertools.pairwise(CANTOR_BASIS):
        assert field_multiply(high, high) ^ high == low
    reduced = []
    for v in CANTOR_BASIS:
        rest = v
        for r in reduced:
            rest = min(rest, rest ^ r)
        assert rest, "the elements are independent"
        reduced.append(rest)
    assert len(reduced) == 64


def test_even_points_sum_the_basis():
    points = even_points(6).tolist()
    assert points[:2] == [0, CANTOR_BASIS[1]]
    for c, point in enumerate(points):
        total = 0
        for i in range(6):
            total ^= CANTOR_BASIS[i + 1] * (c >> i & 1)
        assert point == total


def vanishing(i: int, y: int) -> int:
    """s_i(y), from its definition: s_0 = y, s_(i+1) = s_i^2 + s_i."""
    for _ in range(i):
        y = field_multiply(y, y) ^ y
    return y


@pytest.mark.parametrize("log_n", [1, 2, 3, 5, 6])
def test_passes_change_to_the_basis_of_products(log_n):
    """The polynomial has the same values, written either way."""
    rng = np.random.default_rng(log_n)
    f = rng.integers(0, 2**63, 1 << log_n).tolist()
    g = list(f)
    for size, gap in basis_passes(log_n):
        for first in range(0, len(g), size):
            half = first + size // 2
            for i in reversed(range(size // 2)):
                g[first + gap + i] ^= g[half + i]
    for y in rng.integers(0, 2**63, 3).tolist():
        value = 0
        for d, coefficient in enumerate(g):
            term = coefficient
            for i in range(log_n):
                if d >> i & 1:
                    term = field_multiply(term, vanishing(i, y))
            value ^= term
        assert value == polynomial_value(f, y)


def test_leaves_are_the_last_passes():
    for log_n in range(5, 21):
        assert tuple(basis_passes(log_n)[-len(LEAF_PASSES) :]) == LEAF_PASSES
    f = [1 << i for i in range(LEAF_TERMS)]
    g = list(f)
    for to, of in leaf_additions():
        f[to] ^= f[of]
    for size, gap in LEAF_PASSES:
        for first in range(0, LEAF_TERMS, size):
            for i in reversed(range(size // 2)):
                g[first + gap + i] ^= g[first + size // 2 + i]
    assert f == g


def test_the_oracle_knows_a_product():
    assert multiply(0b111, 0b101) == 0b11011
    assert reduce(1 << 64) == 0b11011
