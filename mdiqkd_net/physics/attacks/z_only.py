"""Charles measures every pulse in basis Z and calls the Bell state by a coin.

He learns every Z bit and makes no Z error. The X bits have nothing to do with his coin: half of
the X events are errors, and so is the phase-error bound. The users find no key.
"""

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics.attacks.scene import (
    ACCEPTED,
    Floats,
    Scene,
    found_in_z,
    of_pairs,
    pretended,
)
from mdiqkd_net.physics.optics import N_PATTERNS


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern that he pretends to have seen, (49, 16)."""
    alice, bob = (found_in_z(table) for table in scene.light)
    opposite = np.outer(alice[:, 1], bob[:, 2]) + np.outer(alice[:, 2], bob[:, 1])
    events = np.zeros((N_STATES, N_STATES, N_PATTERNS))
    events[:, :, ACCEPTED] = 0.25 * opposite[:, :, None]
    return pretended(of_pairs(events), scene)
