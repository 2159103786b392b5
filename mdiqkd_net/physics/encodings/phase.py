"""Phase between two pulses of equal light: 0 or π in basis Z, π/2 or 3π/2 in basis X.

Every state lies on the equator of the encoder's sphere, and the beam splitter of a relay tells bins
apart, which are its poles. The relay is therefore taken to convert before it interferes: a switch
or polarizing splitter with a delay turns early and late into H and V, and a fixed retarder turns
(|0> ± |1>)/√2 into H and V, and (|0> ± i |1>)/√2 into the diagonals. From there on it is the relay
of the polarization encoding, and the flips of sifting stay the same for both bases. A relay without
the converter would call for other flips in Z (correlated bits after psi_plus), which this program's
endpoints do not make.

Nothing here dims a mode, so that there is no extinction of a dark one; an uneven split of the
pulses is a polar angle error, a wrong phase an azimuthal one.

Source: Tamaki, Lo, Fung & Qi, PRA 85, 042307 (2012), the scheme that converts phases into
polarizations at the relay.
"""

from math import pi, sqrt
from typing import Final

import numpy as np

from mdiqkd_net.physics.encodings.encoding import Encoding

PHASE: Final = Encoding(
    angles_rad=np.array([[pi / 2, angle] for angle in (pi / 2, -pi / 2) * 2 + (0.0, pi)]),
    has_bins=True,
    # Rows are the bras of z0 and z1, with phases that make x0 and x1 the real diagonals.
    to_receiver=np.array([[1.0, 1.0], [1j, -1j]], dtype=np.complex128) * sqrt(0.5),
)
"""z0 and z1 have the phases 0 and π; x and y have π/2 for bit 0 and 3π/2 for bit 1."""
