import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toeplitz_naive import naive_amplify
from toeplitz_naive import packed as packed_bytes

from mdiqkd_net.postprocessing.toeplitz import direct
from mdiqkd_net.postprocessing.toeplitz.vectors import instruction_lanes, target
from mdiqkd_net.postprocessing.toeplitz.words import read_words

pytestmark = pytest.mark.skipif(
    not instruction_lanes(*target()), reason="this CPU has no carry-less multiplication"
)


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(2, 3000),
    share=st.floats(0, 1),
    width=st.sampled_from([2, 4, 8]),
    chunk=st.integers(1, 20),
    seed=st.integers(0, 2**32),
)
def test_the_definition_with_seams_between_chunks(n_in, share, width, chunk, seed):
    n_out = 1 + int(share * (n_in - 2))
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, n_in, dtype=np.uint8)
    diagonals = rng.bytes(-(-(n_in - 1) // 8))
    key = np.packbits(bits)
    out = np.empty(-(-n_out // 32), np.uint32)
    read_words(key, 0, n_out, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "CHUNK", chunk)
        packed = np.frombuffer(diagonals, np.uint8)
        direct.add_product(packed, key, n_in, n_out, out, (0,) * width)
    assert packed_bytes(out, n_out) == naive_amplify(bits, diagonals, n_out)
