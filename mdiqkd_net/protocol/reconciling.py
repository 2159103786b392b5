"""Reconciliation of a block's key bits, chunk by chunk, with one ledger (spec 6.5)."""

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.leak import LeakLedger, LeakModel
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.postprocessing.reconcile import RECONCILERS, Reconciler, choice
from mdiqkd_net.secret import wipe
from mdiqkd_net.units import from_nano, to_nano
from mdiqkd_net.wire.messages import Message, Reconcile, ReconcileStart

CHUNK_BITS = 1 << 23
"""One lockstep batch: large, because its rounds cost round trips whatever its size."""

LEAK_MODEL: Final[LeakModel] = "two_way_w"
"""Alice's parities are charged; the error pattern counts as known to Eve. Assumes that announcing
Z parities commutes with the phase-error argument; see docs/explanation/post-processing.md."""


MEASUREMENTS: Final = 8


class RoundTrips:
    """How long the peer took to answer, lately; the shortest is nearest to the network's time."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=MEASUREMENTS)

    def add(self, time_s: float) -> None:
        """One more, as the shell measured it."""
        self._times_s.append(max(time_s, 0.0))

    @property
    def shortest_s(self) -> float:
        """Of the last few; 0 before the first."""
        return min(self._times_s, default=0.0)


TOLD_OF_GUESS: Final = 0.5
"""Schemes that send too much where they are told too high an error rate are told this share of a
guessed one. What is missing then costs rounds, and next to no leak."""


class KeyReconciliation:
    """Both users run it; `corrects` is true for the participant, who adapts to the coordinator.

    Args:
        bits: The raw key, shape (n,), 0 or 1.
        reconciler: A name in `RECONCILERS`, or `choice.AUTO`.
        qber: First estimate of the error rate; later chunks use what the earlier ones had.
        processor: Computes; what it raises comes out of `start`, `started`, and `step`.

    Attributes:
        scheme: The name of the scheme in use; None until it is known.
    """

    def __init__(
        self,
        bits: NDArray[np.uint8],
        *,
        corrects: bool,
        reconciler: str,
        qber: float,
        entropy: Callable[[int], bytes],
        processor: Processor = HERE,
    ) -> None:
        self._chunks = [bits[i : i + CHUNK_BITS] for i in range(0, bits.size, CHUNK_BITS)]
        self._corrects = corrects
        self.scheme = None if reconciler == choice.AUTO else reconciler
        self._qber = qber
        self._guessed = False
        self._entropy = entropy
        self._processor = processor
        self._finished: list[NDArray[np.uint8]] = []
        self._current: Reconciler | None = None
        self._round = 0
        self.ledger = LeakLedger(LEAK_MODEL)
        self.n_corrected = 0
        self.n_rounds = 0

    @property
    def done(self) -> bool:
        """Whether every chunk is reconciled."""
        return len(self._finished) == len(self._chunks)

    @property
    def leak_bits(self) -> int:
        """Parities that the coordinator has sent."""
        return self.ledger.parity_bits

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The reconciled key, shape (n,)."""
        return np.concatenate(self._finished)

    def choose(
        self, *, rtt_s: float, light_s: float, budget_bits: float, guessed: bool = False
    ) -> None:
        """Coordinator: take the scheme that keeps most bits per second, unless one is configured.

        What enters is public: the error rate is the last block's, or the hint.

        Args:
            rtt_s: Round-trip time between the users.
            light_s: How long the light of the block took; the next block's starts after this one.
            budget_bits: Length of the secret key if nothing leaked.
            guessed: Whether the error rate is the hint; only schemes that bear a wrong one are
                then taken, or a configured one is told less.
        """
        self._guessed = guessed
        if self.scheme is None and self._chunks:
            n_bits = sum(chunk.size for chunk in self._chunks)
            self.scheme = choice.choose(
                min(self._qber, 0.5),
                n_bits,
                rtt_s,
                accumulation_s=light_s,
                overlapped=False,
                budget_bits=budget_bits,
                figures=choice.TOLERANT if guessed else choice.FIGURES,
            ).name

    def start(self) -> list[Message]:
        """Coordinator: open the next chunk; nothing when there is none.

        Raises:
            LocalProtocolError: No scheme is configured, nor chosen.
        """
        if self.done:
            return []
        if self.scheme is None:
            raise LocalProtocolError("reconciliation: found no scheme; allowed: one chosen before")
        chunk = len(self._finished)
        seed = self._entropy(32)
        guessed = self._guessed and chunk == 0 and self.scheme not in choice.TOLERANT
        start = ReconcileStart(
            bits=self._chunks[chunk].size,
            chunk=chunk,
            qber=to_nano(self._qber * TOLD_OF_GUESS if guessed else self._qber),
            scheme=self.scheme,
            seed=seed,
        )
        return [start, *self._begin(start)]

    def started(self, message: ReconcileStart) -> list[Message]:
        """Participant: the coordinator has opened a chunk.

        Raises:
            RemoteProtocolError: Not the next chunk, or of another size, or by a scheme that is not
                configured here or not the one of the chunks before.
        """
        chunk = len(self._finished)
        if self._current is not None or self.done:
            raise RemoteProtocolError(f"reconciliation of chunk {message.chunk} is not due")
        if (message.chunk, message.bits) != (chunk, self._chunks[chunk].size):
            raise RemoteProtocolError(
                f"reconciliation: found chunk {message.chunk} of {message.bits} bits; "
                f"allowed: chunk {chunk} of {self._chunks[chunk].size} bits"
            )
        allowed = sorted(RECONCILERS) if self.scheme is None else [self.scheme]
        if message.scheme not in allowed:
            raise RemoteProtocolError(
                f"scheme: found {message.scheme!r}; allowed: {', '.join(allowed)}"
            )
        return self._begin(message)

    def step(self, message: Reconcile) -> list[Message]:
        """Either user: one round.

        Raises:
            RemoteProtocolError: Not the round that is due, or a payload of the wrong shape.
        """
        current = self._current
        if current is None:
            raise RemoteProtocolError("reconciliation round before its chunk was opened")
        if (message.chunk, message.round) != (len(self._finished), self._round):
            raise RemoteProtocolError(
                f"reconciliation: found round {message.round} of chunk {message.chunk}; "
                f"allowed: round {self._round} of chunk {len(self._finished)}"
            )
        payload = current.receive(message.payload)
        self._round += 1
        if payload is not None:
            return [self._wrap(payload)]
        self._finish(current)
        return [] if self._corrects else self.start()

    def wipe(self) -> None:
        """Overwrite the key in all its stages; the raw one is the caller's array."""
        wipe(*self._chunks, *self._finished)
        if self._current is not None:
            self._current.wipe()

    def _begin(self, start: ReconcileStart) -> list[Message]:
        bits = self._chunks[start.chunk]
        self._current = self._processor.reconciler(
            start.scheme,
            bits,
            corrects=self._corrects,
            qber=from_nano(start.qber),
            seed=start.seed,
        )
        self.scheme = start.scheme
        self._round = 0
        return [self._wrap(self._current.start())]

    def _wrap(self, payload: bytes) -> Reconcile:
        return Reconcile(chunk=len(self._finished), payload=payload, round=self._round)

    def _finish(self, current: Reconciler) -> None:
        own, peer = current.leak_bits, current.peer_leak_bits
        self.ledger.parity_bits += peer if self._corrects else own
        self.ledger.answer_bits += own if self._corrects else peer
        self.n_corrected += current.n_corrected
        self.n_rounds += current.rounds
        self._finished.append(current.bits)
        current.wipe()
        corrected_bits = sum(chunk.size for chunk in self._finished)
        # Never below what one error more would have meant: the next chunk may be worse.
        self._qber = (self.n_corrected + 1) / corrected_bits
        self._current = None
