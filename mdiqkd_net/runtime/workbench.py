"""What runs on a worker of a cluster: one user's side of one batch, or one hash.

Keys arrive and leave packed, in arrays, because an array can be overwritten. They come as arguments
of a method, straight from the node: what a scheduler is told, and results of tasks, are kept by it,
logged, and spilled to disk.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net import __version__
from mdiqkd_net.errors import LocalProtocolError, WorkerError
from mdiqkd_net.postprocessing.processor import HERE
from mdiqkd_net.postprocessing.reconcile import RECONCILERS, Reconciler
from mdiqkd_net.secret import forbid_dumps, wipe

MODULE: Final = __name__
REHEARSAL_BITS: Final = 4096


class Progress(NamedTuple):
    """Of a reconciliation, after a round; its numbers are those of a `Reconciler`."""

    payload: bytes | None
    leak_bits: int
    peer_leak_bits: int
    n_corrected: int
    rounds: int


class Workbench:
    """Does one piece of work in steps, and keeps what it needs between them.

    Args:
        version: Of the node that asks.

    Raises:
        WorkerError: It is not the version here.
    """

    def __init__(self, version: str) -> None:
        _require(version)
        forbid_dumps()
        self._reconciler: Reconciler | None = None
        self._handed_out: list[NDArray[np.uint8]] = []

    def begin(
        self,
        scheme: str,
        packed: NDArray[np.uint8],
        n_bits: int,
        *,
        corrects: bool,
        qber: float,
        seed: bytes,
    ) -> Progress:
        """Take a packed key of `n_bits` bits, and give the first payload."""
        bits = np.unpackbits(packed, count=n_bits)
        try:
            self._reconciler = HERE.reconciler(
                scheme, bits, corrects=corrects, qber=qber, seed=seed
            )
        finally:
            wipe(bits, packed)
        return self._progress(self._reconciler.start())

    def receive(self, payload: bytes) -> Progress:
        """One round.

        Raises:
            RemoteProtocolError: The payload is malformed; nothing has changed.
        """
        return self._progress(self._begun.receive(payload))

    def bits(self) -> NDArray[np.uint8]:
        """The key as corrected so far, packed."""
        bits = self._begun.bits
        packed = np.packbits(bits)
        wipe(bits)
        return self._hand_out(packed)

    def amplify(
        self, packed: NDArray[np.uint8], n_bits: int, seed: bytes, n_out: int
    ) -> NDArray[np.uint8]:
        """The hash of a packed key, packed."""
        bits = np.unpackbits(packed, count=n_bits)
        try:
            with HERE.amplify(bits, seed, n_out) as secret:
                return self._hand_out(secret.array.copy())
        finally:
            wipe(bits, packed)

    def touch(self) -> None:
        """Nothing; how long it takes is what every call costs."""

    def wipe(self) -> None:
        """Overwrite all that is left of any key; the last call there is."""
        wipe(*self._handed_out)
        self._handed_out.clear()
        if self._reconciler is not None:
            self._reconciler.wipe()
            self._reconciler = None

    def __del__(self) -> None:  # the node has gone without a word
        if hasattr(self, "_handed_out"):
            self.wipe()

    @property
    def _begun(self) -> Reconciler:
        if self._reconciler is None:
            raise LocalProtocolError("workbench: found a round; allowed: after `begin`")
        return self._reconciler

    def _progress(self, payload: bytes | None) -> Progress:
        ours = self._begun
        return Progress(payload, ours.leak_bits, ours.peer_leak_bits, ours.n_corrected, ours.rounds)

    def _hand_out(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._handed_out.append(packed)
        return packed


def rehearse(version: str) -> None:
    """Do everything once with a made-up key, so that kernels are compiled before one is waited for.

    Raises:
        WorkerError: `version`, of the node that asks, is not the version here.
    """
    _require(version)
    rng = np.random.default_rng(1)
    alice = rng.integers(0, 2, REHEARSAL_BITS, np.uint8)
    errors = rng.random(REHEARSAL_BITS) < 0.02
    bob = np.bitwise_xor(alice, errors, dtype=np.uint8)
    for scheme in RECONCILERS:
        users = [
            HERE.reconciler(scheme, bits, corrects=corrects, qber=0.02, seed=bytes(32))
            for bits, corrects in ((alice, False), (bob, True))
        ]
        payloads: list[bytes | None] = [user.start() for user in users]
        while None not in payloads:
            payloads = [
                user.receive(payload or b"")
                for user, payload in zip(users, reversed(payloads), strict=True)
            ]
    HERE.amplify(alice, rng.bytes(REHEARSAL_BITS // 8), REHEARSAL_BITS // 2).wipe()


def _require(version: str) -> None:
    if version != __version__:
        raise WorkerError(
            f"found a worker of version {__version__}; allowed: {version}, as this node"
        )
