"""Where post-processing computes: the port through which blocks reconcile and amplify."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.amplify import amplify
from mdiqkd_net.postprocessing.reconcile import RECONCILERS, Reconciler
from mdiqkd_net.secret import SecretBuffer


class Processor(Protocol):
    """What of a block takes long; wherever it is done, every bit comes out the same."""

    @property
    def round_s(self) -> float:
        """What a round of reconciliation costs, besides the computing."""
        ...

    def reconciler(
        self, scheme: str, bits: NDArray[np.uint8], *, corrects: bool, qber: float, seed: bytes
    ) -> Reconciler:
        """One user's side of one batch, ready to start.

        Args:
            scheme: A name in `RECONCILERS`.
            bits: The key, shape (n,), 0 or 1; wiping it is up to the caller.
            corrects: Whether this user adapts to the other.
            qber: Expected error rate.
            seed: Public, the same at both users.

        Raises:
            WorkerError: From this and from every call of the reconciler but `wipe`: it cannot be
                done there, or not in time. Nothing is worth asking it any more.
        """
        ...

    def amplify(self, bits: NDArray[np.uint8], seed: bytes, n_out: int) -> SecretBuffer:
        """As `postprocessing.amplify.amplify`.

        Raises:
            WorkerError: It cannot be done there, or not in time.
        """
        ...


class LocalProcessor:
    """In the calling thread."""

    @property
    def round_s(self) -> float:
        """Nothing."""
        return 0.0

    def reconciler(
        self, scheme: str, bits: NDArray[np.uint8], *, corrects: bool, qber: float, seed: bytes
    ) -> Reconciler:
        """A scheme itself."""
        return RECONCILERS[scheme](bits, corrects=corrects, qber=qber, seed=seed)

    def amplify(self, bits: NDArray[np.uint8], seed: bytes, n_out: int) -> SecretBuffer:
        """The hash itself."""
        return amplify(bits, seed, n_out)


HERE: Final = LocalProcessor()
"""The processor of everybody who has configured none."""
