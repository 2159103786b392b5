"""A chart that adds up small shifts, without knowing the law's mean and spread beforehand."""

import math
from dataclasses import dataclass
from typing import Final

from scipy.special import ndtri, stdtr

SLACK: Final = 0.5
LIMIT: Final = 13.0
"""By Siegmund's approximation a false alarm comes once in 2.8 million blocks."""

SHORTFALL: Final = 1.166
"""By which a discrete walk passes a limit that Brownian motion just reaches, twice over."""

WARM_UP: Final = 3
_EDGE: Final = 1e-16


def run_length(limit: float) -> float:
    """Values from one false alarm to the next, on average; Siegmund's approximation.

    Source: D. Siegmund, Sequential Analysis (1985): (exp(2 k b) - 2 k b - 1) / (2 k^2) with
    k = SLACK and b = limit + SHORTFALL.
    """
    reach = 2.0 * SLACK * (limit + SHORTFALL)
    return (math.exp(reach) - reach - 1.0) / (2.0 * SLACK**2)


@dataclass(slots=True)
class Cusum:
    """Self-starting one-sided CUSUM for upward shifts of a normal variable.

    Each value is held against mean and spread of those before it; under the null hypothesis the
    scores are independent standard normal variables, whatever mean and spread are.
    Source: D. M. Hawkins, The Statistician 36, 299 (1987).
    """

    _n: int = 0
    _mean: float = 0.0
    _squares: float = 0.0
    value: float = 0.0

    def add(self, x: float) -> bool:
        """Take the next value; whether the sum is beyond the limit, after which it begins anew."""
        if self._n >= WARM_UP and self._squares > 0.0:
            n = self._n
            spread = math.sqrt(self._squares / (n - 1))
            t = (x - self._mean) / spread * math.sqrt(n / (n + 1))
            p = min(max(float(stdtr(n - 1, t)), _EDGE), 1.0 - _EDGE)
            self.value = max(0.0, self.value + float(ndtri(p)) - SLACK)
        alarm = self.value > LIMIT
        if alarm:
            self.value = 0.0
        self._n += 1
        step = x - self._mean
        self._mean += step / self._n
        self._squares += step * (x - self._mean)
        return alarm
