"""Arrays on the wire: `{n, t, v}` with a count, a type and packed little-endian bytes (spec 3.3).

A sequence of increasing pulse numbers travels as Rice-coded gaps: for geometric gaps this is within
a few per cent of their entropy, and it cannot express a duplicate or a decrease. Settings, of which
one is far more common than the others, travel as the gaps between the others.
"""

from typing import Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta, Struct
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, WireError
from mdiqkd_net.wire.frames import MAX_BODY_BYTES, SCHEMA

MAX_ITEMS: Final = 8 * MAX_BODY_BYTES
MAX_RANKED: Final = 1 << 22
MAX_RICE_BITS: Final = 48
UNSIGNED: Final[dict[str, type[np.unsignedinteger[Any]]]] = {
    "u8": np.uint8,
    "u16": np.uint16,
    "u32": np.uint32,
    "u64": np.uint64,
}


class Bulk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A packed array: `n` items of type `t` in `v`.

    `b1` is one bit per item, first item in the low bits, spare bits zero.
    """

    n: Annotated[int, Meta(ge=0, le=MAX_ITEMS)]
    t: Literal["b1", "u8", "u16", "u32", "u64"]
    v: Annotated[bytes, Meta(max_length=MAX_BODY_BYTES)]


class Rice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`n` gaps, each as quotient in unary and `k` low bits; first gap in the low bits."""

    k: Annotated[int, Meta(ge=0, le=MAX_RICE_BITS)]
    n: Annotated[int, Meta(ge=0, le=MAX_ITEMS)]
    v: Annotated[bytes, Meta(max_length=MAX_BODY_BYTES)]


