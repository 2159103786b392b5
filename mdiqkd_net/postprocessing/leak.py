"""How much reconciliation discloses, against the least that theory allows."""

import math

from mdiqkd_net.errors import LocalProtocolError


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
