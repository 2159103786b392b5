"""GF(2^64), its Cantor basis, and the points at which the additive FFT evaluates."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

DEGREE: Final = 64
REDUCTION: Final = 0b11011
"""x^64 = x^4 + x^3 + x + 1, which makes GF(2)[x] / (x^64 + ...) a field."""


def square_plus_self(a: int) -> int:
    """a^2 + a in GF(2^64), bit i of an int the coefficient of x^i."""
    product = sum(1 << 2 * i for i in range(DEGREE) if a >> i & 1)
    for i in reversed(range(DEGREE, 2 * DEGREE)):
        if product >> i & 1:
            product ^= (1 << i) | REDUCTION << i - DEGREE
    return product ^ a


def cantor_basis() -> tuple[int, ...]:
    """v_0 = 1, v_i = v_(i+1)^2 + v_(i+1): a basis of GF(2^64) over GF(2).

    The last element may be any of trace 1; it is the least power of x. Source: Cantor, J. Comb.
    Theory A 50, 285 (1989).
    """
    for i in range(DEGREE):
        chain = [1 << i]
        while len(chain) < DEGREE:
            chain.append(square_plus_self(chain[-1]))
        if chain[-1] == 1:
            break
    return tuple(reversed(chain))


CANTOR_BASIS: Final = cantor_basis()


def even_points(log_n: int) -> NDArray[np.uint64]:
    """omega(2 c) for c < 2^log_n, where omega(c) sums the v_i with bit i set in c."""
    points = np.zeros(1, np.uint64)
    for v in CANTOR_BASIS[1 : log_n + 1]:
        points = np.concatenate((points, points ^ np.uint64(v)))
    return points


POINTS_OF_LEAF: Final = tuple(even_points(5).tolist())


def basis_passes(log_n: int, stride: int = 1) -> list[tuple[int, int]]:
    """(size, gap) of the passes from powers of y to the basis X, in their order.

    A pass cuts the terms into blocks of `size` and divides each, read as a polynomial in y^stride,
    by a power of two of y^t + y, which is y^(size / 2) + y^gap.
    """
    if log_n <= 1:
        return []
    log_t = 1 << ((log_n - 1).bit_length() - 1)
    passes = [
        (stride << (log_t + m), stride << (m - 1)) for m in reversed(range(1, log_n - log_t + 1))
    ]
    passes += basis_passes(log_n - log_t, stride << log_t)
    return passes + basis_passes(log_t, stride)


LOG_LEAF: Final = 4
LEAF_TERMS: Final = 1 << LOG_LEAF
LEAF_PASSES: Final = tuple(basis_passes(LOG_LEAF))
"""The last passes for every larger log_n, done in registers."""


def leaf_additions() -> list[tuple[int, int]]:
    """(to, of) of the additions of LEAF_PASSES."""
    additions = []
    for size, gap in LEAF_PASSES:
        for first in range(0, LEAF_TERMS, size):
            half, end = first + size // 2, first + size
            additions += [(half + i, end - gap + i) for i in range(gap)]
            additions += [(first + gap + i, half + i) for i in range(size // 2 - gap)]
    return additions
