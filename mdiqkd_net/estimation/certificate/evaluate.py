"""A frozen design and the counts of a block: one sum of products, and the length of the key.

Accounting is 'variable', with a single statistical event: eps_sec = 2 sqrt(P_fail) + eps_PA,
P_fail = (eps_sec / 4)^2 for the certificate's bound, eps_PA = eps_sec / 2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Protocol

from mdiqkd_net.estimation.certificate.check import InvalidDesignError, check_design
from mdiqkd_net.estimation.certificate.design import LABEL, UNITS_PER_BIT, Design
from mdiqkd_net.estimation.certificate.scope import outside
from mdiqkd_net.params import Security, Source

_ROUNDING: Final = 1e-9
"""Bits; more than the logarithms of the fixed cost are off."""


class Observed(Protocol):
    """Counts of a block; whole numbers, or fractional ones of a prediction."""

    @property
    def n_pulses(self) -> float:
        """Pulse pairs sent."""

    @property
    def n(self) -> Mapping[str, float]:
        """Events per pair of settings."""

    @property
    def m(self) -> Mapping[str, float]:
        """Errors among them."""


@dataclass(frozen=True, slots=True)
class CertifiedEstimate:
    """What a block is worth by the certificate. Show `label` with the number.

    Attributes:
        key_length_bits: Secret bits that privacy amplification may extract; 0 if none.
        certified_bits: Lower bound of the key rounds' min-entropy before all costs, at most n_zz.
        leak_ec_bits: Bits charged for reconciliation.
        constant_bits: Bits charged for verification, hashing and the choice among transcripts.
        digest: SHA-256 of the design.
        reason: Why there is no key, in words; empty if there is one.
        label: Standing of the proof.
    """

    key_length_bits: int
    certified_bits: int
    leak_ec_bits: int
    constant_bits: int
    digest: str
    reason: str
    label: str = LABEL


def certified_estimate(
    counts: Observed,
    design: Design,
    security: Security,
    leak_ec_bits: int,
    *,
    alice: Source,
    bob: Source,
    frozen_digest: str,
    n_transcripts: int = 1,
) -> CertifiedEstimate:
    """Length of the secret key that a block permits under a design frozen before it.

    Bad data, a design that fails the checker, and one that is not the frozen one are answered with
    a length of 0 and a reason, never with an exception. The checker runs once per design.

    Args:
        counts: All events of the block, and errors of the categories that the design takes apart.
        design: From `design_certificate` or `parse_design`.
        security: Must have the eps_sec that the design was made for.
        leak_ec_bits: Everything that was disclosed about z bits.
        alice: Her declared settings; must lie in the design's box.
        bob: His.
        frozen_digest: `design.digest()` as both users stored it before the block began. For a
            prediction, which certifies no key, the digest of the design at hand.
        n_transcripts: How many different lengths of reconciliation the key bits might have led
            to; 1 if public data fixed the length. Costs log2 of it.
    """
    certified, why = admitted_bits(
        counts, design, security, alice=alice, bob=bob, frozen_digest=frozen_digest
    )
    if not why and leak_ec_bits < 0:
        why = f"leak_ec_bits is {leak_ec_bits}, and no reconciliation gives bits back"
    if not why and n_transcripts < 1:
        why = f"n_transcripts is {n_transcripts}; there is at least one transcript"
    constant = math.ceil(
        math.log2(2.0 / security.eps_cor)
        + 2.0 * math.log2(1.0 / security.eps_sec)
        + math.log2(max(1, n_transcripts))
        + _ROUNDING
    )
    leak = max(0, leak_ec_bits)
    length = certified - leak - constant
    if not why and length <= 0:
        why = (
            f"{certified} certified bits do not cover {leak} bits of reconciliation "
            f"and {constant} bits of fixed cost"
        )
    return CertifiedEstimate(
        key_length_bits=0 if why else length,
        certified_bits=certified,
        leak_ec_bits=leak,
        constant_bits=constant,
        digest=_admit(design)[0],
        reason=why,
    )


def admitted_bits(
    counts: Observed,
    design: Design,
    security: Security,
    *,
    alice: Source,
    bob: Source,
    frozen_digest: str,
) -> tuple[int, str]:
    """Certified bits under a design that passes the checker and is the frozen one.

    Arguments are those of `certified_estimate`, for which this is the part before all costs.

    Returns:
        The bound, 0 if there is none, and why there is none, in words.
    """
    digest, why = _admit(design)
    if not why and frozen_digest != digest:
        why = "the design is not the one that was frozen before the block"
    if not why and security.eps_sec != design.eps_sec:
        why = f"the design was made for eps_sec {design.eps_sec:g}, not {security.eps_sec:g}"
    for name, box, source in (("Alice", design.alice, alice), ("Bob", design.bob, bob)):
        if not why and (left := outside(box, source)):
            why = f"{name}'s {left}"
    if why:
        return 0, why
    bits, why = certified_bits(counts, design)
    if not why and bits <= 0:
        why = "the counts certify no private bits"
    return max(0, bits), why


def certified_bits(counts: Observed, design: Design) -> tuple[int, str]:
    """The bound min(G_L, n_zz) in whole bits, rounded down, and why there is none.

    Does not run the checker. The sum is exact: whole counts are multiplied as integers.
    """
    total: int | Fraction = -design.offset
    n, m = counts.n, counts.m
    events = 0.0
    for pair, value in n.items():
        if not (math.isfinite(value) and value >= 0):
            return 0, f"{pair} has {value} events"
        events += value
        errors = m.get(pair, 0)
        if not (math.isfinite(errors) and 0 <= errors <= value):
            return 0, f"{pair} has {errors} errors in {value} events"
    if not events <= counts.n_pulses:
        return 0, f"{events:.12g} events were counted in {counts.n_pulses} pulse pairs"
    for category, score in design.scores:
        pair = category[:2]
        if pair not in n or (category != pair and pair not in m):
            return 0, f"the design needs {category}, which was not counted"
        if category == pair:
            count = _exact(n[pair])
        elif category[3:] == "wrong":
            count = _exact(m[pair])
        else:
            count = _exact(n[pair]) - _exact(m[pair])
        total += score * count
    return min(total // UNITS_PER_BIT, math.floor(n["zz"])), ""


def _exact(value: float) -> int | Fraction:
    whole = int(value)
    return whole if whole == value else Fraction(value)


@lru_cache(maxsize=64)
def _admit(design: Design) -> tuple[str, str]:
    """Digest of a design, and why it may not be used; empty if it may."""
    try:
        check_design(design.canonical())
        return design.digest(), ""
    except InvalidDesignError as error:
        return "", str(error)
    except (TypeError, ValueError, AttributeError):
        return "", "the design has no canonical form"
