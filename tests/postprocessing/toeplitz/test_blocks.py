import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toeplitz_naive import naive_amplify
from toeplitz_naive import packed as packed_bytes

from mdiqkd_net.postprocessing.toeplitz import blocks, rfft
from mdiqkd_net.postprocessing.toeplitz.vectors import instruction_lanes, target
from mdiqkd_net.postprocessing.toeplitz.words import read_words

pytestmark = pytest.mark.skipif(
    not instruction_lanes(*target()), reason="this CPU has no carry-less multiplication"
)


def problem(n_in, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n_in, dtype=np.uint8), rng.bytes(-(-(n_in - 1) // 8))


def hashed(bits, seed, n_out, plan, width=4):
    key = np.packbits(bits)
    out = np.empty(-(-n_out // 32), np.uint32)
    read_words(key, 0, n_out, out)
    packed = np.frombuffer(seed, np.uint8)
    blocks.add_product(packed, key, bits.size, n_out, out, plan, (0,) * width)
    return packed_bytes(out, n_out)


@settings(max_examples=40, deadline=None)
@given(
    n_in=st.integers(2, 60_000),
    share=st.floats(0, 1),
    log_n=st.integers(7, 9),
    for_output=st.integers(1, 64),
    rows=st.integers(1, 6),
    width=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 2**32),
)
def test_the_definition_with_many_seams(n_in, share, log_n, for_output, rows, width, seed):
    n_out = 1 + int(share * (n_in - 2))
    m, k = -(-n_out // 32), -(-(n_in - n_out) // 32)
    for_output = min(m, for_output)
    # So much memory that `rows` blocks of output are in it at once.
    work_bytes = (8 << log_n) * (2 * rows + 2 * blocks.BATCH + 1)
    plan = blocks.cut(m, k, log_n, for_output, work_bytes)
    assert plan.for_output + plan.for_input <= 1 << log_n
    bits, diagonals = problem(n_in, seed)
    assert hashed(bits, diagonals, n_out, plan, width) == naive_amplify(bits, diagonals, n_out)


@pytest.mark.parametrize("log_n", [16, 17, 18])
def test_long_transforms_agree_with_float64(log_n):
    """Two routes that share nothing, where the definition would take minutes."""
    n_in, n_out = 3_000_003, 700_007
    bits, diagonals = problem(n_in, log_n)
    m, k = -(-n_out // 32), -(-(n_in - n_out) // 32)
    plan = blocks.cut(m, k, log_n, min(m, 1 << log_n - 1))
    out = bits[:n_out].copy()
    unpacked = np.unpackbits(np.frombuffer(diagonals, np.uint8), count=n_in - 1)
    rfft.add_product(unpacked, bits[n_out:], out)
    assert hashed(bits, diagonals, n_out, plan) == np.packbits(out).tobytes()


@pytest.mark.parametrize("m", [1, 300, 10_000, 1_000_000, 15_000_000])
@pytest.mark.parametrize("k", [1, 5000, 2_000_000, 31_000_000])
@pytest.mark.parametrize("work_bytes", [blocks.WORK_BYTES, 2**22])
def test_plans_keep_to_their_memory(m, k, work_bytes):
    plan = blocks.plan(m, k, work_bytes)
    assert plan.work_bytes <= work_bytes
    assert plan.for_output >= 1
    assert plan.for_input >= 1
    assert plan.for_output + plan.for_input <= 1 << plan.log_n


@pytest.mark.parametrize("work_bytes", [2**21, 2**23, blocks.WORK_BYTES])
def test_memory_is_bounded_by_the_formula(work_bytes):
    n_in, n_out = 4_000_000, 1_000_000
    plan = blocks.plan(-(-n_out // 32), -(-(n_in - n_out) // 32), work_bytes)
    bits, diagonals = problem(n_in, 1)
    key, packed = np.packbits(bits), np.frombuffer(diagonals, np.uint8)
    out = np.zeros(-(-n_out // 32), np.uint32)
    blocks.add_product(packed, key, n_in, n_out, out, plan, (0,) * 4)  # compile
    blocks.additive.tables.cache_clear()
    tracemalloc.start()
    try:
        blocks.add_product(packed, key, n_in, n_out, out, plan, (0,) * 4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    few_objects = 50_000
    assert plan.work_bytes / 3 < peak < plan.work_bytes + few_objects
