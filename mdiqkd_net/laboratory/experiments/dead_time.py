"""Rate of clicks against the dead time, in the dark.

A gate that opens before the end of the dead time of a click is dead. With a chance q of a dark
count in a live gate and d dead gates after a click, the gaps between clicks are d plus a geometric
number: a renewal process with a mean gap of d + 1/q gates and a variance (1 - q)/q². Its count over
n gates has mean n / gap and variance n var / gap³ for many gaps. Source: Feller, An Introduction to
Probability Theory and Its Applications, vol. 1, chapter XIII.
"""

import math

import numpy as np

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.detectors import count_clicks, in_the_dark
from mdiqkd_net.laboratory.finding import Finding, Point, of_curve

DARK_PROBABILITY = 0.05
DEAD_GATES = (0, 1, 2, 5, 10, 20, 50, 100)
_GATE_S = 0.5 / light.PULSE_RATE_HZ


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """Clicks per gate of both detectors, for each number of dead gates."""
    points = []
    n_pulses = counted = 0
    for i, dead in enumerate(DEAD_GATES):
        gap, variance = (
            dead + 1.0 / DARK_PROBABILITY,
            (1.0 - DARK_PROBABILITY) / DARK_PROBABILITY**2,
        )
        # Two detectors of two gates per pulse each.
        pulses = math.ceil(n_events / len(DEAD_GATES) * gap / 4.0)
        receiver = in_the_dark(DARK_PROBABILITY, dead_time_s=(dead + 0.5) * _GATE_S)
        clicks = count_clicks(receiver, pulses, (*seed, i))
        gates = 4 * pulses
        points.append(
            Point(
                at=(dead + 0.5) * _GATE_S * 1e9,
                measured=clicks / gates,
                sigma=float(np.sqrt(variance / gap**3 / gates)),
                expected=1.0 / gap,
            )
        )
        n_pulses += pulses
        counted += clicks
    return [
        of_curve(
            experiment="dead_time",
            case="darks",
            level=level,
            n_pulses=n_pulses,
            n_events=counted,
            points=points,
            axis="dead time (ns)",
            quantity="clicks per gate",
        )
    ]
