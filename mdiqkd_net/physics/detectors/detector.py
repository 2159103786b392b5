"""What the simulation knows of a single-photon detector, whatever it is made of."""

import math
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Afterpulses:
    """A carrier that an avalanche leaves in a trap, and that starts another one later.

    An avalanche causes at most one afterpulse. Its delay is counted from the end of the dead time
    and drawn from a sum of exponentials. Where a level has gates instead of times, every afterpulse
    falls into one, with a weight proportional to exp(-delay / decay). An afterpulse while the
    detector is dead again is lost. Exponentials have no memory, so a trap that a click fills with
    chance c and that releases after r on average is, with a dead time τ, an afterpulse with the
    probability c exp(-τ / r) and the decay r.

    Attributes:
        probability: That an avalanche has an afterpulse, after the dead time.
        decays: Pairs (share, decay_s): the shares of the afterpulses sum to 1.
    """

    probability: float = 0.0
    decays: tuple[tuple[float, float], ...] = ((1.0, 1e-6),)

    def __post_init__(self) -> None:
        # At a probability of 1 a single click would keep the detector busy for ever.
        if not 0.0 <= self.probability <= 0.9:
            raise DeviceError(
                f"afterpulse_probability: found {self.probability}; allowed: 0 to 0.9"
            )
        if not self.decays or not all(
            share >= 0.0 and 0.0 < decay_s < math.inf for share, decay_s in self.decays
        ):
            raise DeviceError(
                f"afterpulse decays: found {self.decays}; "
                "allowed: shares of 0 or more, each with a finite time above 0"
            )
        if not math.isclose(total := sum(share for share, _ in self.decays), 1.0, rel_tol=1e-9):
            raise DeviceError(f"afterpulse decays: found shares that sum to {total}; allowed: 1")


NO_AFTERPULSES: Final = Afterpulses()

_FWHM: Final = math.sqrt(8.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A threshold detector: it clicks or not and cannot count, and it has a memory.

    Dead time is non-paralyzable: it begins with a click, and what arrives meanwhile is lost without
    prolonging it. The detector is then as good as before, at once, or recovers: t after a click the
    chance of another is that at rest times

        r(t) = 1 - exp(-(t - dead_time_s) / recovery_s)

    So returns the bias current of a superconducting nanowire, through its kinetic inductance L and
    a load R, with the time constant L/R: Kerman et al., Appl. Phys. Lett. 88, 111116 (2006), from
    memory. That the chance of a click is proportional to the bias is a simplification: a wire with
    a plateau of efficiency over bias is back on it before its bias is back. Autebert et al., J.
    Appl. Phys. 128, 074504 (2020) (from memory) measure the recovery of the efficiency itself; fit
    both times to such a curve where there is one.

    A click is timed when the electronics see it. Its jitter is a Gaussian and, for a share of the
    clicks, an exponential delay on top. Source of the shape: Sidorova et al., PRB 98, 134504 (2018)
    for superconducting nanowires; with a share below 1 it is the diffusion tail of a SPAD, as in
    Lacaita, Ghioni & Cova, Electron. Lett. (1989), doi 10.1049/el:19890567. The width of the light
    pulse may be added to `jitter_s` in quadrature.

    Attributes:
        efficiency: Chance that one photon makes a click in a detector that is not dead.
        dark_rate_hz: Clicks without light.
        dead_time_s: From a click until another is possible.
        recovery_s: Time constant of the chance of a click from there on; 0 is at once.
        afterpulses: What a click does to later gates.
        jitter_s: Full width at half maximum of the Gaussian.
        jitter_tail_share: Share of clicks with an exponential delay.
        jitter_tail_s: Mean of that delay.
        latching_rate_hz: Rate of detected photons above which the detector stays off.

    Raises:
        DeviceError: On a number that no detector has.
    """

    efficiency: float
    dark_rate_hz: float = 0.0
    dead_time_s: float = 0.0
    recovery_s: float = 0.0
    afterpulses: Afterpulses = NO_AFTERPULSES
    jitter_s: float = 0.0
    jitter_tail_share: float = 0.0
    jitter_tail_s: float = 0.0
    latching_rate_hz: float = math.inf

    def __post_init__(self) -> None:
        for name in ("efficiency", "jitter_tail_share"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise DeviceError(f"{name}: found {value}; allowed: 0 to 1")
        for name in ("dark_rate_hz", "dead_time_s", "recovery_s", "jitter_s", "jitter_tail_s"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise DeviceError(f"{name}: found {value}; allowed: 0 or greater, and finite")
        if not self.latching_rate_hz > 0.0:
            raise DeviceError(
                f"latching_rate_hz: found {self.latching_rate_hz}; allowed: greater than 0"
            )

    @property
    def jitter_sigma_s(self) -> float:
        """Standard deviation of the Gaussian."""
        return self.jitter_s / _FWHM

    @property
    def has_tail(self) -> bool:
        """Whether some clicks are delayed beyond the Gaussian."""
        return self.jitter_tail_share > 0.0 and self.jitter_tail_s > 0.0

    def dark_probability(self, gate_s: float) -> float:
        """Chance of a click without light in a gate of this length, darks being Poissonian.

        Raises:
            DeviceError: On a negative length.
        """
        if not gate_s >= 0.0:
            raise DeviceError(f"gate_s: found {gate_s}; allowed: 0 or greater")
        return -math.expm1(-self.dark_rate_hz * gate_s)
