"""Time-bin encoding: the light of each prepared state, as amplitudes of two bins."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.params import Source


def light_table(source: Source) -> NDArray[np.complex128]:
    """Coherent amplitudes (early, late) of every state, at the transmitter's output.

    z0 is all early and z1 all late; x and y are the superpositions (early ± late)/√2 at two
    intensities, plus for bit 0. |amplitude|² is the mean photon number of a bin, and both bins
    together carry the intensity of the setting. The common phase of a pulse is not here: every
    user randomizes it.

    Returns:
        Shape (7, 2), complex128; rows `vacuum x0 x1 y0 y1 z0 z1`, columns early and late.
    """
    light = np.zeros((N_STATES, 2), dtype=np.complex128)
    _, x, y, z = source.intensities
    light[1], light[2] = sqrt(x / 2.0) * np.array([[1.0, 1.0], [1.0, -1.0]])
    light[3], light[4] = sqrt(y / 2.0) * np.array([[1.0, 1.0], [1.0, -1.0]])
    light[5], light[6] = sqrt(z) * np.array([[1.0, 0.0], [0.0, 1.0]])
    return light
