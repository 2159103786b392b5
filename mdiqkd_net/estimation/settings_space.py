"""Settings of two users as coordinates to search in, within what their transmitters can do."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Setting, Source

Floats = NDArray[np.float64]

RATIO_OF_RATIOS: Final = 7
"""The coordinate ln((y_B / x_B) / (y_A / x_A)): the decoy bounds have a kink at zero."""

_GREATEST_INTENSITY: Final = 10.0
_STEEPEST: Final = 30.0
_AT_LIMIT: Final = 1e-3
_AT_PROBABILITY: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the transmitters can do.

    Attributes:
        min_intensity: Least mean photon number of any setting but vacuum.
        max_intensity: Greatest mean photon number.
        min_step: Least distance between x and y.
        min_probability: Each of the four settings, vacuum too, is sent more often than this.
        equal: Both users send the same settings.
    """

    min_intensity: float = 1e-4
    max_intensity: float = 1.0
    min_step: float = 1e-3
    min_probability: float = 1e-4
    equal: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that leave no room.

        Raises:
            ConfigError: Saying which, and what is allowed.
        """
        for name, value in (
            ("min_intensity", self.min_intensity),
            ("min_step", self.min_step),
            ("max_intensity", self.max_intensity),
        ):
            if not 0.0 < value <= _GREATEST_INTENSITY:
                raise ConfigError(f"{name}: found {value}; allowed: above 0, at most 10")
        if not self.min_intensity + self.min_step < self.max_intensity:
            raise ConfigError(
                f"max_intensity: found {self.max_intensity}; allowed: above min_intensity "
                f"plus min_step, which is {self.min_intensity + self.min_step:g}"
            )
        if not 0.0 < self.min_probability < 0.25:
            raise ConfigError(
                f"min_probability: found {self.min_probability}; allowed: above 0, below 0.25"
            )

    def source(self, x: float, y: float, z: float, probabilities: Sequence[float]) -> Source:
        """Settings with the allowed intensities that are next to these; probabilities as given."""
        x = min(max(x, self.min_intensity), self.max_intensity - self.min_step)
        y = min(max(y, x + self.min_step), self.max_intensity)
        z = min(max(z, self.min_intensity), self.max_intensity)
        p_x, p_y, p_z = probabilities
        return Source(x=Setting(x, p_x), y=Setting(y, p_y), z=Setting(z, p_z))

    def touched(self, who: str, source: Source) -> Iterator[str]:
        """Which limits these settings of one user are at, in words."""
        lowest, highest = self.min_intensity, self.max_intensity
        for name, value in zip("xyz", source.intensities[1:], strict=True):
            if value <= lowest * (1.0 + _AT_LIMIT):
                yield f"{who}.{name}.intensity at its least, {lowest:g}"
            if value >= highest * (1.0 - _AT_LIMIT):
                yield f"{who}.{name}.intensity at its greatest, {highest:g}"
        if source.y.intensity - source.x.intensity <= self.min_step * (1.0 + _AT_LIMIT):
            yield f"{who}: y - x at its least, {self.min_step:g}"
        for name, share in zip("oxyz", source.probabilities, strict=True):
            if share <= self.min_probability * (1.0 + _AT_PROBABILITY):
                yield f"{who}.{name}.probability at its least, {self.min_probability:g}"


@dataclass(frozen=True, slots=True)
class SettingsSpace:
    """Coordinates: ln x, ln (y / x), ln z, and the logarithms of p_x, p_y, p_z over p_o, of Alice.

    If the users differ, the same of Bob follow, where the second is `RATIO_OF_RATIOS`. Shapes are
    (6,) or (12,).
    """

    limits: Limits

    def decode(self, coordinates: Floats) -> tuple[Source, Source]:
        """Settings within the limits, whatever the coordinates."""
        alice = self._decode_one(coordinates[:6], float(coordinates[1]))
        if self.limits.equal:
            return alice, alice
        log_ratio = float(coordinates[1] + coordinates[RATIO_OF_RATIOS])
        return alice, self._decode_one(coordinates[6:], log_ratio)

    def encode(self, alice: Source, bob: Source) -> Floats:
        """Coordinates of settings, moved within the limits; of Alice's alone if both are equal."""
        first = self._encode_one(alice)
        if self.limits.equal:
            return first
        second = self._encode_one(bob)
        second[1] -= first[1]
        return np.concatenate([first, second])

    def project(self, coordinates: Floats) -> Floats:
        """The coordinates of what these coordinates decode to."""
        return self.encode(*self.decode(coordinates))

    def _decode_one(self, c: Floats, log_ratio: float) -> Source:
        x = math.exp(c[0])
        least = self.limits.min_probability
        weights = [math.exp(min(_STEEPEST, max(-_STEEPEST, w))) for w in c[3:]]
        total = 1.0 + sum(weights)
        shares = [least + (1.0 - 4.0 * least) * w / total for w in weights]
        return self.limits.source(x, x * math.exp(log_ratio), math.exp(c[2]), shares)

    def _encode_one(self, source: Source) -> Floats:
        least = self.limits.min_probability
        _, x, y, z = self.limits.source(
            *source.intensities[1:], source.probabilities[1:]
        ).intensities
        p_o, *p = (max(share - least, 1e-9) for share in source.probabilities)
        logits = (math.log(share / p_o) for share in p)
        return np.array([math.log(x), math.log(y / x), math.log(z), *logits])
