"""How the failure probabilities of a block add up, and what they cost in key bits.

The 'variable' accounting: a key of whatever length the counts permit is secret except with
eps_sec = 2 sqrt(P_fail) + eps_pa, where P_fail is the probability that any of the statistical
statements below fails (it enters the smooth min-entropy as a smoothing of sqrt(P_fail)) and eps_pa
belongs to privacy amplification. The budget is split as eps_pa = eps_sec / 2 and
P_fail = (eps_sec / 4)^2.

Sources: Tomamichel & Leverrier, Quantum 1, 14 (2017), for smoothing and hashing; Tupkary, Nahar,
Sinha & Luetkenhaus, arXiv:2408.17349, for variable-length keys from phase-error bounds.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mdiqkd_net.params import Security

TAIL_EVENTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "S+ from below: three nested sums of right xx, oy and yo": 3,
        "S- from above: two nested sums of yy and oo": 2,
        "H from above: two nested sums of ox and xo": 2,
        "H from above: oo from below": 1,
        "H from below: two nested sums of ox and xo": 2,
        "H from below: oo from above": 1,
        "M from above: wrong xx": 1,
        "M from below: wrong xx": 1,
        "single-photon pairs among the z events, realised": 1,
        "phase errors among them, realised": 1,
    }
)
"""Every use of a tail bound in the estimate of one block, and how many events it is."""


def tail_beta(security: Security) -> float:
    """ln(1 / eps) of a single tail bound: all of them share P_fail equally."""
    n_events = sum(TAIL_EVENTS.values())
    return math.log(n_events) + 2.0 * math.log(4.0 / security.eps_sec)


def constant_bits(security: Security) -> float:
    """Fixed cost of a block: log2(2 / eps_cor) to verify and 2 log2(1 / (2 eps_pa)) to hash."""
    return math.log2(2.0 / security.eps_cor) + 2.0 * math.log2(1.0 / security.eps_sec)


def binary_entropy(x: float) -> float:
    """Shannon entropy of a biased coin, in bits; zero outside (0, 1)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0
    return -x * math.log2(x) - (1.0 - x) * math.log1p(-x) / math.log(2.0)


def planned_leak_bits(n: float, m: float, f_ec: float) -> float:
    """Bits that a reconciliation of efficiency `f_ec` discloses for n bits with m errors."""
    return f_ec * n * binary_entropy(min(0.5, m / n)) if n > 0.0 else 0.0


def private_bits(n11: float, phase_errors: float) -> float:
    """Min-entropy of n11 single-photon bits with a number of phase errors: n (1 - h(k / n)).

    Zero from half phase errors on, where the formula would wrongly rise again. The function is
    the greatest of the tangents (1 + log2(1 - e)) n - log2((1 - e) / e) k over e in (0, 1/2], hence
    jointly convex, not decreasing in n11 and not increasing in `phase_errors`.
    """
    if n11 <= 0.0 or 2.0 * phase_errors >= n11:
        return 0.0
    return n11 * (1.0 - binary_entropy(phase_errors / n11))
