"""Vectors of 32 lanes inside kernels: what the loop vectorizer does not find by itself.

Numba widens every small integer to 64 bits, and so wastes most of a vector. Here a value of the
type LANES is 32 integers of 16 bits, BYTES are 32 of 8 bits, FLOATS are 32 float32; all live in
registers. The functions below are for kernels alone.

Lane i of BYTES goes with lane `ORDER[i]` of LANES: so the instructions of AVX2 that narrow and
widen vectors mix them. The order, and every result, is the same on all processors; only a few
instructions are chosen for what there is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

N_LANES: Final = 32
ORDER: Final = np.arange(N_LANES).reshape(2, 2, 8).swapaxes(0, 1).ravel()

_intrinsic: Callable[..., Any] = intrinsic
_function_in: Callable[..., Any] = cgutils.get_or_insert_function

I8: Final = ir.VectorType(ir.IntType(8), N_LANES)
I16: Final = ir.VectorType(ir.IntType(16), N_LANES)
I32: Final = ir.VectorType(ir.IntType(32), N_LANES)
F32: Final = ir.VectorType(ir.FloatType(), N_LANES)


class _Vector(types.Type):
    pass


BYTES: Final = _Vector("lanes of 8 bits")
LANES: Final = _Vector("lanes of 16 bits")
FLOATS: Final = _Vector("lanes of float32")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        vector = {BYTES: I8, LANES: I16, FLOATS: F32}[fe_type]
        super().__init__(dmm, fe_type, vector)  # type: ignore[no-untyped-call]


def constant(vector: Any, value: float) -> Any:
    return ir.Constant(vector, [value] * N_LANES)


def _has(feature: str) -> bool:
    """Whether numba generates code for x86-64 with this feature; its cache is keyed by them."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple.startswith("x86_64") and f"+{feature}" in features.split(",")


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function on vectors out of one that emits its code: emit(builder, *values)."""

    def declare(emit: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit(builder, *values)

        signature = result(*arguments)

        def of_one(typing_context: Any, a: Any) -> Any:
            return signature, codegen

        def of_two(typing_context: Any, a: Any, b: Any) -> Any:
            return signature, codegen

        def of_three(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
            return signature, codegen

        def of_four(typing_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
            return signature, codegen

        typing = (of_one, of_two, of_three, of_four)[len(arguments) - 1]
        typing.__name__, typing.__doc__ = emit.__name__, emit.__doc__
        return _intrinsic(typing)

    return declare


def call(builder: Any, name: str, vector: Any, *values: Any) -> Any:
    kind = ir.FunctionType(vector, [vector] * len(values))
    suffix = {"half": "f16", "float": "f32"}.get(str(vector.element), str(vector.element))
    function = _function_in(builder.module, kind, f"llvm.{name}.v{N_LANES}{suffix}")
    return builder.call(function, values)


def _pick(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Lanes of a, and of b from their number on."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), [int(lane) for lane in lanes])
    return builder.shuffle_vector(a, b, mask)


def _in_parts(builder: Any, name: str, n_parts: int, result: Any, *values: Any) -> Any:
    """Call a function of the processor on parts of vectors, one after the other."""
    parts: list[Any] = []
    for part in range(n_parts):
        pieces = []
        for value in values:
            size = value.type.count // n_parts
            pieces.append(_pick(builder, value, value, range(part * size, (part + 1) * size)))
        kind = ir.FunctionType(result, [piece.type for piece in pieces])
        parts.append(builder.call(_function_in(builder.module, kind, name), pieces))
    return parts[0] if n_parts == 1 else _pick(builder, parts[0], parts[1], range(2 * size))


def _address(context: Any, builder: Any, vector: Any, array_type: Any, array: Any, i: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [i]), vector.as_pointer())


def _loader(vector: Any, kind: Any) -> Any:
    @_intrinsic
    def load(typing_context: Any, array: Any, index: Any) -> Any:
        """32 values of a contiguous array of integers of this size, from `index` on."""

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            loaded = builder.load(_address(context, builder, vector, signature.args[0], *values))
            loaded.align = vector.element.width // 8
            return loaded

        return kind(array, types.intp), codegen

    return load


def _storer(vector: Any, kind: Any) -> Any:
    @_intrinsic
    def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        """Put 32 values into a contiguous array of integers of this size, from `index` on."""

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            address = _address(context, builder, vector, signature.args[0], *values[:2])
            builder.store(values[2], address).align = vector.element.width // 8
            return context.get_dummy_value()

        return types.none(array, types.intp, kind), codegen

    return store


load, store = _loader(I16, LANES), _storer(I16, LANES)
load_bytes, store_bytes = _loader(I8, BYTES), _storer(I8, BYTES)


def _splat(builder: Any, vector: Any, value: Any) -> Any:
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, builder.trunc(value, vector.element), ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, constant(I32, 0))


@operation(LANES, types.intp)
def everywhere(builder: Any, value: Any) -> Any:
    """The same 16 bits in every lane."""
    return _splat(builder, I16, value)


@operation(BYTES, types.intp)
def bytes_everywhere(builder: Any, value: Any) -> Any:
    """The same 8 bits in every lane."""
    return _splat(builder, I8, value)


@operation(BYTES, LANES)
def narrow(builder: Any, a: Any) -> Any:
    """Signed values, at the ends of the range of 8 bits where they are beyond."""
    if _has("avx2"):
        halves = [_pick(builder, a, a, range(start, start + 16)) for start in (0, 16)]
        kind = ir.FunctionType(I8, [half.type for half in halves])
        pack = _function_in(builder.module, kind, "llvm.x86.avx2.packsswb")
        return builder.call(pack, halves)
    mixed = _pick(builder, a, a, ORDER.tolist())
    clamped = call(builder, "smax", I16, mixed, constant(I16, -128))
    return builder.trunc(call(builder, "smin", I16, clamped, constant(I16, 127)), I8)


@operation(LANES, BYTES, BYTES)
def join(builder: Any, low: Any, high: Any) -> Any:
    """16 bits of their low and their high ones."""
    lanes = [lane + half for i in np.argsort(ORDER) for lane, half in ((int(i), 0), (int(i), 32))]
    return builder.bitcast(_pick(builder, low, high, lanes), I16)


@operation(LANES, BYTES)
def widen(builder: Any, a: Any) -> Any:
    """The same signed values."""
    sign = builder.sext(builder.icmp_signed("<", a, constant(I8, 0)), I8)
    lanes = [lane + half for i in np.argsort(ORDER) for lane, half in ((int(i), 0), (int(i), 32))]
    return builder.bitcast(_pick(builder, a, sign, lanes), I16)


def table(values: Sequence[int]) -> Any:
    """A function BYTES -> BYTES: a value by the low four bits; 0 where the high bit is set.

    Args:
        values: 16, of 0 to 255.
    """

    @operation(BYTES, BYTES)
    def looked_up(builder: Any, index: Any) -> Any:
        half = ir.VectorType(ir.IntType(8), 16)
        if _has("avx2"):
            return _in_parts(
                builder, "llvm.x86.avx2.pshuf.b", 1, I8, ir.Constant(I8, [*values] * 2), index
            )
        if _has("ssse3"):
            both = ir.Constant(I8, [*values] * 2)
            return _in_parts(builder, "llvm.x86.ssse3.pshuf.b.128", 2, half, both, index)
        found = constant(I8, 0)
        for number, value in enumerate(values):
            own = builder.and_(index, constant(I8, 0x8F))
            here = builder.icmp_unsigned("==", own, constant(I8, number))
            found = builder.select(here, constant(I8, value), found)
        return found

    return looked_up


@operation(LANES, LANES, LANES)
def scaled(builder: Any, a: Any, b: Any) -> Any:
    """Rounded product of values of which one counts as a fraction of 2^15; both below that."""
    if _has("avx2"):
        half = ir.VectorType(ir.IntType(16), 16)
        return _in_parts(builder, "llvm.x86.avx2.pmul.hr.sw", 2, half, a, b)
    wide = builder.mul(builder.zext(a, I32), builder.zext(b, I32))
    wide = builder.add(wide, constant(I32, 1 << 14))
    return builder.trunc(builder.lshr(wide, constant(I32, 15)), I16)


@operation(LANES, LANES, LANES)
def add(builder: Any, a: Any, b: Any) -> Any:
    """Signed sum that stops at the ends of its range."""
    return call(builder, "sadd.sat", I16, a, b)


@operation(LANES, LANES, LANES)
def subtract(builder: Any, a: Any, b: Any) -> Any:
    """Signed difference that stops at the ends of its range."""
    return call(builder, "ssub.sat", I16, a, b)


@operation(LANES, LANES, LANES)
def gather(builder: Any, a: Any, b: Any) -> Any:
    """Unsigned sum that stops at the end of its range."""
    return call(builder, "uadd.sat", I16, a, b)


@operation(LANES, LANES, LANES)
def drop(builder: Any, a: Any, b: Any) -> Any:
    """Unsigned difference of values of which the first is not smaller."""
    return builder.sub(a, b)


@operation(BYTES, BYTES, BYTES)
def byte_sum(builder: Any, a: Any, b: Any) -> Any:
    """Sum modulo 2^8."""
    return builder.add(a, b)


@operation(BYTES, BYTES, BYTES)
def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The unsigned minimum."""
    return call(builder, "umin", I8, a, b)


