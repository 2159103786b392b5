"""Search for the best design: a concave program for the scores inside a search of theta and e.

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
from mdiqkd_net.estimation.certificate.program import maximize_log_sum
from mdiqkd_net.estimation.certificate.scope import SourceBox, require_scope
from mdiqkd_net.params import Security, Source

Floats = NDArray[np.float64]

_LEAST_EVENTS: Final = 1e-9
"""Expected events of an empty category; keeps its score finite."""

_SAME: Final = 1e-9
"""Ends of an interval that agree to this precision are one corner to the search, not to deflate."""

_COARSE, _FINE = 0.03, 1e-5
"""Duality gaps of the program, in nats of the whole block, while searching and at the end."""

_THETAS: Final = 10.0 ** np.arange(-10.0, -0.4, 0.5)
_LOG_THETA: Final = (math.log(1e-11), math.log(0.5))


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
    """Class constraints as rows: `matrix` w <= 0, but for the tilt of z-z single-photon pairs.

    Attributes:
        matrix: Probability of a category given class and corner of the boxes, (rows, categories).
        tilt: 1 for single-photon pairs without phase error, 2 with one, else 0; (rows,).
        zz: Column of z-z events.
    """

    matrix: Floats
    tilt: NDArray[np.int64]
    zz: int

    def solve(
        self, events: Floats, theta: float, e: float, gap: float, start: Floats | None = None
    ) -> tuple[Floats, float]:
        """Best w and the value of sum n_i ln(1 + w_i)."""
        gains = np.array([0.0, *gains_of(e)])
        exponent = -theta * gains[self.tilt]
        matrix = self.matrix.copy()
        matrix[:, self.zz] *= np.exp(exponent)
        limit = -self.matrix[:, self.zz] * np.expm1(exponent)
        depth = 1.0 - 0.5 * math.exp(theta * min(0.0, gains[2]))
        return maximize_log_sum(matrix, limit, events, depth, gap, start)


def gains_of(e: float) -> tuple[float, float]:
    """Bits that a single-photon pair without and with phase error adds: 1 + log2(1 - e), log2(2e).

    n (1 - h(k / n)) is at least the sum over all pairs, for any e in (0, 1/2).
    """
    return 1.0 + math.log2(1.0 - e), 1.0 + math.log2(e)


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
    events = _events(expected)
    names = tuple(events)
    numbers = np.maximum(np.array(list(events.values())), _LEAST_EVENTS)
    program = _program(box_alice, box_bob, names)
    nats = 2.0 * math.log(4.0 / security.eps_sec)
    theta, e = _search(program, numbers, nats)
    w, _ = program.solve(numbers, theta, e, _FINE)
    right, wrong = gains_of(e)
    # A few units less keep 2^right + 2^wrong <= 2 whatever the logarithms rounded to.
    gains = units_down(right * (1.0 - 1e-15)) - 4, units_down(wrong * (1.0 + 1e-15)) - 4
    scores = {c: units_down(math.log1p(w[i]) / theta) for i, c in enumerate(names)}
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


def _search(program: _Program, events: Floats, nats: float) -> tuple[float, float]:
    """Find theta and e that certify most: a ladder of theta, then a local search of both."""
    from scipy.optimize import minimize  # noqa: PLC0415  # designs alone need it

    def certified(theta: float, e: float) -> float:
        return (program.solve(events, theta, e, _COARSE)[1] - nats) / theta

    ladder = [(certified(float(theta), 0.06), float(theta)) for theta in _THETAS]
    best, theta = max(ladder)
    scale = max(abs(best), 1.0)

    def decode(point: Floats) -> tuple[float, float]:
        log_theta = min(max(float(point[0]), _LOG_THETA[0]), _LOG_THETA[1])
        return math.exp(log_theta), 0.49 / (1.0 + math.exp(-min(max(float(point[1]), -9.0), 9.0)))

    def loss(point: Floats) -> float:
        return -certified(*decode(point)) / scale

    start = np.array([math.log(theta), math.log(0.06 / 0.43)])
    simplex = start + np.array([[0.0, 0.0], [0.4, 0.0], [0.0, 0.3]])
    found = minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 3e-3, "fatol": 1e-6, "maxfev": 120},
    )
    return decode(found.x)


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
    return _Program(np.array(rows), np.array(tilt), names.index("zz"))


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
