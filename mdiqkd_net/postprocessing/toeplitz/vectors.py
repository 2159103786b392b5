"""Code for carry-less arithmetic in vector registers: GF(2)[x] and GF(2^64) in every lane.

GF(2^64) is GF(2)[x] / (x^64 + x^4 + x^3 + x + 1), bit i of a word the coefficient of x^i. Vectors
have 2, 4 or 8 lanes of 64 bits. One that is wider than the instructions of the CPU is cut up, so
all widths run, with equal results, wherever one does: x86-64 with PCLMULQDQ (VPCLMULQDQ for 4 and 8
lanes at once) and ARM with PMULL.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba.core.registry import cpu_target

from mdiqkd_net.postprocessing.toeplitz.field import REDUCTION

I8: Final = ir.IntType(8)
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)

Value = Any
"""An SSA value of llvmlite, which publishes no types."""


def instruction_lanes(triple: str, features: str) -> int:
    """64-bit lanes of the widest carry-less multiplication; 0 if there is none.

    Args:
        triple: The target in LLVM's words, such as "x86_64-unknown-linux-gnu".
        features: Likewise, such as "+sse2,+pclmul,-avx512f".
    """
    has = set(features.split(","))
    if is_arm(triple):
        return 2 if "+aes" in has else 0
    if "+pclmul" not in has:
        return 0
    if not {"+vpclmulqdq", "+avx2"} <= has:
        return 2
    return 8 if "+avx512f" in has else 4


def is_arm(triple: str) -> bool:
    """Whether carry-less multiplication is PMULL."""
    return triple.startswith(("aarch64", "arm64"))


def target() -> tuple[str, str]:
    """Triple and features for which numba generates code; its cache is keyed by them."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return str(triple), str(features)


class Vectors:
    """Emits code for vectors of `width` 64-bit words at the position of an llvmlite builder.

    Attributes:
        width: Lanes of a vector.
        native: Lanes that one carry-less multiplication of the CPU takes; see `instruction_lanes`.
        arm: The instruction is PMULL.
    """

    def __init__(self, builder: Value, width: int, *, native: int, arm: bool) -> None:
        self.b = builder
        self.width = width
        self.native = min(width, native)
        self.arm = arm
        self.type = ir.VectorType(I64, width)

    def constant(self, words: Sequence[int]) -> Value:
        """These words."""
        return ir.Constant(ir.VectorType(I64, len(words)), list(words))

    def splat(self, word: Value) -> Value:
        """One word in all lanes."""
        nothing = ir.Constant(self.type, ir.Undefined)
        one = self.b.insert_element(nothing, word, ir.Constant(I32, 0))
        return self.pick(one, nothing, [0] * self.width)

    def pick(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """Lanes of x, and of y from `width` on."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.b.shuffle_vector(x, y, mask)

    def load(self, pointer: Value) -> Value:
        """From a word on; no alignment beyond that of a word."""
        return self.b.load(self.b.bitcast(pointer, self.type.as_pointer()), align=8)

    def store(self, vector: Value, pointer: Value) -> None:
        """As `load`."""
        self.b.store(vector, self.b.bitcast(pointer, self.type.as_pointer()), align=8)

    def shifted(self, x: Value, by: int) -> Value:
        """Every lane times x^by; to the right if `by` is negative."""
        amount = self.constant([abs(by)] * self.width)
        return self.b.shl(x, amount) if by > 0 else self.b.lshr(x, amount)

    def clmul(self, x: Value, y: Value, odd: int) -> Value:
        """Products of the even lanes (odd = 0) or the odd lanes: 128 bits in each pair of lanes."""
        step = self.native
        parts = []
        for first in range(0, self.width, step):
            lanes = range(first, first + step)
            a, b = (self.pick(v, v, lanes) for v in (x, y))
            parts.append(self._pmull(a, b, odd) if self.arm else self._pclmul(a, b, odd))
        while len(parts) > 1:
            size = range(2 * step)
            parts = [self.pick(p, q, size) for p, q in zip(parts[::2], parts[1::2], strict=True)]
            step *= 2
        return parts[0]

    def _pclmul(self, x: Value, y: Value, odd: int) -> Value:
        suffix = "" if self.native == 2 else f".{64 * self.native}"
        kind = ir.FunctionType(x.type, [x.type, x.type, I8])
        function = self.b.module.declare_intrinsic(f"llvm.x86.pclmulqdq{suffix}", (), kind)
        return self.b.call(function, [x, y, ir.Constant(I8, 0x11 * odd)])

    def _pmull(self, x: Value, y: Value, odd: int) -> Value:
        kind = ir.FunctionType(ir.VectorType(I8, 16), [I64, I64])
        function = self.b.module.declare_intrinsic("llvm.aarch64.neon.pmull64", (), kind)
        lane = ir.Constant(I32, odd)
        words = [self.b.extract_element(v, lane) for v in (x, y)]
        return self.b.bitcast(self.b.call(function, words), ir.VectorType(I64, 2))

    def halves(self, even: Value, odd: Value) -> tuple[Value, Value]:
        """Low and high words of 128-bit products, lanes in order."""
        pairs = range(0, self.width, 2)
        low = [k for i in pairs for k in (i, self.width + i)]
        return self.pick(even, odd, low), self.pick(even, odd, [k + 1 for k in low])

    def products(self, x: Value, y: Value) -> tuple[Value, Value]:
        """Low and high words of the products of all lanes."""
        return self.halves(self.clmul(x, y, 0), self.clmul(x, y, 1))

    def reduced(self, low: Value, high: Value) -> Value:
        """Low + x^64 high in GF(2^64)."""
        # x^64 is 1 + x + x^3 + x^4. What the shifts push out, at most 4 bits, goes round again.
        taps = [i for i in range(1, 64) if REDUCTION >> i & 1]
        again = high
        for tap in taps:
            again = self.b.xor(again, self.shifted(high, tap - 64))
        result = self.b.xor(low, again)
        for tap in taps:
            result = self.b.xor(result, self.shifted(again, tap))
        return result

    def times(self, x: Value, y: Value) -> Value:
        """Products in GF(2^64)."""
        return self.reduced(*self.products(x, y))

    def transposed(self, rows: list[Value]) -> list[Value]:
        """A square of `width` vectors with rows and columns exchanged."""
        distance = 1
        while distance < self.width:
            lanes = range(self.width)
            keep = [k if not k & distance else self.width + k - distance for k in lanes]
            move = [k + distance if not k & distance else self.width + k for k in lanes]
            rows = [
                self.pick(rows[k & ~distance], rows[k | distance], move if k & distance else keep)
                for k in lanes
            ]
            distance *= 2
        return rows


Butterfly = Callable[[Vectors, Value, Value, Value], tuple[Value, Value]]


def forward(v: Vectors, a: Value, b: Value, t: Value) -> tuple[Value, Value]:
    """(a, b) -> (a + t b, a + (t + 1) b): values of a + s b where s is t, and where it is t + 1."""
    top = a if t is None else v.b.xor(a, v.times(b, t))
    return top, v.b.xor(top, b)


def contragredient(v: Vectors, a: Value, b: Value, t: Value) -> tuple[Value, Value]:
    """The inverse of the transpose of `forward`."""
    bottom = b if t is None else v.b.xor(v.times(a, t), b)
    return v.b.xor(a, bottom), bottom


def adjoint(v: Vectors, a: Value, b: Value, t: Value) -> tuple[Value, Value]:
    """The transpose of `forward`."""
    top = v.b.xor(a, b)
    return top, b if t is None else v.b.xor(v.times(top, t), b)
