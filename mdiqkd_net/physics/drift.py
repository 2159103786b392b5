"""Slow changes of an arm as seeded processes that can be looked at anywhere, in any order."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import Process, Rotation
from mdiqkd_net.params import Fiber
from mdiqkd_net.physics.fluctuation import gamma_gamma_shapes

_STEP_S: Final = 2.0**-10
_DOUBLINGS: Final = 40
HORIZON_S: Final = _STEP_S * 2**_DOUBLINGS
"""Time after which a drift has no value: 34 years."""

_QUANTITIES: Final = ("delay_ps", "frequency_hz", "loss_db", "intensity", "polarization_rad")
_FADE: Final = 100


@dataclass(frozen=True, slots=True)
class Conditions:
    """What drift and weather have made of an arm, against its nominal state.

    Attributes:
        delay_ps: Added to the arrival time.
        frequency_hz: Added to the laser's frequency.
        loss_db: Added to the loss.
        rotation_rad: Of the polarization, before the nominal one of the fiber.
        brightness: Factor of the intensity at the transmitter.
        fade: Factor of the transmittance of free space.
    """

    delay_ps: float = 0.0
    frequency_hz: float = 0.0
    loss_db: float = 0.0
    rotation_rad: Rotation = (0.0, 0.0, 0.0)
    brightness: float = 1.0
    fade: float = 1.0


NOMINAL: Final = Conditions()


class ArmDrift:
    """The conditions of one arm at any time, as a function of a seed.

    Every value is a function of the seed and the time alone: whoever asks, how often and in which
    order changes nothing. Times are rounded down to 2^-10 s. Everything starts from the nominal
    conditions at time 0, as after a calibration, but for the fade, which is drawn afresh for every
    `fading_time_s`.

    Args:
        fiber: Its `drift` and `free_space` say what changes.
        seed: Of the simulated physics, non-negative integers.
    """

    def __init__(self, fiber: Fiber, seed: tuple[int, ...]) -> None:
        self._fiber = fiber
        self._seed = seed

    @property
    def changes(self) -> bool:
        """Whether the conditions are ever other than nominal."""
        path = self._fiber.free_space
        return self._fiber.drift is not None or (path is not None and path.rytov_variance > 0.0)

    def at(self, time_s: float) -> Conditions:
        """Conditions at a time since the calibration.

        Raises:
            DeviceError: Before the calibration, or after `HORIZON_S`.
        """
        if not 0.0 <= time_s < HORIZON_S:
            raise DeviceError(f"time of a drift: found {time_s:g} s; allowed: 0 to {HORIZON_S:g} s")
        rotation = (
            self._value("polarization_rad", 0, time_s, 1.0 / math.sqrt(3.0)),
            self._value("polarization_rad", 1, time_s, 1.0 / math.sqrt(3.0)),
            self._value("polarization_rad", 2, time_s, 1.0 / math.sqrt(3.0)),
        )
        return Conditions(
            delay_ps=self._value("delay_ps", 0, time_s),
            frequency_hz=self._value("frequency_hz", 0, time_s),
            loss_db=self._value("loss_db", 0, time_s),
            rotation_rad=rotation,
            brightness=math.exp(self._value("intensity", 0, time_s)),
            fade=self._fade(time_s),
        )

    def _value(self, quantity: str, part: int, time_s: float, share: float = 1.0) -> float:
        drift = self._fiber.drift
        process = None if drift is None else drift.process(quantity, self._fiber.length_km)
        if process is None or process.size == 0.0:
            return 0.0
        seed = (*self._seed, _QUANTITIES.index(quantity), part)
        return share * process.size * standard_process(process, seed, time_s)

    def _fade(self, time_s: float) -> float:
        path = self._fiber.free_space
        if path is None or path.rytov_variance == 0.0:
            return 1.0
        index = math.floor(time_s / path.fading_time_s)
        rng = np.random.default_rng((*self._seed, _FADE, index))
        large, small = gamma_gamma_shapes(path.rytov_variance)
        return float(rng.gamma(large) / large * rng.gamma(small) / small)


def standard_process(process: Process, seed: tuple[int, ...], time_s: float) -> float:
    """A process of size 1 at a time, starting at zero.

    Random walk: a Wiener process with variance t / time_s. Ornstein-Uhlenbeck: covariance in the
    long run e^{-|s - t| / time_s}. Diurnal: sin(2π t / time_s + θ) - sin θ, θ seeded and uniform.

    The first two are Markov and Gaussian, so that the value in the middle of an interval is
    Gaussian given its ends: Lévy's construction, which reaches any time of a dyadic grid in 40
    steps and never has to walk there. Source: Lévy, Processus stochastiques et mouvement brownien
    (1948), ch. I; the bridge of the Ornstein-Uhlenbeck process from its two transition densities.
    """
    if process.kind == "diurnal":
        phase = 2.0 * math.pi * np.random.default_rng(seed).random()
        return math.sin(2.0 * math.pi * time_s / process.time_s + phase) - math.sin(phase)
    index = int(time_s / _STEP_S)
    low, high = 0, 2**_DOUBLINGS
    span = HORIZON_S / process.time_s
    at_low = 0.0
    if process.kind == "random_walk":
        at_high = math.sqrt(span) * _normal(seed, 0, 0)
    else:
        at_high = math.sqrt(-math.expm1(-2.0 * span)) * _normal(seed, 0, 0)
    for depth in range(1, _DOUBLINGS + 1):
        if index == low:
            return at_low
        middle = (low + high) // 2
        half = 0.5 * (high - low) * _STEP_S / process.time_s
        if process.kind == "random_walk":
            mean, variance = 0.5 * (at_low + at_high), 0.5 * half
        else:
            # With ρ = e^{-half}: mean (a + b) ρ / (1 + ρ²), variance (1 - ρ²) / (1 + ρ²).
            mean, variance = 0.5 * (at_low + at_high) / math.cosh(min(half, 700.0)), math.tanh(half)
        value = mean + math.sqrt(variance) * _normal(seed, depth, middle)
        if index >= middle:
            low, at_low = middle, value
        else:
            high, at_high = middle, value
    return at_low


def _normal(seed: tuple[int, ...], depth: int, index: int) -> float:
    """The standard normal number of a point of the construction."""
    return float(np.random.default_rng((*seed, depth, index)).standard_normal())
