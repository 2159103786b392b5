import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from toeplitz_naive import packed

from mdiqkd_net.postprocessing.toeplitz.words import read_words


@settings(max_examples=80, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=40),
    first=st.integers(-70, 330),
    short=st.integers(0, 7),
    n=st.integers(1, 6),
)
def test_words_are_the_bits_and_zeros_around(data, first, short, n):
    stop = 8 * len(data) - short
    bits = dict(enumerate(np.unpackbits(np.frombuffer(data, np.uint8))[:stop].tolist()))
    words = np.full(n, 7, np.uint32)
    read_words(np.frombuffer(data, np.uint8), first, stop, words)
    expected = "".join(str(bits.get(first + k, 0)) for k in range(32 * n))
    assert "".join(f"{word:032b}" for word in words.tolist()) == expected


@settings(max_examples=40, deadline=None)
@given(data=st.binary(min_size=1, max_size=20), short=st.integers(0, 7))
def test_there_and_back(data, short):
    n_bits = 8 * len(data) - short
    words = np.empty(-(-n_bits // 32), np.uint32)
    read_words(np.frombuffer(data, np.uint8), 0, 8 * len(data), words)
    last = data[-1] >> short << short
    assert packed(words, n_bits) == data[:-1] + bytes([last])
