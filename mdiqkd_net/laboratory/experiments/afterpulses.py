"""Rate of clicks against the afterpulse probability, in the dark.

A click has at most one afterpulse, which is a click like any other. Clicks therefore come in chains
of geometric length: a chain has 1 / (1 - p) clicks on average, with a mean square of (1 + p) /
(1 - p)². Chains begin with a dark count. At the chance of 10⁻⁵ per gate used here they hardly ever
meet, nor does a dark count fall on a gate that an afterpulse took (less than 10⁻⁵ of the clicks).
"""

import math

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.detectors import count_clicks, in_the_dark
from mdiqkd_net.laboratory.finding import Finding, Point, of_curve

DARK_PROBABILITY = 1e-5
PROBABILITIES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6)
DECAY_S = 20e-9


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """Clicks per dark count, for each afterpulse probability."""
    points = []
    n_pulses = counted = 0
    for i, p in enumerate(PROBABILITIES):
        pulses = math.ceil(n_events / len(PROBABILITIES) * (1.0 - p) / (4.0 * DARK_PROBABILITY))
        receiver = in_the_dark(
            DARK_PROBABILITY, afterpulse_probability=p, afterpulse_decay_s=DECAY_S
        )
        clicks = count_clicks(receiver, pulses, (*seed, i))
        chains = 4.0 * pulses * DARK_PROBABILITY
        points.append(
            Point(
                at=p,
                measured=clicks / chains,
                sigma=math.sqrt((1.0 + p) / chains) / (1.0 - p),
                expected=1.0 / (1.0 - p),
            )
        )
        n_pulses += pulses
        counted += clicks
    return [
        of_curve(
            experiment="afterpulses",
            case="darks",
            level=level,
            n_pulses=n_pulses,
            n_events=counted,
            points=points,
            axis="afterpulse probability",
            quantity="clicks per dark count",
        )
    ]
