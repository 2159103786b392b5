"""How long a secret key the counts of a block permit: the entry point of the analysis.

An `Analysis` names the method that bounds the private bits, the tail bounds and the way failure
probabilities add up. The default is four intensities, analytic decoy bounds with joint constraints,
double scan of H and M, exact Chernoff bounds, 'variable' accounting. Pure functions of their
arguments; the same counts give the same length on both sides. What is claimed, and under which
assumptions, is written down in docs/explanation/estimation.md.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from mdiqkd_net.blocks import Counts
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.accounting import ACCOUNTINGS, UNLIMITED, Ledger, planned_leak_bits
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits
from mdiqkd_net.estimation.certificate.search import design_certificate, designed_bits
from mdiqkd_net.estimation.decoy import Tallies, Worst, faults
from mdiqkd_net.estimation.methods import Bound, Case
from mdiqkd_net.estimation.tails import TAILS
from mdiqkd_net.params import Security, Source

_NOTHING: Final = Worst(private_bits=0.0, s11=0.0, e11=0.5, n11=0.0, phase_errors=0.0)

DEFAULT: Final = Analysis()
"""Of the nodes, and of whoever names none."""

_MAX_FACTOR: Final = 2.0**60

_UNITS: Final = (
    (172800.0, 86400.0, "days"),
    (7200.0, 3600.0, "hours"),
    (120.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)
"""From how many seconds on a unit is used, its length, and its name."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a block is worth.

    Attributes:
        key_length_bits: Secret bits that privacy amplification may extract; 0 if none.
        private_bits: Lower bound of the min-entropy before all costs; 0 if nothing can be said.
        s11_lower: Yield of single-photon pairs at the worst joint point of the scan. It is part of
            that point, not a lower bound by itself, and may exceed the true yield. This and the
            next three are None for a method that knows no such point.
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
    private_bits: float
    s11_lower: float | None
    e11_upper: float | None
    n11_lower: float | None
    phase_errors_upper: float | None
    leak_ec_bits: int
    constant_bits: float
    reason: str
    asymptotic_key_length_bits: int
    analysis: Analysis

    @property
    def label(self) -> str:
        """What has to stand beside every number of this; empty if nothing need be said."""
        return self.analysis.rules.label


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
    method = analysis.rules
    case = Case(counts, alice, bob, security, analysis.design, analysis.digest)
    ledger = _ledger(case, analysis)
    why = faults(counts, alice, bob, *method.needs(case))
    if not why and leak_ec_bits is not None and leak_ec_bits < 0:
        why = f"leak_ec_bits is {leak_ec_bits}, and no reconciliation gives bits back"
    n_zz, m_zz = counts.n.get("zz", 0), counts.m.get("zz", 0)
    bound, asymptotic = Bound(0.0, None), 0.0
    if why:
        leak = max(0, leak_ec_bits or 0)
    else:
        leak = (
            math.ceil(planned_leak_bits(n_zz, m_zz, security.f_ec))
            if leak_ec_bits is None
            else leak_ec_bits
        )
        bound = method.bound(case, TAILS[analysis.tail], ledger.beta)
        why = bound.reason
        asymptotic = asymptotic_key_bits(
            counts, alice, bob, security.f_ec, leak_ec_bits=leak_ec_bits
        )
    length = 0 if why else math.floor(bound.private_bits - leak - ledger.constant_bits)
    if length <= 0 and not why:
        why = _why_no_key(bound, counts, leak, ledger.constant_bits)
    # Bounds that hold whatever was counted stand for the point of a scan that was not made.
    worst = bound.worst or (None if method.frozen else _NOTHING)
    return Estimate(
        key_length_bits=max(0, length),
        private_bits=bound.private_bits,
        s11_lower=None if worst is None else worst.s11,
        e11_upper=None if worst is None else worst.e11,
        n11_lower=None if worst is None else worst.n11,
        phase_errors_upper=None if worst is None else worst.phase_errors,
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
    case = Case(counts, alice, bob, security, analysis.design, analysis.digest)
    return _ledger(case, analysis)


def _ledger(case: Case, analysis: Analysis) -> Ledger:
    events = analysis.rules.events(case)
    if not events:
        return UNLIMITED
    ledger = ACCOUNTINGS[analysis.accounting](case.security, events)
    return ledger.in_whole_bits() if analysis.rules.whole_bits else ledger


def prepared(
    expected: Counts | Tallies, alice: Source, bob: Source, security: Security, analysis: Analysis
) -> Analysis:
    """The analysis of a block to come, with whatever its method wants frozen before it.

    That is the design of a certificate, for the block that is expected, and its digest. Other
    analyses, and those that have their design, come back as they are.

    Raises:
        ConfigError: No design can be made: a source outside the scope of the proof, for one.
    """
    if not analysis.rules.frozen or analysis.design is not None:
        return analysis
    design = design_certificate(expected, alice, bob, security)
    return msgspec.structs.replace(analysis, design=design, digest=design.digest())


def predict_estimate(
    expected: Counts | Tallies,
    alice: Source,
    bob: Source,
    security: Security,
    analysis: Analysis = DEFAULT,
    *,
    leak_ec_bits: int | None = None,
) -> Estimate:
    """`estimate` of the block that is expected, with the analysis `prepared` for it.

    For predictions alone: a design made from the counts that it judges certifies nothing.
    """
    try:
        analysis = prepared(expected, alice, bob, security, analysis)
    except ConfigError as error:
        # Without a design there is no estimate; what is missing says more than that it is.
        found = estimate(expected, alice, bob, security, analysis, leak_ec_bits=leak_ec_bits)
        return replace(found, reason=str(error))
    return estimate(expected, alice, bob, security, analysis, leak_ec_bits=leak_ec_bits)


def designed_key_bits(
    expected: Counts | Tallies, alice: Source, bob: Source, security: Security, analysis: Analysis
) -> float:
    """The key of a block under the best design for it; zero or less if there is none.

    For searches over settings and lengths alone, which would not wait for a checked design at every
    step: the bound is that of `predict_estimate` before rounding, to some ten bits.

    Args:
        expected: Counts of the block.
        alice: Her settings.
        bob: His.
        security: Budget, and f_ec of the planned reconciliation.
        analysis: Of a method that asks for a design, and without one.
    """
    case = Case(expected, alice, bob, security)
    if faults(expected, alice, bob, *analysis.rules.needs(case)):
        return 0.0
    try:
        private = designed_bits(expected, alice, bob, security)
    except ConfigError:
        return 0.0
    leak = planned_leak_bits(expected.n["zz"], expected.m["zz"], security.f_ec)
    return private - leak - _ledger(case, analysis).constant_bits


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

    All counts, the pulses and a given leak are scaled together. A certificate without a design gets
    the best one for the longer block; one that has a design keeps it.

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
        if designs:
            return designed_key_bits(scaled, alice, bob, security, analysis) >= 1.0
        found = estimate(scaled, alice, bob, security, analysis, leak_ec_bits=leak)
        return found.key_length_bits > 0

    designs = analysis.rules.frozen and analysis.design is None
    case = Case(counts, alice, bob, security, analysis.design, analysis.digest)
    if faults(counts, alice, bob, *analysis.rules.needs(case)):
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


def more_light(factor: float | None, n_pulses: float, pulse_rate_hz: float) -> float | None:
    """Seconds of light that a block lacks to a key: 0 if it has one, None if none would do.

    Args:
        factor: From `blocks_needed`.
        n_pulses: Of the block.
        pulse_rate_hz: Of the transmitters.
    """
    return None if factor is None else max(0.0, factor - 1.0) * n_pulses / pulse_rate_hz


def in_words(seconds: float | None) -> str:
    """What `more_light` means to whoever waits for a key."""
    if seconds is None:
        return "no amount of such data would give a key"
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"about {float(f'{seconds / size:.2g}'):g} more {unit} at this rate would give a key"


def _why_no_key(bound: Bound, counts: Counts | Tallies, leak: int, constant: float) -> str:
    n_xx = counts.n.get("xx", 0)
    if counts.n["zz"] <= 0:
        return "no z events"
    if (worst := bound.worst) is not None:
        if worst.s11 <= 0.0 or worst.n11 <= 0.0:
            return f"no single-photon pair is certain with {n_xx:.0f} X events"
        rate = worst.phase_errors / worst.n11
        if rate >= 0.5:
            return f"phase-error bound {rate:.2f} with {n_xx:.0f} X events"
    return (
        f"{bound.private_bits:.0f} private bits do not cover {leak} bits of reconciliation "
        f"and {constant:.0f} bits of fixed cost"
    )
