"""Rate of clicks against the recovery time, in the dark.

With a chance q of a dark count at rest, a gate that opens t after the last click clicks with chance
q r(t), where r is 0 until the end of the dead time and then rises to 1 exponentially. Gaps between
clicks are again a renewal process: a gap is longer than k gates with chance

    S(k) = (1 - q r(t_1)) (1 - q r(t_2)) ... (1 - q r(t_k)),

has the mean Σ S(k) and the mean square Σ (2 k + 1) S(k), both from k = 0. The count over n gates
has mean n / gap and variance n var / gap³ for many gaps. Source: Feller, An Introduction to
Probability Theory and Its Applications, vol. 1, chapters XI (sums over tails) and XIII.
"""

import math

import numpy as np

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.detectors import count_clicks, in_the_dark
from mdiqkd_net.laboratory.finding import Finding, Point, of_curve

DARK_PROBABILITY = 0.05
DEAD_S = 2.25e-9
RECOVERIES_S = (0.0, 0.3e-9, 1e-9, 3e-9, 10e-9, 30e-9, 100e-9)
_GATE_S = 0.5 / light.PULSE_RATE_HZ


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """Clicks per gate of both detectors, for each recovery time."""
    points = []
    n_pulses = counted = 0
    for i, recovery_s in enumerate(RECOVERIES_S):
        gap, variance = _gap(recovery_s)
        # Two detectors of two gates per pulse each.
        pulses = math.ceil(n_events / len(RECOVERIES_S) * gap / 4.0)
        receiver = in_the_dark(DARK_PROBABILITY, dead_time_s=DEAD_S, recovery_s=recovery_s)
        clicks = count_clicks(receiver, pulses, (*seed, i))
        gates = 4 * pulses
        points.append(
            Point(
                at=recovery_s * 1e9,
                measured=clicks / gates,
                sigma=math.sqrt(variance / gap**3 / gates),
                expected=1.0 / gap,
            )
        )
        n_pulses += pulses
        counted += clicks
    return [
        of_curve(
            experiment="recovery",
            case="darks",
            level=level,
            n_pulses=n_pulses,
            n_events=counted,
            points=points,
            axis="recovery time (ns)",
            quantity="clicks per gate",
        )
    ]


def _gap(recovery_s: float) -> tuple[float, float]:
    """Mean and variance of the gates from a click to the next."""
    k = np.arange(1, 10_000)
    live_s = np.maximum(k * _GATE_S - DEAD_S, 0.0)
    recovered = -np.expm1(-live_s / recovery_s) if recovery_s > 0.0 else live_s > 0.0
    survival = np.cumprod(1.0 - DARK_PROBABILITY * recovered)
    mean = 1.0 + float(survival.sum())
    square = 1.0 + float(((2 * k + 1) * survival).sum())
    return mean, square - mean**2
