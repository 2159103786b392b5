"""Words of 64 bits, for kernels: what processors do with them in an instruction or a few.

Places are 0 to 63, places in a result may be 64 or -1 for none. They are written for the compiler
directly, because a function that it inlines costs it a tenth of a second.
"""
# ruff: noqa: ARG001  # an intrinsic is typed by the names and number of its parameters

import sys
from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_intrinsic: Callable[..., Any] = intrinsic
_tools: Any = cgutils
_WORD: Final = ir.IntType(64)
_FALSE: Final = ir.Constant(ir.IntType(1), 0)
_ONE: Final = ir.Constant(_WORD, 1)
_MINUS_ONE: Final = ir.Constant(_WORD, -1)
_MINUS_TWO: Final = ir.Constant(_WORD, -2)


@_intrinsic
def popcount(_typing: Any, word: Any) -> Any:
    """Number of ones."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@_intrinsic
def lowest(_typing: Any, word: Any) -> Any:
    """Place of the lowest one; 64 if there is none."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], _FALSE)

    return types.int64(types.uint64), generate


@_intrinsic
def highest(_typing: Any, word: Any) -> Any:
    """Place of the highest one; -1 if there is none."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.sub(ir.Constant(_WORD, 63), builder.ctlz(args[0], _FALSE))

    return types.int64(types.uint64), generate


@_intrinsic
def bit(_typing: Any, place: Any) -> Any:
    """A word with a one at `place`."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.shl(_ONE, args[0])

    return types.uint64(types.int64), generate


@_intrinsic
def above(_typing: Any, word: Any, place: Any) -> Any:
    """The bits of a word over `place`, and zeros."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.and_(args[0], builder.shl(_MINUS_TWO, args[1]))

    return types.uint64(types.uint64, types.int64), generate


@_intrinsic
def from_on(_typing: Any, word: Any, place: Any) -> Any:
    """The bits of a word at `place` and over it, and zeros."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.and_(args[0], builder.shl(_MINUS_ONE, args[1]))

    return types.uint64(types.uint64, types.int64), generate


@_intrinsic
def up_to(_typing: Any, word: Any, place: Any) -> Any:
    """The bits of a word at `place` and under it, and zeros."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.and_(args[0], builder.not_(builder.shl(_MINUS_TWO, args[1])))

    return types.uint64(types.uint64, types.int64), generate


@_intrinsic
def rotated(_typing: Any, word: Any, turn: Any) -> Any:
    """A word with its bits moved up by `turn`, 0 to 63; those that leave it come in below."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        # A shift by 64 is undefined, so the complement is taken modulo 64.
        back = builder.and_(builder.neg(args[1]), ir.Constant(_WORD, 63))
        return builder.or_(builder.shl(args[0], args[1]), builder.lshr(args[0], back))

    return types.uint64(types.uint64, types.int64), generate


@_intrinsic
def share(_typing: Any, whole: Any, part: Any, parts: Any) -> Any:
    """`whole * part // parts`, none of them negative, the last one not zero."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.udiv(builder.mul(args[0], args[1]), args[2])

    return types.int64(types.int64, types.int64, types.int64), generate


@_intrinsic
def span(_typing: Any, word: Any, first: Any, size: Any) -> Any:
    """Parity of `size` bits, 1 to 64, of a word from `first` on."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        rest = builder.sub(ir.Constant(_WORD, 64), args[2])
        shifted = builder.shl(builder.lshr(args[0], args[1]), rest)
        return builder.and_(builder.ctpop(shifted), _ONE)

    return types.int64(types.uint64, types.int64, types.int64), generate


@_intrinsic
def next_after(_typing: Any, word: Any, place: Any, limit: Any) -> Any:
    """Place of the lowest one over `place`, but `limit` at most."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        later = builder.and_(args[0], builder.shl(_MINUS_TWO, args[1]))
        found = builder.cttz(later, _FALSE)
        return builder.select(builder.icmp_signed("<", found, args[2]), found, args[2])

    return types.int64(types.uint64, types.int64, types.int64), generate


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _row(builder: Any, index: Any) -> Any:
    return builder.shl(index, ir.Constant(_WORD, 2))


@_intrinsic
def field(_typing: Any, table: Any, row: Any, column: Any) -> Any:
    """`table[row, column]` of a contiguous table of uint64 with four columns, unchecked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = builder.add(_row(builder, args[1]), args[2])
        return builder.load(_address(context, builder, signature.args[0], args[0], index))

    return types.uint64(table, types.int64, types.int64), generate


