"""Climbing to a maximum that may lie on a kink: projected BFGS with a weak Wolfe line search.

Slopes are one-sided differences. Where a function is a minimum of smooth ones, its maximum tends to
lie where they cross; BFGS with this line search learns the direction of such ridges. Source: Lewis
& Overton, Mathematical Programming 141, 135 (2013). Deterministic and local.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LONGEST_STEP: Final = 0.7
_RISE: Final = 1e-4
_FLATTER: Final = 0.5
_TRIALS: Final = 14
_IDLE_GAIN: Final = 2e-5
_IDLE_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class _Point:
    place: Floats
    height: float
    slope: Floats


@dataclass(frozen=True, slots=True)
class Ascent:
    """A function to climb on, and how.

    Attributes:
        height: The function; -inf outside its domain.
        project: Puts coordinates within their limits; leaves those alone that are.
        difference: Length of the differences at a point of a given height.
    """

    height: Callable[[Floats], float]
    project: Callable[[Floats], Floats]
    difference: Callable[[float], float]

    def climb(
        self, start: Floats, free: NDArray[np.bool_], iterations: int
    ) -> tuple[Floats, float]:
        """The last point and its height: never lower than `start`, which stays if it is -inf.

        Shapes: `start` and `free` are (n,); only the free coordinates move.
        """
        place = self.project(start)
        height = self.height(place)
        if height == -math.inf:
            return place, height
        here = _Point(place, height, self._slope(place, height, free))
        inverse = np.eye(start.size)
        idle = 0
        for _ in range(iterations):
            direction = inverse @ here.slope
            if float(direction @ here.slope) <= 0.0:
                inverse, direction = np.eye(start.size), here.slope
            longest = float(np.abs(direction).max())
            if longest == 0.0:
                break
            there = self._step(here, direction * min(1.0, _LONGEST_STEP / longest), free)
            if there is None:
                if np.array_equal(inverse, np.eye(start.size)):
                    break
                inverse = np.eye(start.size)
                continue
            inverse = _updated(inverse, there.place - here.place, here.slope - there.slope)
            idle = idle + 1 if there.height - here.height < _IDLE_GAIN else 0
            here = there
            if idle == _IDLE_ROUNDS:
                break
        return here.place, here.height

    def _step(self, here: _Point, move: Floats, free: NDArray[np.bool_]) -> _Point | None:
        """A step that rises enough and flattens enough (weak Wolfe conditions), by bisection.

        The highest point tried if none is flat enough, None if none rises enough.
        """
        low, high, length = 0.0, math.inf, 1.0
        best: _Point | None = None
        for _ in range(_TRIALS):
            place = self.project(here.place + length * move)
            height = self.height(place)
            if height <= here.height + _RISE * max(0.0, float(here.slope @ (place - here.place))):
                high = length
            else:
                there = _Point(place, height, self._slope(place, height, free))
                if best is None or height > best.height:
                    best = there
                if float(there.slope @ move) <= _FLATTER * float(here.slope @ move):
                    return there
                low = length
                if length * float(np.abs(move).max()) >= _LONGEST_STEP:
                    return best
            length = 2.0 * length if high == math.inf else 0.5 * (low + high)
        return best

    def _slope(self, place: Floats, height: float, free: NDArray[np.bool_]) -> Floats:
        """One-sided differences, inward at limits; zero where uphill lies beyond a limit."""
        slope = np.zeros(place.size)
        fine = self.difference(height)
        for i in np.flatnonzero(free):
            for difference in (fine, -fine):
                moved = place.copy()
                moved[i] += difference
                if np.abs(self.project(moved) - place).max() > 0.5 * fine:
                    risen = (self.height(moved) - height) / difference
                    outward = difference < 0.0 < risen
                    slope[i] = risen if math.isfinite(risen) and not outward else 0.0
                    break
        return slope


def _updated(inverse: Floats, move: Floats, bend: Floats) -> Floats:
    """BFGS: the inverse of the negative curvature, kept positive by skipping what would not."""
    along = float(move @ bend)
    if along <= 1e-10 * float(np.linalg.norm(move) * np.linalg.norm(bend)):
        return inverse
    rotate = np.eye(move.size) - np.outer(move, bend) / along
    result: Floats = rotate @ inverse @ rotate.T + np.outer(move, move) / along
    return result
