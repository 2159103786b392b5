"""What counts say of the yields: one statement for each use of a tail bound.

Every observed category bounds one weighted sum of yields from below and from above; so do a few
sums of categories, whose fluctuations then partly cancel. No decoy formula enters.

Source: Yu, Zhou & Wang, PRA 91, 032318 (2015), for bounds of sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.decoy import Tallies, sent
from mdiqkd_net.estimation.source_bounds import Light, lights, stray_share
from mdiqkd_net.params import Source

_CATEGORIES: Final = ("oo", "ox", "xo", "oy", "yo", "xx", "xy", "yx", "yy")
"""Everything of vacuum and basis X; whichever of them the counts name is used."""

_FEWEST: Final = 1e-6
"""Expected pulse pairs below which a category is left out, whatever was counted in it."""

SUMS: Final = (
    ("lower", ("ox", "xo")),
    ("lower", ("ox", "xo", "xx right")),
    ("lower", ("ox", "xo", "xx right", "oy", "yo")),
    ("lower", ("xx right", "oy", "yo")),
    ("upper", ("xx wrong", "yy right")),
    ("upper", ("xx wrong", "yy")),
)
"""Sums that get a tail bound of their own, on the side where the worst channel pushes.

They are the nested sums of the multipliers at a few typical links, written down once: a choice for
the sake of the rate, independent of the data. The last is for blocks whose yy errors are unknown.
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """One category of basis X or with vacuum, as the linear program sees it.

    Attributes:
        category: Its name, such as "xy".
        alice: What her setting emits.
        bob: What his emits.
        pairs: Expected number of pulse pairs that were sent in the category.
        events: How many were announced.
        errors: How many of them were wrong; None if unknown. With vacuum on either side errors are
            coin flips and are not used.
        stray_share: Probability that a pulse pair is stray, at most.
    """

    category: str
    alice: Light
    bob: Light
    pairs: float
    events: float
    errors: float | None = None
    stray_share: float = 0.0

    def parts(self) -> "dict[str, Part]":
        """What is bounded: right and wrong events apart where they say different things."""
        if self.errors is None or not (self.alice.low > 0.0 and self.bob.low > 0.0):
            return {self.category: Part(self, 1.0, 1.0, self.events)}
        # Fractional counts may differ by less than nothing.
        right = max(0.0, self.events - self.errors)
        return {
            f"{self.category} right": Part(self, 1.0, 0.0, right),
            f"{self.category} wrong": Part(self, 0.0, 1.0, self.errors),
        }


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one category, or its right or its wrong ones."""

    observation: Observation
    right: float
    wrong: float
    count: float


@dataclass(frozen=True, slots=True)
class Statement:
    """One use of a tail bound: the sum of some parts, from below or from above."""

    side: str
    names: tuple[str, ...]


class NoChannelError(ArithmeticError):
    """No yields whatever explain the counts within their boxes."""


def parts_of(observed: Sequence[Observation]) -> dict[str, Part]:
    """All parts of all categories, by name."""
    return {name: part for o in observed for name, part in o.parts().items()}


def statements_of(parts: Mapping[str, Part]) -> list[Statement]:
    """Every part from both sides, and the sums of more than one part, each once."""
    found = [Statement(side, (name,)) for name in parts for side in ("lower", "upper")]
    for side, names in SUMS:
        statement = Statement(side, tuple(name for name in names if name in parts))
        if len(statement.names) > 1 and statement not in found:
            found.append(statement)
    return found


def observations(counts: Counts | Tallies, alice: Source, bob: Source) -> list[Observation]:
    """The categories that the counts name and the settings make possible."""
    of_alice, of_bob = lights(alice), lights(bob)
    return [
        Observation(
            category=category,
            alice=of_alice[category[0]],
            bob=of_bob[category[1]],
            pairs=pairs,
            events=float(counts.n[category]),
            errors=float(counts.m[category]) if category in counts.m else None,
            stray_share=stray_share(alice, bob, category),
        )
        for category in _CATEGORIES
        if category in counts.n and (pairs := sent(counts, alice, bob, category)) > _FEWEST
    ]


def box_events(counts: Counts | Tallies, alice: Source, bob: Source) -> Mapping[str, int]:
    """Every use of a tail bound, and how many events it is.

    Which categories are named must not depend on what was counted in them.
    """
    events: dict[str, int] = {}
    observed = observations(counts, alice, bob)
    for statement in statements_of(parts_of(observed)):
        if len(statement.names) == 1:
            what = f"{statement.names[0]}: from both sides"
        else:
            side = "below" if statement.side == "lower" else "above"
            what = f"sum of {', '.join(statement.names)}: from {side}"
        events[what] = events.get(what, 0) + 1
    events |= {
        f"stray pulses among {o.category}: at most": 1 for o in observed if o.stray_share > 0.0
    }
    return events | {
        "single-photon pairs among the z events, realised": 1,
        "phase errors among them, realised": 1,
    }
