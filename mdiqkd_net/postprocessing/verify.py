"""Verification: do both users hold the same key? A universal hash, compared in public.

The hash is Poly1305 with a public random r and s = 0, of the length and the packed bits. For two
different messages of at most L bytes, and r drawn independently of both, the tags agree with
probability at most 8 ceil(L / 16) / 2^106. Source: Bernstein, "The Poly1305-AES message
authentication code", FSE 2005, theorem 3.3, with difference 0; the library clamps r to 106 bits.
The tag must not be cut short: the bound holds for a difference modulo 2^128.
"""

import hmac
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, ProtocolError
from mdiqkd_net.secret import wipe

R_BYTES: Final = 16
TAG_BYTES: Final = 16

VERIFICATION_LEAK_BITS: Final = 8 * TAG_BYTES
"""A public tag tells at most its length about the key."""

_PREFIX_BYTES: Final = 8


class VerificationError(ProtocolError):
    """The two keys differ, so neither may be used; nobody's fault if errors were missed."""


def verification_tag(bits: NDArray[np.uint8], r: bytes) -> bytes:
    """Hash a key of shape (n,), 0 or 1, to 16 bytes.

    Args:
        bits: The reconciled key.
        r: 16 public random bytes, fresh for each key, drawn after reconciliation has ended.

    Raises:
        LocalProtocolError: r has another length, or `bits` another shape.
    """
    if len(r) != R_BYTES:
        raise LocalProtocolError(f"r: found {len(r)} bytes; allowed: {R_BYTES}")
    if bits.ndim != 1 or bits.dtype != np.uint8:
        raise LocalProtocolError(
            f"bits: found shape {bits.shape} of {bits.dtype}; allowed: one axis of uint8"
        )
    hasher = Poly1305(r + bytes(16))
    hasher.update(bits.size.to_bytes(_PREFIX_BYTES, "big"))
    packed = np.packbits(bits)
    hasher.update(packed.data)
    wipe(packed)
    return hasher.finalize()


def check_verification(bits: NDArray[np.uint8], r: bytes, tag: bytes) -> None:
    """Return if `tag` is that of `bits` under r; raise otherwise.

    Raises:
        VerificationError: It is not: the keys differ.
        LocalProtocolError: As `verification_tag`.
    """
    if not hmac.compare_digest(verification_tag(bits, r), tag):
        raise VerificationError("verification failed: the two keys differ")


def verification_epsilon(n_bits: int) -> float:
    """Probability, at most, that keys of `n_bits` that differ get the same tag.

    This is a bound on correctness (eps_cor) if r is uniform and independent of the keys.
    """
    n_bytes = _PREFIX_BYTES + -(-n_bits // 8)
    return 8.0 * -(-n_bytes // 16) / 2.0**106
