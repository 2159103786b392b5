"""Photons that classical channels in the same fiber send into the quantum channel."""

import math
from typing import Final

from mdiqkd_net.imperfections import ClassicalChannel
from mdiqkd_net.params import Fiber
from mdiqkd_net.units import transmittance

PLANCK_J_S: Final = 6.62607015e-34
LIGHT_M_PER_S: Final = 299_792_458.0
NEPER_PER_DB: Final = math.log(10.0) / 10.0

_SPLITTER: Final = 0.5
_POLARIZER: Final = 0.5


def raman_power_w(channel: ClassicalChannel, fiber: Fiber, bandwidth_nm: float) -> float:
    """Spontaneous Raman light at the relay's end of a fiber, inside the filter's bandwidth.

    With P the launched power, β the Raman coefficient, L the length, α_c and α_q the attenuations
    of the classical and the quantum channel per km,

        forward   P β Δλ (e^{-α_c L} - e^{-α_q L}) / (α_q - α_c), or P β Δλ L e^{-αL} if equal
        backward  P β Δλ (1 - e^{-(α_c + α_q) L}) / (α_c + α_q)

    Source: Eraerds et al., New J. Phys. 12, 063027 (2010), for equal attenuations; for unequal
    ones the same integral along the fiber. The scattered light is no longer than the fiber: the
    classical one is on all the time.
    """
    launched = _launched_w(channel)
    a_q = NEPER_PER_DB * fiber.attenuation_db_per_km
    a_c = a_q
    if channel.attenuation_db_per_km is not None:
        a_c = NEPER_PER_DB * channel.attenuation_db_per_km
    length = fiber.length_km
    if channel.direction == "backward":
        reach = _decayed(a_c + a_q, length)
    else:
        reach = math.exp(-a_c * length) * _decayed(a_q - a_c, length)
    return launched * channel.raman_per_km_nm * bandwidth_nm * reach


def crosstalk_power_w(channel: ClassicalChannel, fiber: Fiber) -> float:
    """Light of the classical channel itself that the demultiplexer lets through.

    A forward channel arrives attenuated; a backward one is launched beside the demultiplexer.
    """
    if channel.isolation_db is None:
        return 0.0
    loss_db = channel.isolation_db
    if channel.direction == "forward":
        per_km = channel.attenuation_db_per_km
        loss_db += fiber.length_km * (fiber.attenuation_db_per_km if per_km is None else per_km)
    return _launched_w(channel) * transmittance(loss_db)


def noise_photons(fiber: Fiber) -> float:
    """Mean photons per detector and gate that an arm's classical channels bring.

    The light is unpolarized and spread over many modes in time: it clicks like a dark count, half
    of it passes the polarizer of the gate's own mode, and half of that each port of the splitter.
    """
    if fiber.coexistence is None:
        return 0.0
    noise = fiber.coexistence
    power = sum(
        raman_power_w(channel, fiber, noise.filter_bandwidth_nm) + crosstalk_power_w(channel, fiber)
        for channel in noise.channels
    )
    photon_energy = PLANCK_J_S * LIGHT_M_PER_S / (noise.wavelength_nm * 1e-9)
    per_gate = power / photon_energy * noise.gate_width_ps * 1e-12
    return per_gate * transmittance(noise.filter_loss_db) * _SPLITTER * _POLARIZER


def _launched_w(channel: ClassicalChannel) -> float:
    return 1e-3 / transmittance(channel.launch_power_dbm)


def _decayed(rate: float, length: float) -> float:
    """The integral of e^{-rate z} over a length; any sign of the rate, zero included."""
    x = rate * length
    return length * (-math.expm1(-x) / x if x != 0.0 else 1.0)
