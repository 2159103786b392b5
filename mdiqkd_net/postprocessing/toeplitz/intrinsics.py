"""What numba's kernels call to work on vectors of carry-less arithmetic.

Where an intrinsic has an argument `lanes`, that is a tuple with one element per 64-bit lane of the
vectors. Only its type counts, so that one kernel compiles for every width, and one file of numba's
cache holds them all; the cache is keyed by the features of the CPU that `vectors.target` reads.
Indices are not checked. Arrays are contiguous, of uint64 where nothing else is said.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils

from mdiqkd_net.postprocessing.toeplitz.field import LEAF_TERMS, POINTS_OF_LEAF, leaf_additions
from mdiqkd_net.postprocessing.toeplitz.vectors import (
    I32,
    I64,
    Butterfly,
    Value,
    Vectors,
    adjoint,
    contragredient,
    forward,
    instruction_lanes,
    is_arm,
    target,
)

intrinsic: Final[Callable[[Any], Any]] = numba.extending.intrinsic
"""Kernels call the result without the typing context, which published types do not say."""


def _vectors(builder: Value, lanes: Value) -> Vectors:
    triple, features = target()
    native = instruction_lanes(triple, features)
    return Vectors(builder, lanes.count, native=native, arm=is_arm(triple))


def _pointer(context: Value, builder: Value, kind: Value, array: Value, index: Value) -> Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _level(butterfly: Butterfly) -> Value:
    @intrinsic
    def level(_typing: Value, a: Value, first: Value, half: Value, t: Value, lanes: Value) -> Value:
        def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
            v = _vectors(builder, signature.args[4])
            _, top, half, t, _ = args
            twiddle = v.splat(t)
            step = ir.Constant(I64, v.width)
            end = builder.add(top, half)

            def steps(factor: Value) -> None:
                with cgutils.for_range_slice(builder, top, end, step, I64) as (i, _):
                    at = [
                        _pointer(context, builder, signature.args[0], args[0], index)
                        for index in (i, builder.add(i, half))
                    ]
                    rows = butterfly(v, v.load(at[0]), v.load(at[1]), factor)
                    for row, pointer in zip(rows, at, strict=True):
                        v.store(row, pointer)

            zero = builder.icmp_unsigned("==", t, ir.Constant(I64, 0))
            with builder.if_else(zero) as (then, otherwise):
                with then:
                    steps(None)
                with otherwise:
                    steps(twiddle)
            return context.get_dummy_value()

        return types.void(a, first, half, t, lanes), codegen

    return level


forward_level = _level(forward)
"""(a, first, half, t, lanes): `forward` with one t on a[first : first + half] and what follows."""
contragredient_level = _level(contragredient)
adjoint_level = _level(adjoint)


def _leaf_levels(
    v: Vectors, twiddle: Callable[[int, int], Value]
) -> Iterator[tuple[bool, list[tuple[int, int, Value]]]]:
    """Levels of a leaf of width^2 elements, from the top: (transposed?, [(i, j, twiddles)]).

    Above the transposition the vectors hold consecutive elements and share a twiddle; below, lane
    r of vector l holds element r * width + l.
    """
    log_width = v.width.bit_length() - 1
    for level in reversed(range(2 * log_width)):
        transposed = level < log_width
        half = 1 << (level if transposed else level - log_width)
        pairs = []
        for q in range(v.width // (2 * half)):
            t = v.splat(twiddle(level, 0 if transposed else q))
            if transposed:
                per_lane = v.width // (2 * half)
                own = [POINTS_OF_LEAF[r * per_lane + q] for r in range(v.width)]
                t = v.b.xor(t, v.constant(own))
            pairs += [(2 * half * q + k, 2 * half * q + k + half, t) for k in range(half)]
        yield transposed, pairs


def _leaf_step(butterfly: Butterfly, *, up: bool) -> Value:
    @intrinsic
    def step(_typing: Value, a: Value, first: Value, points: Value, lanes: Value) -> Value:
        def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
            v = _vectors(builder, signature.args[3])

            def twiddle(level: int, q: int) -> Value:
                block = builder.lshr(args[1], ir.Constant(I64, level + 1))
                index = builder.add(block, ir.Constant(I64, q))
                return builder.load(
                    _pointer(context, builder, signature.args[2], args[2], index), align=8
                )

            at = []
            for k in range(v.width):
                index = builder.add(args[1], ir.Constant(I64, k * v.width))
                at.append(_pointer(context, builder, signature.args[0], args[0], index))
            rows = [v.load(pointer) for pointer in at]
            levels = list(_leaf_levels(v, twiddle))
            was_transposed = up
            for transposed, pairs in reversed(levels) if up else levels:
                if transposed != was_transposed:
                    rows = v.transposed(rows)
                was_transposed = transposed
                for i, j, t in pairs:
                    rows[i], rows[j] = butterfly(v, rows[i], rows[j], t)
            for row, pointer in zip(rows, at, strict=True):
                v.store(row, pointer)
            return context.get_dummy_value()

        return types.void(a, first, points, lanes), codegen

    return step


forward_leaf = _leaf_step(forward, up=False)
"""(a, first, points, lanes): all levels of `forward` within a[first : first + width^2]."""
contragredient_leaf = _leaf_step(contragredient, up=False)
adjoint_leaf = _leaf_step(adjoint, up=True)


@intrinsic
def multiply_add(
    _typing: Value,
    to: Value,
    i: Value,
    x: Value,
    j: Value,
    y: Value,
    k: Value,
    n: Value,
    lanes: Value,
) -> Value:
    """Add x[j + r] y[k + r] in GF(2^64) to to[i + r], for all r < n."""

    def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
        v = _vectors(builder, signature.args[7])
        step = ir.Constant(I64, v.width)
        with cgutils.for_range_slice(builder, ir.Constant(I64, 0), args[6], step, I64) as (r, _):
            to_at, x_at, y_at = (
                _pointer(context, builder, signature.args[a], args[a], builder.add(args[a + 1], r))
                for a in (0, 2, 4)
            )
            product = v.times(v.load(x_at), v.load(y_at))
            v.store(builder.xor(v.load(to_at), product), to_at)
        return context.get_dummy_value()

    return types.void(to, i, x, j, y, k, n, lanes), codegen


@intrinsic
def big_endian(_typing: Value, data: Value, i: Value) -> Value:
    """Read the 64-bit word at data[i : i + 8], first byte highest; `data` of uint8."""

    def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
        at = builder.bitcast(_pointer(context, builder, signature.args[0], *args), I64.as_pointer())
        return builder.bswap(builder.load(at, align=1))

    return types.uint64(data, i), codegen


TILE_VECTORS: Final = 4
"""Vectors of sums that `hankel_tile` keeps in registers."""


@intrinsic
def hankel_tile(
    _typing: Value, w: Value, i: Value, x: Value, n: Value, low: Value, high: Value, lanes: Value
) -> Value:
    """Sum w[q + j] x[j] over j < n in GF(2)[x], to low[q] and high[q].

    This is for TILE_VECTORS * width values of q, from i on; n is 1 at least.
    """

    def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
        v = _vectors(builder, signature.args[6])
        zero = ir.Constant(I64, 0)
        w_at = _pointer(context, builder, signature.args[0], args[0], args[1])
        x_at = _pointer(context, builder, signature.args[2], args[2], zero)
        before = builder.block
        loop, end = (builder.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        j = builder.phi(I64)
        j.add_incoming(zero, before)
        sums = [builder.phi(v.type) for _ in range(2 * TILE_VECTORS)]
        factor = v.splat(builder.load(builder.gep(x_at, [j])))
        for k, old in enumerate(sums):
            offset = builder.add(j, ir.Constant(I64, k // 2 * v.width))
            product = v.clmul(v.load(builder.gep(w_at, [offset])), factor, k % 2)
            old.add_incoming(v.constant([0] * v.width), before)
            old.add_incoming(builder.xor(old, product), loop)
        following = builder.add(j, ir.Constant(I64, 1))
        j.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, end)
        builder.position_at_end(end)
        finished = [old.incomings[1][0] for old in sums]
        for k in range(TILE_VECTORS):
            for words, which in zip(v.halves(*finished[2 * k : 2 * k + 2]), (4, 5), strict=True):
                index = builder.add(args[1], ir.Constant(I64, k * v.width))
                at = _pointer(context, builder, signature.args[which], args[which], index)
                v.store(words, at)
        return context.get_dummy_value()

    return types.void(w, i, x, n, low, high, lanes), codegen


_RUN: Final = (8, 4, 2, 1)


@intrinsic
def add_run(_typing: Value, f: Value, to: Value, of: Value, n: Value) -> Value:
    """Add f[of : of + n] to f[to : to + n], which must not overlap; `f` of uint32."""

    def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
        array, to, of, n = args
        whole = builder.and_(n, ir.Constant(I64, -_RUN[0]))

        def add(kind: Value, offset: Value) -> None:
            target, source = (
                builder.bitcast(
                    _pointer(
                        context, builder, signature.args[0], array, builder.add(start, offset)
                    ),
                    kind.as_pointer(),
                )
                for start in (to, of)
            )
            total = builder.xor(builder.load(target, align=4), builder.load(source, align=4))
            builder.store(total, target, align=4)

        zero, step = ir.Constant(I64, 0), ir.Constant(I64, _RUN[0])
        with cgutils.for_range_slice(builder, zero, whole, step, I64) as (i, _):
            add(ir.VectorType(I32, _RUN[0]), i)
        offset = whole
        for size in _RUN[1:]:
            part = builder.and_(n, ir.Constant(I64, size))
            with builder.if_then(builder.icmp_unsigned("!=", part, zero)):
                add(ir.VectorType(I32, size), offset)
            offset = builder.add(offset, part)
        return context.get_dummy_value()

    return types.void(f, to, of, n), codegen


def _basis_leaf(word: Value, additions: Sequence[tuple[int, int]]) -> Value:
    @intrinsic
    def leaf(_typing: Value, f: Value, first: Value) -> Value:
        def codegen(context: Value, builder: Value, signature: Value, args: Value) -> Value:
            start = _pointer(context, builder, signature.args[0], *args)
            start = builder.bitcast(start, word.as_pointer())
            at = [builder.gep(start, [ir.Constant(I64, k)]) for k in range(LEAF_TERMS)]
            terms = [builder.load(pointer, align=4) for pointer in at]
            for to, of in additions:
                terms[to] = builder.xor(terms[to], terms[of])
            for term, pointer in zip(terms, at, strict=True):
                builder.store(term, pointer, align=4)
            return context.get_dummy_value()

        return types.void(f, first), codegen

    return leaf


_ADDITIONS: Final = leaf_additions()
_TRANSPOSED: Final = [(of, to) for to, of in _ADDITIONS]

basis_leaf = _basis_leaf(I32, _ADDITIONS)
"""(f, first): LEAF_PASSES on f[first : first + LEAF_TERMS]; `f` of uint32."""
basis_leaf_dual = _basis_leaf(I32, _TRANSPOSED)
basis_leaf_project = _basis_leaf(I64, _TRANSPOSED[::-1])
"""The same on terms of 64 bits, each two elements of f."""
