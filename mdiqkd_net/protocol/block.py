"""One block at one endpoint: from the first announcement to a committed key (spec 6).

The order of things is the security: announcements are complete and proven equal before a setting
leaves (gate), seeds are drawn after the data they act on are fixed, the tags cover every byte that
the two users exchanged, and a key is durable at both before either may use it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError, WireError
from mdiqkd_net.protocol import ripening, stages, verifying
from mdiqkd_net.protocol.context import LOCAL_REASON, BlockContext
from mdiqkd_net.protocol.effects import Effect
from mdiqkd_net.protocol.stages import Step
from mdiqkd_net.protocol.states import State, require_legal
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    Announcement,
    AnnouncementsClosed,
    BlockAborted,
    BlockOpen,
    BlockOpened,
    Commit,
    Committed,
    Disclose,
    EstimationBits,
    Gate,
    GroupsVerified,
    Message,
    PairAborted,
    Prepare,
    Reconcile,
    ReconcileStart,
    Sift,
    SiftDone,
    Verified,
    Verify,
    VerifyGroups,
    Vote,
)

ENDED: Final = (State.DONE, State.ABORTED)

_TAGGED: Final[Mapping[type[Message], Callable[..., Step]]] = {
    Prepare: ripening.on_prepare,
    Vote: ripening.on_vote,
    Commit: ripening.on_commit,
    Committed: ripening.on_committed,
}
"""Their tag covers the transcript before them, so they enter it themselves."""

_PLAIN: Final[Mapping[type[Message], Callable[..., Step]]] = {
    BlockOpen: stages.on_open,
    BlockOpened: stages.on_opened,
    Gate: stages.on_gate,
    Sift: stages.on_sift,
    SiftDone: stages.on_sift_done,
    EstimationBits: stages.on_estimation_bits,
    ReconcileStart: ripening.on_reconcile_start,
    Reconcile: ripening.on_reconcile,
    VerifyGroups: verifying.on_verify_groups,
    GroupsVerified: verifying.on_groups_verified,
    Disclose: verifying.on_disclose,
    Verify: ripening.on_verify,
    Verified: ripening.on_verified,
    AmplifySeed: ripening.on_seed,
}


class Block:
    """The state machine of one block. The context does the knowing, this does the deciding."""

    def __init__(self, context: BlockContext) -> None:
        self._ctx = context
        self.state = State.OPENING

    @property
    def ended(self) -> bool:
        """Whether nothing can happen any more."""
        return self.state in ENDED

    @property
    def qber_z(self) -> float | None:
        """Error rate of the raw key, once it is known."""
        value: Any = self._ctx.summary()["qber_z"]
        return None if value is None else float(value)

    def open(self) -> list[Effect]:
        """Coordinator: propose the block to the peer."""
        return self._go(stages.open_block(self._ctx))

    def receive_relay(self, message: Message, frame: Frame) -> list[Effect]:
        """Take a message of the relay; on refusal stay exactly as before.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            WireError: Not a message.
        """
        require_legal(self._ctx.role, self.state, message)
        if isinstance(message, Announcement):
            return self._go(stages.on_announcement(self._ctx, message, frame, self.state))
        if isinstance(message, AnnouncementsClosed):
            return self._go(stages.on_closed(self._ctx, message))
        if isinstance(message, PairAborted):
            return self._go(
                self._ctx.abort("the relay ended the session", LOCAL_REASON, end="relay")
            )
        raise LocalProtocolError(f"the table allows {type(message).__name__}, nothing handles it")

    def receive_peer(self, frame: Frame) -> list[Effect]:
        """Take a frame of the peer; on refusal stay exactly as before.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            WireError: Not a message, or out of sequence.
        """
        message = decode(frame)
        require_legal(self._ctx.role, self.state, message)
        self._ctx.sequencer.accept(frame)
        tagged = type(message) in _TAGGED
        if not tagged:
            self._ctx.transcript.add_received(frame)
        try:
            step = self._handle(message, frame)
        except (RemoteProtocolError, WireError):
            if not tagged:
                self._ctx.transcript.forget_received()
            self._ctx.sequencer.forget(frame)
            raise
        return self._go(step)

    def resume(self) -> list[Effect]:
        """Go on computing where a `Resume` effect left off."""
        return self._go(ripening.resume(self._ctx))

    def abort(self, reason: str) -> list[Effect]:
        """End the block for a reason of our own, or of the network's."""
        if self.ended:
            return []
        return self._go(self._ctx.abort(reason, None))

    def _handle(self, message: Message, frame: Frame) -> Step:
        if isinstance(message, BlockAborted):
            return ripening.on_aborted(self._ctx, message, self.state)
        if isinstance(message, Gate) and self.state is State.COLLECTING:
            return stages.on_early_gate(self._ctx, message)
        if type(message) in _TAGGED:
            return _TAGGED[type(message)](self._ctx, message, frame)
        return _PLAIN[type(message)](self._ctx, message)

    def _go(self, step: Step) -> list[Effect]:
        self.state, effects = step
        return effects
