"""Maximize sum n_i ln(1 + w_i) under linear constraints: a primal-dual interior-point method.

Source of the method: Boyd & Vandenberghe, Convex Optimization (2004), section 11.7.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ITERATIONS: Final = 200
_BOUNDARY: Final = 0.98


def maximize_log_sum(
    matrix: Floats,
    limit: Floats,
    events: Floats,
    depth: float,
    gap: float,
    start: Floats | None = None,
) -> tuple[Floats, float]:
    """Solve max sum n_i ln(1 + w_i) subject to matrix w <= limit.

    Args:
        matrix: Non-negative, shape (rows, n).
        limit: Shape (rows,).
        events: The n_i, positive, shape (n,).
        depth: w = -depth in all components satisfies all constraints strictly.
        gap: Duality gap to reach.
        start: A strictly feasible w to begin with, instead.

    Returns:
        A strictly feasible w, shape (n,), and the value there. If rounding stops progress before
        the gap is reached, the best point so far.
    """
    w = np.full(events.size, -depth) if start is None else start.copy()
    slack = limit - matrix @ w
    rows = slack.size
    dual = events.sum() / rows / slack
    for _ in range(_ITERATIONS):
        distance = float(dual @ slack)
        gradient = -events / (1.0 + w)
        residual = gradient + matrix.T @ dual
        scale = np.abs(gradient)
        if distance <= gap and float(np.max(np.abs(residual) / scale)) < 1e-3:
            break
        target = 0.1 * distance / rows
        hessian = (matrix.T * (dual / slack)) @ matrix
        hessian[np.diag_indices_from(hessian)] += events / (1.0 + w) ** 2
        right = -(gradient + matrix.T @ (target / slack))
        unit = 1.0 / np.sqrt(np.diag(hessian))
        try:
            step = unit * np.linalg.solve(hessian * np.outer(unit, unit), unit * right)
        except np.linalg.LinAlgError:
            break
        change = matrix @ step
        dual_step = (target + dual * change) / slack - dual
        length = min(
            1.0,
            _BOUNDARY * _room(slack, -change),
            _BOUNDARY * _room(dual, dual_step),
            _BOUNDARY * _room(1.0 + w, step),
        )
        new = w + length * step
        new_slack = limit - matrix @ new
        if not (np.all(new_slack > 0.0) and np.all(new > -1.0)):
            break
        w, slack = new, new_slack
        dual = dual + length * dual_step
    return w, float(events @ np.log1p(w))


def _room(value: Floats, step: Floats) -> float:
    """Largest multiple of a step that leaves every value at or above zero."""
    falling = step < 0.0
    return float(np.min(-value[falling] / step[falling])) if falling.any() else np.inf
