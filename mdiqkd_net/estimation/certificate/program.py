"""Scores, theta and the gains of the best design at once: they are one convex program.

With t = 1 / theta, the scores s and the gains g in bits, a design certifies

    sum_i n_i s_i - nats t,   where   t ln sum_i q_ic exp((s_i - g_ic) / t) <= 0   for every class,

with q_ic normalised over i, log2(2^g_right + 2^g_wrong) <= 1 and g_wrong < g_right. The left sides
are perspectives of log-sum-exp, hence convex in (s, g, t) together, so that a local optimum is the
global one. The solver is a primal-dual interior-point method. Source of the method: Boyd &
Vandenberghe, Convex Optimization (2004), sections 3.2.6 and 11.7.

Nothing here is trusted; see `search`.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ITERATIONS: Final = 200
_BOUNDARY: Final = 0.98
_BACKTRACKS: Final = 40
_NEWTON: Final = 1e-3
"""Residual of the slopes, relative to the slopes, at which a small gap counts."""

_MAX_EXPONENT: Final = 500.0

_EMPTIEST: Final = -1.0 + 1e-9
"""A class whose factor nearly vanishes lies far from every optimum: such steps are taken back."""

_TIMES: Final = (2.0, 1e11)
"""Least and greatest 1 / theta."""
_APART: Final = 1e-4
"""Least difference of the gains; with none, nothing would be certified."""

_START_DEPTH: Final = 0.1
_START_GAINS: Final = (0.8, -4.0)
_START_THETA: Final = 0.1
_LEAST_START: Final = 10.0 * 4.0 / _START_DEPTH
"""1 / theta from which on the gains of the start hardly show beside its depth."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where most is certified.

    Attributes:
        bits: What it certifies.
        theta: Weight of a bit in the exponent.
        gain_wrong: Bits of a single-photon pair with a phase error; of one without, as many as
            the condition on both permits.
        scores: Bits per event, in the order of the categories, (categories,).
    """

    bits: float
    theta: float
    gain_wrong: float
    scores: Floats


def maximize_certified(
    matrix: Floats, tilt: NDArray[np.int64], zz: int, events: Floats, nats: float, gap: float
) -> Optimum:
    """The best of all designs, up to a gap.

    Args:
        matrix: Probability of a category given a class, rows that sum to 1, (rows, categories).
        tilt: 1 for single-photon pairs without phase error, 2 with one, else 0; (rows,).
        zz: Column of z-z events.
        events: Expected events, positive, (categories,).
        nats: ln(1 / P_fail).
        gap: Duality gap to reach, in nats of the whole block. If rounding stops progress before,
            the best point so far is returned.
    """
    constraints = _Constraints(matrix, tilt, zz)
    n = events.size
    goal = np.concatenate([events, [0.0, 0.0, -nats]])
    # Fluctuations of all counts add up to some sqrt(events) bits, which theta has to weigh.
    start_time = math.sqrt(float(events[zz]) + 1.0) / _START_THETA
    start_time = min(max(start_time, _LEAST_START), 0.5 * _TIMES[1])
    point = np.concatenate([np.zeros(n), _START_GAINS, [start_time]])
    point[:n] = -_START_DEPTH * point[-1]
    value = constraints.at(point)
    # Slack and multipliers on the scale of the objective make the first steps well centered.
    dual = float(np.abs(goal @ point)) / value.size / -value
    for _ in range(_ITERATIONS):
        slope, bends = constraints.shape(point, dual)
        distance = float(dual @ -value)
        residual = slope.T @ dual - goal
        scale = np.abs(slope).T @ dual + np.abs(goal)
        if distance <= gap * point[-1] and float(np.max(np.abs(residual) / scale)) < _NEWTON:
            break
        target = 0.1 * distance / value.size
        hessian = bends + (slope.T * (dual / -value)) @ slope
        right = -(slope.T @ (target / -value) - goal)
        unit = 1.0 / np.sqrt(np.diag(hessian))
        try:
            step = unit * np.linalg.solve(hessian * np.outer(unit, unit), unit * right)
        except np.linalg.LinAlgError:
            break
        dual_step = (target + dual * (slope @ step)) / -value - dual
        length = min(1.0, _BOUNDARY * _room(dual, dual_step))
        for _ in range(_BACKTRACKS):
            moved = point + length * step
            if moved[-1] > 0.0:
                new = constraints.at(moved)
                if np.all(new < (1.0 - _BOUNDARY) * value):
                    break
            length *= 0.7
        else:
            break
        point, dual, value = moved, dual + length * dual_step, new
    return Optimum(
        bits=float(goal @ point),
        theta=1.0 / float(point[-1]),
        gain_wrong=float(point[n + 1]),
        scores=point[:n].copy(),
    )


class _Constraints:
    """Convex functions that must not exceed 0: of the classes, the gains and 1 / theta."""

    def __init__(self, matrix: Floats, tilt: NDArray[np.int64], zz: int) -> None:
        rows, n = matrix.shape
        self._matrix = matrix
        self._n, self._zz = n, zz
        self._tilted = [tilt == kind for kind in (1, 2)]
        # How the exponent of each term moves with (s, g_right, g_wrong), but for the factor 1 / t.
        self._moves = np.zeros((rows, n, n + 3))
        self._moves[:, np.arange(n), np.arange(n)] = 1.0
        for kind, chosen in enumerate(self._tilted):
            self._moves[chosen, zz, n + kind] = -1.0

    def at(self, point: Floats) -> Floats:
        """The values, (m,); infinite where nobody should go."""
        time = float(point[-1])
        # Sums of differences from 1 keep what is far below it; the rows sum to 1.
        excess = (self._matrix * np.expm1(self._exponents(point))).sum(axis=1)
        if float(excess.min()) < _EMPTIEST:
            return np.full(len(self._matrix) + 4, np.inf)
        right, wrong = (float(g) for g in point[self._n : self._n + 2])
        gains = math.log2(2.0**right + 2.0**wrong) - 1.0, wrong - right + _APART
        ends = _TIMES[0] - time, time - _TIMES[1]
        return np.concatenate([time * np.log1p(excess), gains, ends])

    def shape(self, point: Floats, dual: Floats) -> tuple[Floats, Floats]:
        """Slopes (m, n + 3), and the sum of all curvatures weighted by `dual`, (n + 3, n + 3)."""
        n, rows, time = self._n, len(self._matrix), float(point[-1])
        exponent = self._exponents(point)
        moves = self._moves
        moves[:, :, -1] = -exponent
        excess = (self._matrix * np.expm1(exponent)).sum(axis=1)
        share = self._matrix * np.exp(exponent) / (1.0 + excess)[:, None]
        mean = (share[:, None, :] @ moves)[:, 0, :]
        slope = np.zeros((rows + 4, n + 3))
        slope[:rows] = mean
        slope[:rows, -1] += np.log1p(excess)
        weights = np.exp2(point[n : n + 2])
        part = weights / weights.sum()
        slope[rows, n : n + 2] = part
        slope[rows + 1, n : n + 2] = -1.0, 1.0
        slope[rows + 2, -1], slope[rows + 3, -1] = -1.0, 1.0

        weight = dual[:rows] / time
        flat = moves.reshape(-1, n + 3)
        bends: Floats = (flat.T * (share * weight[:, None]).ravel()) @ flat
        bends -= (mean.T * weight) @ mean
        spread = dual[rows] * math.log(2.0) * part[0] * part[1]
        bends[n : n + 2, n : n + 2] += spread * np.array([[1.0, -1.0], [-1.0, 1.0]])
        return slope, bends

    def _exponents(self, point: Floats) -> Floats:
        n, time = self._n, float(point[-1])
        exponent = np.tile(point[:n] / time, (len(self._matrix), 1))
        for rows, gain in zip(self._tilted, point[n : n + 2], strict=True):
            exponent[rows, self._zz] -= gain / time
        # A step too long may overflow; it violates a constraint and is taken back.
        return np.minimum(exponent, _MAX_EXPONENT)


def _room(value: Floats, step: Floats) -> float:
    """Largest multiple of a step that leaves every value at or above zero."""
    falling = step < 0.0
    with np.errstate(divide="ignore", over="ignore"):  # infinitely far is far enough
        return float(np.min(-value[falling] / step[falling])) if falling.any() else np.inf
