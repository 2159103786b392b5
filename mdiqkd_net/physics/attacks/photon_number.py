"""Eve counts photons without disturbing them and announces nothing if both users sent just one.

Of a pulse with two or more photons she may keep one and measure it once the basis is known; pairs
of single photons are the ones that would betray her, so she drops them and makes up for the gain
with a line that loses nothing. Gains and errors of z alone look right. Decoy states compare
intensities, and find that no single-photon pair is certain: no key. Source of the attack:
Luetkenhaus & Jahma, New J. Phys. 4, 44 (2002); of the answer: Hwang, PRL 91, 057901 (2003).
"""

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics.attacks.scene import Amplitudes, Floats, Scene, of_pairs, pretended
from mdiqkd_net.physics.expected import landing_probabilities, with_dark_counts
from mdiqkd_net.physics.optics import FLIPPED, N_PATTERNS, raw_patterns


def patterns(scene: Scene) -> Floats:
    """Chance of each pattern that she announces, (49, 16)."""
    everything = raw_patterns(
        receiver=scene.receiver, transmittances=(1.0, 1.0), light=scene.light
    ).reshape(N_STATES, N_STATES, N_PATTERNS)
    flip = scene.receiver.misalignment
    pairs = _single_photon_pairs(scene)
    pairs = (1.0 - flip) * pairs + flip * pairs[:, FLIPPED]
    return pretended(of_pairs(np.maximum(everything - pairs, 0.0)), scene)


def _single_photon_pairs(scene: Scene) -> Floats:
    """Chance that both users send one photon, and of the pattern then; (7, 7, 16)."""
    (alice, p_alice), (bob, p_bob) = (_one_photon(table) for table in scene.light)
    receiver = scene.receiver
    chances = np.zeros((N_STATES, N_STATES, N_PATTERNS))
    for a in range(1, N_STATES):
        for b in range(1, N_STATES):
            landed = landing_probabilities(
                receiver.efficiency,
                receiver.efficiency,
                alice[a],
                bob[b],
                receiver.mode_overlap,
            )
            for pattern in range(N_PATTERNS):
                chances[a, b, pattern] = (
                    p_alice[a]
                    * p_bob[b]
                    * sum(
                        p * with_dark_counts(occupied, pattern, receiver.dark_probability)
                        for occupied, p in landed.items()
                    )
                )
    return chances


def _one_photon(table: Amplitudes) -> tuple[Floats, Floats]:
    """Amplitudes of a single photon over the bins, (7, 2), and its chance, (7,)."""
    photons = (np.abs(table) ** 2).sum(axis=1)
    modes = np.zeros((N_STATES, 2))
    lit = photons > 0.0
    modes[lit] = table[lit].real / np.sqrt(photons[lit])[:, None]
    return modes, photons * np.exp(-photons)
