"""Privacy amplification with a modified Toeplitz matrix (I | T): y = x_I xor T x_T.

x_I is the first n_out bits of the key, x_T the rest, and T an n_out x (n_in - n_out) Toeplitz
matrix of n_in - 1 seed bits, T[i, j] = seed[i - j + n_in - n_out - 1]. The family is universal_2:
two keys that differ in x_I alone never collide, and any others with probability 2^-n_out.
Source: Krawczyk, CRYPTO '94, for Toeplitz; Hayashi & Tsurumaru, IEEE Trans. Inf. Theory 62, 2213
(2016), for the modified form.

Bits are packed, the first one in the high bit of the first byte, in key, seed and result. All
tiers compute the same function. Those named after carry-less multiplication take, besides key, seed
and result, at most `blocks.WORK_BYTES` of memory; the float64 tier takes a byte per bit of both,
and a quarter of a gigabyte. Each call uses one thread, and holds no lock while it computes.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.toeplitz import blocks, direct, rfft
from mdiqkd_net.postprocessing.toeplitz.vectors import instruction_lanes, target
from mdiqkd_net.postprocessing.toeplitz.words import WORD_BITS, pack_words, read_words
from mdiqkd_net.secret import SecretBuffer, wipe

CLMUL_LANES: Final = {"clmul512": 8, "clmul256": 4, "clmul128": 2}
"""64-bit lanes of the vectors of a tier."""

RFFT: Final = "rfft"

KNOWN: Final = ((3001, 1009), (200_003, 90_001))
"""(n_in, n_out) that a tier must hash like the fallback before it is used: one directly, one by
transforms."""


def tiers() -> tuple[str, ...]:
    """Ways to compute that this CPU has, the one that is used first.

    With any carry-less multiplication all widths run; those that are wider than the instruction
    come behind.
    """
    native = instruction_lanes(*target())
    if not native:
        return (RFFT,)
    by_speed = sorted(
        CLMUL_LANES, key=lambda tier: (CLMUL_LANES[tier] > native, -CLMUL_LANES[tier])
    )
    return (*by_speed, RFFT)


def seed_bits(n_in: int, n_out: int) -> int:
    """Public random bits that choose one function from n_in to n_out bits: n_in - 1.

    Raises:
        LocalProtocolError: Not 1 <= n_out < n_in.
    """
    if not 1 <= n_out < n_in:
        raise LocalProtocolError(
            f"n_out: found {n_out}; allowed: 1 to n_in - 1, which is {n_in - 1}"
        )
    return n_in - 1


def amplify(bits: NDArray[np.uint8], seed: bytes, n_out: int) -> SecretBuffer:
    """Hash a key of one byte per bit, and leave no copy of key or result; see `amplify_packed`.

    Args:
        bits: The key, shape (n_in,), 0 or 1.
        seed: As there.
        n_out: As there.

    Raises:
        LocalProtocolError: As there, or `bits` is something else.
    """
    if bits.ndim != 1 or bits.dtype != np.uint8 or (bits.size and bits.max() > 1):
        raise LocalProtocolError(
            f"bits: found shape {bits.shape} of {bits.dtype}; allowed: one axis of uint8, 0 or 1"
        )
    n_seed = seed_bits(bits.size, n_out)
    seed_bytes = _packed("seed", seed, n_seed)
    out = SecretBuffer(-(-n_out // 8))
    key = np.packbits(bits)
    try:
        _hash(key, bits.size, seed_bytes, n_out, _fastest(), out.array)
    finally:
        wipe(key)
    return out


def amplify_packed(
    key: bytes | NDArray[np.uint8], n_in: int, seed: bytes, n_out: int, *, tier: str | None = None
) -> bytes:
    """Hash a packed key of `n_in` bits to `n_out` bits, packed.

    Args:
        key: The key, ceil(n_in / 8) bytes; bits behind it are not used.
        n_in: Its length in bits.
        seed: `seed_bits(n_in, n_out)` bits, in whole bytes; must be random, and unknown to anybody
            until the key is fixed. Bits behind them are not used.
        n_out: Length of the result in bits, less than n_in; the rest of its last byte is 0.
        tier: One of `tiers()`; the first of them if None.

    Raises:
        LocalProtocolError: A length is wrong, or the tier is none of this CPU.
    """
    n_seed = seed_bits(n_in, n_out)
    key_bytes, seed_bytes = _packed("key", key, n_in), _packed("seed", seed, n_seed)
    if tier is None:
        tier = _fastest()
    elif tier not in tiers():
        raise LocalProtocolError(f"tier: found {tier!r}; allowed: {', '.join(tiers())}")
    out = np.empty(-(-n_out // 8), np.uint8)
    _hash(key_bytes, n_in, seed_bytes, n_out, tier, out)
    return out.tobytes()


def _packed(name: str, data: bytes | NDArray[np.uint8], n_bits: int) -> NDArray[np.uint8]:
    array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    n_bytes = -(-n_bits // 8)
    if array.shape != (n_bytes,) or array.dtype != np.uint8:
        raise LocalProtocolError(
            f"{name}: found shape {array.shape} of {array.dtype}; allowed: {n_bytes} bytes"
        )
    return np.ascontiguousarray(array)


def _hash(
    key: NDArray[np.uint8],
    n_in: int,
    seed: NDArray[np.uint8],
    n_out: int,
    tier: str,
    out: NDArray[np.uint8],
) -> None:
    """Fill `out`, shape (ceil(n_out / 8),), with the hash."""
    if tier == RFFT:
        bits = np.unpackbits(key, count=n_in)
        rfft.add_product(np.unpackbits(seed, count=n_in - 1), bits[n_out:], bits[:n_out])
        packed = np.packbits(bits[:n_out])
        out[:] = packed
        wipe(bits, packed)
        return
    lanes = (0,) * CLMUL_LANES[tier]
    words = np.empty(-(-n_out // WORD_BITS), np.uint32)
    read_words(key, 0, n_out, words)
    n_rest = -(-(n_in - n_out) // WORD_BITS)
    plan = blocks.plan(words.size, n_rest)
    if direct.cost_ns(words.size, n_rest) < plan.cost_ns:
        direct.add_product(seed, key, n_in, n_out, words, lanes)
    else:
        blocks.add_product(seed, key, n_in, n_out, words, plan, lanes)
    pack_words(words, n_out, out)
    wipe(words)


@lru_cache(maxsize=1)
def _fastest() -> str:
    """The first tier, after it has proved itself.

    Two users with different CPUs would never notice that their secret keys differ, since keys are
    compared before they are amplified.
    """
    tier = tiers()[0]
    rng = np.random.Generator(np.random.PCG64(1))
    for n_in, n_out in KNOWN:
        key, seed = (rng.integers(0, 256, -(-n // 8), np.uint8) for n in (n_in, n_in - 1))
        found, expected = np.empty((2, -(-n_out // 8)), np.uint8)
        _hash(key, n_in, seed, n_out, tier, found)
        _hash(key, n_in, seed, n_out, RFFT, expected)
        if not np.array_equal(found, expected):
            raise LocalProtocolError(
                f"tier {tier}: found a wrong result of a known problem; allowed: none"
            )
    return tier
