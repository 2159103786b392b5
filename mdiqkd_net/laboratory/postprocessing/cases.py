"""All that is measured of post-processing, in order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from mdiqkd_net.errors import ProtocolError
from mdiqkd_net.laboratory.postprocessing.chain import Chain, measure_chain
from mdiqkd_net.laboratory.postprocessing.hashing import (
    Amplification,
    Verification,
    measure_amplification,
    measure_verification,
)
from mdiqkd_net.laboratory.postprocessing.reconciling import (
    Reconciliation,
    Task,
    measure_reconciliation,
    sifted_keys,
)
from mdiqkd_net.laboratory.postprocessing.timing import cpu_s
from mdiqkd_net.postprocessing.amplify import KNOWN, amplify_packed, seed_bits, tiers

RATIOS: Final = (0.1, 0.5)
CHAIN_QBERS: Final = (0.02, 0.005)

_FIRST_BITS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class FirstCall:
    """What a stage takes once in a process: compiled code is made, or read from the disk.

    Attributes:
        stage: A scheme, which reconciles 2^16 bits, or a tier, which hashes those of `KNOWN`.
        cpu_s: CPU time.
    """

    stage: str
    cpu_s: float

    def as_dict(self) -> dict[str, Any]:
        """Fields."""
        return asdict(self)


Row = FirstCall | Reconciliation | Verification | Amplification | Chain

SECTIONS: Final[Mapping[str, type[Row]]] = {
    "first_calls": FirstCall,
    "reconciliation": Reconciliation,
    "verification": Verification,
    "amplification": Amplification,
    "chain": Chain,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        schemes: Names in `RECONCILERS`.
        qbers: At which each of them reconciles.
        n_bits: Of each key that is reconciled.
        n_keys: That are reconciled by each scheme at each QBER.
        sizes: Bits of the keys that are verified and amplified.
        chain_bits: Of the key that goes through all stages.
        seed: Of all keys; the same seed gives the same keys, whatever else is measured.
    """

    schemes: tuple[str, ...]
    qbers: tuple[float, ...]
    n_bits: int
    n_keys: int
    sizes: tuple[int, ...]
    chain_bits: int
    seed: int


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement that is still to be made."""

    name: str
    measure: Callable[[], Row]


def cases(plan: Plan) -> Iterator[Case]:
    """First calls, then everything else; to be made in this order."""
    seed = plan.seed
    for scheme in plan.schemes:
        yield Case(f"first call of {scheme}", partial(_first_key, scheme, plan.qbers[0], seed))
    for tier in tiers():
        yield Case(f"first call of {tier}", partial(_first_hash, tier))
    for scheme in plan.schemes:
        for qber in plan.qbers:
            yield Case(
                f"{scheme} at QBER {qber:.3g}",
                partial(
                    measure_reconciliation,
                    scheme,
                    qber,
                    plan.n_bits,
                    n_keys=plan.n_keys,
                    seed=seed,
                ),
            )
    for size in plan.sizes:
        yield Case(f"verification, {size} bits", partial(measure_verification, size, seed=seed))
    for tier in tiers():
        for ratio in RATIOS:
            for size in plan.sizes:
                yield Case(
                    f"{tier}, ratio {ratio:g}, {size} bits",
                    partial(measure_amplification, tier, size, ratio, seed=seed),
                )
    for scheme in plan.schemes:
        for qber in CHAIN_QBERS:
            yield Case(
                f"chain with {scheme} at QBER {qber:.3g}",
                partial(measure_chain, scheme, qber, plan.chain_bits, seed=seed),
            )


def _first_key(scheme: str, qber: float, seed: int) -> FirstCall:
    task = Task(*sifted_keys(_FIRST_BITS, qber, seed), scheme, qber, seed)

    def call() -> None:
        with suppress(ProtocolError):  # the measurement itself will tell of it
            task.together()

    return FirstCall(scheme, cpu_s(call)[1])


def _first_hash(tier: str) -> FirstCall:
    def call() -> None:
        for n_in, n_out in KNOWN:
            key, public = bytes(-(-n_in // 8)), bytes(-(-seed_bits(n_in, n_out) // 8))
            amplify_packed(key, n_in, public, n_out, tier=tier)

    return FirstCall(tier, cpu_s(call)[1])
