import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import LocalProtocolError, ProtocolError
from mdiqkd_net.postprocessing.verify import (
    TAG_BYTES,
    VERIFICATION_LEAK_BITS,
    VerificationError,
    check_verification,
    verification_epsilon,
    verification_tag,
)


def oracle(bits: np.ndarray, r: bytes) -> bytes:
    """Poly1305 with s = 0 in integers, from section 2 of the paper."""
    message = len(bits).to_bytes(8, "big") + np.packbits(bits).tobytes()
    clamped = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    value = 0
    for start in range(0, len(message), 16):
        block = message[start : start + 16] + b"\1"
        value = (value + int.from_bytes(block, "little")) * clamped % (2**130 - 5)
    return (value % 2**128).to_bytes(16, "little")


@settings(max_examples=60, deadline=None)
@given(bits=st.lists(st.integers(0, 1), max_size=700), r=st.binary(min_size=16, max_size=16))
def test_the_tag_is_the_polynomial(bits, r):
    key = np.array(bits, np.uint8)
    assert verification_tag(key, r) == oracle(key, r)


def test_equal_keys_pass_and_any_flipped_bit_fails():
    rng = np.random.default_rng(1)
    key, r = rng.integers(0, 2, 1001, dtype=np.uint8), rng.bytes(16)
    tag = verification_tag(key, r)
    assert len(tag) == TAG_BYTES == VERIFICATION_LEAK_BITS // 8
    check_verification(key.copy(), r, tag)
    for place in range(key.size):
        other = key.copy()
        other[place] ^= 1
        # A false alarm has probability verification_epsilon(1001) < 1e-29 each.
        with pytest.raises(VerificationError):
            check_verification(other, r, tag)


def test_length_counts():
    r = bytes(range(16))
    tags = {verification_tag(np.zeros(n, np.uint8), r) for n in range(40)}
    assert len(tags) == 40


def test_the_error_tells_nothing_of_the_key():
    assert issubclass(VerificationError, ProtocolError)
    with pytest.raises(VerificationError, match=r"^verification failed: the two keys differ$"):
        check_verification(np.ones(8, np.uint8), bytes(range(16)), bytes(16))


@pytest.mark.parametrize("n_bits", [1, 1000, 10**6, 10**7, 10**8])
def test_epsilon_counts_the_blocks_hashed(n_bits):
    n_blocks = -(-(8 + -(-n_bits // 8)) // 16)
    assert verification_epsilon(n_bits) == 8 * n_blocks / 2**106
    assert verification_epsilon(n_bits) < 2**-83


def test_bad_arguments_are_refused():
    with pytest.raises(LocalProtocolError, match="r: found 15 bytes"):
        verification_tag(np.zeros(8, np.uint8), bytes(15))
    with pytest.raises(LocalProtocolError, match="bits: found shape"):
        verification_tag(np.zeros((2, 2), np.uint8), bytes(16))
    with pytest.raises(LocalProtocolError, match="bits: found shape"):
        verification_tag(np.zeros(8, np.int64), bytes(16))
