"""Superconducting nanowires: fast, without afterpulses, and as good as bias and cold make them."""

import math
from dataclasses import dataclass, replace
from typing import Final

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.detectors.detector import Detector

RECOVERY_S: Final = 9.42e-9
"""1/e time in which the bias current comes back after a click."""

FAST: Final = Detector(
    efficiency=0.60,
    dark_rate_hz=100.0,
    dead_time_s=20e-9,
    jitter_s=14.2e-12,
    latching_rate_hz=1.0 / RECOVERY_S,
)
"""A nanowire at 1550 nm. Efficiency, jitter and the recovery of 9.4 ns are those of the device of
Photonics Research, doi 10.1364/PRJ.437834. The dead time is that after which 94 % of its pulse has
gone and so much of the bias is back, on the plateau of the efficiency; `RECOVERING` has the gradual
recovery in place of it. Light of more than a photon per recovery time is refused: the current would
never come back, and the wire latches at some rate below or above, which is its own. Darks are
usual."""

RECOVERING: Final = replace(FAST, dead_time_s=1.2e-9, recovery_s=7.9e-9)
"""The same device with an efficiency proportional to its bias, for the level click. The two times
are a least-squares fit of 1 - exp(-(t - dead_time_s) / recovery_s) to the share of its pulse that
has gone t after the peak, within 0.07 everywhere. The efficiency itself was not measured against
time; on a plateau it comes back sooner than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nanowire:
    """How efficiency and darks of a nanowire follow bias current and temperature.

    With b the bias over the critical current at the temperature T,

        I_c(T) = critical_current_a (1 - (T / T_c)²)^(3/2)
        efficiency = plateau/2 erfc((midpoint - b) / width)
        darks = dark_rate_hz exp((b - 1) / dark_scale)

    Sources: Bardeen, Rev. Mod. Phys. 34, 667 (1962) for the depairing current; Kozorezov et al.,
    PRB 96, 054507 (2017) for the error function, which follows from Fano fluctuations of the energy
    that a photon leaves; the exponential of the darks is an observation, e.g. Yamashita et al.,
    Appl. Phys. Lett. 99, 161105 (2011). A description of curves, not a theory of a wire: fit the
    six numbers to yours.

    Attributes:
        critical_current_a: At zero temperature.
        critical_temperature_k: Above it there is no superconductor.
        plateau: Efficiency at full internal efficiency.
        midpoint: Relative bias at half the plateau.
        width: Of the rise, in relative bias.
        dark_rate_hz: Darks at the critical current.
        dark_scale: Relative bias for a factor e of darks.
    """

    critical_current_a: float = 20e-6
    critical_temperature_k: float = 9.0
    plateau: float = 0.60
    midpoint: float = 0.65
    width: float = 0.12
    dark_rate_hz: float = 1e4
    dark_scale: float = 0.02

    def __post_init__(self) -> None:
        for name in ("critical_current_a", "critical_temperature_k", "width", "dark_scale"):
            if not 0.0 < (value := getattr(self, name)) < math.inf:
                raise DeviceError(f"{name}: found {value}; allowed: greater than 0, and finite")
        if not 0.0 <= self.plateau <= 1.0:
            raise DeviceError(f"plateau: found {self.plateau}; allowed: 0 to 1")

    def at(self, *, bias_a: float, temperature_k: float, detector: Detector = FAST) -> Detector:
        """The detector at a working point; what bias does not change is that of `detector`.

        Raises:
            DeviceError: If the wire is not superconducting there.
        """
        if not 0.0 <= temperature_k < self.critical_temperature_k:
            raise DeviceError(
                f"temperature_k: found {temperature_k}; "
                f"allowed: 0 to below {self.critical_temperature_k}, where the wire is normal"
            )
        cold = 1.0 - (temperature_k / self.critical_temperature_k) ** 2
        critical_a = self.critical_current_a * cold**1.5
        if not 0.0 < bias_a < critical_a:
            raise DeviceError(
                f"bias_a: found {bias_a}; allowed: above 0 and below the critical current, "
                f"which is {critical_a:.3g} A at {temperature_k} K"
            )
        bias = bias_a / critical_a
        return replace(
            detector,
            efficiency=self.plateau / 2.0 * math.erfc((self.midpoint - bias) / self.width),
            dark_rate_hz=self.dark_rate_hz * math.exp((bias - 1.0) / self.dark_scale),
        )
