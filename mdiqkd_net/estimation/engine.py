"""How long a secret key the counts of a block permit: the entry point of the analysis.

An `Analysis` names the method that finds the worst channel, the tail bounds and the way failure
probabilities add up. The default is four intensities, analytic decoy bounds with joint constraints,
double scan of H and M, exact Chernoff bounds, 'variable' accounting. Pure functions of their
arguments; the same counts give the same length on both sides. What is claimed, and under which
assumptions, is written down in docs/explanation/estimation.md.
"""

import math
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import ACCOUNTINGS, UNLIMITED, Ledger, planned_leak_bits
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits
from mdiqkd_net.estimation.boxes import NoChannelError
from mdiqkd_net.estimation.decoy import Tallies, Worst, faults
from mdiqkd_net.estimation.methods import METHODS
from mdiqkd_net.estimation.tails import TAILS
from mdiqkd_net.params import Security, Source

_NOTHING: Final = Worst(private_bits=0.0, s11=0.0, e11=0.5, n11=0.0, phase_errors=0.0)

DEFAULT: Final = Analysis()
"""Of the nodes, and of whoever names none."""

_MAX_FACTOR: Final = 2.0**60


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a block is worth.

    Attributes:
        key_length_bits: Secret bits that privacy amplification may extract; 0 if none.
        s11_lower: Yield of single-photon pairs at the worst joint point of the scan. It is part of
            that point, not a lower bound by itself, and may exceed the true yield.
        e11_upper: Their phase-error rate at that point; likewise.
        n11_lower: Single-photon pairs among the z events there.
        phase_errors_upper: Phase errors among them there.
        leak_ec_bits: Bits charged for reconciliation.
        constant_bits: Fixed cost of verification and hashing.
        reason: Why there is no key, in words; empty if there is one.
        asymptotic_key_length_bits: The key if all gains were exact (not a key).
        analysis: How it was found.
    """

    key_length_bits: int
    s11_lower: float
    e11_upper: float
    n11_lower: float
    phase_errors_upper: float
    leak_ec_bits: int
    constant_bits: float
    reason: str
    asymptotic_key_length_bits: int
    analysis: Analysis


def estimate(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    security: Security,
    analysis: Analysis = DEFAULT,
    *,
    leak_ec_bits: int | None = None,
) -> Estimate:
    """Length of the secret key that a block of counts permits.

    Bad data is answered with a length of 0 and a reason, never with an exception.

    Args:
        counts: Events and errors by category. The default method needs events of oo, ox, xo, oy,
            yo, xx, yy and zz, errors of xx and zz, and uses no others; "tangent_lp" needs zz and
            uses whatever there is of vacuum and basis X. All events of a category must be counted,
            of one block whose announcements were complete before any setting was revealed.
        alice: Her settings, exactly as she sent them.
        bob: His.
        security: eps_sec and eps_cor of the key; f_ec for planning.
        analysis: How to judge them; chosen before the counts were known.
        leak_ec_bits: Everything about Alice's z bits that was disclosed: her parities, single bits
            given away, and the verification tag. The constant already pays for a tag of
            log2(2 / eps_cor) bits; who counts the tag here pays for it twice, which is safe. Bob's
            parities add only the positions of errors, which are treated as known to Eve. None
            plans with f_ec n h(E) and nothing else.
    """
    method = METHODS[analysis.method]
    ledger = eps_ledger(counts, alice, bob, security, analysis)
    needed, needed_errors = method.needs(counts, alice, bob)
    why = faults(counts, alice, bob, needed, needed_errors)
    if not why and leak_ec_bits is not None and leak_ec_bits < 0:
        why = f"leak_ec_bits is {leak_ec_bits}, and no reconciliation gives bits back"
    n_zz, m_zz = counts.n.get("zz", 0), counts.m.get("zz", 0)
    worst, asymptotic = _NOTHING, 0.0
    if why:
        leak = max(0, leak_ec_bits or 0)
    else:
        leak = (
            math.ceil(planned_leak_bits(n_zz, m_zz, security.f_ec))
            if leak_ec_bits is None
            else leak_ec_bits
        )
        try:
            worst = method.worst(counts, alice, bob, TAILS[analysis.tail], ledger.beta)
        except NoChannelError as error:
            why = str(error)
        asymptotic = asymptotic_key_bits(
            counts, alice, bob, security.f_ec, leak_ec_bits=leak_ec_bits
        )
    length = 0 if why else math.floor(worst.private_bits - leak - ledger.constant_bits)
    if length <= 0 and not why:
        why = _why_no_key(worst, counts, leak, ledger.constant_bits)
    return Estimate(
        key_length_bits=max(0, length),
        s11_lower=worst.s11,
        e11_upper=worst.e11,
        n11_lower=worst.n11,
        phase_errors_upper=worst.phase_errors,
        leak_ec_bits=leak,
        constant_bits=ledger.constant_bits,
        reason=why,
        asymptotic_key_length_bits=max(0, math.floor(asymptotic)),
        analysis=analysis,
    )


def eps_ledger(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    security: Security,
    analysis: Analysis = DEFAULT,
) -> Ledger:
    """Where each epsilon goes in `estimate` with the same arguments.

    It depends on which categories are named and on nothing that was counted in them.
    """
    events = METHODS[analysis.method].events(counts, alice, bob)
    return ACCOUNTINGS[analysis.accounting](security, events) if events else UNLIMITED


def blocks_needed(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    security: Security,
    analysis: Analysis = DEFAULT,
    *,
    leak_ec_bits: int | None = None,
) -> float | None:
    """How many times as much of the same data would give a key: at least 1.

    All counts, the pulses and a given leak are scaled together.

    Returns:
        The least factor to three digits, or None if no amount of such data would do.
    """

    def has_key(factor: float) -> bool:
        leak = None if leak_ec_bits is None else math.ceil(factor * leak_ec_bits)
        scaled = Tallies(
            n_pulses=factor * counts.n_pulses,
            n={category: factor * n for category, n in counts.n.items()},
            m={category: factor * m for category, m in counts.m.items()},
        )
        found = estimate(scaled, alice, bob, security, analysis, leak_ec_bits=leak)
        return found.key_length_bits > 0

    if faults(counts, alice, bob, *METHODS[analysis.method].needs(counts, alice, bob)):
        return None
    if has_key(1.0):
        return 1.0
    high = 2.0
    while not has_key(high):
        high *= 2.0
        if high > _MAX_FACTOR:
            return None
    low = high / 2.0
    while high > 1.0005 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if has_key(middle) else (middle, high)
    return high


def _why_no_key(worst: Worst, counts: Counts | Tallies, leak: int, constant: float) -> str:
    n_xx = counts.n.get("xx", 0)
    if counts.n["zz"] <= 0:
        return "no z events"
    if worst.s11 <= 0.0 or worst.n11 <= 0.0:
        return f"no single-photon pair is certain with {n_xx:.0f} X events"
    rate = worst.phase_errors / worst.n11
    if rate >= 0.5:
        return f"phase-error bound {rate:.2f} with {n_xx:.0f} X events"
    return (
        f"{worst.private_bits:.0f} private bits do not cover {leak} bits of reconciliation "
        f"and {constant:.0f} bits of fixed cost"
    )
