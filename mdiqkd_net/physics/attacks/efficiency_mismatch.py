"""Eve has shifted the gates: each detector sees one bin well and the other badly.

Where detectors decide a receiver's bit this makes the bit predictable (time-shift attack: Qi, Fung,
Lo & Ma, Quantum Inf. Comput. 7, 73 (2007)). Here they decide which Bell state is announced, which
is public. The price is gain: the users find a shorter key, and it is a good one.
"""

from typing import Final

import numpy as np

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1
from mdiqkd_net.physics.attacks.scene import Floats, Scene
from mdiqkd_net.physics.optics import N_PATTERNS

_SURVIVES: Final = {EARLY_0: 1.0, EARLY_1: 0.2, LATE_0: 0.2, LATE_1: 1.0}
"""Chance that a click of each gate is still seen."""


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern behind the shifted gates, (49, 16)."""
    return scene.honest @ _seen()


def _seen() -> Floats:
    """Chance of the pattern that is seen, by the pattern that would have been; (16, 16)."""
    chances = np.zeros((N_PATTERNS, N_PATTERNS))
    for clicked in range(N_PATTERNS):
        for seen in range(N_PATTERNS):
            if seen & ~clicked:
                continue
            chances[clicked, seen] = np.prod(
                [
                    share if seen & gate else 1.0 - share
                    for gate, share in _SURVIVES.items()
                    if clicked & gate
                ]
            )
    return chances
