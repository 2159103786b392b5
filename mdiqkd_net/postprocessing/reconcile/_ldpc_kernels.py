"""The decoder of `ldpc`: layered sum-product on quasi-cyclic codes, in integers of 16 bits.

The layout of a code is that of `ldpc_code.Code`. Arrays of a frame, all flat, with N columns, M
rows, E edges and Z bits per column:

    post      (2 N (Z + 32),) int16: LLR of each bit for being equal on both sides, in steps of
              1 / LLR_SCALE, of which 32 are repeated behind the end of a column. A column lies
              turned by the shift of the row that came last, so that a row reads with one turn and
              writes with none; it writes into the other of two copies.
    side      (N,) uint8: the copy that holds
    message   (E Z,) int16: LLR from check to bit, as last sent
    syndrome  (M Z,) int16: all ones where the parities of the two users differ, else 0
    known     (M Z,) int16: all ones where a check was disclosed, 0 where it is not there
    scratch   (2, D 32) int16 for rows of at most D edges
    base      (2 D,) int64: where the columns of a row are read and written

Messages. The input q of a check enters as u = 1 - tanh(|q| / 2), a fraction of 2^16; the product of
the 1 - u over all edges but the least reliable one, and over all edges, is taken as it comes. The
edge of the largest u gets back the former, exactly; every other gets the latter with its own share
taken out to first order in u, which is never too much. So a row needs two logarithms, not one for
each edge. (To leave out the correction is the "A-min*" decoder of Jones et al., MILCOM 2003.)
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.reconcile import _lanes as v
from mdiqkd_net.postprocessing.reconcile._jit import I32, I64, U8, Int, inlined, kernel

I16: TypeAlias = NDArray[np.int16]

LLR_MAX: Final = 12.0
"""Beyond it an input counts as certain."""

LLR_SCALE: Final = 2.0**10 / LLR_MAX
"""A column of degree 25 adds up to 25 messages of at most 13.2, which is 28 000 steps. A sum that
overflowed, even if it stopped at the end of its range, would no longer contain its messages."""

_TOP: Final = 2**10 - 1
_LOG: Final = v.scaled_log(LLR_SCALE)
_SLOPE: Final = v.scaled_slope(LLR_SCALE)

# (2 / (1 + e^x))^(1/16) = 1 - y (C1 + y (C2 - y (C3 - C4 y))) with y = x / LLR_MAX, a minimax fit
# (relative error of u below 5 %, of 1 - u below 7 %), in fractions of 2^16; the last two halved.
_C1: Final = 26377
_C2: Final = 53807
_C3_HALF: Final = 41023
_C4_HALF: Final = 17585


@inlined
def _distrust(q: Int) -> Int:
    """Compute u = 1 - tanh(|q| / 2)."""
    y = v.times_64(v.smaller(v.magnitude(q), v.everywhere(_TOP)))
    a = v.drop(v.everywhere(_C3_HALF), v.product(y, v.everywhere(_C4_HALF)))
    b = v.drop(v.everywhere(_C2), v.double(v.product(y, a)))
    c = v.plain_sum(v.everywhere(_C1), v.product(y, b))
    root = v.drop(v.everywhere(65535), v.product(y, c))
    root = v.product(root, root)
    root = v.product(root, root)
    root = v.product(root, root)
    return v.product(root, root)


@kernel
def sweep(
    post: I16,
    side: U8,
    message: I16,
    syndrome: I16,
    known: I16,
    row_start: I32,
    column: I32,
    turn: I32,
    size: Int,
    scratch: I16,
    base: I64,
) -> int:
    """One iteration over all rows; how many disclosed checks did not hold when their turn came."""
    n_columns = side.size
    stride = size + v.N_LANES
    half = scratch.size // 2
    n_bad = 0
    for row in range(row_start.size - 1):
        first, stop = row_start[row], row_start[row + 1]
        degree = stop - first
        for j in range(degree):
            c = column[first + j]
            base[j] = (side[c] * n_columns + c) * stride
            side[c] ^= 1
            base[degree + j] = (side[c] * n_columns + c) * stride
        for k in range(0, size, v.N_LANES):
            sign = v.load(syndrome, row * size + k)
            there = v.load(known, row * size + k)
            parity = sign
            certain = there
            most = v.everywhere(0)
            for j in range(degree):
                place = k + turn[first + j]
                if place >= size:
                    place -= size
                p = v.load(post, base[j] + place)
                q = v.subtract(p, v.load(message, (first + j) * size + k))
                u = _distrust(q)
                parity = v.differ(parity, p)
                sign = v.differ(sign, q)
                v.store(scratch, j * v.N_LANES, q)
                v.store(scratch, half + j * v.N_LANES, u)
                certain = v.drop(certain, v.product(certain, v.smaller(u, most)))
                most = v.larger(u, most)
            n_bad += v.count_set(v.both(parity, there))
            rest = v.odds(v.drop(certain, v.product(certain, most)))
            to_worst = _LOG(v.odds(certain))
            to_rest = _LOG(rest)
            slope = _SLOPE(rest)
            for j in range(degree):
                q = v.load(scratch, j * v.N_LANES)
                u = v.load(scratch, half + j * v.N_LANES)
                out = v.choose(v.equal(u, most), to_worst, v.add(to_rest, v.product(u, slope)))
                out = v.negate_where(out, v.sign_mask(v.differ(sign, q)))
                p = v.add(q, out)
                v.store(message, (first + j) * size + k, out)
                v.store(post, base[degree + j] + k, p)
                if k == 0:
                    v.store(post, base[degree + j] + size, p)
    return n_bad


@kernel
def syndrome(bits: I16, row_start: I32, column: I32, shift: I32, size: Int, out: I16) -> None:
    """Parities of all checks, shape (M Z,), of bits in the layout of one copy of `post`."""
    stride = size + v.N_LANES
    for row in range(row_start.size - 1):
        for k in range(0, size, v.N_LANES):
            total = v.everywhere(0)
            for edge in range(row_start[row], row_start[row + 1]):
                place = k + shift[edge]
                if place >= size:
                    place -= size
                total = v.differ(total, v.load(bits, column[edge] * stride + place))
            v.store(out, row * size + k, total)


@kernel
def turn_columns(source: I16, side: U8, amount: I32, size: Int, out: I16) -> None:
    """Turn each column of the valid copies of `source` into the first copy of `out`."""
    stride = size + v.N_LANES
    for c in range(amount.size):
        base = (side[c] * amount.size + c) * stride
        for k in range(0, size, v.N_LANES):
            place = k + amount[c]
            if place >= size:
                place -= size
            values = v.load(source, base + place)
            v.store(out, c * stride + k, values)
            if k == 0:
                v.store(out, c * stride + size, values)
