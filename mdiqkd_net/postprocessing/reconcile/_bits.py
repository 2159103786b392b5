"""Words of 64 bits, for kernels: what processors do with them in an instruction or a few.

Places are 0 to 63, places in a result may be 64 or -1 for none. They are written for the compiler
directly, because a function that it inlines costs it a tenth of a second.
"""
# ruff: noqa: ARG001  # an intrinsic is typed by the names and number of its parameters

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


@_intrinsic
def prefetch(_typing: Any, array: Any, i: Any, j: Any) -> Any:
    """Ask for the cache line of `array[i, j, 0]` ahead of time; the array has three axes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, args[0])
        zero = ir.Constant(_WORD, 0)
        item = _tools.get_item_pointer(context, builder, kind, view, [args[1], args[2], zero])
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = _tools.get_or_insert_function(builder.module, call, "llvm.prefetch.p0i8")
        # For writing, to be kept in all caches, data.
        flags = [ir.Constant(flag, value) for value in (1, 3, 1)]
        builder.call(function, [builder.bitcast(item, byte), *flags])
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), generate
