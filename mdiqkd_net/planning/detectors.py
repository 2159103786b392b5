"""Detectors to choose from: parameter sets with costs, and what a link becomes with each.

A plan predicts independent gates alone. A detector that is dead for a while after each click, or
that clicks again of itself, is brought into that form here, at the mean rate of clicks: pulses
that find a detector dead are pulses not sent, afterpulses are dark counts. That is exact in the
mean for a rate that does not vary, where dead time and afterpulses are spread over many pulses; it
overestimates the rate a little by counting light linearly. Keys of real blocks rest on none of it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Link, NonNegative, Probability, ReceiverParams
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.pair_optics import Arm, arm_transmittance

Positive = Annotated[float, Meta(gt=0.0)]

HOURS_PER_YEAR: Final = 8766.0

FILE: Final = "file"
"""The set that stands for the receivers as the file describes them."""


class Detectors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both detectors of a relay, and what they cost. What is left out is the file's receiver's."""

    efficiency: Probability | None = None
    dark_rate_hz: NonNegative | None = None
    """Per detector, while a gate is open."""
    gate_s: Positive | None = None
    """How long a gate (time bin) is open; half a pulse period at most, and if left out."""
    dead_time_s: NonNegative | None = None
    """After each click. Above half a pulse period psi_plus, two clicks of one detector, is lost."""
    afterpulse_probability: Annotated[float, Meta(ge=0.0, le=0.9)] | None = None
    """That a click causes another one in some later gate."""
    max_pulse_rate_hz: Positive | None = None
    """Of the transmitters, two gates per pulse."""
    capital_eur: NonNegative | None = None
    """Of both detectors of one relay, cooling included."""
    per_year_eur: NonNegative | None = None
    """Power and service."""
    lifetime_years: Positive | None = None
    source: str | None = None
    """Where the numbers come from."""

    @property
    def cost_per_hour_eur(self) -> float | None:
        """Capital spread over the lifetime, and running cost; None if any of the three is open."""
        if self.capital_eur is None or self.per_year_eur is None or self.lifetime_years is None:
            return None
        return (self.capital_eur / self.lifetime_years + self.per_year_eur) / HOURS_PER_YEAR


BUILT_IN: Final[Mapping[str, Detectors]] = {
    FILE: Detectors(source="the receivers of the file"),
    # Gates at 1.25 GHz, two for each pulse. Numbers of the order that Zhang, Itzler, Zbinden & Pan,
    # Light: Sci. Appl. 4, e286 (2015) review for fast gating, not of one device. Published records
    # of efficiency have afterpulses that leave no key: docs/how-to/plan-a-network.md.
    "spad": Detectors(
        efficiency=0.20,
        dark_rate_hz=1e3,
        gate_s=0.8e-9,
        dead_time_s=100e-9,
        afterpulse_probability=0.01,
        max_pulse_rate_hz=625e6,
        capital_eur=40e3,
        per_year_eur=1e3,
        lifetime_years=8.0,
        source=(
            "order of magnitude of Zhang et al., Light: Sci. Appl. 4, e286 (2015); costs: "
            "placeholders, 20 kEUR for each gated module"
        ),
    ),
    # Esmaeil Zadeh et al., APL Photonics 2, 111301 (2017), arXiv:1611.02726: above 92 %, below
    # 130 Hz. The dead time is about twice the 1/e recovery of 9.4 ns in Photonics Research, doi
    # 10.1364/PRJ.437834. Price: "in a price range of 100,000 euros", Wikipedia, "Superconducting
    # nanowire single-photon detector" (2023). Running: some kW for the compressor (arXiv:2507.09719
    # speaks of thousands of watts), 26 MWh a year at 0.2 EUR/kWh, and as much again for service.
    "snspd": Detectors(
        efficiency=0.92,
        dark_rate_hz=130.0,
        dead_time_s=20e-9,
        afterpulse_probability=0.0,
        capital_eur=100e3,
        per_year_eur=10e3,
        lifetime_years=10.0,
        source=(
            "Esmaeil Zadeh et al., APL Photonics 2, 111301 (2017); dead time: 10.1364/PRJ.437834; "
            "costs: placeholders, price as on Wikipedia (2023), 3 kW at 0.2 EUR/kWh, service"
        ),
    ),
}
"""By name; a table `[detectors.NAME]` of a file adds to one or makes another."""


