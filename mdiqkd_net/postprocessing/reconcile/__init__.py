"""Reconciliation: Bob's sifted key becomes Alice's, at the cost of public parities.

A scheme is a class with the interface of `Reconciler`, and a line in `RECONCILERS`.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.reconcile.cascade import Cascade, CascadeLowRounds
from mdiqkd_net.postprocessing.reconcile.ldpc import Ldpc


class Reconciler(Protocol):
    """One user's side of one batch, without I/O: payloads in, payloads out.

    Both users send a first payload, and then one for each that they receive, until `receive`
    returns None, which it does on both sides in the same round.
    """

    def __init__(
        self, bits: NDArray[np.uint8], *, corrects: bool, qber: float, seed: bytes
    ) -> None: ...

    @property
    def done(self) -> bool:
        """Whether the last round is over."""
        ...

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The own key as corrected so far, shape (n,); only the user with `corrects` changes it."""
        ...

    @property
    def leak_bits(self) -> int:
        """Bits about the own key that were sent."""
        ...

    @property
    def peer_leak_bits(self) -> int:
        """Bits about the peer's key that it has sent."""
        ...

    @property
    def n_corrected(self) -> int:
        """Errors found."""
        ...

    @property
    def rounds(self) -> int:
        """Payloads taken."""
        ...

    def start(self) -> bytes:
        """The first payload to send."""
        ...

    def receive(self, payload: bytes) -> bytes | None:
        """Take the peer's payload of this round; return the next one to send, or None at the end.

        Raises:
            RemoteProtocolError: The payload is malformed; nothing has changed.
        """
        ...

    def wipe(self) -> None:
        """Overwrite the key, and what it was computed from; the last call there is."""
        ...


RECONCILERS: Final[Mapping[str, type[Reconciler]]] = {
    "cascade": Cascade,
    "cascade_low_rounds": CascadeLowRounds,
    "ldpc": Ldpc,
}
