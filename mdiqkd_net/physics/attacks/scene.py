"""What an attacker has to work with, and the measurements that several attacks share."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1, N_STATES
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.optics import N_PATTERNS, raw_patterns

Floats = NDArray[np.float64]
Amplitudes = NDArray[np.complex128]

PSI_MINUS_PATTERNS: Final = (EARLY_0 | LATE_1, EARLY_1 | LATE_0)
PSI_PLUS_PATTERNS: Final = (EARLY_0 | LATE_0, EARLY_1 | LATE_1)
ACCEPTED: Final = (*PSI_MINUS_PATTERNS, *PSI_PLUS_PATTERNS)

VACUUM, X_0, X_1, Z_0, Z_1 = 0, 1, 2, 5, 6
"""States that a measurement may find, in the numbering of `blocks`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The relay's site, as an honest relay would use it.

    Attributes:
        receiver: Splitter and detectors.
        transmittances: Of Alice's and Bob's arms. An attacker sits at their far ends, with
            detectors of his own that miss nothing.
        light: Amplitudes (7, 2) of Alice's and Bob's states at their transmitters.
    """

    receiver: ReceiverParams
    transmittances: tuple[float, float]
    light: tuple[Amplitudes, Amplitudes]

    @cached_property
    def honest(self) -> Floats:
        """Patterns of the honest receiver, (49, 16)."""
        return raw_patterns(
            receiver=self.receiver, transmittances=self.transmittances, light=self.light
        )

    @cached_property
    def honest_z_gain(self) -> float:
        """Accepted events per z-z pair of pulses of the honest receiver."""
        return z_gain(self.honest)


def z_gain(patterns: Floats) -> float:
    """Accepted events per z-z pair, (49, 16) in."""
    pairs = [N_STATES * a + b for a in (Z_0, Z_1) for b in (Z_0, Z_1)]
    return float(patterns[np.ix_(pairs, ACCEPTED)].sum(axis=1).mean())


def pretended(events: Floats, scene: Scene) -> Floats:
    """Patterns of an attack that announces as often in z-z as the honest relay, if it can.

    Args:
        events: (49, 16) chances of the patterns that the attacker could announce; the rest of each
            row is silence. Announced at random with the share that hides the attack in z-z.
        scene: Whose gain to imitate.
    """
    possible = z_gain(events)
    share = min(1.0, scene.honest_z_gain / possible) if possible > 0.0 else 1.0
    result = events * share
    result[:, 0] = 0.0
    result[:, 0] = 1.0 - result.sum(axis=1)
    return result


def found_in_z(amplitudes: Amplitudes) -> Floats:
    """Chance of nothing, early, late when every photon's bin is seen; (7, 2) in, (7, 3) out.

    Photons in both bins count as either, by a coin.
    """
    return _found(np.abs(amplitudes) ** 2)


def found_in_x(amplitudes: Amplitudes) -> Floats:
    """Chance of nothing, plus, minus when the bins interfere first; (7, 2) in, (7, 3) out."""
    early, late = amplitudes[:, 0], amplitudes[:, 1]
    ports = np.stack([early + late, early - late], axis=-1) / math.sqrt(2.0)
    return _found(np.abs(ports) ** 2)


def _found(photons: Floats) -> Floats:
    click = -np.expm1(-photons)
    both = click[:, 0] * click[:, 1]
    first = click[:, 0] - 0.5 * both
    second = click[:, 1] - 0.5 * both
    return np.stack([1.0 - first - second, first, second], axis=-1)


def of_pairs(chances: Floats) -> Floats:
    """(7, 7, 16) as (49, 16)."""
    return chances.reshape(N_STATES * N_STATES, N_PATTERNS)
