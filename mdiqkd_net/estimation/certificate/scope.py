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

    Other bounds than those of intensities are not covered; `outside` and `of` refuse them.

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
        """Intervals around nominal settings that hold the declared ones, too.

        Args:
            source: The nominal settings and their bounds.
            intensity_relative: Least half width of every intensity interval, relative.
            probability_absolute: Half width of every probability interval.

        Raises:
            OutsideScopeError: The source declares what the proof does not cover.
        """
        if left := _not_covered(source):
            raise OutsideScopeError(f"source: {left}")

        def around(setting: Setting, declared: Interval) -> SettingBox:
            mu, p = setting.intensity, setting.probability
            low, high = mu * (1.0 - intensity_relative), mu * (1.0 + intensity_relative)
            return SettingBox(
                (min(low, declared[0]), max(high, declared[1])),
                (max(0.0, p - probability_absolute), min(1.0, p + probability_absolute)),
            )

        _, x, y, z = source.intensity_intervals
        return cls(x=around(source.x, x), y=around(source.y, y), z=around(source.z, z))


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
    """What of a source, as declared, lies outside a box, in words; empty if nothing does."""
    if left := _not_covered(source):
        return left
    _, *intervals = source.intensity_intervals
    settings = (source.x, source.y, source.z)
    boxes = (box.x, box.y, box.z)
    for letter, setting, declared, allowed in zip("xyz", settings, intervals, boxes, strict=True):
        for what, values, (low, high) in (
            ("intensity", declared, allowed.intensity),
            ("probability", (setting.probability,) * 2, allowed.probability),
        ):
            for value in values:
                if not low <= value <= high:
                    return (
                        f"{letter}.{what} is {value:g}; the design was made for {low:g} to {high:g}"
                    )
    return ""


def _not_covered(source: Source) -> str:
    """Which declared bound the proof does not cover, in words; empty if none."""
    for name in (
        "vacuum_intensity",
        "phase_nonuniformity",
        "intensity_correlation",
        "trojan_photons",
    ):
        if (found := getattr(source.bounds, name)) > 0.0:
            return f"bounds.{name} is {found:g}; the certificate covers intensity intervals alone"
    return ""
