"""Vectors of 32 lanes inside kernels: what the loop vectorizer does not find by itself.

Numba widens every small integer to 64 bits, and so wastes three quarters of a vector. Here a value
of the type LANES is 32 integers of 16 bits, FLOATS are 32 float32; both live in registers. The
functions below are for kernels alone. LLVM splits their operations into what the processor has:
nothing here depends on an instruction set.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

N_LANES: Final = 32

_intrinsic: Callable[..., Any] = intrinsic
_function_in: Callable[..., Any] = cgutils.get_or_insert_function

_I16: Final = ir.VectorType(ir.IntType(16), N_LANES)
_I32: Final = ir.VectorType(ir.IntType(32), N_LANES)
_F32: Final = ir.VectorType(ir.FloatType(), N_LANES)


class _Vector(types.Type):
    pass


LANES: Final = _Vector("lanes of 16 bits")
FLOATS: Final = _Vector("lanes of float32")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        vector = _F32 if fe_type == FLOATS else _I16
        super().__init__(dmm, fe_type, vector)  # type: ignore[no-untyped-call]


def _constant(vector: Any, value: float) -> Any:
    return ir.Constant(vector, [value] * N_LANES)


def _operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
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

        typing = (of_one, of_two, of_three)[len(arguments) - 1]
        typing.__name__, typing.__doc__ = emit.__name__, emit.__doc__
        return _intrinsic(typing)

    return declare


def _call(builder: Any, name: str, vector: Any, *values: Any) -> Any:
    kind = ir.FunctionType(vector, [vector] * len(values))
    suffix = f"v{N_LANES}{'f32' if vector is _F32 else 'i16'}"
    function = _function_in(builder.module, kind, f"llvm.{name}.{suffix}")
    return builder.call(function, values)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _I16.as_pointer())


@_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """32 values of a contiguous array of 16-bit integers, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = builder.load(_address(context, builder, signature.args[0], *values))
        vector.align = 2
        return vector

    return LANES(array, types.intp), codegen


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Put 32 values into a contiguous array of 16-bit integers, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, signature.args[0], *values[:2])
        builder.store(values[2], address).align = 2
        return context.get_dummy_value()

    return types.none(array, types.intp, LANES), codegen


@_operation(LANES, types.intp)
def everywhere(builder: Any, value: Any) -> Any:
    """The same 16 bits in every lane."""
    one = builder.insert_element(
        ir.Constant(_I16, ir.Undefined),
        builder.trunc(value, ir.IntType(16)),
        ir.IntType(32)(0),
    )
    return builder.shuffle_vector(one, ir.Constant(_I16, ir.Undefined), _constant(_I32, 0))


@_operation(LANES, LANES, LANES)
def add(builder: Any, a: Any, b: Any) -> Any:
    """Signed sum that stops at the ends of its range."""
    return _call(builder, "sadd.sat", _I16, a, b)


@_operation(LANES, LANES, LANES)
def subtract(builder: Any, a: Any, b: Any) -> Any:
    """Signed difference that stops at the ends of its range."""
    return _call(builder, "ssub.sat", _I16, a, b)


@_operation(LANES, LANES, LANES)
def drop(builder: Any, a: Any, b: Any) -> Any:
    """Unsigned difference of values of which the first is not smaller."""
    return builder.sub(a, b)


@_operation(LANES, LANES, LANES)
def plain_sum(builder: Any, a: Any, b: Any) -> Any:
    """Sum of values that stay in range."""
    return builder.add(a, b)


@_operation(LANES, LANES, LANES)
def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The unsigned minimum."""
    return _call(builder, "umin", _I16, a, b)


@_operation(LANES, LANES, LANES)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The unsigned maximum."""
    return _call(builder, "umax", _I16, a, b)


@_operation(LANES, LANES, LANES)
def product(builder: Any, a: Any, b: Any) -> Any:
    """Unsigned product of fractions of 2^16, rounded down."""
    # One instruction of most processors. Spelled as arithmetic of 32 bits, LLVM would see that too,
    # but not where a factor is a product itself, or was computed outside of a loop.
    i32 = ir.IntType(32)
    name = f"llvm.umul.fix.v{N_LANES}i16"
    multiply = _function_in(builder.module, ir.FunctionType(_I16, [_I16, _I16, i32]), name)
    return builder.call(multiply, (a, b, i32(16)))


@_operation(LANES, LANES, LANES)
def differ(builder: Any, a: Any, b: Any) -> Any:
    """Exclusive or."""
    return builder.xor(a, b)


@_operation(LANES, LANES, LANES)
def both(builder: Any, a: Any, b: Any) -> Any:
    """And."""
    return builder.and_(a, b)