@_intrinsic
def put_field(_typing: Any, table: Any, row: Any, column: Any, word: Any) -> Any:
    """Store a word where `field` reads it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = builder.add(_row(builder, args[1]), args[2])
        builder.store(args[3], _address(context, builder, signature.args[0], args[0], index))
        return context.get_dummy_value()

    return types.none(table, types.int64, types.int64, types.uint64), generate


@_intrinsic
def flip_field(_typing: Any, table: Any, row: Any, column: Any, word: Any) -> Any:
    """Invert bits of what `field` reads, those of `word`; returns what it reads then."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = builder.add(_row(builder, args[1]), args[2])
        at = _address(context, builder, signature.args[0], args[0], index)
        flipped = builder.xor(builder.load(at), args[3])
        builder.store(flipped, at)
        return flipped

    return types.uint64(table, types.int64, types.int64, types.uint64), generate


@_intrinsic
def element(_typing: Any, array: Any, index: Any) -> Any:
    """`array[index]` of a contiguous array of small unsigned integers, unchecked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = builder.load(_address(context, builder, signature.args[0], *args))
        return builder.zext(item, _WORD)

    return types.int64(array, types.int64), generate


@_intrinsic
def put_element(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Store a small integer where `element` reads it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], *args[:2])
        builder.store(builder.trunc(args[2], at.type.pointee), at)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), generate


BYTES: Final = 8


@_intrinsic
def spread(_typing: Any, byte: Any) -> Any:
    """A word of eight bytes 0 or 1: the bits of a byte, the high one in the byte of place 0."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        everywhere = builder.mul(args[0], ir.Constant(_WORD, 0x0101010101010101))
        chosen = builder.and_(everywhere, ir.Constant(_WORD, 0x0102040810204080))
        carried = builder.add(chosen, ir.Constant(_WORD, 0x7F7F7F7F7F7F7F7F))
        high = builder.lshr(carried, ir.Constant(_WORD, 7))
        return builder.and_(high, ir.Constant(_WORD, 0x0101010101010101))

    return types.uint64(types.int64), generate


@_intrinsic
def gather(_typing: Any, word: Any) -> Any:
    """The byte that `spread` makes a word of."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        product = builder.mul(args[0], ir.Constant(_WORD, 0x8040201008040201))
        return builder.lshr(product, ir.Constant(_WORD, 56))

    return types.int64(types.uint64), generate


def _eight(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    at = _address(context, builder, kind, array, index)
    return builder.bitcast(at, _WORD.as_pointer())


@_intrinsic
def eight(_typing: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a contiguous array of uint8 from `index` on, the first one lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.load(_eight(context, builder, signature.args[0], *args), align=1)
        return _little(builder, word)

    return types.uint64(array, types.int64), generate


@_intrinsic
def put_eight(_typing: Any, array: Any, index: Any, word: Any) -> Any:
    """Store eight bytes where `eight` reads them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _eight(context, builder, signature.args[0], *args[:2])
        builder.store(_little(builder, args[2]), at, align=1)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.uint64), generate


def _little(builder: Any, word: Any) -> Any:
    return word if sys.byteorder == "little" else builder.bswap(word)


@_intrinsic
def exchange(
    _typing: Any, block: Any, first: Any, second: Any, shift: Any, mask: Any, lanes: Any
) -> Any:
    """Exchange the high bits of each word of one row with the low bits of another row.

    The words are block[first : first + n] and block[second : second + n], n the length of the
    tuple `lanes`; the bits are those of `mask`, shifted left by `shift` in the first row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(_WORD, signature.args[5].count)

        def all_lanes(value: Any) -> Any:
            empty = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
            lanes = ir.VectorType(ir.IntType(32), vector.count)
            return builder.shuffle_vector(one, empty, ir.Constant(lanes, [0] * vector.count))

        high_at, low_at = (
            builder.bitcast(
                _address(context, builder, signature.args[0], args[0], row), vector.as_pointer()
            )
            for row in args[1:3]
        )
        high, low = builder.load(high_at, align=8), builder.load(low_at, align=8)
        shift = all_lanes(args[3])
        moved = builder.and_(builder.xor(builder.lshr(high, shift), low), all_lanes(args[4]))
        builder.store(builder.xor(high, builder.shl(moved, shift)), high_at, align=8)
        builder.store(builder.xor(low, moved), low_at, align=8)
        return context.get_dummy_value()

    row = types.int64
    return types.none(block, row, row, types.int64, types.uint64, lanes), generate


@_intrinsic
def prefetch(_typing: Any, table: Any, row: Any) -> Any:
    """Ask for the cache line of `table[row]`, a table as that of `field`, ahead of time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = _row(builder, args[1])
        item = _address(context, builder, signature.args[0], args[0], index)
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = _tools.get_or_insert_function(builder.module, call, "llvm.prefetch.p0i8")
        # For writing, to be kept in all caches, data.
        flags = [ir.Constant(flag, value) for value in (1, 3, 1)]
        builder.call(function, [builder.bitcast(item, byte), *flags])
        return context.get_dummy_value()

    return types.none(table, types.int64), generate
