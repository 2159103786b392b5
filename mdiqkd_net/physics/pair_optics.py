"""From configuration to light: what two transmitters and two arms bring to one receiver."""

import math
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, setting_of
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import Rotation, TransmitterParams
from mdiqkd_net.params import Fiber, ReceiverParams, Source, UserLink, check_same_modes
from mdiqkd_net.physics.classical_noise import noise_photons
from mdiqkd_net.physics.drift import NOMINAL, Conditions
from mdiqkd_net.physics.encodings import ENCODINGS
from mdiqkd_net.physics.fluctuation import (
    STEADY,
    Law,
    gamma_gamma,
    gaussian,
    levels_needed,
    product,
)
from mdiqkd_net.physics.free_space import mean_transmittance
from mdiqkd_net.physics.overlap import gaussian_overlap
from mdiqkd_net.units import transmittance

Floats = NDArray[np.float64]

PHASE_CELLS: Final = 64
"""Where pulses share a walking phase, it is rounded to the nearest of so many.

A single pulse cannot tell them from a uniform phase; the correlation of neighbors by the k-th
harmonic comes out smaller by (sin x / x)², x = kπ/64, which is 0.08 % for the first.
"""

_SETTINGS: Final = setting_of(np.arange(N_STATES, dtype=np.uint8))


@dataclass(frozen=True, slots=True)
class Arm:
    """One user's settings, fiber and transmitter."""

    source: Source
    fiber: Fiber
    transmitter: TransmitterParams

    @classmethod
    def of(cls, user: UserLink) -> "Arm":
        """The arm that a user's table describes."""
        return cls(user.source, user.fiber, user.transmitter)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of every state, in every variant that a transmitter makes of it.

    A variant is a pair of the setting sent before, if the transmitter remembers it, and of a level
    of its intensity noise.

    Attributes:
        modes: Amplitudes in the receiver's two modes, (7, 2), times √`intensities`.
        intensities: Mean photon numbers at the transmitter, (n_previous, n_levels, 7), n_previous
            being 1 or 4.
        level_factors: What the levels do to the intensity, (n_levels,).
        level_probabilities: Of the levels, (n_levels,).
    """

    modes: NDArray[np.complex128]
    intensities: Floats
    level_factors: Floats
    level_probabilities: Floats

    @classmethod
    def plain(cls, amplitudes: NDArray[np.complex128]) -> "Light":
        """Light without variants, of these amplitudes, (7, 2)."""
        return cls(amplitudes, np.ones((1, 1, len(amplitudes))), np.ones(1), np.ones(1))

    @property
    def remembers(self) -> bool:
        """Whether the setting sent before makes a difference."""
        return bool(self.intensities.shape[0] > 1)

    @property
    def n_rows(self) -> int:
        """Rows of a table of click patterns: states, by the setting before if that matters."""
        return N_STATES * int(self.intensities.shape[0])

    @property
    def amplitudes(self) -> NDArray[np.complex128]:
        """Rows (previous, level, state), previous slowest: (n_previous · n_levels · 7, 2)."""
        return (np.sqrt(self.intensities)[..., None] * self.modes).reshape(-1, 2)

    def previous_probabilities(self, source: Source) -> Floats:
        """Of the setting before, (n_previous,), settings being independent."""
        return np.array(source.probabilities) if self.remembers else np.ones(1)


@dataclass(frozen=True, slots=True)
class PhaseLaw:
    """How the relative phase of the users behaves from pulse to pulse.

    Attributes:
        uniform: Fresh and uniform for every pulse; then nothing else counts.
        levels: Equally spaced phases, one of which is drawn for every pulse and added.
        advance: Of the phase per pulse by the difference of the lasers' frequencies, in cycles.
        variance: Of the walk of the phase, in rad² per pulse. A phase that walks starts anywhere,
            one that does not starts at zero.
    """

    uniform: bool = True
    levels: int = 1
    advance: float = 0.0
    variance: float = 0.0

    @property
    def shared(self) -> bool:
        """Whether pulses have to do with each other's phases."""
        return not self.uniform and (self.advance != 0.0 or self.variance > 0.0)


UNIFORM: Final = PhaseLaw()


@dataclass(frozen=True, slots=True, eq=False)
class PairOptics:
    """All that the light of a pair depends on, constant for a stretch of pulses.

    Attributes:
        receiver: With the overlap and the dark probability that this pair has there.
        transmittances: Of Alice's and Bob's arms, without the detectors.
        light: Of Alice and Bob.
        phase: Of the two pulses, relative to each other.
    """

    receiver: ReceiverParams
    transmittances: tuple[float, float]
    light: tuple[Light, Light]
    phase: PhaseLaw


