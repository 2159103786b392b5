"""Time bins: early or late in basis Z, their even superpositions in basis X.

The relay needs a beam splitter and two detectors: mode 0 of the receiver is the early bin, mode 1
the late one, and a detector sees both in turn. psi_plus asks one detector for two clicks, which
takes one that recovers between the bins.

Source: X. Ma & M. Razavi, PRA 86, 062319 (2012), and Rubenok et al., PRL 111, 130501 (2013).
"""

from math import pi
from typing import Final

import numpy as np

from mdiqkd_net.physics.encodings.encoding import Encoding

TIME_BIN: Final = Encoding(
    angles_rad=np.array(
        [[pi / 2, 0.0], [pi / 2, pi], [pi / 2, 0.0], [pi / 2, pi], [0.0, 0.0], [pi, 0.0]]
    ),
    has_bins=True,
)
"""z0 is all early and z1 all late; x and y are (early ± late)/√2, plus for bit 0."""
