"""What every scheme asks of its arguments."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError

SEED_BYTES: Final = 32


def check_arguments(bits: NDArray[np.uint8], qber: float, seed: bytes) -> None:
    """Return if a scheme can begin with these.

    Raises:
        LocalProtocolError: Not one axis of at least one uint8, each 0 or 1; a seed of another
            length; an error rate that is none.
    """
    if bits.ndim != 1 or bits.size == 0 or bits.dtype != np.uint8 or bits.max() > 1:
        raise LocalProtocolError(
            f"bits: found shape {bits.shape} of {bits.dtype}; "
            "allowed: one axis of at least one uint8, each 0 or 1"
        )
    if len(seed) != SEED_BYTES:
        raise LocalProtocolError(f"seed: found {len(seed)} bytes; allowed: {SEED_BYTES}")
    if not (math.isfinite(qber) and 0.0 <= qber <= 1.0):
        raise LocalProtocolError(f"qber: found {qber}; allowed: 0 to 1")
