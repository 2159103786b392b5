import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.physics.overlap import gaussian_overlap


def by_integration(widths_ps, delay_ps, frequency_hz):
    """|∫ f* g|² of normalized fields on a fine grid."""
    t = np.linspace(-3000.0, 3000.0, 60_001)

    def field(width, center, frequency):
        # The intensity falls to a half at half the width.
        values = np.exp(-2 * math.log(2) * ((t - center) / width) ** 2)
        values = values * np.exp(2j * np.pi * frequency * t * 1e-12)
        return values / math.sqrt((np.abs(values) ** 2).sum())

    one = field(widths_ps[0], 0.0, 0.0)
    return abs(np.vdot(one, field(widths_ps[1], delay_ps, frequency_hz))) ** 2


@settings(max_examples=30, deadline=None)
@given(
    widths=st.tuples(st.floats(20.0, 400.0), st.floats(20.0, 400.0)),
    delay=st.floats(-500.0, 500.0),
    frequency=st.floats(-5e9, 5e9),
)
def test_overlap_is_the_integral_of_the_fields(widths, delay, frequency):
    found = gaussian_overlap(widths_ps=widths, delay_ps=delay, frequency_hz=frequency)
    assert found == pytest.approx(by_integration(widths, delay, frequency), rel=1e-8, abs=1e-12)


def test_equal_pulses_fall_off_with_delay_and_frequency():
    sigma = 100.0 / math.sqrt(8 * math.log(2))
    assert gaussian_overlap(widths_ps=(100.0, 100.0), delay_ps=0.0, frequency_hz=0.0) == 1.0
    late = gaussian_overlap(widths_ps=(100.0, 100.0), delay_ps=2 * sigma, frequency_hz=0.0)
    assert late == pytest.approx(math.exp(-1))
    detuning = 1e12 / (2 * math.pi * sigma)
    off = gaussian_overlap(widths_ps=(100.0, 100.0), delay_ps=0.0, frequency_hz=detuning)
    assert off == pytest.approx(math.exp(-1))
