"""What the classical channel tells about the key, in whole bits."""

import math
from dataclasses import dataclass

from mdiqkd_net.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Leak:
    """Bits about Alice's sifted key that were made public; privacy amplification removes them.

    Attributes:
        parity_bits: Parities that she announced in reconciliation.
        verification_bits: Bits of her verification tag.
    """

    parity_bits: int = 0
    verification_bits: int = 0

    def __post_init__(self) -> None:
        if self.parity_bits < 0 or self.verification_bits < 0:
            raise LocalProtocolError(f"leak: found {self}; allowed: no negative bits")

    @property
    def total_bits(self) -> int:
        """All of them."""
        return self.parity_bits + self.verification_bits

    def __add__(self, other: "Leak") -> "Leak":
        return Leak(
            self.parity_bits + other.parity_bits,
            self.verification_bits + other.verification_bits,
        )


def binary_entropy(p: float) -> float:
    """Shannon entropy of a biased coin in bits, for p in [0, 1].

    Raises:
        LocalProtocolError: p is outside.
    """
    if not 0.0 <= p <= 1.0:
        raise LocalProtocolError(f"binary entropy: found p = {p}; allowed: 0 to 1")
    if p in (0.0, 1.0):
        return 0.0
    return -p * math.log2(p) - (1.0 - p) * math.log2(1.0 - p)


def efficiency(leak_bits: int, n_bits: int, qber: float) -> float:
    """Leaked bits over the Shannon limit n h(qber): 1 is perfect, infinite without errors."""
    limit = n_bits * binary_entropy(qber)
    if limit > 0.0:
        return leak_bits / limit
    return math.inf if leak_bits else 1.0