class Ranked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`n` items, each one of the four `symbols`, which come in the order of their ranks 0 to 3.

    `ranks` are three sequences of positions, counted from 0: of the items that are above rank 0,
    among these of those that are above rank 1, and among these of those that are of rank 3.
    """

    n: Annotated[int, Meta(ge=0, le=MAX_RANKED)]
    ranks: Annotated[list[Rice], Meta(min_length=3, max_length=3)]
    symbols: Annotated[bytes, Meta(min_length=4, max_length=4)]


def pack_bits(bits: NDArray[np.uint8]) -> Bulk:
    """Pack 0/1 values, shape (n,)."""
    return Bulk(n=bits.size, t="b1", v=np.packbits(bits, bitorder="little").tobytes())


def unpack_bits(bulk: Bulk) -> NDArray[np.uint8]:
    """Undo `pack_bits`; shape (n,).

    Raises:
        WireError: Wrong type, length, or spare bits that are not zero.
    """
    _expect(bulk, "b1", (bulk.n + 7) // 8)
    bits = np.unpackbits(np.frombuffer(bulk.v, np.uint8), bitorder="little")
    if bits[bulk.n :].any():
        raise WireError("bulk array: spare bits are not zero", SCHEMA)
    return bits[: bulk.n]


def pack_unsigned(values: NDArray[np.unsignedinteger[Any]] | NDArray[np.int64]) -> Bulk:
    """Pack non-negative integers, shape (n,), in the narrowest type that holds the largest."""
    largest = int(values.max()) if values.size else 0
    name: Literal["u8", "u16", "u32", "u64"] = "u8"
    if largest >= 1 << 32:
        name = "u64"
    elif largest >= 1 << 16:
        name = "u32"
    elif largest >= 1 << 8:
        name = "u16"
    kind = np.dtype(UNSIGNED[name]).newbyteorder("<")
    return Bulk(n=values.size, t=name, v=values.astype(kind).tobytes())


def unpack_unsigned(bulk: Bulk) -> NDArray[np.unsignedinteger[Any]]:
    """Undo `pack_unsigned`; shape (n,), read-only.

    Raises:
        WireError: Wrong type or length.
    """
    if bulk.t not in UNSIGNED:
        allowed = ", ".join(UNSIGNED)
        raise WireError(f"bulk array: found type {bulk.t}; allowed: {allowed}", SCHEMA)
    kind = np.dtype(UNSIGNED[bulk.t]).newbyteorder("<")
    _expect(bulk, bulk.t, bulk.n * kind.itemsize)
    return np.frombuffer(bulk.v, kind)


def pack_gaps(pulses: NDArray[np.int64], base: int) -> Rice:
    """Pack strictly increasing pulse numbers, shape (n,), none below `base`.

    Raises:
        LocalProtocolError: They are not that; a device may have miscounted.
    """
    if not pulses.size:
        return Rice(k=0, n=0, v=b"")
    mean = (int(pulses[-1]) - base + 1) / pulses.size
    # The best Rice parameter for a geometric gap is near log2(mean ln 2).
    k = max(0, int(np.floor(np.log2(max(1.0, mean * np.log(2.0)) * 1.0001))))
    n_bits = int(_rice_bits(pulses, base, k))
    if n_bits < 0:
        raise LocalProtocolError(
            f"gaps: found pulse numbers that fall, repeat, or lie below {base}; "
            f"allowed: strictly increasing ones from {base} on"
        )
    packed = np.zeros((n_bits + 7) // 8, np.uint8)
    _rice_encode(pulses, base, k, packed)
    return Rice(k=k, n=pulses.size, v=packed.tobytes())


def unpack_gaps(rice: Rice, base: int, end: int) -> NDArray[np.int64]:
    """Undo `pack_gaps`; shape (n,), strictly increasing, in [base, end).

    Raises:
        WireError: Too few or too many bytes, or a pulse number at or past `end`.
    """
    if rice.n * (rice.k + 1) > 8 * len(rice.v):
        raise WireError(f"gaps: found {len(rice.v)} bytes for {rice.n} items", SCHEMA)
    pulses = np.empty(rice.n, np.int64)
    n_bits = int(_rice_decode(np.frombuffer(rice.v, np.uint8), base, rice.k, end, pulses))
    if n_bits < 0:
        raise WireError(f"gaps: a pulse number outside [{base}, {end})", SCHEMA)
    if (n_bits + 7) // 8 != len(rice.v) or (n_bits % 8 and rice.v[-1] >> n_bits % 8):
        raise WireError("gaps: spare bits or bytes", SCHEMA)
    return pulses


def pack_ranked(values: NDArray[np.uint8]) -> Ranked:
    """Pack values 0 to 3, shape (n,), the most common one in the fewest bits."""
    symbols = np.argsort(-np.bincount(values, minlength=4), kind="stable").astype(np.uint8)
    above: NDArray[np.uint8] = np.argsort(symbols).astype(np.uint8)[values]
    ranks = []
    for rank in range(1, 4):
        positions = np.flatnonzero(above >= rank)
        ranks.append(pack_gaps(positions, 0))
        above = above[positions]
    return Ranked(n=values.size, ranks=ranks, symbols=symbols.tobytes())


def unpack_ranked(ranked: Ranked) -> NDArray[np.uint8]:
    """Undo `pack_ranked`; shape (n,). A few bytes may stand for many items: look at `n` first.

    Raises:
        WireError: The symbols are not 0 to 3, or positions that cannot be.
    """
    if sorted(ranked.symbols) != [0, 1, 2, 3]:
        found = ranked.symbols.hex(" ")
        raise WireError(f"ranked array: found symbols {found}; allowed: each of 0 to 3", SCHEMA)
    values = np.full(ranked.n, ranked.symbols[0], np.uint8)
    at: NDArray[np.int64] | None = None
    for rice, symbol in zip(ranked.ranks, ranked.symbols[1:], strict=True):
        positions = unpack_gaps(rice, 0, ranked.n if at is None else at.size)
        at = positions if at is None else at[positions]
        values[at] = symbol
    return values


def _expect(bulk: Bulk, kind: str, n_bytes: int) -> None:
    if bulk.t != kind:
        raise WireError(f"bulk array: found type {bulk.t}; allowed: {kind}", SCHEMA)
    if len(bulk.v) != n_bytes:
        raise WireError(
            f"bulk array of {bulk.n} {kind}: found {len(bulk.v)} bytes; allowed: {n_bytes}",
            SCHEMA,
        )


@njit(cache=True, nogil=True)
def _rice_bits(pulses: NDArray[np.int64], base: int, k: int) -> int:
    """How many bits `_rice_encode` writes, or -1 for numbers that it must not be given."""
    total = 0
    previous = base - 1
    for i in range(pulses.size):
        if pulses[i] <= previous:
            return -1
        total += ((pulses[i] - previous - 1) >> k) + 1 + k
        previous = pulses[i]
    return total


@njit(cache=True, nogil=True)
def _rice_encode(pulses: NDArray[np.int64], base: int, k: int, out: NDArray[np.uint8]) -> None:
    """Write quotient zeros, a one, then k low bits, low bit first, into zeroed `out`."""
    at = 0
    previous = base - 1
    for i in range(pulses.size):
        gap = pulses[i] - previous - 1
        previous = pulses[i]
        at += gap >> k
        out[at >> 3] |= np.uint8(1 << (at & 7))
        at += 1
        left = k
        while left > 0:
            room = min(left, 8 - (at & 7))
            out[at >> 3] |= np.uint8((gap & ((1 << room) - 1)) << (at & 7))
            gap >>= room
            at += room
            left -= room


@njit(cache=True, nogil=True)
def _rice_decode(
    packed: NDArray[np.uint8], base: int, k: int, end: int, pulses: NDArray[np.int64]
) -> int:
    """Fill `pulses`; return the bits used, or -1 when a value leaves [base, end)."""
    n_bits = packed.size * 8
    at = 0
    previous = base - 1
    for i in range(pulses.size):
        quotient = 0
        while True:
            if at >= n_bits:
                return -1
            byte = packed[at >> 3] >> (at & 7)
            if byte == 0:
                step = 8 - (at & 7)
                quotient += step
                at += step
                continue
            while byte & 1 == 0:
                byte >>= 1
                quotient += 1
                at += 1
            at += 1
            break
        if at + k > n_bits or quotient > (end - previous) >> k:
            return -1
        low = 0
        done = 0
        while done < k:
            room = min(k - done, 8 - (at & 7))
            low |= ((packed[at >> 3] >> (at & 7)) & ((1 << room) - 1)) << done
            at += room
            done += room
        previous += (quotient << k) + low + 1
        if previous >= end:
            return -1
        pulses[i] = previous
    return at
