"""Polarization: horizontal or vertical in basis Z, diagonal or antidiagonal in basis X.

The relay needs a beam splitter, a polarizing one behind each of its ports, and four detectors: mode
0 of the receiver is H, mode 1 is V, and what a click pattern calls early or late of detector s is
here the H or V detector of port s. psi_minus is H and V in different ports, psi_plus in the same
one, and no detector has to click twice.

The two modes travel together: they have no spacing, and an uncorrected turn of the polarization in
the fiber turns the state. Source: Lo, Curty & Qi, PRL 108, 130503 (2012).
"""

from typing import Final

from mdiqkd_net.physics.encodings.encoding import Encoding
from mdiqkd_net.physics.encodings.time_bin import TIME_BIN

POLARIZATION: Final = Encoding(angles_rad=TIME_BIN.angles_rad, has_bins=False)
"""z0 is H and z1 is V; x and y are (H ± V)/√2, plus for bit 0."""
