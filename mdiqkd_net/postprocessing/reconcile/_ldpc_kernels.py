"""The decoder of `ldpc`: layered sum-product on quasi-cyclic codes, with messages of 8 bits.

The layout of a code is that of `ldpc_code.Code`. Arrays of a frame, all flat, with N columns, M
rows, E edges and Z bits per column:

    post      (N (Z + 64) + 32,) int16: LLR of each bit for being equal on both sides, in steps of
              1 / LLR_SCALE. Column c begins at `c (Z + 64) + 32`; the 32 first bits are repeated
              behind its end, so that 32 can be read from any place on. The rest is of no use.
    message   (E Z,) int8: LLR from check to bit, as last sent, in the same steps; those of 32
              checks of a row stand together, edge by edge
    syndrome  (M Z,) int8: -1 where the parities of the two users differ, else 0
    known     (M Z,) int8: -1 where a check was disclosed, 0 where it is not there
    inputs    (D 32,) int16 for rows of at most D edges
    doubts    (D 32,) int16
    quick     (D 32,) int8
    place     (D,) int64: where the columns of a row are read and written
    end       (D,) int64: and where they end

The checks of a row are in lanes; what is of 8 bits has them in the order `_lanes.ORDER`.

Messages. The input q of a check enters as its doubt phi = -ln tanh(|q| / 2) (Gallager), a multiple
of 2^-13, as are sums of them. A sum S without that of an edge makes the message -ln tanh(S / 2) to
it. The edge of the smallest |q| gets exactly that; every other gets the message of the whole sum
with its own share taken out to first order in phi, which is never too much. So a row needs two
logarithms, not one for each edge. (To leave out the correction is the "A-min*" decoder of Jones et
al., MILCOM 2003.)
"""

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.reconcile import _lanes as v
from mdiqkd_net.postprocessing.reconcile import _lanes_float
from mdiqkd_net.postprocessing.reconcile._jit import I32, I64, Int, called, inlined, kernel

I8: TypeAlias = NDArray[np.int8]
I16: TypeAlias = NDArray[np.int16]

MARGIN: Final = 2 * v.N_LANES
"""What a column of `post` is longer than its bits."""

LLR_MAX: Final = 12.0
"""Messages reach as far. With 9.5, decoders are known to freeze with a few bits wrong."""

LLR_SCALE: Final = 127.0 / LLR_MAX

DOUBT_SCALE: Final = 2.0**13

_COTH: Final = _lanes_float.coth_of_half(DOUBT_SCALE)
_LOG: Final = _lanes_float.scaled_log(LLR_SCALE)
_SLOPE: Final = _lanes_float.scaled_slope(LLR_SCALE * 2.0**16 / DOUBT_SCALE)


def _doubt(x: float) -> float:
    return min(-math.log(math.tanh(max(x, 0.5) / 2.0 / LLR_SCALE)), 3.96)


def _coarse(i: int) -> int:
    ends = (_doubt(16 * i + f) * math.exp(f / LLR_SCALE) for f in (0, 15))
    return round(DOUBT_SCALE * 128 / 127 * math.sqrt(math.prod(ends)))


# phi(16 i + f) of an LLR in steps is COARSE[i] FINE[f], but for i = 0, where START[f] is to be
# added to FINE[f], modulo 2^8. COARSE is of 16 bits, FINE and the sum are below 2^7.
_COARSE: Final = [32767, *map(_coarse, range(1, 8)), *[0] * 8]
_FINE: Final = [round(127 * math.exp(-f / LLR_SCALE)) for f in range(16)]
_START: Final = [(round(_doubt(f) * DOUBT_SCALE / 256) - _FINE[f]) % 256 for f in range(16)]

_COARSE_LOW: Final = v.table([c & 255 for c in _COARSE])
_COARSE_HIGH: Final = v.table([c >> 8 for c in _COARSE])
_FINE_OF: Final = v.table(_FINE)
_START_OF: Final = v.table(_START)


@inlined
def _phi(x: Int) -> Int:
    """Compute -ln tanh(x / 2) of magnitudes; 0 beyond 127 steps."""
    i = v.high_nibble(x)
    # Only 0 to 15 leave the high bit clear.
    fine = v.byte_sum(_FINE_OF(x), _START_OF(v.byte_sum(x, v.bytes_everywhere(0x70))))
    coarse = v.join(_COARSE_LOW(i), _COARSE_HIGH(i))
    return v.scaled(coarse, v.join(v.bytes_everywhere(0), fine))