def pair_optics(
    receiver: ReceiverParams,
    arms: tuple[Arm, Arm],
    conditions: tuple[Conditions, Conditions] = (NOMINAL, NOMINAL),
    *,
    pulse_rate_hz: float,
) -> PairOptics:
    """What a pair's light is under given conditions.

    Raises:
        DeviceError: The transmitters do not fit each other, or a loss turned into gain.
    """
    alice, bob = arms
    overlap = receiver.mode_overlap * _overlap(arms, conditions)
    transmittances = tuple(
        arm_transmittance(arm, now) for arm, now in zip(arms, conditions, strict=True)
    )
    lights = tuple(
        light_of(
            arm,
            _frequency_hz(arm, now),
            now,
            separation_s=receiver.bin_separation_s,
            detected=eta * receiver.efficiency,
        )
        for arm, now, eta in zip(arms, conditions, transmittances, strict=True)
    )
    return PairOptics(
        receiver=msgspec.structs.replace(
            _with_noise(receiver, (alice.fiber, bob.fiber)), mode_overlap=overlap
        ),
        transmittances=(transmittances[0], transmittances[1]),
        light=(lights[0], lights[1]),
        phase=phase_law(arms, conditions, pulse_rate_hz),
    )


def averaged_optics(receiver: ReceiverParams, arms: tuple[Arm, Arm]) -> PairOptics:
    """What the closed form averages over: nominal conditions, with fades as levels of intensity.

    A fade lasts for many pulses, but its average over a block is that of a fresh one per pulse.
    Drift is left out: the closed form holds for the arms as they were calibrated. The phase is
    taken as uniform if it walks or advances, which averages it out over a block.
    """
    optics = pair_optics(receiver, arms, pulse_rate_hz=1.0)
    faded = tuple(
        light_of(
            arm,
            arm.transmitter.frequency_offset_hz,
            NOMINAL,
            separation_s=receiver.bin_separation_s,
            fading=_fading(arm.fiber),
            detected=eta * receiver.efficiency,
        )
        for arm, eta in zip(arms, optics.transmittances, strict=True)
    )
    phase = optics.phase
    if phase.advance != 0.0 or phase.variance > 0.0:
        phase = UNIFORM
    return PairOptics(optics.receiver, optics.transmittances, (faded[0], faded[1]), phase)


def light_of(
    arm: Arm,
    frequency_hz: float = 0.0,
    now: Conditions = NOMINAL,
    *,
    separation_s: float | None = None,
    fading: Law = STEADY,
    detected: float = 1.0,
) -> Light:
    """The light of an arm's transmitter, in the modes of the receiver.

    A vacuum pulse has the light that the extinction leaves of the brightest setting. Intensity
    noise and the pattern effect (Yoshino et al., npj Quantum Inf. 4, 8 (2018)) are factors of the
    whole pulse, whatever its state.

    Args:
        arm: Source, fiber and transmitter.
        frequency_hz: Of the laser, against nominal: turns the late bin against the early one.
        now: Brightness and rotation of the polarization.
        separation_s: From the early to the late bin: a laser off its frequency turns that phase.
        fading: A further factor of the intensity.
        detected: Share of the light that can make a click; decides how finely noise is resolved.
    """
    transmitter = arm.transmitter
    encoding = ENCODINGS[transmitter.encoding]
    modes = encoding.modes(transmitter)
    if not encoding.has_bins:
        nominal = _rotation(arm.fiber.polarization_rotation_rad)
        modes = modes @ (nominal @ _rotation(now.rotation_rad)).T
    elif frequency_hz != 0.0:
        if separation_s is None:
            raise DeviceError(
                f"frequency of a laser: found an offset of {frequency_hz:g} Hz; "
                "needs `receiver.bin_separation_s`, which is missing"
            )
        turn = -2j * math.pi * frequency_hz * separation_s
        modes = modes * np.array([1.0, np.exp(turn)])
    means = np.array(arm.source.intensities)
    if transmitter.vacuum_extinction_db is not None:
        means[0] = means.max() * transmittance(transmitter.vacuum_extinction_db)
    factors = np.ones(1)
    if transmitter.pattern_effect is not None:
        factors = np.array(transmitter.pattern_effect.factors)
    noise = transmitter.intensity_noise
    photons = detected * now.brightness * float(factors.max() * means.max())
    law = gaussian(noise, levels_needed(noise, photons))
    levels, probabilities = product(law, fading)
    intensities = now.brightness * factors[:, None, None] * levels[:, None] * means[_SETTINGS]
    return Light(modes @ encoding.to_receiver.T, intensities, levels, probabilities)


