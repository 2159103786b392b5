"""What the proof of the certificate covers of a source, and refusal by name of all else.

The intervals of a box are those of a calibration: the proof holds for every source inside it, also
for one that drifts inside it independently of settings and bits.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Setting, Source

Interval = tuple[float, float]
"""Least and greatest value, both allowed."""

SAMPLER_ROUNDING: Final = 2.0**-50
"""More than the thresholds of a sampler that compares with doubles are off."""

MAX_INTENSITY: Final = 1.0
"""Up to here the probabilities of one and of two photons grow with the intensity."""

_LEAST_INTENSITY: Final = 1e-9
_LEAST_PROBABILITY: Final = 1e-12


class OutsideScopeError(ConfigError):
    """A source that the proof does not cover; says which property, of whom, and what is covered."""


@dataclass(frozen=True, slots=True)
class SettingBox:
    """Calibrated intervals of one non-vacuum setting."""

    intensity: Interval
    probability: Interval


@dataclass(frozen=True, slots=True)
class SourceBox:
    """Calibrated intervals of a user's source; x and y in basis X, z in basis Z.

    Attributes:
        x: The weaker setting of basis X.
        y: The stronger one.
        z: The setting of basis Z.
        vacuum: Interval of the mean photon number of o. Only exact vacuum is covered.
    """

    x: SettingBox
    y: SettingBox
    z: SettingBox
    vacuum: Interval = (0.0, 0.0)

    @classmethod
    def of(
        cls,
        source: Source,
        *,
        intensity_relative: float = 0.0,
        probability_absolute: float = SAMPLER_ROUNDING,
    ) -> "SourceBox":
        """Intervals around nominal settings.

        Args:
            source: The nominal settings.
            intensity_relative: Half width of every intensity interval, relative.
            probability_absolute: Half width of every probability interval.
        """

        def around(setting: Setting) -> SettingBox:
            mu, p = setting.intensity, setting.probability
            return SettingBox(
                (mu * (1.0 - intensity_relative), mu * (1.0 + intensity_relative)),
                (max(0.0, p - probability_absolute), min(1.0, p + probability_absolute)),
            )

        return cls(x=around(source.x), y=around(source.y), z=around(source.z))


def require_scope(box: SourceBox, name: str) -> None:
    """Return if the proof covers every source in the box.

    Raises:
        OutsideScopeError: Naming the user, the property, what was found and what is covered.
    """

    def refuse(what: str, found: object, allowed: str) -> NoReturn:
        raise OutsideScopeError(f"{name}: {what}: found {found}; the certificate covers {allowed}")

    if box.vacuum != (0.0, 0.0):
        refuse("finite extinction, vacuum intensity", list(box.vacuum), "exact vacuum, [0, 0]")
    for letter, setting in (("x", box.x), ("y", box.y), ("z", box.z)):
        low, high = setting.intensity
        if not _LEAST_INTENSITY <= low <= high <= MAX_INTENSITY:
            refuse(
                f"{letter}.intensity",
                [low, high],
                f"intervals in [{_LEAST_INTENSITY:g}, {MAX_INTENSITY:g}]",
            )
        low, high = setting.probability
        if not _LEAST_PROBABILITY <= low <= high <= 1.0:
            refuse(
                f"{letter}.probability", [low, high], f"intervals in [{_LEAST_PROBABILITY:g}, 1]"
            )
    if not box.x.intensity[1] < box.y.intensity[0]:
        refuse(
            "x.intensity",
            list(box.x.intensity),
            f"intervals wholly below y.intensity, {list(box.y.intensity)}",
        )
    most = box.x.probability[1] + box.y.probability[1] + box.z.probability[1]
    if not most <= 1.0 - _LEAST_PROBABILITY:
        refuse(
            "sum of x, y and z probabilities",
            f"up to {most:.12g}",
            "sources that send vacuum, too: less than 1",
        )


def outside(box: SourceBox, source: Source) -> str:
    """Which of a source's declared settings lies outside a box, in words; empty if none does."""
    for letter, setting, allowed in (
        ("x", source.x, box.x),
        ("y", source.y, box.y),
        ("z", source.z, box.z),
    ):
        for what, value, (low, high) in (
            ("intensity", setting.intensity, allowed.intensity),
            ("probability", setting.probability, allowed.probability),
        ):
            if not low <= value <= high:
                return f"{letter}.{what} is {value:g}; the design was made for {low:g} to {high:g}"
    return ""
