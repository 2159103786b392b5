"""Search for the best design: a convex program, and an exact design from its optimum.

Nothing here is trusted. Whatever the search returns is deflated in exact arithmetic and then has to
pass the independent checker; a poor search costs key, never security.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.classes import (
    PLAIN_PAIRS,
    RIGHT,
    TEST_PAIRS,
    WRONG,
    Bounds,
    class_list,
    flag_share,
    kind_bounds,
)
from mdiqkd_net.estimation.certificate.deflate import deflate
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT, Design, units_down
from mdiqkd_net.estimation.certificate.program import Optimum, maximize_certified
from mdiqkd_net.estimation.certificate.scope import SourceBox, require_scope
from mdiqkd_net.params import Security, Source

Floats = NDArray[np.float64]

_LEAST_EVENTS: Final = 1e-9
"""Expected events of an empty category; keeps its score finite."""

_SAME: Final = 1e-9
"""Ends of an interval that agree to this precision are one corner to the search, not to deflate."""

_GAP: Final = 1e-6
"""Duality gap of the program, in nats of the whole block."""


class Expected(Protocol):
    """Expected counts of a block; they may be fractional."""

    @property
    def n(self) -> Mapping[str, float]:
        """Events per pair of settings."""

    @property
    def m(self) -> Mapping[str, float]:
        """Errors among them, where bits are compared."""


@dataclass(frozen=True, slots=True)
class _Program:
    """Class constraints as rows.

    Attributes:
        matrix: Probability of a category given class and corner of the boxes; rows sum to 1,
            (rows, categories).
        tilt: 1 for single-photon pairs without phase error, 2 with one, else 0; (rows,).
        names: The categories.
    """

    matrix: Floats
    tilt: NDArray[np.int64]
    names: tuple[str, ...]

    def solve(self, events: Floats, nats: float) -> Optimum:
        """The best of all designs if a block counts these events."""
        zz = self.names.index("zz")
        return maximize_certified(self.matrix, self.tilt, zz, events, nats, _GAP)


def design_certificate(
    expected: Expected,
    alice: Source | SourceBox,
    bob: Source | SourceBox,
    security: Security,
) -> Design:
    """The design that certifies most bits if a block counts what is expected.

    It has passed the independent checker. Freeze its digest before the block begins; expected
    counts must come from a prediction or from earlier blocks.

    Args:
        expected: Events by pair of settings, "zz" at least. Pairs of x and y whose errors are
            given, too, are taken apart into right and wrong events.
        alice: Her settings, or the intervals in which calibration found them.
        bob: His.
        security: eps_sec decides the offset.

    Raises:
        OutsideScopeError: If the proof does not cover a source in the intervals.
        ConfigError: If the expected counts are no counts.
    """
    box_alice, box_bob = (b if isinstance(b, SourceBox) else SourceBox.of(b) for b in (alice, bob))
    require_scope(box_alice, "alice")
    require_scope(box_bob, "bob")
    program, numbers = _posed(expected, box_alice, box_bob)
    nats = _nats(security)
    best = program.solve(numbers, nats)
    theta = best.theta
    wrong = best.gain_wrong
    # A few units less keep 2^right + 2^wrong <= 2 whatever the logarithms rounded to.
    gains = units_down(math.log2(2.0 - 2.0**wrong)) - 4, units_down(wrong * (1.0 + 1e-15)) - 4
    scores = {c: units_down(best.scores[i]) for i, c in enumerate(program.names)}
    scores = deflate(box_alice, box_bob, theta, gains, scores)
    design = Design(
        alice=box_alice,
        bob=box_bob,
        eps_sec=security.eps_sec,
        theta=theta,
        gain_right=gains[0],
        gain_wrong=gains[1],
        scores=tuple(scores.items()),
        offset=math.ceil(nats / theta * (1.0 + 1e-13) * UNITS_PER_BIT),
    )
    check_design(design.canonical())
    return design


def designed_bits(
    expected: Expected,
    alice: Source,
    bob: Source,
    security: Security,
) -> float:
    """What the best design certifies if a block counts what is expected; below zero if nothing.

    A smooth number for searches, before the rounding of `design_certificate` that makes a claim of
    it. Arguments and errors are those of `design_certificate`.
    """
    boxes = SourceBox.of(alice), SourceBox.of(bob)
    require_scope(boxes[0], "alice")
    require_scope(boxes[1], "bob")
    program, numbers = _posed(expected, *boxes)
    return min(program.solve(numbers, _nats(security)).bits, float(expected.n["zz"]))


def _nats(security: Security) -> float:
    return 2.0 * math.log(4.0 / security.eps_sec)


def _posed(expected: Expected, alice: SourceBox, bob: SourceBox) -> tuple[_Program, Floats]:
    events = _events(expected)
    numbers = np.maximum(np.array(list(events.values())), _LEAST_EVENTS)
    return _program(alice, bob, tuple(events)), numbers


def _events(expected: Expected) -> dict[str, float]:
    events: dict[str, float] = {}
    for pair in (*PLAIN_PAIRS, *TEST_PAIRS):
        if pair not in expected.n:
            continue
        n = float(expected.n[pair])
        if pair in TEST_PAIRS and pair in expected.m:
            m = float(expected.m[pair])
            events |= {f"{pair}/{RIGHT}": n - m, f"{pair}/{WRONG}": m}
        else:
            events[pair] = n
    bad = {c: n for c, n in events.items() if not (math.isfinite(n) and n >= 0.0)}
    if bad or "zz" not in events:
        raise ConfigError(
            f"expected counts: found {bad or 'no zz'}; allowed: finite counts that are not "
            "negative, zz among them, and errors that do not exceed their events"
        )
    return events


def _program(alice: SourceBox, bob: SourceBox, names: tuple[str, ...]) -> _Program:
    first, second = (_corners(kind_bounds(box)) for box in (alice, bob))
    rows: list[list[float]] = []
    tilt: list[int] = []
    for a, b, flag in class_list():
        for u, v in itertools.product(first[a], second[b]):
            row = [
                flag_share(name, flag) * u.get(name[0], 0.0) * v.get(name[1], 0.0) for name in names
            ]
            if (total := sum(row)) > 0.0:
                rows.append([q / total for q in row])
                tilt.append(1 + (flag == WRONG) if a == b == "1" else 0)
    return _Program(np.array(rows), np.array(tilt), names)


def _corners(bounds: dict[str, dict[str, Bounds]]) -> dict[str, list[dict[str, float]]]:
    """Weights of the settings at all corners of a user's box, by kind."""
    corners = {}
    for kind, weights in bounds.items():
        ends = []
        for low, high in weights.values():
            pair = float(low), float(high)
            ends.append(pair if pair[1] - pair[0] > _SAME * pair[1] else (pair[1],))
        corners[kind] = [
            dict(zip(weights, corner, strict=True)) for corner in itertools.product(*ends)
        ]
    return corners