@_operation(LANES, LANES, LANES)
def either(builder: Any, a: Any, b: Any) -> Any:
    """Or."""
    return builder.or_(a, b)


@_operation(LANES, LANES)
def magnitude(builder: Any, a: Any) -> Any:
    """The absolute value; of -2^15, 2^15."""
    return _call(builder, "smax", _I16, a, builder.sub(_constant(_I16, 0), a))


@_operation(LANES, LANES)
def double(builder: Any, a: Any) -> Any:
    """Twice the value."""
    return builder.shl(a, _constant(_I16, 1))


@_operation(LANES, LANES)
def times_64(builder: Any, a: Any) -> Any:
    """64 times the value."""
    return builder.shl(a, _constant(_I16, 6))


@_operation(LANES, LANES)
def sign_mask(builder: Any, a: Any) -> Any:
    """All ones where the value is negative, else zero."""
    return builder.ashr(a, _constant(_I16, 15))


@_operation(LANES, LANES, LANES)
def negate_where(builder: Any, a: Any, mask: Any) -> Any:
    """Minus the value where a mask is set."""
    return builder.sub(builder.xor(a, mask), mask)


@_operation(LANES, LANES, LANES)
def equal(builder: Any, a: Any, b: Any) -> Any:
    """A mask of where two values are equal."""
    return builder.sext(builder.icmp_unsigned("==", a, b), _I16)


@_operation(LANES, LANES, LANES, LANES)
def choose(builder: Any, mask: Any, a: Any, b: Any) -> Any:
    """The first value where a mask is set, else the second."""
    return builder.or_(builder.and_(mask, a), builder.and_(builder.not_(mask), b))


@_operation(types.intp, LANES)
def count_set(builder: Any, a: Any) -> Any:
    """How many lanes have their highest bit set."""
    negative = builder.icmp_signed("<", a, _constant(_I16, 0))
    word = builder.bitcast(negative, ir.IntType(N_LANES))
    return builder.zext(builder.ctpop(word), ir.IntType(64))


@_operation(FLOATS, LANES)
def odds(builder: Any, a: Any) -> Any:
    """(1 + d) / (1 - d) of fractions d of 2^16; 2^16 - 1 counts as 2^16 - 1/4."""
    value = builder.uitofp(builder.zext(a, _I32), _F32)
    return builder.fdiv(
        builder.fadd(_constant(_F32, 65536.0), value),
        builder.fsub(_constant(_F32, 65535.25), value),
    )


# Coefficients of log2(1 + m) over m = 0 to 1, from the least to the highest power: a fit with an
# error below 2e-4, which is 1/7 of a step of the LLR.
_LOG2: Final = tuple(
    float(c)
    for c in np.polynomial.Chebyshev.interpolate(lambda m: np.log2(1.0 + m), 4, [0.0, 1.0])
    .convert(kind=np.polynomial.Polynomial)
    .coef
)


def scaled_log(scale: float) -> Any:
    """A function FLOATS -> LANES: `scale` ln(a) of floats a >= 1, rounded."""

    @_operation(LANES, FLOATS)
    def log(builder: Any, a: Any) -> Any:
        bits = builder.bitcast(a, _I32)
        exponent = builder.sitofp(
            builder.sub(builder.lshr(bits, _constant(_I32, 23)), _constant(_I32, 127)), _F32
        )
        mantissa = builder.or_(
            builder.and_(bits, _constant(_I32, 0x7FFFFF)), _constant(_I32, 0x3F800000)
        )
        m = builder.fsub(builder.bitcast(mantissa, _F32), _constant(_F32, 1.0))
        total = _constant(_F32, _LOG2[-1])
        for coefficient in _LOG2[-2::-1]:
            total = builder.fadd(builder.fmul(total, m), _constant(_F32, coefficient))
        total = builder.fmul(builder.fadd(total, exponent), _constant(_F32, scale * np.log(2.0)))
        total = builder.fadd(total, _constant(_F32, 0.5))
        return builder.trunc(builder.fptosi(total, _I32), _I16)

    return log


def scaled_slope(scale: float) -> Any:
    """A function FLOATS -> LANES: `scale` (a - 1 / a) / 2, at most 2^16 - 1."""

    @_operation(LANES, FLOATS)
    def slope(builder: Any, a: Any) -> Any:
        inverse = builder.fdiv(_constant(_F32, scale / 2.0), a)
        value = builder.fsub(builder.fmul(a, _constant(_F32, scale / 2.0)), inverse)
        value = _call(builder, "minnum", _F32, value, _constant(_F32, 65535.0))
        return builder.trunc(builder.fptosi(value, _I32), _I16)

    return slope
