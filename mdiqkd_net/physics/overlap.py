"""How alike two Gaussian pulses are: the mode overlap behind every interference."""

import math
from typing import Final

FWHM_PER_SIGMA: Final = math.sqrt(8.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""


def gaussian_overlap(
    *, widths_ps: tuple[float, float], delay_ps: float, frequency_hz: float
) -> float:
    """|<A|B>|² of two transform-limited Gaussian pulses apart in time and frequency.

    With σ the standard deviations of the intensities, τ the delay and Δ the angular frequency
    difference,

        2 σ_A σ_B / (σ_A² + σ_B²) · exp(-[τ²/2 + 2 σ_A² σ_B² Δ²] / (σ_A² + σ_B²)),

    which is exp(-τ²/4σ² - σ²Δ²) for equal pulses: the shape of the dip of Hong, Ou & Mandel, PRL
    59, 2044 (1987); with a difference in frequency, Legero et al., Appl. Phys. B 77, 797 (2003).
    Detectors are taken to see all of a pulse without resolving it.

    Args:
        widths_ps: Full widths at half maximum of the intensities, above 0.
        delay_ps: Between the arrivals.
        frequency_hz: Between the lasers.
    """
    a, b = (width * 1e-12 / FWHM_PER_SIGMA for width in widths_ps)
    delay_s, angular = delay_ps * 1e-12, 2.0 * math.pi * frequency_hz
    total = a * a + b * b
    exponent = (0.5 * delay_s**2 + 2.0 * (a * b * angular) ** 2) / total
    return 2.0 * a * b / total * math.exp(-exponent)
