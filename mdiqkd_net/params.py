"""The agreement: what both users must hold in common, and the description of a link.

The same structs read TOML (`parse_toml`) and serve the code. Engineering units stop here.
"""

import math
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from mdiqkd_net import units
from mdiqkd_net.imperfections import (
    Coexistence,
    Drift,
    FreeSpace,
    Rotation,
    TaggerParams,
    TransmitterParams,
)

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]
BellStateName = Literal["psi_minus", "psi_plus"]
LevelName = Literal["coincidence", "click", "tag"]

MAX_PULSES: Final = 10**15
"""A block of 11 days at 1 GHz; keeps every count exact in a float64."""


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """One non-vacuum source: mean photon number per pulse, and how often it is chosen."""

    intensity: NonNegative
    probability: Probability


Share = Annotated[float, Meta(ge=0.0, lt=1.0)]
Interval = tuple[float, float]
"""Least and greatest value, both allowed."""


class SourceBounds(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How far a transmitter may be from its settings; the default is an ideal one.

    The model behind each number, and what a key loses to it, is in docs/explanation/estimation.md.
    """

    x_relative: Share = 0.0
    """x pulses have mean photon numbers within this of the nominal one, relative."""
    y_relative: Share = 0.0
    z_relative: Share = 0.0
    vacuum_intensity: Share = 0.0
    """Mean photon number of setting o, at most: finite extinction."""
    vacuum_light: Literal["any", "x"] = "any"
    """What o emits: light of any kind, or a weak pulse of basis X with a random bit."""
    phase_nonuniformity: Share = 0.0
    """The phase of each pulse has a density of at least (1 - this) / (2 pi)."""
    intensity_correlation: Share = 0.0
    """How far the previous pulse's setting moves a mean photon number, relative."""
    trojan_photons: NonNegative = 0.0
    """Mean photon number per pulse of injected light that leaves with the settings on it."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name != "vacuum_light":
                value, most = getattr(self, name), math.inf if name == "trojan_photons" else 1.0
                if not 0.0 <= value < most:
                    raise ValueError(f"{name}: found {value}; allowed: 0 or more, below {most:g}")
        if self.vacuum_light not in ("any", "x"):
            raise ValueError(f"vacuum_light: found {self.vacuum_light!r}; allowed: 'any' or 'x'")


IDEAL: Final = SourceBounds()


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A user's four settings: x and y in basis X, z in basis Z; vacuum takes the rest."""

    x: Setting
    y: Setting
    z: Setting
    bounds: SourceBounds = IDEAL

    def __post_init__(self) -> None:
        if not self.x.intensity < self.y.intensity:
            raise ValueError(
                f"x.intensity: found {self.x.intensity}; "
                f"allowed: below y.intensity, which is {self.y.intensity}"
            )
        total = self.x.probability + self.y.probability + self.z.probability
        if total > 1.0 + 1e-12:
            raise ValueError(
                f"x.probability + y.probability + z.probability: found {total:.12g}; "
                "allowed: at most 1 (vacuum takes the rest)"
            )

    @property
    def intensities(self) -> tuple[float, float, float, float]:
        """Mean photon numbers of o, x, y, z."""
        return (0.0, self.x.intensity, self.y.intensity, self.z.intensity)

    @property
    def intensity_intervals(self) -> tuple[Interval, Interval, Interval, Interval]:
        """Mean photon numbers that pulses of o, x, y, z may have."""
        bounds = self.bounds
        spreads = (bounds.x_relative, bounds.y_relative, bounds.z_relative)
        x, y, z = (
            (mu * (1.0 - spread), mu * (1.0 + spread))
            for mu, spread in zip(self.intensities[1:], spreads, strict=True)
        )
        return ((0.0, bounds.vacuum_intensity), x, y, z)

    @property
    def probabilities(self) -> tuple[float, float, float, float]:
        """Probabilities of o, x, y, z; they sum to 1."""
        x, y, z = self.x.probability, self.y.probability, self.z.probability
        return (max(0.0, 1.0 - x - y - z), x, y, z)


class Fiber(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A user's arm: fiber and whatever else light passes before the relay's detectors."""

    length_km: NonNegative
    attenuation_db_per_km: NonNegative
    insertion_loss_db: NonNegative = 0.0
    splices: Annotated[int, Meta(ge=0, le=100_000)] = 0
    splice_loss_db: NonNegative = 0.0
    """Of each."""
    polarization_rotation_rad: Rotation = (0.0, 0.0, 0.0)
    """What the fiber does to the polarization and nobody undoes."""
    drift: Drift | None = None
    coexistence: Coexistence | None = None
    free_space: FreeSpace | None = None

    @property
    def loss_db(self) -> float:
        """Of fiber, splices and insertion, without free space and detector."""
        fiber_db = self.length_km * self.attenuation_db_per_km
        return fiber_db + self.splices * self.splice_loss_db + self.insertion_loss_db

    @property
    def transmittance(self) -> float:
        """Of fiber, splices and insertion; linear from here on."""
        return units.transmittance(self.loss_db)


class UserLink(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's settings and arm, in one table of a file."""

    length_km: NonNegative
    attenuation_db_per_km: NonNegative
    insertion_loss_db: NonNegative = 0.0
    splices: Annotated[int, Meta(ge=0, le=100_000)] = 0
    splice_loss_db: NonNegative = 0.0
    polarization_rotation_rad: Rotation = (0.0, 0.0, 0.0)
    drift: Drift | None = None
    coexistence: Coexistence | None = None
    free_space: FreeSpace | None = None
    transmitter: TransmitterParams = TransmitterParams()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_arm(self.fiber, self.transmitter)

    @property
    def transmittance(self) -> float:
        """Of fiber, splices and insertion, without free space and detector."""
        return self.fiber.transmittance

    @property
    def source(self) -> Source:
        """The settings and their bounds alone."""
        return Source(x=self.x, y=self.y, z=self.z, bounds=self.bounds)

    @property
    def fiber(self) -> Fiber:
        """The arm alone."""
        return Fiber(
            length_km=self.length_km,
            attenuation_db_per_km=self.attenuation_db_per_km,
            insertion_loss_db=self.insertion_loss_db,
            splices=self.splices,
            splice_loss_db=self.splice_loss_db,
            polarization_rotation_rad=self.polarization_rotation_rad,
            drift=self.drift,
            coexistence=self.coexistence,
            free_space=self.free_space,
        )


def check_arm(fiber: Fiber, transmitter: TransmitterParams) -> None:
    """Refuse a drift in time or frequency of pulses that have no shape.

    Raises:
        ValueError: Saying which drift, and which key of the transmitter is missing.
    """
    if fiber.drift is None:
        return
    for quantity in ("delay_ps", "frequency_hz"):
        if fiber.drift.process(quantity, fiber.length_km) is not None:
            transmitter.require_shape(f"drift.{quantity}")


def check_bins(receiver: "ReceiverParams", fiber: Fiber, transmitter: TransmitterParams) -> None:
    """Refuse a transmitter whose phase between the receiver's bins is not known, or not steady.

    Raises:
        ValueError: Saying which key does not fit, or is missing.
    """
    process = None if fiber.drift is None else fiber.drift.process("frequency_hz", fiber.length_km)
    detuned = transmitter.frequency_offset_hz != 0.0 or process is not None
    transmitter.check_bins(receiver.bin_separation_s, detuned=detuned)


def check_same_modes(alice: TransmitterParams, bob: TransmitterParams) -> None:
    """Refuse two transmitters that one receiver cannot serve, or that cannot be compared.

    Raises:
        ValueError: Their encodings differ, or one of their pulses has no shape.
    """
    if alice.encoding != bob.encoding:
        raise ValueError(
            f"transmitter.encoding: found {alice.encoding!r} and {bob.encoding!r}; "
            "allowed: the same for both users of a pair"
        )
    if (alice.pulse_width_ps is None) != (bob.pulse_width_ps is None):
        raise ValueError(
            "transmitter.pulse_width_ps: found for one user of a pair alone; allowed: for both or "
            "neither"
        )


class ReceiverParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay's Bell-state receiver: a beam splitter and two threshold detectors.

    Whatever is left out is ideal, or what the preset named by `detector` says.
    """

    efficiency: Probability
    """Of detector 0, and of detector 1 unless `efficiency_ratio` is given."""
    dark_probability: Probability
    """Per detector and gate (time bin)."""
    misalignment: Annotated[float, Meta(ge=0.0, le=0.5)]
    """Probability of a bit flip, in both bases."""
    mode_overlap: Probability
    """|<A|B>|^2 of the two users' pulses."""
    level: LevelName = "coincidence"
    """What the simulation makes: pulses with clicks in both bins, every click, every time tag."""
    detector: str = "ideal"
    """A preset of `physics.detectors`; the keys below take precedence over it."""
    dead_time_s: NonNegative | None = None
    """Of each detector, from each of its clicks."""
    recovery_s: NonNegative | None = None
    """Time constant with which the chance of a click comes back after the dead time."""
    afterpulse_probability: Annotated[float, Meta(ge=0.0, le=0.9)] | None = None
    """That a click causes another one after the dead time."""
    afterpulse_decay_s: Positive | None = None
    """Of a single exponential, in place of the preset's distribution."""
    jitter_s: NonNegative | None = None
    """Full width at half maximum of the time of a click."""
    jitter_tail_share: Probability | None = None
    """Share of clicks that come later still, by an exponential delay; at the level `tag`."""
    jitter_tail_s: NonNegative | None = None
    """Mean of that delay."""
    dark_rate_hz: NonNegative | None = None
    """Of each detector at the level `tag`, in place of `dark_probability` over the gate."""
    efficiency_ratio: Positive = 1.0
    """Efficiency of detector 1 over that of detector 0."""
    splitter_transmittance: Probability = 0.5
    """Share of Alice's light that goes to detector 0, and of Bob's to detector 1."""
    bin_separation_s: Positive | None = None
    """From the early to the late bin; half a pulse period if left out."""
    attack: str | None = None
    """A hostile relay of `physics.attacks` in place of this one, which it pretends to be."""
    tagger: TaggerParams = TaggerParams()
    """For the level `tag`."""

    def __post_init__(self) -> None:
        if self.efficiency <= 1.0 < self.efficiency * self.efficiency_ratio:
            raise ValueError(
                f"efficiency_ratio: found {self.efficiency_ratio}; allowed: at most "
                f"{1.0 / self.efficiency:.6g}, above which detector 1 is better than perfect"
            )


class Security(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The composable security budget of a block, and the reconciliation it plans with."""

    eps_sec: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-10
    eps_cor: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-15
    f_ec: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.16


class Link(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two users on one receiver: everything that a prediction needs."""

    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    alice: UserLink
    bob: UserLink
    receiver: ReceiverParams
    eps_sec: Annotated[float, Meta(gt=0.0, lt=1.0)]
    eps_cor: Annotated[float, Meta(gt=0.0, lt=1.0)]
    f_ec: Annotated[float, Meta(ge=1.0, le=10.0)]
    bell_states: tuple[BellStateName, ...]
    pulse_rate_hz: Positive | None = None
    """Clock of the transmitters; a dead time counts in it, nothing else needs it."""

    def __post_init__(self) -> None:
        if not self.bell_states or len(set(self.bell_states)) != len(self.bell_states):
            raise ValueError(
                f"bell_states: found {list(self.bell_states)}; allowed: "
                '["psi_minus", "psi_plus"] or one of the two'
            )
        check_same_modes(self.alice.transmitter, self.bob.transmitter)
        for user in (self.alice, self.bob):
            check_bins(self.receiver, user.fiber, user.transmitter)

    @property
    def security(self) -> Security:
        """The security budget alone."""
        return Security(eps_sec=self.eps_sec, eps_cor=self.eps_cor, f_ec=self.f_ec)
