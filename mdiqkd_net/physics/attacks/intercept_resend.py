"""Eve measures each pulse in a basis of her choice and sends what she found to the honest receiver.

Half of her choices are wrong, and a wrong choice leaves a coin behind: with both users measured,
errors of Z and X rise far above what any key survives. The users find no key.
"""

import math

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics.attacks.scene import (
    VACUUM,
    X_0,
    X_1,
    Z_0,
    Z_1,
    Amplitudes,
    Floats,
    Scene,
    found_in_x,
    found_in_z,
    of_pairs,
    pretended,
)
from mdiqkd_net.physics.optics import raw_patterns

_RESENT: float = 0.5
"""Mean photons of a pulse that she sends on."""


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern of the honest receiver behind her, (49, 16)."""
    resent = _table()
    behind = raw_patterns(
        receiver=scene.receiver, transmittances=(1.0, 1.0), light=(resent, resent)
    ).reshape(N_STATES, N_STATES, -1)
    alice, bob = (resent_states(table) for table in scene.light)
    events = np.einsum("ai,bj,ijp->abp", alice, bob, behind)
    return pretended(of_pairs(events), scene)


def resent_states(amplitudes: Amplitudes) -> Floats:
    """Chance of each state that she sends on, by the state that she measured; (7, 7)."""
    chances = np.zeros((N_STATES, N_STATES))
    for found, states in (
        (found_in_x(amplitudes), (VACUUM, X_0, X_1)),
        (found_in_z(amplitudes), (VACUUM, Z_0, Z_1)),
    ):
        for outcome, state in enumerate(states):
            chances[:, state] += 0.5 * found[:, outcome]
    return chances


def _table() -> Amplitudes:
    table = np.zeros((N_STATES, 2), dtype=np.complex128)
    table[Z_0], table[Z_1] = (math.sqrt(_RESENT), 0.0), (0.0, math.sqrt(_RESENT))
    half = math.sqrt(0.5 * _RESENT)
    table[X_0], table[X_1] = (half, half), (half, -half)
    return table
