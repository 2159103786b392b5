"""Float functions of vectors of 32 lanes, for the few values of a row that need them."""

from typing import Any, Final

import numpy as np

from mdiqkd_net.postprocessing.reconcile._lanes import (
    F32,
    FLOATS,
    I16,
    I32,
    LANES,
    call,
    constant,
    operation,
)


def _times_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a b + c in two roundings: one, where there is an instruction, would depend on it."""
    return builder.fadd(builder.fmul(a, b), c)


def coth_of_half(scale: float) -> Any:
    """A function LANES -> FLOATS: coth(s / 2) of unsigned s in steps of 1 / `scale`.

    It is too small by less than 0.006 up to s = 3 and 0.2 up to 8; 0 counts as a quarter of a step.
    """

    @operation(FLOATS, LANES)
    def coth(builder: Any, a: Any) -> Any:
        value = builder.uitofp(builder.zext(a, I32), F32)
        z = _times_plus(
            builder,
            value,
            constant(F32, 0.5 / scale),
            constant(F32, 0.125 / scale),
        )
        square = builder.fmul(z, z)
        upper = _times_plus(builder, square, constant(F32, 6.0), constant(F32, 15.0))
        lower = builder.fmul(z, builder.fadd(square, constant(F32, 15.0)))
        return builder.fdiv(upper, lower)

    return coth


# Least-squares fit of log2(1 + m) - m by a m (1 - m) over m = 0 to 1.
_BULGE: Final = 0.3431


def scaled_log(scale: float) -> Any:
    """A function FLOATS -> LANES: `scale` ln(a), rounded, of floats a; 0 where a is below 1."""

    @operation(LANES, FLOATS)
    def log(builder: Any, a: Any) -> Any:
        bits = builder.bitcast(a, I32)
        linear = _times_plus(
            builder,
            builder.sitofp(bits, F32),
            constant(F32, scale * np.log(2.0) * 2.0**-23),
            constant(F32, 0.5 - 127.0 * scale * np.log(2.0)),
        )
        mantissa = builder.or_(
            builder.and_(bits, constant(I32, 0x7FFFFF)), constant(I32, 0x3F800000)
        )
        m = builder.fsub(builder.bitcast(mantissa, F32), constant(F32, 1.0))
        bulge = builder.fmul(m, constant(F32, _BULGE * scale * np.log(2.0)))
        rest = builder.fsub(constant(F32, 1.0), m)
        total = _times_plus(builder, bulge, rest, linear)
        total = call(builder, "maxnum", F32, total, constant(F32, 0.0))
        return builder.trunc(builder.fptosi(total, I32), I16)

    return log


def scaled_slope(scale: float) -> Any:
    """A function FLOATS -> LANES: `scale` (a - 1 / a) / 2, from 0 to 2^16 - 1."""

    @operation(LANES, FLOATS)
    def slope(builder: Any, a: Any) -> Any:
        inverse = builder.fdiv(constant(F32, scale / 2.0), a)
        value = builder.fsub(builder.fmul(a, constant(F32, scale / 2.0)), inverse)
        value = call(builder, "maxnum", F32, value, constant(F32, 0.0))
        value = call(builder, "minnum", F32, value, constant(F32, 65535.0))
        return builder.trunc(builder.fptosi(value, I32), I16)

    return slope
