import math

import pytest
from scipy.integrate import quad

from mdiqkd_net.imperfections import FreeSpace
from mdiqkd_net.physics.free_space import mean_transmittance


def path(**keys):
    return FreeSpace(
        **({"length_km": 10.0, "beam_waist_m": 0.05, "receiver_radius_m": 0.05} | keys)
    )


@pytest.mark.parametrize("length_km", [0.1, 10.0, 144.0])
def test_the_caught_part_is_the_integral_of_the_beam(length_km):
    p = path(length_km=length_km)
    rayleigh_m = math.pi * 0.05**2 / 1550e-9
    radius = 0.05 * math.sqrt(1 + (length_km * 1e3 / rayleigh_m) ** 2)
    density, _ = quad(
        lambda r: 4 * r / radius**2 * math.exp(-2 * r * r / radius**2), 0, 0.05, epsrel=1e-12
    )
    assert mean_transmittance(p) == pytest.approx(density, rel=1e-10)


def test_far_away_the_loss_grows_by_6_db_per_doubling():
    far, farther = (mean_transmittance(path(length_km=km)) for km in (1e5, 2e5))
    assert far / farther == pytest.approx(4.0, rel=1e-3)


def test_air_attenuates():
    clear, hazy = mean_transmittance(path()), mean_transmittance(path(attenuation_db_per_km=0.3))
    assert hazy / clear == pytest.approx(10**-0.3)
