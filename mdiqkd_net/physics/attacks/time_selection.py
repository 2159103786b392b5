"""Charles announces what he saw in some stretches of time and is silent about the rest.

What he sees does not depend on settings or bits, and neither does his choice of stretches. The
users find fewer events, and a shorter key that is a good one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.physics.attacks.scene import Floats, Scene

_PERIOD: Final = 10_000
_KEPT: Final = 3_000
"""Pulses of each period that he announces."""


def patterns(scene: Scene) -> Floats:
    """As the honest receiver, (49, 16)."""
    return scene.honest


def announces(pulses: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pulses he speaks of; (n,) in and out."""
    return pulses % _PERIOD < _KEPT
