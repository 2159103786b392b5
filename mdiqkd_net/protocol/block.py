"""One block at one endpoint: from the first announcement to a committed key (spec 6).

The order of things is the security: announcements are complete and proven equal before a setting
leaves (gate), seeds are drawn after the data they act on are fixed, the tags cover every byte that
the two users exchanged, and a key is durable at both before either may use it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError, WireError, WorkerError
from mdiqkd_net.monitoring.public import End
from mdiqkd_net.protocol import ripening, stages, verifying
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.protocol.context import LOCAL_REASON, BlockContext
from mdiqkd_net.protocol.effects import Effect, Tell
from mdiqkd_net.protocol.stages import Step
from mdiqkd_net.protocol.states import State, require_legal
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    Announcement,
    AnnouncementsClosed,
    BlockAborted,
    BlockOpen,
    BlockOpened,
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
)

ENDED: Final = (State.DONE, State.ABORTED)

_HANDLERS: Final[Mapping[type[Message], Callable[..., Step]]] = {
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
    Prepare: ripening.on_prepare,
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

    def open_as(self, number: int, frame: Frame, proposal: BlockOpen) -> list[Effect]:
        """Participant: take the number that the coordinator gave the block, and its proposal.

        Raises:
            RemoteProtocolError: The proposal differs from what is agreed here.
        """
        self._ctx.block = number
        return self.receive_peer(frame, proposal)

    def outlive(self, message: Message, frame: Frame) -> list[Effect]:
        """The rest of a session whose block has ended: take it in, so that the relay gets done."""
        if not isinstance(message, Announcement):
            return []
        ctx = self._ctx
        return [Tell(m, ctx.stream_at_relay) for m in ctx.credit.take(len(frame.raw))]

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

    def receive_peer(self, frame: Frame, message: Message) -> list[Effect]:
        """Take a message of the peer; on refusal stay exactly as before.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            WireError: Contents that cannot be read.
        """
        require_legal(self._ctx.role, self.state, message)
        # The tag of `Prepare` covers the transcript before it.
        enters = not isinstance(message, Prepare)
        if enters:
            self._ctx.transcript.add_received(frame)
        try:
            step = self._handle(message)
        except (RemoteProtocolError, WireError):
            if enters:
                self._ctx.transcript.forget_received()
            raise
        except WorkerError as error:
            step = self._unable(error)
        return self._go(step)

    def go_on(self) -> list[Effect]:
        """Go on computing where a `Continue` effect left off."""
        try:
            step = ripening.amplify_and_prepare(self._ctx)
        except WorkerError as error:
            step = self._unable(error)
        return self._go(step)

    def settle(self, phase: Phase) -> list[Effect]:
        """The commit of this block has ended, with a key or without."""
        return self._go(ripening.settle(self._ctx, phase))

    @property
    def block_id(self) -> bytes | None:
        """Name of the block's key, once both gates are proven."""
        return self._ctx.block_id if self._ctx.peer_gate else None

    @property
    def session_digest(self) -> bytes:
        """Of everything that the relay said about its session."""
        return self._ctx.session_digest

    @property
    def tag_failures(self) -> int:
        """How many tags of the peer have failed in this block."""
        return self._ctx.tag_failures

    @property
    def number(self) -> int:
        """Number of the block, which is that of its stream."""
        return self._ctx.block

    def abort(self, reason: str, *, tell: bool = True, end: End = "other") -> list[Effect]:
        """End the block for a reason of our own; one that is prepared ends by its commit only.

        Args:
            reason: For the operator; the peer hears a code.
            tell: Whether the peer hears anything.
            end: For the monitors.
        """
        if self.ended or self.state is State.PREPARED:
            return []
        return self._go(self._ctx.abort(reason, LOCAL_REASON if tell else None, end=end))

    def _unable(self, error: WorkerError) -> Step:
        """No fault of the peer, and none of the message, which counts as taken."""
        self._ctx.secret_bits = 0
        return self._ctx.abort(f"post-processing: {error}", LOCAL_REASON)

    def _handle(self, message: Message) -> Step:
        if isinstance(message, BlockAborted):
            return ripening.on_aborted(self._ctx, message, self.state)
        if isinstance(message, Gate) and self.state is State.COLLECTING:
            return stages.on_early_gate(self._ctx, message)
        return _HANDLERS[type(message)](self._ctx, message)

    def _go(self, step: Step) -> list[Effect]:
        self.state, effects = step
        return effects
