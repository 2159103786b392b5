"""A path through the air: the part of a beam that a telescope catches."""

import math

from mdiqkd_net.imperfections import FreeSpace
from mdiqkd_net.units import transmittance


def mean_transmittance(path: FreeSpace) -> float:
    """Of geometry and air, without fading.

    A Gaussian beam of waist w_0 has the radius w = w_0 √(1 + (λ L / π w_0²)²) after L, and a
    centered aperture of radius a catches 1 - exp(-2 a²/w²) of it. Source: Saleh & Teich,
    Fundamentals of Photonics, ch. 3. Pointing errors are left out.
    """
    length_m, wavelength_m = path.length_km * 1e3, path.wavelength_nm * 1e-9
    spread = wavelength_m * length_m / (math.pi * path.beam_waist_m**2)
    radius_m = path.beam_waist_m * math.hypot(1.0, spread)
    caught = -math.expm1(-2.0 * (path.receiver_radius_m / radius_m) ** 2)
    return caught * transmittance(path.length_km * path.attenuation_db_per_km)
