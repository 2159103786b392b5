"""How the worst channel that the counts allow is found: the methods, by name.

A method says which categories it needs, how many tail bounds it uses, and what is left of the z
events at the worst point. Whoever adds one adds a function or two and a line in `METHODS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import TAIL_EVENTS
from mdiqkd_net.estimation.asymptotic import face_value, z_single_photon_pairs
from mdiqkd_net.estimation.boxes import box_events, observations
from mdiqkd_net.estimation.decoy import NEEDED, NEEDED_ERRORS, Tallies, Worst, region
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.estimation.tails import Tail
from mdiqkd_net.estimation.tangent_lp import tangent_lp
from mdiqkd_net.params import Source

Data = Counts | Tallies


@dataclass(frozen=True, slots=True)
class Method:
    """One way from counts to private bits.

    Attributes:
        needs: Categories whose events, and categories whose errors, the method cannot do without.
        events: Every use of a tail bound, and how many events it is; empty if the method makes no
            finite-key statement. Must not depend on what was counted.
        worst: The worst point, by a tail and beta = ln(1 / eps) of each bound. The data has no
            faults (`decoy.faults`). May raise `boxes.NoChannelError`.
        label: What the method is, wherever its number is shown.
    """

    needs: Callable[[Data, Source, Source], tuple[Collection[str], Collection[str]]]
    events: Callable[[Data, Source, Source], Mapping[str, int]]
    worst: Callable[[Data, Source, Source, Tail, float], Worst]
    label: str


def _four_intensities(
    data: Data, alice: Source, bob: Source
) -> tuple[Collection[str], Collection[str]]:
    del data, alice, bob
    return NEEDED, NEEDED_ERRORS


def _scan_events(data: Data, alice: Source, bob: Source) -> Mapping[str, int]:
    del data, alice, bob
    return TAIL_EVENTS


def _scan(data: Data, alice: Source, bob: Source, tail: Tail, beta: float) -> Worst:
    return double_scan(
        region(Tallies.of(data), alice, bob, beta, tail),
        z_pairs=z_single_photon_pairs(data, alice, bob),
        n_zz=data.n["zz"],
        beta=beta,
    )


def _whatever_there_is(
    data: Data, alice: Source, bob: Source
) -> tuple[Collection[str], Collection[str]]:
    return (*(o.category for o in observations(data, alice, bob)), "zz"), ("zz",)


def _program(data: Data, alice: Source, bob: Source, tail: Tail, beta: float) -> Worst:
    return tangent_lp(
        observations(data, alice, bob),
        z_pairs=z_single_photon_pairs(data, alice, bob),
        n_zz=data.n["zz"],
        tail=tail,
        beta=beta,
    )


def _no_events(data: Data, alice: Source, bob: Source) -> Mapping[str, int]:
    del data, alice, bob
    return {}


def _face_value(data: Data, alice: Source, bob: Source, tail: Tail, beta: float) -> Worst:
    del tail, beta
    return face_value(Tallies.of(data), alice, bob)


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "double_scan": Method(
            needs=_four_intensities,
            events=_scan_events,
            worst=_scan,
            label="analytic decoy bounds, double scan",
        ),
        "tangent_lp": Method(
            needs=_whatever_there_is,
            events=box_events,
            worst=_program,
            label="linear programs over photon numbers",
        ),
        "asymptotic": Method(
            needs=_four_intensities,
            events=_no_events,
            worst=_face_value,
            label="limit of infinitely long blocks, not a key",
        ),
    }
)
"""Methods by name; the first is the default."""
