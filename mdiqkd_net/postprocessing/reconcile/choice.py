"""Which reconciliation scheme to use: more leak against more rounds, as a pure function."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy


@dataclass(frozen=True, slots=True)
class Figures:
    """What a scheme costs.

    Attributes:
        efficiency: Pairs of a QBER and the leak f there, over the Shannon limit.
        rounds: Messages each way per batch.
        batch_bits: Bits that share their rounds.
        bits_per_s: Key bits per second, both users on one core.
        one_way: Whether Bob sends nothing that depends on his key.
    """

    efficiency: tuple[tuple[float, float], ...]
    rounds: int
    batch_bits: int
    bits_per_s: float
    one_way: bool


FIGURES: Final[Mapping[str, Figures]] = MappingProxyType(
    {
        "cascade": Figures(
            ((0.02, 1.035), (0.03, 1.039), (0.05, 1.05), (0.08, 1.07), (0.11, 1.1)),
            rounds=900,
            batch_bits=1 << 23,
            bits_per_s=50e6,
            one_way=False,
        ),
        "cascade_low_rounds": Figures(
            ((0.005, 1.043), (0.02, 1.054), (0.05, 1.065), (0.08, 1.087), (0.11, 1.11)),
            rounds=220,
            batch_bits=1 << 23,
            bits_per_s=60e6,
            one_way=False,
        ),
        "ldpc": Figures(
            ((0.003, 1.17), (0.005, 1.15), (0.01, 1.13), (0.02, 1.11), (0.11, 1.11)),
            rounds=6,
            batch_bits=1 << 23,
            bits_per_s=4e6,
            one_way=True,
        ),
    }
)
"""Measured, see docs/explanation/post-processing.md; on another machine speeds differ."""


class Choice(NamedTuple):
    """A name in `RECONCILERS`, and why."""

    name: str
    reason: str


def kept_bits_per_s(
    figures: Figures, *, qber: float, n_bits: int, rtt_s: float, accumulation_s: float
) -> float:
    """Bits of a block that remain after the leak, over the time that a block takes.

    A block takes as long as its light, or its reconciliation where that is longer: one goes on
    while the other is under way. A round takes half of a round trip, for both users send at once.
    """
    rates, efficiencies = zip(*figures.efficiency, strict=True)
    share = 1.0 - float(np.interp(qber, rates, efficiencies)) * binary_entropy(qber)
    rounds = figures.rounds * -(-n_bits // figures.batch_bits)
    time_s = rounds * rtt_s / 2.0 + n_bits / figures.bits_per_s
    return n_bits * max(share, 0.0) / max(time_s, accumulation_s)


def choose(
    qber: float,
    n_bits: int,
    rtt_s: float,
    *,
    accumulation_s: float = 0.0,
    one_way: bool = False,
    figures: Mapping[str, Figures] = FIGURES,
) -> Choice:
    """The scheme that keeps the most bits per second; of equals, that which leaks less.

    Args:
        qber: Expected error rate, 0 to 1/2: of the block before, or of the estimation data.
        n_bits: Key bits of a block.
        rtt_s: Round-trip time between the users.
        accumulation_s: How long the light of a block takes; 0 if it waits already.
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
            costs, qber=qber, n_bits=n_bits, rtt_s=rtt_s, accumulation_s=accumulation_s
        )
        for name, costs in figures.items()
        if costs.one_way or not one_way
    }
    if not kept:
        raise LocalProtocolError("schemes: found none that is one-way; allowed: at least one")
    best = max(kept, key=lambda name: kept[name])
    if one_way:
        return Choice(best, "the proof in use demands one-way reconciliation")
    listed = ", ".join(f"{name} {rate:.3g}" for name, rate in kept.items())
    return Choice(
        best,
        f"bits kept per second at a QBER of {qber:.3g} and a round trip of {rtt_s:.3g} s: {listed}",
    )
