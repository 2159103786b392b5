import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from mdiqkd_net.imperfections import ClassicalChannel, Coexistence
from mdiqkd_net.params import Fiber
from mdiqkd_net.physics.classical_noise import crosstalk_power_w, noise_photons, raman_power_w


def by_slices(channel, fiber, bandwidth_nm):
    """Light scattered in each slice of the fiber, carried to the relay's end."""
    length = fiber.length_km
    classical = channel.attenuation_db_per_km
    classical = fiber.attenuation_db_per_km if classical is None else classical

    def slice_power(z):
        """Of a slice at z km from the user."""
        walked = z if channel.direction == "forward" else length - z
        pump = 10 ** (channel.launch_power_dbm / 10 - 3 - classical * walked / 10)
        left = 10 ** (-fiber.attenuation_db_per_km * (length - z) / 10)
        return pump * channel.raman_per_km_nm * bandwidth_nm * left

    return quad(slice_power, 0.0, length, epsrel=1e-12)[0]


@settings(max_examples=40, deadline=None)
@given(
    length=st.floats(0.1, 120.0),
    quantum=st.floats(0.16, 0.35),
    classical=st.one_of(st.none(), st.floats(0.16, 0.5)),
    direction=st.sampled_from(["forward", "backward"]),
)
def test_raman_light_is_the_sum_over_slices_of_fiber(length, quantum, classical, direction):
    channel = ClassicalChannel(
        launch_power_dbm=-3.0,
        direction=direction,
        raman_per_km_nm=2e-9,
        attenuation_db_per_km=classical,
    )
    fiber = Fiber(length_km=length, attenuation_db_per_km=quantum)
    found = raman_power_w(channel, fiber, 0.6)
    assert found == pytest.approx(by_slices(channel, fiber, 0.6), rel=1e-9)


def test_forward_light_peaks_and_backward_light_saturates():
    def power(direction, km):
        channel = ClassicalChannel(launch_power_dbm=0.0, direction=direction, raman_per_km_nm=1e-9)
        return raman_power_w(channel, Fiber(length_km=km, attenuation_db_per_km=0.2), 1.0)

    lengths = np.arange(1.0, 200.0)
    forward = [power("forward", km) for km in lengths]
    neper = 0.2 * math.log(10) / 10
    assert lengths[np.argmax(forward)] == round(1 / neper)
    assert power("backward", 500.0) == pytest.approx(1e-12 / (2 * neper))


def test_crosstalk_is_the_channel_less_isolation_and_fiber():
    fiber = Fiber(length_km=50.0, attenuation_db_per_km=0.2)
    forward = ClassicalChannel(launch_power_dbm=0.0, isolation_db=80.0)
    backward = ClassicalChannel(launch_power_dbm=0.0, isolation_db=80.0, direction="backward")
    assert crosstalk_power_w(forward, fiber) == pytest.approx(1e-12)
    assert crosstalk_power_w(backward, fiber) == pytest.approx(1e-11)
    assert crosstalk_power_w(ClassicalChannel(launch_power_dbm=0.0), fiber) == 0.0


def test_a_picowatt_at_1550_nm_is_eight_photons_per_microsecond():
    noise = Coexistence(
        channels=(ClassicalChannel(launch_power_dbm=0.0, isolation_db=90.0),),
        filter_bandwidth_nm=0.1,
        filter_loss_db=3.0,
        gate_width_ps=1000.0,
    )
    fiber = Fiber(length_km=0.0, attenuation_db_per_km=0.2, coexistence=noise)
    per_second = 1e-12 / 1.28158e-19  # energy of a photon of 1550 nm, from a table
    # A half each for the polarizer and the splitter, and the filter's 3 dB.
    expected = per_second * 1e-9 / 4 * 10**-0.3
    assert noise_photons(fiber) == pytest.approx(expected, rel=1e-5)
    assert noise_photons(Fiber(length_km=1.0, attenuation_db_per_km=0.2)) == 0.0
