import numpy as np
import pytest
from gf2 import field_multiply
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

from mdiqkd_net.postprocessing.toeplitz.vectors import Vectors, instruction_lanes, target

X86 = "x86_64-unknown-linux-gnu"
ARM = "aarch64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("triple", "features", "lanes"),
    [
        (X86, "+sse2,-pclmul", 0),
        (X86, "+pclmul,+avx2,-vpclmulqdq", 2),
        (X86, "+pclmul,+vpclmulqdq,+avx2,-avx512f", 4),
        (X86, "+pclmul,+vpclmulqdq,+avx2,+avx512f", 8),
        (ARM, "+neon,+aes", 2),
        ("arm64-apple-darwin23", "+neon,+aes", 2),
        (ARM, "+neon,-aes", 0),
        ("riscv64-unknown-linux-gnu", "", 0),
    ],
)
def test_instruction_lanes(triple, features, lanes):
    assert instruction_lanes(triple, features) == lanes


@pytest.mark.parametrize(
    ("triple", "cpu", "width", "native", "instruction", "count"),
    [
        (ARM, "cortex-a76", 2, 2, "pmull", 2),
        (ARM, "cortex-a76", 4, 2, "pmull", 4),
        (X86, "westmere", 2, 2, "pclmul", 2),
        (X86, "westmere", 8, 2, "pclmul", 8),
        (X86, "alderlake", 4, 4, "vpclmul", 2),
        (X86, "alderlake", 8, 4, "vpclmul", 4),
        (X86, "icelake-server", 8, 8, "vpclmul", 2),
    ],
)
def test_code_for_other_cpus(triple, cpu, width, native, instruction, count):
    """What this machine cannot run, it can at least compile, to the instructions we want."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    except RuntimeError as error:
        pytest.skip(f"this LLVM has no code generator for {triple}: {error}")
    module = ir.Module()
    module.triple = triple
    pointer = ir.IntType(64).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer])
    function = ir.Function(module, kind, "times")
    builder = ir.IRBuilder(function.append_basic_block())
    v = Vectors(builder, width, native=native, arm=triple == ARM)
    x, y = (v.load(argument) for argument in function.args)
    v.store(v.times(x, y), function.args[0])
    builder.ret_void()
    assembly = machine.emit_assembly(binding.parse_assembly(str(module)))
    words = [line.split()[0] for line in assembly.splitlines() if line.strip()]
    assert sum(word.startswith(instruction) for word in words) == count


def operation(emit):
    """A kernel that applies `emit(vectors, rows)` to the vectors of an array."""

    @intrinsic
    def apply(_typing, array, lanes):
        def codegen(context, builder, signature, args):
            v = Vectors(
                builder,
                signature.args[1].count,
                native=instruction_lanes(*target()),
                arm=target()[0].startswith("a"),
            )
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            at = [
                builder.gep(data, [ir.Constant(ir.IntType(64), k * v.width)])
                for k in range(v.width)
            ]
            for row, pointer in zip(emit(v, [v.load(p) for p in at]), at, strict=True):
                v.store(row, pointer)
            return context.get_dummy_value()

        return types.void(array, lanes), codegen

    @njit
    def kernel(array, lanes):
        apply(array, lanes)

    return kernel


no_instruction = pytest.mark.skipif(
    not instruction_lanes(*target()), reason="this CPU has no carry-less multiplication"
)


@no_instruction
@pytest.mark.parametrize("width", [2, 4, 8])
def test_transposition(width):
    array = np.arange(width * width, dtype=np.uint64)
    operation(lambda v, rows: v.transposed(rows))(array, (0,) * width)
    assert np.array_equal(array.reshape(width, width).T.ravel(), np.arange(width * width))


@no_instruction
@pytest.mark.parametrize("width", [2, 4, 8])
def test_products_in_the_field(width):
    rng = np.random.default_rng(width)
    array = rng.integers(0, 2**64, width * width, dtype=np.uint64)
    array[:width] = 2**64 - 1  # the greatest overflow of the reduction
    array[width : 2 * width] = [2**64 - 1 >> k for k in range(width)]
    before = array.reshape(width, width).tolist()
    operation(lambda v, rows: [v.times(rows[0], rows[1]), *rows[1:]])(array, (0,) * width)
    got = array[:width].tolist()
    assert got == [field_multiply(a, b) for a, b in zip(before[0], before[1], strict=True)]