def arm_transmittance(arm: Arm, now: Conditions = NOMINAL) -> float:
    """Of fiber, free space and, for bins, of the polarizer before the splitter.

    A drift of the loss stops at none, and a fade at all of the beam: neither makes light.
    """
    loss_db = max(0.0, arm.fiber.loss_db + now.loss_db)
    result = transmittance(loss_db)
    if arm.fiber.free_space is not None:
        result *= min(1.0, mean_transmittance(arm.fiber.free_space) * now.fade)
    if ENCODINGS[arm.transmitter.encoding].has_bins:
        nominal = _rotation(arm.fiber.polarization_rotation_rad)
        result *= min(1.0, float(abs((nominal @ _rotation(now.rotation_rad))[0, 0]) ** 2))
    return result


def phase_law(
    arms: tuple[Arm, Arm], conditions: tuple[Conditions, Conditions], pulse_rate_hz: float
) -> PhaseLaw:
    """The relative phase, from what both transmitters do.

    One uniform phase makes the difference uniform. Two independent draws from n and m equally
    spaced phases differ by one of lcm(n, m), all equally likely. Source of the discrete phases:
    Cao, Zhang, Lo & Ma, New J. Phys. 17, 053014 (2015).
    """
    transmitters = [arm.transmitter for arm in arms]
    if any(t.phase_randomization == "uniform" for t in transmitters):
        return UNIFORM
    rates = [2.0 / t.coherence_time_s for t in transmitters if t.coherence_time_s is not None]
    alice, bob = (_frequency_hz(arm, now) for arm, now in zip(arms, conditions, strict=True))
    return PhaseLaw(
        uniform=False,
        levels=math.lcm(
            *(t.phase_levels if t.phase_randomization == "discrete" else 1 for t in transmitters)
        ),
        advance=(bob - alice) / pulse_rate_hz,
        variance=sum(rates) / pulse_rate_hz,
    )


def _frequency_hz(arm: Arm, now: Conditions) -> float:
    return arm.transmitter.frequency_offset_hz + now.frequency_hz


def _overlap(arms: tuple[Arm, Arm], conditions: tuple[Conditions, Conditions]) -> float:
    """Of the pulses' shapes; 1 where they have none."""
    alice, bob = (arm.transmitter for arm in arms)
    try:
        check_same_modes(alice, bob)
    except ValueError as error:
        raise DeviceError(str(error)) from None
    delay_ps = bob.delay_ps + conditions[1].delay_ps - alice.delay_ps - conditions[0].delay_ps
    frequency_hz = _frequency_hz(arms[1], conditions[1]) - _frequency_hz(arms[0], conditions[0])
    if alice.pulse_width_ps is None or bob.pulse_width_ps is None:
        if delay_ps != 0.0 or frequency_hz != 0.0:
            raise DeviceError(
                "transmitter.pulse_width_ps: found none, with an offset in time or frequency; "
                "allowed: above 0"
            )
        return 1.0
    return gaussian_overlap(
        widths_ps=(alice.pulse_width_ps, bob.pulse_width_ps),
        delay_ps=delay_ps,
        frequency_hz=frequency_hz,
    )


def _with_noise(receiver: ReceiverParams, fibers: tuple[Fiber, Fiber]) -> ReceiverParams:
    """With darks for the photons of classical channels, which come at random times."""
    photons = sum(map(noise_photons, fibers))
    if photons == 0.0:
        return receiver
    dark = receiver.dark_probability
    dark -= (1.0 - dark) * math.expm1(-receiver.efficiency * photons)
    # The rate of darks alone, if it is given, is no longer that of all of them.
    return msgspec.structs.replace(receiver, dark_probability=dark, dark_rate_hz=None)


def _fading(fiber: Fiber) -> Law:
    path = fiber.free_space
    if path is None:
        return STEADY
    return gamma_gamma(path.rytov_variance, greatest=1.0 / mean_transmittance(path))


def _rotation(vector: Rotation) -> NDArray[np.complex128]:
    """Jones matrix (2, 2) on (H, V) of a turn about the axes (diagonal, circular, H to V)."""
    angle = math.hypot(*vector)
    if angle == 0.0:
        return np.eye(2, dtype=np.complex128)
    x, y, z = (math.sin(angle / 2.0) * part / angle for part in vector)
    c = math.cos(angle / 2.0)
    return np.array([[c - 1j * z, -1j * x - y], [-1j * x + y, c + 1j * z]])
