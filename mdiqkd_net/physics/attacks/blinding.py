"""Eve has blinded the detectors: they click when, and only when, she makes them.

She measures both pulses in a basis of her choice, the same for both, and fakes the clicks that fit
what she found. In a receiver whose clicks are the key this leaves no trace; here clicks are public
anyway, and a basis that she chose wrongly leaves a coin. She can call a Bell state whenever she
measured X, and every second time when she measured Z: a third of the Z events and a sixth of the X
events are errors, and there is no key. Source of blinding: Lydersen et al., Nat. Photonics 4, 686
(2010); of the immunity: Lo, Curty & Qi, PRL 108, 130503 (2012).
"""

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics.attacks.scene import (
    ACCEPTED,
    PSI_MINUS_PATTERNS,
    PSI_PLUS_PATTERNS,
    Floats,
    Scene,
    found_in_x,
    found_in_z,
    of_pairs,
    pretended,
)
from mdiqkd_net.physics.optics import N_PATTERNS


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern that she makes them click, (49, 16)."""
    events = np.zeros((N_STATES, N_STATES, N_PATTERNS))
    alice, bob = (found_in_z(table) for table in scene.light)
    opposite = np.outer(alice[:, 1], bob[:, 2]) + np.outer(alice[:, 2], bob[:, 1])
    events[:, :, ACCEPTED] += 0.5 * 0.25 * opposite[:, :, None]
    alice, bob = (found_in_x(table) for table in scene.light)
    equal = np.outer(alice[:, 1], bob[:, 1]) + np.outer(alice[:, 2], bob[:, 2])
    unequal = np.outer(alice[:, 1], bob[:, 2]) + np.outer(alice[:, 2], bob[:, 1])
    events[:, :, PSI_PLUS_PATTERNS] += 0.5 * 0.5 * equal[:, :, None]
    events[:, :, PSI_MINUS_PATTERNS] += 0.5 * 0.5 * unequal[:, :, None]
    return pretended(of_pairs(events), scene)
