"""What sets real transmitters, channels and taggers apart from ideal ones, as configuration tables.

Every table may be left out, and every default is ideal. Engineering units stop here and in
`physics`, which turns these numbers into light.
"""

import math
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

EncodingName = Literal["time_bin", "polarization", "phase"]

NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Angle = Annotated[float, Meta(ge=-math.pi, le=math.pi)]

MAX_CLOCK_PPM: Final = 1000.0
"""A tagger that counts a thousandth faster or slower is broken."""

Skew = Annotated[float, Meta(ge=-1e6, le=1e6)]

Rotation = tuple[Angle, Angle, Angle]
"""A rotation of the Bloch (or Poincaré) sphere: the axis times the angle, in radians."""

NOISE_CUT: Final = 4.0
"""Standard deviations at which the intensity noise is cut off."""

_STEADY_BINS: Final = 1e4


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a file; written again, it says only what is not the default."""


class AngleError(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a state is from the intended one on the encoder's Bloch sphere."""

    polar_rad: Angle = 0.0
    azimuth_rad: Angle = 0.0


class AngleErrors(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors of each state that carries a bit."""

    x0: AngleError = AngleError()
    x1: AngleError = AngleError()
    y0: AngleError = AngleError()
    y1: AngleError = AngleError()
    z0: AngleError = AngleError()
    z1: AngleError = AngleError()


class PatternEffect(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Relative change of a pulse's intensity, by the setting of the pulse before it."""

    o: Annotated[float, Meta(gt=-1.0, le=1.0)] = 0.0
    x: Annotated[float, Meta(gt=-1.0, le=1.0)] = 0.0
    y: Annotated[float, Meta(gt=-1.0, le=1.0)] = 0.0
    z: Annotated[float, Meta(gt=-1.0, le=1.0)] = 0.0

    @property
    def factors(self) -> tuple[float, float, float, float]:
        """Intensity after o, x, y, z, relative to the nominal one."""
        return (1.0 + self.o, 1.0 + self.x, 1.0 + self.y, 1.0 + self.z)


class TransmitterParams(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a user's transmitter makes its pulses. The default is an ideal one."""

    encoding: EncodingName = "time_bin"
    angle_errors: AngleErrors = AngleErrors()
    vacuum_extinction_db: NonNegative | None = None
    """Light left in a vacuum pulse, below the brightest setting. Absent: none."""
    mode_extinction_db: Annotated[float, Meta(ge=3.0)] | None = None
    """Light left in the dark mode of a z state, below the bright mode. Absent: none."""
    phase_randomization: Literal["uniform", "discrete", "none"] = "uniform"
    phase_levels: Annotated[int, Meta(ge=2, le=1024)] = 16
    """Of discrete randomization: equally spaced, equally likely."""
    coherence_time_s: Positive | None = None
    """The laser's phase walks with variance 2 t / coherence_time_s. Absent: lasers are locked."""
    intensity_noise: Annotated[float, Meta(ge=0.0, lt=1.0 / NOISE_CUT)] = 0.0
    """Relative standard deviation from pulse to pulse: Gaussian, cut off at four of them."""
    pattern_effect: PatternEffect | None = None
    pulse_width_ps: Positive | None = None
    """Full width at half maximum of the intensity of a mode's Gaussian pulse."""
    delay_ps: float = 0.0
    """Arrival at the relay, against the nominal time."""
    frequency_offset_hz: float = 0.0
    """Of the laser, against the nominal frequency."""

    def __post_init__(self) -> None:
        if self.mode_extinction_db is not None and self.encoding == "phase":
            raise ValueError(
                "mode_extinction_db: found a value with encoding 'phase'; allowed: with 'time_bin' "
                "or 'polarization', whose z states leave a mode dark"
            )
        if self.coherence_time_s is not None and self.phase_randomization == "uniform":
            raise ValueError(
                "coherence_time_s: found a value with phase_randomization 'uniform'; allowed: "
                "with 'discrete' or 'none', where the laser's own phase matters"
            )
        for key in ("delay_ps", "frequency_offset_hz"):
            if getattr(self, key) != 0.0:
                self.require_shape(key)

    @property
    def has_bins(self) -> bool:
        """Whether the two modes leave the transmitter one after the other."""
        return self.encoding != "polarization"

    def require_shape(self, cause: str) -> None:
        """Refuse an offset in time or frequency of pulses that have no shape.

        Raises:
            ValueError: Naming the key that is missing, and the `cause` that needs it.
        """
        if self.pulse_width_ps is None:
            raise ValueError(f"{cause}: needs `pulse_width_ps`, which is missing")

    def check_bins(self, separation_s: float | None, *, detuned: bool) -> None:
        """Refuse lasers whose phase matters between the bins of a receiver, if it is not known how.

        Args:
            separation_s: From the early to the late bin; None if it follows from the pulse rate.
            detuned: Whether the laser's frequency differs from the nominal one, now or later.

        Raises:
            ValueError: Saying which key of the transmitter does not fit the receiver.
        """
        if not self.has_bins:
            return
        if detuned and separation_s is None:
            raise ValueError(
                "frequency of a laser: found an offset or a drift; "
                "needs `receiver.bin_separation_s`, which is missing"
            )
        least_s = _STEADY_BINS * (separation_s or 0.0)
        if self.coherence_time_s is not None and self.coherence_time_s < least_s:
            raise ValueError(
                f"coherence_time_s: found {self.coherence_time_s:g}; allowed: {least_s:g} or "
                "more, which is 10^4 bin separations: a phase that walks within a pulse is not "
                "modelled at any level"
            )


class Process(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seeded process that starts at zero. Its unit is that of the key that holds it."""

    kind: Literal["random_walk", "ornstein_uhlenbeck", "diurnal"]
    size: Annotated[float, Meta(ge=0.0)]
    """Standard deviation of a random walk after `time_s`; of an Ornstein-Uhlenbeck process in the
    long run; amplitude of a diurnal one."""
    time_s: Annotated[float, Meta(ge=1e-3, le=1e9)]
    """Of the walk, see above; correlation time; period."""


class Drift(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Slow changes of an arm and of its transmitter; a preset fills what is not given."""

    preset: Literal["aerial", "buried"] | None = None
    delay_ps: Process | None = None
    frequency_hz: Process | None = None
    polarization_rad: Process | None = None
    """Of the polarization on the Poincaré sphere: three independent parts of size/√3 each."""
    loss_db: Process | None = None
    intensity: Process | None = None
    """Of the natural logarithm of the transmitter's intensity."""

    def process(self, quantity: str, length_km: float) -> Process | None:
        """The process of a quantity, of this table or of its preset.

        Rates of the presets. Delay: 33 ps/(km K) of loose-tube cable (Electron. Lett. 19, 865
        (1983)) at a daily swing of 0.5 K buried and 10 K aerial. Polarization, buried: a turn of
        0.6 rad, which alone is a QBER of 9 %, in 16 hours. Polarization, aerial: windows of 8 ms
        (Opt. Express 28, 5035 (2020)), read as a turn of 0.1 rad. Frequency: tens of MHz per hour
        of a DFB laser held to 1 mK. Loss and intensity have no published rate and stay.
        """
        own: Process | None = getattr(self, quantity)
        if own is not None or self.preset is None:
            return own
        swing_k, polarization = _PRESETS[self.preset]
        match quantity:
            case "delay_ps":
                amplitude = 0.5 * _DELAY_PS_PER_KM_K * swing_k * length_km
                return Process(kind="diurnal", size=amplitude, time_s=86_400.0)
            case "frequency_hz":
                return Process(kind="random_walk", size=30e6, time_s=3_600.0)
            case "polarization_rad":
                return polarization
            case _:
                return None


_DELAY_PS_PER_KM_K: Final = 33.0
_PRESETS: Final = {
    "buried": (0.5, Process(kind="random_walk", size=0.6, time_s=60_000.0)),
    # Over a short time t the turn is 1 rad sqrt(2 t / 1.6 s): 0.1 rad in 8 ms.
    "aerial": (10.0, Process(kind="ornstein_uhlenbeck", size=1.0, time_s=1.6)),
}
"""Daily swing of the temperature in K, and how the polarization turns."""


class ClassicalChannel(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bright light in the same fiber, seen by the detectors as noise."""

    launch_power_dbm: Annotated[float, Meta(ge=-100.0, le=40.0)]
    direction: Literal["forward", "backward"] = "forward"
    """`forward` runs from the user to the relay, as the pulses do."""
    raman_per_km_nm: NonNegative = 0.0
    """Spontaneous Raman coefficient into the quantum channel; about 2e-9 in the C band."""
    attenuation_db_per_km: Positive | None = None
    """Absent: that of the quantum channel."""
    isolation_db: NonNegative | None = None
    """How far the demultiplexer keeps this channel down. Absent: no cross-talk."""


class Coexistence(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classical channels beside the quantum channel, and the relay's filters against them."""

    channels: tuple[ClassicalChannel, ...]
    wavelength_nm: Annotated[float, Meta(ge=200.0, le=3000.0)] = 1550.0
    """Of the quantum channel."""
    filter_bandwidth_nm: NonNegative
    filter_loss_db: NonNegative = 0.0
    """From the fiber's end to the detectors."""
    gate_width_ps: Positive


class TaggerParams(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay's time tagger and the logic behind it; the default is ideal."""

    gate_width_ps: Positive | None = None
    """Of every gate, around the center of its bin. Absent: as wide as the bins leave room for."""
    skew_ps: tuple[Skew, Skew] = (0.0, 0.0)
    """Delay of the channels of detectors 0 and 1."""
    clock_offset_ppm: Annotated[float, Meta(ge=-MAX_CLOCK_PPM, le=MAX_CLOCK_PPM)] = 0.0
    """How much faster than the transmitters the tagger's clock counts when a segment begins."""
    clock_drift_ppm_per_s: Annotated[float, Meta(ge=-MAX_CLOCK_PPM, le=MAX_CLOCK_PPM)] = 0.0
    """How this grows during a segment."""
    calibrated: bool = True
    """Whether the logic knows skew and clock. If not, it takes both for ideal."""
    veto: bool = False
    """Whether events are dropped that a dead detector may have distorted."""


class FreeSpace(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment through the air, before or after the fiber."""

    length_km: Positive
    wavelength_nm: Annotated[float, Meta(ge=200.0, le=3000.0)] = 1550.0
    beam_waist_m: Positive
    """1/e² radius of the Gaussian beam at the transmitting telescope, where it is narrowest."""
    receiver_radius_m: Positive
    attenuation_db_per_km: NonNegative = 0.0
    """Absorption and scattering of the air."""
    rytov_variance: Annotated[float, Meta(ge=0.0, le=25.0)] = 0.0
    """Strength of the turbulence for a plane wave; 0: no fading."""
    fading_time_s: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1e-2
    """For how long a fade lasts."""
