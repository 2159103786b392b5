"""The additive FFT over GF(2^64) and its dual, iterative, for sums of w[q + j] x[j].

A polynomial of N = 2^k coefficients f_d is evaluated at all sums of the first k elements of the
Cantor basis: first it is written in the basis X_d, the product of the s_i over the bits i of d,
by additions alone; then k levels of butterflies evaluate it. s_i is the polynomial, of degree 2^i,
that vanishes on the span of v_0 .. v_(i-1), and s_i(v_(i+j)) = v_j, so one table of points serves
all levels. Sources: Gao & Mateer, IEEE Trans. Inf. Theory 56, 6265 (2010), for the change of basis
by expansions in powers of y^t + y; Lin, Chung & Han, FOCS 2014, for the basis and the butterflies.

A product of polynomials is c = E^-1 (E a * E b). We need its transpose: the sums of w[q + j] x[j]
over j, for all q with N terms of w between them, are E^t (E^-t w * E x). No wrap-around reaches
them, so N points do for N terms, where a product of the same factors would take more.
All three maps run the same passes, in a way called EVALUATE for E, DUAL for E^-t, PROJECT for E^t.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.toeplitz.field import (
    LEAF_PASSES,
    LEAF_TERMS,
    basis_passes,
    even_points,
)
from mdiqkd_net.postprocessing.toeplitz.intrinsics import (
    add_run,
    adjoint_leaf,
    adjoint_level,
    basis_leaf,
    basis_leaf_dual,
    basis_leaf_project,
    contragredient_leaf,
    contragredient_level,
    forward_leaf,
    forward_level,
)

Lanes = tuple[int, ...]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Passes = NDArray[np.int64]

EVALUATE: Final = 0
DUAL: Final = 1
PROJECT: Final = 2
"""Its values leave `butterflies` first and `change_basis` last; the others go the other way."""

LOG_TILE: Final = 11
"""log2 of the terms on which all remaining passes are done before the next ones are touched."""


@lru_cache(maxsize=4)
def tables(log_n: int) -> tuple[U64, Passes]:
    """Points, shape (N / 2,), and passes of the change of basis, shape (n_passes, 2)."""
    points = even_points(log_n - 1)
    passes = np.array([*basis_passes(log_n)[: -len(LEAF_PASSES)], (LEAF_TERMS, 0)], np.int64)
    points.flags.writeable = passes.flags.writeable = False
    return points, passes


@njit(cache=True, nogil=True)
def change_basis(f: U32, passes: Passes, way: int) -> None:
    """E's part in additions; for DUAL its inverse's transpose, for PROJECT its transpose.

    Terms of EVALUATE and DUAL are one element of `f`, terms of PROJECT are two, one 64-bit word.
    """
    unit = 2 if way == PROJECT else 1
    tile = min(f.size, unit << LOG_TILE)
    n_passes = len(passes)
    done = 0
    while done < n_passes:
        # Consecutive passes within tiles are all done on one tile before the next.
        stop = done + 1
        block = max(tile, unit * passes[_nth(done, n_passes, way), 0])
        while (
            block == tile
            and stop < n_passes
            and unit * passes[_nth(stop, n_passes, way), 0] <= tile
        ):
            stop += 1
        for start in range(0, f.size, block):
            for k in range(done, stop):
                p = _nth(k, n_passes, way)
                size, gap = unit * passes[p, 0], unit * passes[p, 1]
                for first in range(start, start + block, size):
                    _divide(f, first, size, gap, way)
        done = stop


@njit(cache=True, nogil=True)
def _nth(k: int, n_passes: int, way: int) -> int:
    return n_passes - 1 - k if way == PROJECT else k


@njit(cache=True, nogil=True)
def _divide(f: U32, first: int, size: int, gap: int, way: int) -> None:
    """A polynomial divided by y^half + y^gap: quotient above, remainder below.

    The transpose exchanges targets and sources of the additions.
    """
    half, end = first + size // 2, first + size
    if gap == 0:
        if way == EVALUATE:
            basis_leaf(f, first)
        elif way == DUAL:
            basis_leaf_dual(f, first)
        else:
            basis_leaf_project(f, first)
    elif way == EVALUATE:
        add_run(f, half, end - gap, gap)
        add_run(f, first + gap, half, size // 2 - gap)
    elif way == DUAL:
        add_run(f, end - gap, half, gap)
        add_run(f, half, first + gap, size // 2 - gap)
    else:
        add_run(f, half, first + gap, size // 2 - gap)
        add_run(f, end - gap, half, gap)


@njit(cache=True, nogil=True)
def butterflies(values: U64, points: U64, lanes: Lanes, way: int) -> None:
    """E's part in k levels of butterflies; for DUAL its inverse's transpose, and so on."""
    leaf = len(lanes) ** 2
    tile = min(values.size, 1 << LOG_TILE)
    if way != PROJECT:
        _levels_down(values, 0, values.size, tile, points, lanes, way)
    for start in range(0, values.size, tile):
        if way != PROJECT:
            _levels_down(values, start, tile, leaf, points, lanes, way)
        for first in range(start, start + tile, leaf):
            if way == EVALUATE:
                forward_leaf(values, first, points, lanes)
            elif way == DUAL:
                contragredient_leaf(values, first, points, lanes)
            else:
                adjoint_leaf(values, first, points, lanes)
        if way == PROJECT:
            _levels_up(values, start, tile, leaf, points, lanes)
    if way == PROJECT:
        _levels_up(values, 0, values.size, tile, points, lanes)


@njit(cache=True, nogil=True)
def _levels_down(
    values: U64, start: int, size: int, least: int, points: U64, lanes: Lanes, way: int
) -> None:
    """Levels of blocks from `size` down to twice `least`."""
    block = size
    while block > least:
        for first in range(start, start + size, block):
            t = points[first // block]
            if way == EVALUATE:
                forward_level(values, first, block // 2, t, lanes)
            else:
                contragredient_level(values, first, block // 2, t, lanes)
        block //= 2


@njit(cache=True, nogil=True)
def _levels_up(values: U64, start: int, size: int, least: int, points: U64, lanes: Lanes) -> None:
    block = 2 * least
    while block <= size:
        for first in range(start, start + size, block):
            adjoint_level(values, first, block // 2, points[first // block], lanes)
        block *= 2