def chosen(names: list[str], own: Mapping[str, Detectors]) -> dict[str, Detectors]:
    """The sets of these names: built in, with whatever the user's tables say instead.

    Raises:
        ConfigError: A name that is neither built in nor in `own`, or twice there.
    """
    known = dict(BUILT_IN)
    for name, table in own.items():
        given = {k: v for k, v in msgspec.structs.asdict(table).items() if v is not None}
        known[name] = msgspec.structs.replace(known.get(name, Detectors()), **given)
    for name in names:
        if name not in known:
            raise ConfigError(f"--detectors: found {name!r}; allowed: {', '.join(known)}")
    if len(set(names)) != len(names):
        raise ConfigError(f"--detectors: found {','.join(names)}; allowed: each name once")
    return {name: known[name] for name in names}


class Seen(Struct, frozen=True, kw_only=True):
    """A link through a set of detectors.

    Attributes:
        link: With gates that are independent; its pulses are those that found detectors ready.
        pulse_rate_hz: The transmitters', within what the detectors allow.
        live: Fraction of the pulses that finds both detectors ready.
    """

    link: Link
    pulse_rate_hz: float
    live: float


def seen(link: Link, detectors: Detectors, pulse_rate_hz: float) -> Seen:
    """What a link is with these detectors, at the settings that are in it.

    Raises:
        ConfigError: The dead time leaves none of the Bell states of the link.
        DeviceError: The receiver names no detector that there is.
    """
    if detectors.max_pulse_rate_hz is not None:
        pulse_rate_hz = min(pulse_rate_hz, detectors.max_pulse_rate_hz)
    receiver = receiver_with(link.receiver, detectors, pulse_rate_hz)
    own = detector_of(link.receiver)
    dead_s, again = detectors.dead_time_s, detectors.afterpulse_probability
    dead_s = own.dead_time_s if dead_s is None else dead_s
    again = own.afterpulses.probability if again is None else again
    if own.dead_time_s > 0.0 or own.afterpulses.probability > 0.0:
        # What is brought into the form of independent gates must not be predicted once more.
        receiver = msgspec.structs.replace(receiver, dead_time_s=0.0, afterpulse_probability=0.0)
    bell_states = link.bell_states
    if dead_s > 0.5 / pulse_rate_hz:
        bell_states = tuple(state for state in bell_states if state == "psi_minus")
        if not bell_states:
            raise ConfigError(
                f"dead_time_s: found {dead_s:g} at {pulse_rate_hz:g} Hz, which cannot tell "
                'psi_plus; allowed: bell_states with "psi_minus"'
            )
    live, dark = 1.0, receiver.dark_probability
    if dead_s > 0.0 or again > 0.0:
        light = sum(
            arm_transmittance(Arm.of(user))
            * sum(p * mu for p, mu in zip(user.probabilities, user.intensities, strict=True))
            for user in (link.alice, link.bob)
        )
        # Light of both users, halved by the splitter and once more by the two gates of a pulse.
        clicks = 0.25 * receiver.efficiency * light + dark
        per_gate = min(1.0, clicks / (1.0 - again))
        live = (1.0 + 2.0 * pulse_rate_hz * per_gate * dead_s) ** -2.0
        dark = min(1.0, dark + again * per_gate)
    return Seen(
        link=msgspec.structs.replace(
            link,
            n_pulses=max(1, round(link.n_pulses * live)),
            receiver=msgspec.structs.replace(receiver, dark_probability=dark),
            bell_states=bell_states,
        ),
        pulse_rate_hz=pulse_rate_hz,
        live=live,
    )


def receiver_with(
    receiver: ReceiverParams, detectors: Detectors, pulse_rate_hz: float
) -> ReceiverParams:
    """The receiver with other detectors in it, before any load."""
    given: dict[str, float] = {}
    if detectors.efficiency is not None:
        given["efficiency"] = detectors.efficiency
    if detectors.dark_rate_hz is not None:
        gate_s = min(detectors.gate_s or 0.5 / pulse_rate_hz, 0.5 / pulse_rate_hz)
        given["dark_probability"] = min(1.0, detectors.dark_rate_hz * gate_s)
    return msgspec.structs.replace(receiver, **given)
