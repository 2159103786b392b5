"""How the failure probabilities of a block add up, and what they cost in key bits.

Two schemes, by name in `ACCOUNTINGS`; each writes a `Ledger` in which every share of the budget
stands, so that the sum can be checked by hand.

'variable' (default): a key of whatever length the counts permit is secret except with
eps_sec = 2 sqrt(P_fail) + eps_pa, where P_fail is the probability that any of the statistical
statements fails (it enters the smooth min-entropy as a smoothing of sqrt(P_fail)) and eps_pa
belongs to privacy amplification. The budget is split as eps_pa = eps_sec / 2 and
P_fail = (eps_sec / 4)^2.

'linear': the convention of most papers on MDI, for comparing numbers with theirs. Every statement
and every parameter of the key length gets the same share and they are simply added; six shares go
to the length: two each to eps' and eps^, one to the vacuum term (which this engine does not use)
and one to privacy amplification. With fifteen statements that is the customary eps_sec / 21. The
key length is that of Curty et al., who derived it for keys of a length fixed in advance; for a
variable length, or with their own weight of four for the statements about phase errors, the sum
shown is not a proven eps_sec.

Sources: Tomamichel & Leverrier, Quantum 1, 14 (2017), for smoothing and hashing; Tupkary, Nahar,
Sinha & Luetkenhaus, arXiv:2408.17349, for variable-length keys from phase-error bounds; Curty,
Xu, Cui, Lim, Tamaki & Lo, Nat. Commun. 5, 3732 (2014), for the constant of 'linear'.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
"""Every use of a tail bound in the double scan of one block, and how many events it is."""


_ROUNDING: Final = 1e-9
"""Bits; more than the logarithms of the fixed cost are off."""

_LINEAR_SHARES: Final = 6
"""Shares of 'linear' that belong to the key length and to no tail bound."""

_NOT_HERE: Final = (
    "authentication of the messages: its failure probability and its key are accounted for by the "
    "network, once for each pair of nodes, and come on top",
)


@dataclass(frozen=True, slots=True)
class Share:
    """One entry of the ledger.

    Attributes:
        what: What may fail.
        part: Where it is summed: "statistics" (P_fail), "secrecy" (eps_sec) or "correctness".
        times: How many shares of `eps` it takes.
        eps: A single share.
    """

    what: str
    part: str
    times: int
    eps: float

    @property
    def total(self) -> float:
        """All shares of the entry."""
        return self.times * self.eps


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where each epsilon of a block goes, and what the fixed cost is made of.

    Attributes:
        scheme: Name of the accounting.
        rule: How the parts add up, as a formula.
        beta: ln(1 / eps) of every tail bound.
        shares: All entries.
        costs: Fixed cost in bits, by what it pays for.
        not_here: What the ledger does not contain.
    """

    scheme: str
    rule: str
    beta: float
    shares: tuple[Share, ...]
    costs: Mapping[str, float]
    not_here: tuple[str, ...] = _NOT_HERE

    def spent(self, part: str) -> float:
        """Sum of the entries of one part."""
        return math.fsum(share.total for share in self.shares if share.part == part)

    @property
    def constant_bits(self) -> float:
        """Fixed cost of a block."""
        return math.fsum(self.costs.values())

    def in_whole_bits(self) -> "Ledger":
        """The same with the fixed cost rounded up, for a method that counts in whole bits."""
        spent = math.fsum(self.costs.values())
        rest = math.ceil(spent + _ROUNDING) - spent
        return replace(self, costs={**self.costs, "rounding up to whole bits": rest})

    def as_dict(self) -> dict[str, object]:
        """The ledger for JSON; finite numbers and strings only."""
        return {
            "scheme": self.scheme,
            "rule": self.rule,
            "beta": self.beta,
            "shares": [
                {
                    "what": share.what,
                    "part": share.part,
                    "times": share.times,
                    "eps": share.eps,
                    "total": share.total,
                }
                for share in self.shares
            ],
            "sums": {part: self.spent(part) for part in ("statistics", "secrecy", "correctness")},
            "constant_bits": dict(self.costs),
            "not_included": list(self.not_here),
        }


def variable(security: Security, events: Mapping[str, int]) -> Ledger:
    """Ledger of 'variable'; `events` names the tail bounds and says how often each is used."""
    n_events = sum(events.values())
    half = 0.5 * security.eps_sec
    # A budget of 1e-200 has no square in doubles; beta is taken from the logarithm instead.
    beta = tail_beta(security, n_events)
    return Ledger(
        scheme="variable",
        rule="eps_sec = 2 sqrt(P_fail) + eps_PA, P_fail the sum of the statistics",
        beta=beta,
        shares=(
            *(Share(what, "statistics", n, math.exp(-beta)) for what, n in events.items()),
            Share("smoothing, 2 sqrt(P_fail)", "secrecy", 1, half),
            Share("privacy amplification, eps_PA", "secrecy", 1, half),
            Share("verification", "correctness", 1, security.eps_cor),
        ),
        costs={
            "verification, log2(2 / eps_cor)": math.log2(2.0 / security.eps_cor),
            "privacy amplification, 2 log2(1 / (2 eps_PA))": 2.0
            * math.log2(1.0 / security.eps_sec),
        },
    )


def linear(security: Security, events: Mapping[str, int]) -> Ledger:
    """Ledger of 'linear'; `events` names the tail bounds and says how often each is used."""
    n_shares = sum(events.values()) + _LINEAR_SHARES
    beta = math.log(n_shares) - math.log(security.eps_sec)
    eps = security.eps_sec / n_shares
    bits = -math.log2(security.eps_sec) + math.log2(n_shares)
    return Ledger(
        scheme="linear",
        rule="eps_sec = sum of the secrecy shares (a convention; see the documentation)",
        beta=beta,
        shares=(
            *(Share(what, "secrecy", n, eps) for what, n in events.items()),
            Share("smoothing, 2 eps'", "secrecy", 2, eps),
            Share("chain rule, 2 eps^", "secrecy", 2, eps),
            Share("vacuum term, eps_0 (not used)", "secrecy", 1, eps),
            Share("privacy amplification, eps_PA", "secrecy", 1, eps),
            Share("verification", "correctness", 1, security.eps_cor),
        ),
        costs={
            "verification, log2(8 / eps_cor)": math.log2(8.0 / security.eps_cor),
            "smoothing, 2 log2(2 / (eps' eps^))": 2.0 * (1.0 + 2.0 * bits),
            "privacy amplification, 2 log2(1 / (2 eps_PA))": 2.0 * (bits - 1.0),
        },
    )


ACCOUNTINGS: Final[Mapping[str, Callable[[Security, Mapping[str, int]], Ledger]]] = (
    MappingProxyType({"variable": variable, "linear": linear})
)
"""Ways to add up failure probabilities, by name."""

UNLIMITED: Final = Ledger(
    scheme="none",
    rule="every gain is taken at face value: no statement about any key, hence no epsilon",
    beta=0.0,
    shares=(),
    costs=MappingProxyType({}),
    not_here=(),
)
"""The ledger of a method that makes no finite-key statement."""


def tail_beta(security: Security, n_events: int = sum(TAIL_EVENTS.values())) -> float:
    """ln(1 / eps) of a single tail bound in 'variable': all of them share P_fail equally."""
    return math.log(n_events) + 2.0 * math.log(4.0 / security.eps_sec)


def constant_bits(security: Security) -> float:
    """Fixed cost of 'variable': log2(2 / eps_cor) to verify and 2 log2(1 / (2 eps_pa)) to hash."""
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
