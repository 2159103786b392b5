"""How private bits are bounded from counts: the methods, by name.

A method says which categories it needs, which of its statements may fail, and what is left of the z
events in the worst case. Whoever adds one adds a function or two and a line in `METHODS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import ACCOUNTINGS
from mdiqkd_net.estimation.asymptotic import (
    face_value,
    z_single_photon_pairs,
    z_single_photon_pairs_upper,
)
from mdiqkd_net.estimation.boxes import NoChannelError, box_events, observations
from mdiqkd_net.estimation.certificate.classes import PLAIN_PAIRS, TEST_PAIRS
from mdiqkd_net.estimation.certificate.design import LABEL, Design
from mdiqkd_net.estimation.certificate.evaluate import admitted_bits
from mdiqkd_net.estimation.decoy import NEEDED, NEEDED_ERRORS, Tallies, Worst, region, scan_events
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.estimation.tails import Tail
from mdiqkd_net.estimation.tangent_lp import tangent_lp
from mdiqkd_net.params import Security, Source

Data = Counts | Tallies
Categories = tuple[Collection[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class Case:
    """What a method is asked about.

    Attributes:
        data: Counts of the block.
        alice: Her settings.
        bob: His.
        security: Budget of the key.
        design: What was frozen before the block, for the method that asks for it.
        digest: SHA-256 of the design that both users stored before the block.
    """

    data: Data
    alice: Source
    bob: Source
    security: Security
    design: Design | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """What a method finds.

    Attributes:
        private_bits: Lower bound of the min-entropy before all costs.
        worst: The point where it is attained; None for a method that knows no such point.
        reason: Why nothing can be said, in words; else empty.
    """

    private_bits: float
    worst: Worst | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way from counts to private bits.

    Attributes:
        needs: Categories whose events, and categories whose errors, the method cannot do without.
        events: Every statement that may fail, and how many events it is; empty if the method makes
            no finite-key statement. Must not depend on what was counted.
        bound: The bound, by a tail and beta = ln(1 / eps) of each statement. The data has no
            faults (`decoy.faults`).
        what: How it works, in words.
        label: Stands beside every number of the method; empty if nothing need be said.
        uses_tails: Whether the choice of tail bounds makes a difference.
        accountings: Names of the schemes that its statements can be added up by.
        whole_bits: Whether the fixed cost is rounded up to whole bits.
        frozen: Whether it asks for a design that is frozen before the block.
    """

    needs: Callable[[Case], Categories]
    events: Callable[[Case], Mapping[str, int]]
    bound: Callable[[Case, Tail, float], Bound]
    what: str
    label: str = ""
    uses_tails: bool = True
    accountings: Collection[str] = tuple(ACCOUNTINGS)
    whole_bits: bool = False
    frozen: bool = False


def _four_intensities(_: Case) -> Categories:
    return NEEDED, NEEDED_ERRORS


def _scan_events(case: Case) -> Mapping[str, int]:
    return scan_events(case.alice, case.bob)


def _scan(case: Case, tail: Tail, beta: float) -> Bound:
    data, alice, bob = case.data, case.alice, case.bob
    try:
        worst = double_scan(
            region(Tallies.of(data), alice, bob, beta, tail),
            z_pairs=z_single_photon_pairs(data, alice, bob),
            z_pairs_upper=z_single_photon_pairs_upper(data, alice, bob),
            n_zz=data.n["zz"],
            beta=beta,
        )
    except NoChannelError as error:
        return Bound(0.0, None, str(error))
    return Bound(worst.private_bits, worst)


def _whatever_there_is(case: Case) -> Categories:
    observed = observations(case.data, case.alice, case.bob)
    return (*(o.category for o in observed), "zz"), ("zz",)


def _box_events(case: Case) -> Mapping[str, int]:
    return box_events(case.data, case.alice, case.bob)


def _program(case: Case, tail: Tail, beta: float) -> Bound:
    data, alice, bob = case.data, case.alice, case.bob
    try:
        worst = tangent_lp(
            observations(data, alice, bob),
            z_pairs=z_single_photon_pairs(data, alice, bob),
            z_pairs_upper=z_single_photon_pairs_upper(data, alice, bob),
            n_zz=data.n["zz"],
            tail=tail,
            beta=beta,
        )
    except NoChannelError as error:
        return Bound(0.0, None, str(error))
    return Bound(worst.private_bits, worst)


def _designed(case: Case) -> Categories:
    if case.design is None:
        usable = [pair for pair in (*PLAIN_PAIRS, *TEST_PAIRS) if pair in case.data.n]
        return (*usable, "zz"), ("zz",)
    scored = [category for category, _ in case.design.scores]
    pairs = dict.fromkeys(category[:2] for category in scored)
    compared = dict.fromkeys(category[:2] for category in scored if "/" in category)
    return tuple(pairs), (*compared, "zz")


def _one_event(_: Case) -> Mapping[str, int]:
    return {"the weighted sum of all counts, realised": 1}


def _certificate(case: Case, tail: Tail, beta: float) -> Bound:
    del tail, beta
    if case.design is None:
        return Bound(0.0, None, "a design must be frozen before the block, and there is none")
    bits, reason = admitted_bits(
        case.data,
        case.design,
        case.security,
        alice=case.alice,
        bob=case.bob,
        frozen_digest=case.design.digest() if case.digest is None else case.digest,
    )
    return Bound(float(bits), None, reason)


def _no_events(_: Case) -> Mapping[str, int]:
    return {}


def _face_value(case: Case, tail: Tail, beta: float) -> Bound:
    del tail, beta
    try:
        worst = face_value(Tallies.of(case.data), case.alice, case.bob)
    except NoChannelError as error:
        return Bound(0.0, None, str(error))
    return Bound(worst.private_bits, worst)


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "double_scan": Method(
            needs=_four_intensities,
            events=_scan_events,
            bound=_scan,
            what="analytic decoy bounds, double scan",
        ),
        "tangent_lp": Method(
            needs=_whatever_there_is,
            events=_box_events,
            bound=_program,
            what="linear programs over photon numbers",
        ),
        "certificate": Method(
            needs=_designed,
            events=_one_event,
            bound=_certificate,
            what="one weighted sum of all counts, by a design frozen before the block",
            label=LABEL,
            uses_tails=False,
            accountings=("variable",),
            whole_bits=True,
            frozen=True,
        ),
        "asymptotic": Method(
            needs=_four_intensities,
            events=_no_events,
            bound=_face_value,
            what="limit of infinitely long blocks, not a key",
            uses_tails=False,
        ),
    }
)
"""Methods by name; the first is the default."""
