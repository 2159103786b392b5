"""Encodings: which two modes carry a bit, and what the relay must do to see them."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, setting_of
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.params import Source
from mdiqkd_net.physics.encodings.encoding import Encoding
from mdiqkd_net.physics.encodings.phase import PHASE
from mdiqkd_net.physics.encodings.polarization import POLARIZATION
from mdiqkd_net.physics.encodings.time_bin import TIME_BIN

__all__ = ["ENCODINGS", "Encoding", "light_table"]

ENCODINGS: Final[Mapping[str, Encoding]] = {
    "time_bin": TIME_BIN,
    "polarization": POLARIZATION,
    "phase": PHASE,
}
"""By the name that `encoding` has in a transmitter's table."""


def light_table(source: Source, encoding: str = "time_bin") -> NDArray[np.complex128]:
    """Coherent amplitudes of every state of an ideal transmitter, in the receiver's modes.

    |amplitude|² is the mean photon number of a mode, and both modes together carry the intensity of
    the setting. The common phase of a pulse is not here: every user randomizes it.

    Returns:
        Shape (7, 2), complex128; rows `vacuum x0 x1 y0 y1 z0 z1`, columns the two modes.
    """
    chosen = ENCODINGS[encoding]
    modes = chosen.modes(TransmitterParams()) @ chosen.to_receiver.T
    intensities = np.array(source.intensities)[setting_of(np.arange(N_STATES, dtype=np.uint8))]
    light: NDArray[np.complex128] = np.sqrt(intensities)[:, None] * modes
    return light
