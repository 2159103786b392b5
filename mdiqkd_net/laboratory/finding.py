"""What an experiment found, and how surprising that is if the light is right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]

LEAST_EXPECTED: Final = 25.0
"""Cells with fewer expected counts are pooled; a normal approximation holds well above."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: a measured ratio beside its closed form.

    Attributes:
        at: Where, in the unit of the curve.
        measured: What was counted.
        sigma: Its standard deviation, by the closed form.
        expected: The closed form.
    """

    at: float
    measured: float
    sigma: float
    expected: float


@dataclass(frozen=True, slots=True)
class Row:
    """A number of events beside its expectation."""

    name: str
    counted: float
    expected: float

    @property
    def deviation(self) -> float:
        """In standard deviations of a Poisson number; 0 if nothing was expected or counted."""
        difference = self.counted - self.expected
        if self.expected > 0.0:
            return difference / math.sqrt(self.expected)
        return math.inf if difference else 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one experiment.

    Attributes:
        experiment: Name, one of `experiments.EXPERIMENTS`.
        case: Which of its cases, e.g. "30 dB"; empty if there is one alone.
        level: Of the simulation.
        n_pulses: Pulse pairs simulated.
        n_events: Counted events that the statistic is made of.
        chi_square: Statistic.
        degrees: Its degrees of freedom.
        points: The curve, or nothing.
        axis: What the curve is drawn against, with its unit.
        quantity: What is drawn.
        rows: Numbers of events, or nothing.
    """

    experiment: str
    case: str
    level: str
    n_pulses: int
    n_events: int
    chi_square: float
    degrees: int
    points: tuple[Point, ...] = ()
    axis: str = ""
    quantity: str = ""
    rows: tuple[Row, ...] = ()

    @property
    def p_value(self) -> float:
        """Chance of a statistic at least this large if simulation and closed form agree."""
        return float(chi2.sf(self.chi_square, self.degrees))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "experiment": self.experiment,
            "case": self.case,
            "level": self.level,
            "n_pulses": self.n_pulses,
            "n_events": self.n_events,
            "chi_square": self.chi_square,
            "degrees_of_freedom": self.degrees,
            "p_value": self.p_value,
            "axis": self.axis,
            "quantity": self.quantity,
            "points": [
                {"at": p.at, "measured": p.measured, "sigma": p.sigma, "expected": p.expected}
                for p in self.points
            ],
            "counts": {r.name: {"counted": r.counted, "expected": r.expected} for r in self.rows},
        }


def pooled(findings: Sequence[Finding]) -> tuple[float, int, float]:
    """Chi-square, degrees of freedom and p value of independent findings together."""
    total = sum(f.chi_square for f in findings)
    degrees = sum(f.degrees for f in findings)
    return total, degrees, float(chi2.sf(total, degrees))


def multinomial_chi_square(counts: Floats, expected: Floats) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom; rare cells are pooled into one.

    Args:
        counts: Of all cells but the last, which is whatever is left of the trials; any shape.
        expected: Their expectations, with the same shape; a cell that cannot be has 0.

    Returns:
        An infinite statistic if something impossible was counted. With the remaining cell (no
        event) far larger than all others, its term is negligible and the cells are independent
        Poisson numbers: the degrees of freedom are the number of cells.
    """
    if bool(counts[expected == 0.0].any()):
        return float("inf"), 1
    large = expected >= LEAST_EXPECTED
    observed, mean = counts[large], expected[large]
    rest = float(expected[~large].sum())
    if rest >= LEAST_EXPECTED:
        observed = np.append(observed, counts[~large].sum())
        mean = np.append(mean, rest)
    return float(((observed - mean) ** 2 / mean).sum()), int(observed.size)


def of_curve(
    *,
    experiment: str,
    case: str,
    level: str,
    n_pulses: int,
    n_events: int,
    points: Sequence[Point],
    axis: str,
    quantity: str,
) -> Finding:
    """The finding that a curve makes: its statistic is that of its points."""
    chi_square, degrees = curve_chi_square(points)
    return Finding(
        experiment=experiment,
        case=case,
        level=level,
        n_pulses=n_pulses,
        n_events=n_events,
        chi_square=chi_square,
        degrees=degrees,
        points=tuple(points),
        axis=axis,
        quantity=quantity,
    )


def ratio_point(at: float, part: float, whole: float, expected: float) -> Point:
    """A measured ratio of counts, `part` among `whole`, binomial."""
    sigma = float(np.sqrt(expected * (1.0 - expected) / whole)) if whole > 0 else float("inf")
    return Point(at, part / whole if whole > 0 else 0.0, sigma, expected)


def curve_chi_square(points: Sequence[Point]) -> tuple[float, int]:
    """Sum of squared deviations in standard deviations, over the points of a curve."""
    return sum(((p.measured - p.expected) / p.sigma) ** 2 for p in points), len(points)
