"""A detector that clicks or not and cannot count: SPAD or SNSPD, gated per time bin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError


@dataclass(frozen=True, slots=True)
class ThresholdDetector:
    """Efficiency and dark counts of one detector; every gate is independent of every other.

    Attributes:
        efficiency: Chance that one photon makes a click.
        dark_probability: Chance of a click in a gate without light.

    Raises:
        DeviceError: On a number outside [0, 1].
    """

    efficiency: float
    dark_probability: float

    def __post_init__(self) -> None:
        for name in ("efficiency", "dark_probability"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise DeviceError(f"{name}: found {value}; allowed: 0 to 1")

    def click_probability(self, photons: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chance of a click in a gate that sees coherent light of a mean photon number.

        1 - (1 - p_d) exp(-efficiency photons), written so that chances far below the float64
        epsilon keep their relative precision.

        Shapes: any, the same in and out.
        """
        dark = self.dark_probability
        return dark - (1.0 - dark) * np.expm1(-self.efficiency * photons)