@called
def _sweep(
    post: I16,
    message: I8,
    syndrome: I8,
    known: I8,
    row_start: I32,
    column: I32,
    shift: I32,
    size: Int,
    inputs: I16,
    doubts: I16,
    quick: I8,
    place: I64,
    end: I64,
) -> int:
    """One iteration over all rows; how many disclosed checks did not hold when their turn came."""
    stride = size + MARGIN
    n_bad = 0
    for row in range(row_start.size - 1):
        first, stop = row_start[row], row_start[row + 1]
        degree = stop - first
        for j in range(degree):
            start = column[first + j] * stride + v.N_LANES
            place[j] = start + shift[first + j]
            end[j] = start + size
        for k in range(0, size, v.N_LANES):
            sent = first * size + k * degree
            sign = v.load_bytes(syndrome, row * size + k)
            there = v.load_bytes(known, row * size + k)
            parity = v.everywhere(0)
            total = v.inverted(v.widen(there))
            least = v.bytes_everywhere(127)
            for j in range(degree):
                p = v.load(post, place[j])
                q = v.subtract(p, v.widen(v.load_bytes(message, sent + j * v.N_LANES)))
                b = v.narrow(q)
                x = v.magnitude(b)
                phi = _phi(x)
                v.store(inputs, j * v.N_LANES, q)
                v.store(doubts, j * v.N_LANES, phi)
                v.store_bytes(quick, j * v.N_LANES, b)
                total = v.gather(total, phi)
                least = v.smaller(least, x)
                sign = v.bytes_differ(sign, b)
                parity = v.differ(parity, p)
            holds = v.bytes_differ(v.load_bytes(syndrome, row * size + k), v.narrow(parity))
            n_bad += v.count_set(v.both(holds, there))
            of_all = _COTH(total)
            slope = _SLOPE(of_all)
            to_all = _LOG(of_all)
            to_least = v.narrow(_LOG(_COTH(v.drop(total, _phi(least)))))
            for j in range(degree):
                q = v.load(inputs, j * v.N_LANES)
                phi = v.load(doubts, j * v.N_LANES)
                b = v.load_bytes(quick, j * v.N_LANES)
                out = v.narrow(v.add(to_all, v.product(phi, slope)))
                out = v.where_equal(v.magnitude(b), least, to_least, out)
                out = v.with_sign(out, v.bytes_differ(sign, b))
                v.store_bytes(message, sent + j * v.N_LANES, out)
                at = place[j]
                v.store(post, at, v.add(q, v.widen(out)))
                at += v.N_LANES
                if at >= end[j]:
                    at -= size
                place[j] = at
        for j in range(degree):
            # What was written across the end goes to the beginning, and what was written to the
            # beginning is repeated behind the end.
            head = end[j] - size + shift[first + j] % v.N_LANES
            tail = head - v.N_LANES
            v.store(post, tail, v.load(post, tail + size))
            v.store(post, head + size, v.load(post, head))
    return n_bad


@kernel
def iterate(
    post: I16,
    message: I8,
    syndrome: I8,
    known: I8,
    row_start: I32,
    column: I32,
    shift: I32,
    size: Int,
    inputs: I16,
    doubts: I16,
    quick: I8,
    place: I64,
    end: I64,
    history: I64,
    patience: Int,
    progress: float,
) -> int:
    """Sweep until all checks hold, or `history.size` times; how often.

    `history` gets the number of violated checks of each sweep. If as many sweeps as `patience` says
    leave more than the share `progress` of them, there are no more.
    """
    for n in range(history.size):
        n_bad = _sweep(
            post,
            message,
            syndrome,
            known,
            row_start,
            column,
            shift,
            size,
            inputs,
            doubts,
            quick,
            place,
            end,
        )
        history[n] = n_bad
        if n_bad == 0 or (n >= patience and n_bad > progress * history[n - patience]):
            return n + 1
    return history.size


@kernel
def syndrome(bits: I16, row_start: I32, column: I32, shift: I32, size: Int, out: I16) -> None:
    """Parities of all checks, shape (M Z,), of bits in the layout of `post`."""
    stride = size + MARGIN
    for row in range(row_start.size - 1):
        for k in range(0, size, v.N_LANES):
            total = v.everywhere(0)
            for edge in range(row_start[row], row_start[row + 1]):
                place = k + shift[edge]
                if place >= size:
                    place -= size
                start = column[edge] * stride + v.N_LANES
                total = v.differ(total, v.load(bits, start + place))
            v.store(out, row * size + k, total)
