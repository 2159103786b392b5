"""Which reconciliation scheme to use: more leak against more rounds, as a pure function."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy

AUTO: Final = "auto"
"""Configured in place of a name in `RECONCILERS`: the coordinator chooses, block by block."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a scheme costs.

    Attributes:
        efficiency: Pairs of a QBER and the leak f there, over the Shannon limit.
        fixed_bits: What a batch leaks beyond that, which matters where it is short.
        rounds: Pairs of the bits of a batch and the messages each way. More bits than in the last
            pair go into several batches.
        bits_per_s: Key bits per second, both users on one core.
        one_way: Whether Bob sends nothing that depends on his key.
    """

    efficiency: tuple[tuple[float, float], ...]
    fixed_bits: float
    rounds: tuple[tuple[int, int], ...]
    bits_per_s: float
    one_way: bool

    def leak_bits(self, qber: float, n_bits: int) -> float:
        """Expected leak of a block."""
        rates, efficiencies = zip(*self.efficiency, strict=True)
        f = float(np.interp(qber, rates, efficiencies))
        n_batches = -(-n_bits // self.rounds[-1][0])
        return f * n_bits * binary_entropy(qber) + n_batches * self.fixed_bits

    def time_s(self, n_bits: int, rtt_s: float) -> float:
        """How long a block takes; a round takes half a round trip, as both users send at once."""
        sizes, rounds = zip(*self.rounds, strict=True)
        n_batches: int = -(-n_bits // sizes[-1])
        n_rounds = n_batches * float(np.interp(math.log(n_bits / n_batches), np.log(sizes), rounds))
        return n_rounds * rtt_s / 2.0 + n_bits / self.bits_per_s


FIGURES: Final[Mapping[str, Figures]] = MappingProxyType(
    {
        "cascade": Figures(
            ((0.02, 1.035), (0.03, 1.039), (0.05, 1.05), (0.08, 1.07), (0.11, 1.1)),
            fixed_bits=140.0,
            rounds=((1000, 90), (10**4, 170), (10**5, 650), (1 << 23, 900)),
            bits_per_s=50e6,
            one_way=False,
        ),
        "cascade_low_rounds": Figures(
            ((0.005, 1.043), (0.02, 1.054), (0.05, 1.065), (0.08, 1.087), (0.11, 1.11)),
            fixed_bits=100.0,
            rounds=((1000, 60), (10**4, 130), (1 << 23, 220)),
            bits_per_s=60e6,
            one_way=False,
        ),
        "ldpc": Figures(
            ((0.003, 1.2), (0.005, 1.166), (0.01, 1.141), (0.02, 1.117), (0.03, 1.114)),
            fixed_bits=75.0,
            rounds=((1000, 5), (1 << 23, 6)),
            bits_per_s=10e6,
            one_way=True,
        ),
    }
)
"""Measured, see docs/explanation/post-processing.md; on another machine speeds differ."""

TOLERANT: Final[Mapping[str, Figures]] = MappingProxyType(
    {name: costs for name, costs in FIGURES.items() if not costs.one_way}
)
"""Those whose leak suffers little where the error rate is only guessed."""


class Choice(NamedTuple):
    """A name in `RECONCILERS`, and why."""

    name: str
    reason: str


def kept_bits_per_s(
    figures: Figures,
    *,
    qber: float,
    n_bits: int,
    rtt_s: float,
    accumulation_s: float = 0.0,
    overlapped: bool = True,
    budget_bits: float | None = None,
) -> float:
    """Bits of a block that remain after the leak, over the time that a block takes; maybe negative.

    A block takes as long as its light, or its reconciliation where that is longer, if one goes on
    while the other is under way; if they are not `overlapped`, it takes the sum. The arguments are
    those of `choose`.
    """
    left = (n_bits if budget_bits is None else budget_bits) - figures.leak_bits(qber, n_bits)
    time_s = figures.time_s(n_bits, rtt_s)
    return left / (max(time_s, accumulation_s) if overlapped else time_s + accumulation_s)


def choose(
    qber: float,
    n_bits: int,
    rtt_s: float,
    *,
    accumulation_s: float = 0.0,
    overlapped: bool = True,
    budget_bits: float | None = None,
    one_way: bool = False,
    figures: Mapping[str, Figures] = FIGURES,
) -> Choice:
    """The scheme that keeps the most bits per second; the least leak where none keeps any.

    Args:
        qber: Expected error rate, 0 to 1/2: of the block before, or of the estimation data.
        n_bits: Key bits of a block.
        rtt_s: Round-trip time between the users.
        accumulation_s: How long the light of a block takes; 0 if it waits already.
        overlapped: Whether the light of the next block comes in while this one is reconciled.
        budget_bits: Length of the secret key if nothing leaked; absent: all `n_bits`. The less it
            is, the more leak matters.
        one_way: Whether the security proof in use demands that Bob sends nothing that
            depends on his key.
        figures: Costs of the schemes to choose from.

    Raises:
        LocalProtocolError: An argument is out of range, or no scheme is left.
    """
    if not 0.0 <= qber <= 0.5:
        raise LocalProtocolError(f"qber: found {qber}; allowed: 0 to 0.5")
    if n_bits < 1 or not (rtt_s >= 0.0 and accumulation_s >= 0.0):
        raise LocalProtocolError(
            f"block: found {n_bits} bits, round trip {rtt_s} s, light for {accumulation_s} s; "
            "allowed: at least one bit, no negative time"
        )
    kept = {
        name: kept_bits_per_s(
            costs,
            qber=qber,
            n_bits=n_bits,
            rtt_s=rtt_s,
            accumulation_s=accumulation_s,
            overlapped=overlapped,
            budget_bits=budget_bits,
        )
        for name, costs in figures.items()
        if costs.one_way or not one_way
    }
    if not kept:
        raise LocalProtocolError("schemes: found none that is one-way; allowed: at least one")
    if max(kept.values()) > 0.0:
        best = max(kept, key=lambda name: kept[name])
    else:
        best = min(kept, key=lambda name: figures[name].leak_bits(qber, n_bits))
    if one_way:
        return Choice(best, "the proof in use demands one-way reconciliation")
    listed = ", ".join(f"{name} {rate:.3g}" for name, rate in kept.items())
    return Choice(
        best,
        f"bits kept per second at a QBER of {qber:.3g} and a round trip of {rtt_s:.3g} s: {listed}",
    )
