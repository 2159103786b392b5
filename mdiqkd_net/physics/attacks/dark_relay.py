"""Charles looks at nothing and announces Bell states by a coin.

No bit depends on any other: half of all events are errors, in both bases. The users find no key.
"""

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics.attacks.scene import ACCEPTED, Floats, Scene, pretended
from mdiqkd_net.physics.optics import N_PATTERNS


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern that he invents, (49, 16); the same for all pairs of states."""
    events = np.zeros((N_STATES * N_STATES, N_PATTERNS))
    events[:, ACCEPTED] = 0.25
    return pretended(events, scene)
