"""The modified Toeplitz hash by its definition, in Python integers."""

import numpy as np

from mdiqkd_net.postprocessing.toeplitz.words import pack_words


def packed(words: np.ndarray, n_bits: int) -> bytes:
    out = np.empty(-(-n_bits // 8), np.uint8)
    pack_words(words, n_bits, out)
    return out.tobytes()


def naive_amplify(bits: np.ndarray, seed: bytes, n_out: int) -> bytes:
    """T[i, j] = seed[i - j + n - 1] with n columns; bit k of an int stands for element k."""
    n = bits.size - n_out
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=bits.size - 1)
    column = int.from_bytes(np.packbits(diagonals, bitorder="little").tobytes(), "little")
    result = 0
    for j in np.flatnonzero(bits[n_out:]).tolist():
        result ^= column >> (n - 1 - j)
    y = np.frombuffer((result % (1 << n_out)).to_bytes(-(-n_out // 8), "little"), np.uint8)
    return np.packbits(np.unpackbits(y, bitorder="little", count=n_out) ^ bits[:n_out]).tobytes()