@operation(LANES, LANES, LANES)
def product(builder: Any, a: Any, b: Any) -> Any:
    """Unsigned product of values of which one counts as a fraction of 2^16, rounded down."""
    # One instruction of most processors. Spelled as arithmetic of 32 bits, LLVM would see that too,
    # but not where a factor is a product itself, or was computed outside of a loop.
    i32 = ir.IntType(32)
    name = f"llvm.umul.fix.v{N_LANES}i16"
    multiply = _function_in(builder.module, ir.FunctionType(I16, [I16, I16, i32]), name)
    return builder.call(multiply, (a, b, i32(16)))


@operation(LANES, LANES, LANES)
def differ(builder: Any, a: Any, b: Any) -> Any:
    """Exclusive or."""
    return builder.xor(a, b)


@operation(BYTES, BYTES, BYTES)
def bytes_differ(builder: Any, a: Any, b: Any) -> Any:
    """Exclusive or."""
    return builder.xor(a, b)


@operation(BYTES, BYTES, BYTES)
def both(builder: Any, a: Any, b: Any) -> Any:
    """And."""
    return builder.and_(a, b)


@operation(LANES, LANES)
def inverted(builder: Any, a: Any) -> Any:
    """Not."""
    return builder.not_(a)


@operation(BYTES, BYTES)
def high_nibble(builder: Any, a: Any) -> Any:
    """The upper four bits."""
    return builder.lshr(a, constant(I8, 4))


@operation(BYTES, BYTES)
def magnitude(builder: Any, a: Any) -> Any:
    """The absolute value; of -2^7, 2^7."""
    return call(builder, "smax", I8, a, builder.sub(constant(I8, 0), a))


@operation(BYTES, BYTES, BYTES)
def with_sign(builder: Any, a: Any, sign: Any) -> Any:
    """Minus the value where a sign is negative."""
    negative = builder.icmp_signed("<", sign, constant(I8, 0))
    return builder.select(negative, builder.sub(constant(I8, 0), a), a)


@operation(BYTES, BYTES, BYTES, BYTES, BYTES)
def where_equal(builder: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """One of two values, by whether a and b are equal."""
    return builder.select(builder.icmp_unsigned("==", a, b), then, otherwise)


@operation(types.intp, BYTES)
def count_set(builder: Any, a: Any) -> Any:
    """How many lanes have their highest bit set."""
    negative = builder.icmp_signed("<", a, constant(I8, 0))
    word = builder.bitcast(negative, ir.IntType(N_LANES))
    return builder.zext(builder.ctpop(word), ir.IntType(64))
