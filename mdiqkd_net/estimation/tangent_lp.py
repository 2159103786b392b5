"""Least key over all channels that the counts allow, by linear programs over photon numbers.

The unknowns are the right and the wrong yields of basis X for every pair of photon numbers. Every
statement of `boxes` bounds one weighted sum of them. What is to be minimized, the entropy of the
realised single-photon pairs of basis z, is a convex function G of the yield R + W of single-photon
pairs and of its wrong part W:

1. n (1 - h(k/n)) is the greatest of the tangents (1 + log2(1 - e)) n - log2((1 - e)/e) k, so that
   any e gives a bound that is secure; a poor e costs key.
2. The realised n, at least E - sqrt(2 beta E), is convex in its expectation and lies above each of
   its tangents; the realised k is concave and lies below each of its own.

The tangent plane of G at any point q whatever is therefore a lower bound of G, and its minimum over
all channels is one linear program. `tangent_lp` tries several q (the best one touches G at the
minimum) and keeps the greatest bound. A poor choice of q, or a solver that stops early, costs key
and never security, because the solver is not believed: its multipliers are, of which any
non-negative ones bound the minimum from below (`_certified`).

Photon numbers are not cut off. A user's pulse of n photons came from intensity j with a weight in
proportion to p_j exp(-mu_j) mu_j^n. Relative to the brightest setting these weights lie, for all
n > N, between 0 and their values at N + 1: in a box, and a point of a box is a mixture of its
corners. Corners of both users, multiplied, thus generate everything beyond N. For two intensities
besides vacuum there are two corners, one of them the limit of infinitely many photons.

Intensities that are known to an interval, and pulses that are stray (`source_bounds`), loosen the
rows and add none: an upper bound holds for the least weights that are possible, a lower one for
the greatest, and stray events of a category are one more unknown with a limit of its own.

Nothing else is assumed of the unknowns: they are expected counts of events for each pair of photon
numbers, given the photon numbers and the announcements of the whole block, divided by the expected
number of such pulse pairs. That none of them is negative is used; that a yield be at most 1 is not,
because the number of pulse pairs with given photon numbers fluctuates, too.

Source: Curty, Xu, Cui, Lim, Tamaki & Lo, Nat. Commun. 5, 3732 (2014), for linear programs over the
yields of MDI-QKD with finite counts. The use of tangents in place of a scan is argued here.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
import numpy.typing as npt

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation import tails
from mdiqkd_net.estimation.accounting import private_bits
from mdiqkd_net.estimation.boxes import (
    NoChannelError,
    Observation,
    Part,
    parts_of,
    statements_of,
)
from mdiqkd_net.estimation.decoy import Worst
from mdiqkd_net.estimation.source_bounds import MAX_UNCERTAIN, Light
from mdiqkd_net.estimation.tails import Tail
from mdiqkd_net.params import Interval

Floats = npt.NDArray[np.float64]

_CUTOFF: Final = 2
"""Photon numbers up to this have unknowns of their own; a smaller one costs key, not security."""

_GREATEST_MEAN: Final = 100.0
_MOST_INTENSITIES: Final = 6

_MAX_PROGRAMS: Final = 12
_TIGHT: Final = 1e-7
"""Relative distance from the minimum at which the search for a better tangent ends."""

_ROUNDING: Final = 1e-13
"""Relative margin for the rounding of a few dozen operations in doubles."""

_UNIT: Final = 2.0**-53

_DARK: Final = Light(0.0, 0.0)


def tangent_lp(
    observed: Sequence[Observation],
    *,
    z_pairs: float,
    n_zz: float,
    tail: Tail,
    beta: float,
    z_pairs_upper: float | None = None,
) -> Worst:
    """Least private bits over all channels that the observations allow.

    Args:
        observed: Any number of categories.
        z_pairs: Expected number of z-z pulse pairs in which both users emitted one photon; the
            least that is possible.
        n_zz: z events observed; no more of them can be single-photon pairs.
        tail: Bounds from counts to expectations.
        beta: ln(1 / eps) of every bound.
        z_pairs_upper: The greatest expected number; None if it is known exactly.

    Raises:
        NoChannelError: The boxes contradict each other.
        ConfigError: An intensity is above 100, or a user has more than six besides vacuum, or an
            interval reaches beyond one photon or meets that of the brightest.
    """
    _require_scope("Alice", {o.alice for o in observed})
    _require_scope("Bob", {o.bob for o in observed})
    # Yields are counted in units of the reference settings, whose intervals z thus has to bear.
    most_pairs = z_pairs_upper or z_pairs
    for lights in ({o.alice for o in observed}, {o.bob for o in observed}):
        least, most = _reference(lights).chance(1)
        most_pairs *= most / least if least > 0.0 else 1.0
    goal = _Goal(z_pairs, beta, most_pairs)
    if not observed:
        return goal.worst(0.0, 0.0, bits=0.0)
    program = _Program.of(observed, tail, beta)
    e = 0.1
    slopes = (1.0 + math.log2(1.0 - e), -math.log2((1.0 - e) / e))
    _, vertex = program.least(slopes[0], slopes[0] + slopes[1])
    vertices, q, certified = [vertex], vertex, 0.0
    for _ in range(_MAX_PROGRAMS):
        value, per_right, per_wrong = goal.tangent(*q)
        if value <= 0.0:
            certified = 0.0
            break
        least, vertex = program.least(per_right, per_wrong)
        here = per_right * q[0] + per_wrong * q[1]
        reach = abs(per_right) * program.unit[0] + abs(per_wrong) * program.unit[1]
        rounding = _ROUNDING * (value + reach + goal.most_pairs * (q[0] + q[1]))
        certified = max(certified, value - here + least - rounding)
        if value - certified <= _TIGHT * value or vertex in vertices:
            break
        vertices.append(vertex)
        q = goal.least_between(vertices)
    # The solver's place may be out of bounds by its tolerance; the lesser figure is the one that a
    # reader can recompute from n11 and phase_errors.
    return goal.worst(*q, bits=min(certified, goal.bits(*q), n_zz))


@dataclass(frozen=True, slots=True)
class _Goal:
    """Private bits as a function of the right and the wrong yield of single-photon pairs."""

    z_pairs: float
    beta: float
    z_pairs_upper: float | None = None

    @property
    def most_pairs(self) -> float:
        return self.z_pairs_upper or self.z_pairs

    def realised(self, right: float, wrong: float) -> tuple[float, float]:
        n11 = tails.realised_lower(self.z_pairs * (right + wrong), self.beta)
        return n11, tails.realised_upper(self.most_pairs * wrong, self.beta)

    def bits(self, right: float, wrong: float) -> float:
        return private_bits(*self.realised(right, wrong))

    def tangent(self, right: float, wrong: float) -> tuple[float, float, float]:
        """Value at a point, and slopes of a plane through it that nowhere exceeds the goal."""
        n11, phase_errors = self.realised(right, wrong)
        value = private_bits(n11, phase_errors)
        if value <= 0.0:
            return 0.0, 0.0, 0.0
        e, beta = phase_errors / n11, self.beta
        pairs, errors = self.z_pairs * (right + wrong), self.most_pairs * wrong
        per_pair = (1.0 + math.log2(1.0 - e)) * (1.0 - math.sqrt(0.5 * beta / pairs))
        grows = 1.0 + beta / math.sqrt(2.0 * beta * errors + 0.25 * beta * beta)
        per_error = math.log2((1.0 - e) / e) * grows
        per_right = self.z_pairs * per_pair
        return value, per_right, per_right - self.most_pairs * per_error

    def least_between(self, vertices: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """A point of low value on the chords of the vertices; only the tightness rests on it."""
        best = min(vertices, key=lambda v: self.bits(*v))
        for a, b in combinations(vertices, 2):
            low, high = 0.0, 1.0
            for _ in range(40):
                left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
                if self.bits(*_between(a, b, left)) < self.bits(*_between(a, b, right)):
                    high = right
                else:
                    low = left
            best = min(best, _between(a, b, 0.5 * (low + high)), key=lambda v: self.bits(*v))
        return best

    def worst(self, right: float, wrong: float, bits: float) -> Worst:
        n11, phase_errors = self.realised(right, wrong)
        s11 = min(1.0, right + wrong)
        return Worst(
            private_bits=bits,
            s11=s11,
            e11=min(0.5, wrong / s11) if s11 > 0.0 else 0.5,
            n11=n11,
            phase_errors=phase_errors,
        )


def _between(a: tuple[float, float], b: tuple[float, float], t: float) -> tuple[float, float]:
    return (1.0 - t) * a[0] + t * b[0], (1.0 - t) * a[1] + t * b[1]


@dataclass(frozen=True, slots=True)
class _Program:
    """Yields x with rows @ x <= limits and 0 <= x <= 1, each in a unit of its own.

    Attributes:
        rows: (n_rows, n_unknowns), no entry beyond 1.
        limits: (n_rows,).
        unit: Size of the right and of the wrong yield of single-photon pairs at x = 1.
        single: Where these two stand among the unknowns.
    """

    rows: Floats
    limits: Floats
    unit: tuple[float, float]
    single: tuple[int, int]

    @classmethod
    def of(cls, observed: Sequence[Observation], tail: Tail, beta: float) -> "_Program":
        parts = parts_of(observed)
        statements = statements_of(parts)
        counts = {s: math.fsum(parts[name].count for name in s.names) for s in statements}
        bounds = {
            s: (tail.lower if s.side == "lower" else tail.upper)(counts[s], beta)
            for s in statements
        }
        photons_alice = _photon_weights({o.alice for o in observed})
        photons_bob = _photon_weights({o.bob for o in observed})
        # Where one user sent vacuum, right and wrong are equally likely: one unknown for both.
        shape = tuple(len(next(iter(p.values()))[0]) for p in (photons_alice, photons_bob))
        fair = np.zeros(shape, dtype=bool)
        fair[0, :] = fair[:, 0] = True
        n_fair, n_free = int(fair.sum()), int((~fair).sum())
        astray = [name for name, part in parts.items() if part.observation.stray_share > 0.0]

        def weights(part: Part, end: int) -> Floats:
            """Of all unknowns in a part, at the lower (0) or the upper (1) ends of intervals."""
            o = part.observation
            pairs = o.pairs * np.outer(photons_alice[o.alice][end], photons_bob[o.bob][end])
            return np.concatenate(
                [
                    (part.right + part.wrong) * pairs[fair],
                    part.right * pairs[~fair],
                    part.wrong * pairs[~fair],
                    [float(part is parts[name]) for name in astray],
                ]
            )

        # An upper bound of a count holds for the least weights that are possible, and vice versa.
        table = {name: (weights(part, 0), weights(part, 1)) for name, part in parts.items()}
        ends = {"upper": 0, "lower": 1}
        rows = {s: np.sum([table[n][ends[s.side]] for n in s.names], axis=0) for s in statements}
        # The unit of an unknown is the most that a single upper bound permits, with a hair on top,
        # so that rounding excludes nothing. What appears in no category stays at zero.
        unit = np.full(n_fair + 2 * n_free + len(astray), np.inf)
        for s in statements:
            if s.side == "upper":
                seen = rows[s] > 0.0
                unit[seen] = np.minimum(unit[seen], (1.0 + 1e-12) * bounds[s] / rows[s][seen])
        for i, name in enumerate(astray, n_fair + 2 * n_free):
            o = parts[name].observation
            unit[i] = min(unit[i], tails.realised_upper(o.pairs * o.stray_share, beta))
        # What no upper bound holds needs to be no more than any lower bound asks for.
        unheld = np.isinf(unit)
        unit[unheld] = 0.0
        for s in statements:
            if s.side == "lower":
                seen = (rows[s] > 0.0) & unheld
                unit[seen] = np.maximum(unit[seen], bounds[s] / rows[s][seen])
        scaled, limits = [], []
        for s in statements:
            sign = 1.0 if s.side == "upper" else -1.0
            row = rows[s] * unit
            scaled.append(sign * row / row.max())
            limits.append(sign * bounds[s] / row.max())
        first = n_fair  # the first free pair of photon numbers is (1, 1)
        return cls(
            rows=np.array(scaled),
            limits=np.array(limits),
            unit=(float(unit[first]), float(unit[first + n_free])),
            single=(first, first + n_free),
        )

    def least(self, per_right: float, per_wrong: float) -> tuple[float, tuple[float, float]]:
        """Lower bound of a weighted sum of the two single-photon yields, and where it is reached.

        The bound is certified, the place is what the solver says.
        """
        from scipy.optimize import linprog  # noqa: PLC0415 - nodes start without scipy

        cost = np.zeros(self.rows.shape[1])
        cost[list(self.single)] = per_right * self.unit[0], per_wrong * self.unit[1]
        scale = float(np.abs(cost).max())
        if scale == 0.0:
            return 0.0, (0.0, 0.0)  # no category shows single-photon pairs
        cost /= scale
        solved = linprog(cost, A_ub=self.rows, b_ub=self.limits, bounds=(0.0, 1.0), method="highs")
        if solved.status == 2:  # scipy's number for an infeasible program
            raise NoChannelError("no channel explains these counts")
        if solved.x is None:
            return scale * float(np.minimum(cost, 0.0).sum()), (0.0, 0.0)
        right, wrong = (float(solved.x[i]) for i in self.single)
        place = max(0.0, right * self.unit[0]), max(0.0, wrong * self.unit[1])
        return scale * self._certified(cost, np.maximum(0.0, -solved.ineqlin.marginals)), place

    def _certified(self, cost: Floats, multipliers: Floats) -> float:
        """What non-negative multipliers prove of the minimum, whoever found them.

        cost @ x >= cost @ x + y @ (rows @ x - limits) >= -y @ limits + sum of min(0, reduced cost).
        The margin bounds the rounding of these sums and of the entries of `rows`, which are
        products of a dozen rounded factors.
        """
        reduced = cost + multipliers @ self.rows
        magnitude = (
            np.abs(cost).sum()
            + (multipliers @ np.abs(self.rows)).sum()
            + multipliers @ np.abs(self.limits)
        )
        margin = _UNIT * (64 + 2 * self.rows.shape[0] + self.rows.shape[1]) * magnitude
        return float(-(multipliers @ self.limits) + np.minimum(reduced, 0.0).sum() - margin)


def _photon_weights(lights: Collection[Light]) -> dict[Light, tuple[Floats, Floats]]:
    """Least and greatest weights of a user's classes in each setting: 0 to N, then the corners.

    An unknown is the number of events of a class in the reference setting, in a unit of the
    greatest weight there. What that setting's interval leaves open is thus open in the others.
    """
    lit = sorted((light for light in lights if light.is_lit), key=lambda light: light.low)
    reference = _reference(lights)
    exact: dict[Light, list[Interval]] = {light: [] for light in lights}
    for n in range(_CUTOFF + 1):
        least, most = reference.chance(n)
        stretch = most / least if least > 0.0 else 1.0
        for light in lights:
            low, high = light.chance(n)
            exact[light].append((most, most) if light == reference else (low, high * stretch))
    corners: dict[Light, list[float]] = {light: [] for light in lights}
    for present in product((0.0, 1.0), repeat=max(0, len(lit) - 1)):
        if not lit:
            break
        brightest = lit[-1].low
        for light, factor in zip(lit[:-1], present, strict=True):
            mean = light.high
            ratio = math.exp(brightest - mean) * (mean / brightest) ** (_CUTOFF + 1)
            corners[light].append(factor * ratio * (1.0 + 1e-12))
        corners[lit[-1]].append(1.0)
        for light in lights:
            if not light.is_lit:
                corners[light].append(0.0)
    return {
        light: (
            np.array([least for least, _ in exact[light]] + corners[light]),
            np.array([most for _, most in exact[light]] + corners[light]),
        )
        for light in lights
    }


def _reference(lights: Collection[Light]) -> Light:
    """The dimmest setting that surely has light; any other would be as valid."""
    return min((light for light in lights if light.low > 0.0), key=lambda m: m.low, default=_DARK)


def _require_scope(user: str, lights: Collection[Light]) -> None:
    """Return if the corners of `_photon_weights` hold for these settings of a user.

    Raises:
        ConfigError: They do not.
    """
    lit = sorted((light for light in lights if light.is_lit), key=lambda light: light.low)
    greatest = max((light.high for light in lit), default=0.0)
    if len(lit) > _MOST_INTENSITIES or greatest > _GREATEST_MEAN:
        raise ConfigError(
            f"{user}: found {len(lit)} intensities up to {greatest:g}; "
            f"allowed: {_MOST_INTENSITIES}, up to {_GREATEST_MEAN:g}"
        )
    if any(light.high >= lit[-1].low for light in lit[:-1]):
        raise ConfigError(
            f"{user}: found intensities up to {max(light.high for light in lit[:-1]):g} beside "
            f"{lit[-1].low:g}; allowed: all below the brightest, whatever their bounds"
        )
    if any(light.low < light.high and light.high > MAX_UNCERTAIN for light in lights):
        raise ConfigError(
            f"{user}: found an interval of intensities up to {greatest:g}; "
            f"allowed: intervals up to {MAX_UNCERTAIN:g}"
        )
