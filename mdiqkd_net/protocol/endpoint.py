"""One user's side of one pair: blocks, one after another, over a relay link and a peer link."""

from collections.abc import Callable
from dataclasses import dataclass

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.announcing import AnnouncementLog
from mdiqkd_net.protocol.block import Block
from mdiqkd_net.protocol.context import BlockContext
from mdiqkd_net.protocol.effects import Effect, Tell
from mdiqkd_net.protocol.ids import ordered
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.protocol.reconciling import RoundTrips
from mdiqkd_net.protocol.states import WRONG_STATE, Role
from mdiqkd_net.protocol.tags import Pads
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import Frame, Sequencer
from mdiqkd_net.wire.messages import BlockOpen, PairReady, PairRequest

MAX_SEGMENTS = 1 << 20


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a user wants from a pair.

    Attributes:
        node: This user.
        peer: The other.
        n_pulses: Pulses of one block.
        blocks: How many blocks.
        agreement: What both must hold in common.
        qber_hint: Z error rate to reconcile the first block with.
    """

    node: str
    peer: str
    n_pulses: int
    blocks: int
    agreement: Agreement
    qber_hint: float


class Endpoint:
    """The core of a pair at one user; sans-I/O.

    Args:
        sequencer: Numbers the frames of the peer link; the handshake has used it already.
        pads: One-time pads shared with this peer.
        entropy: Source of everything that must not be guessed.
    """

    def __init__(
        self, plan: PairPlan, *, sequencer: Sequencer, pads: Pads, entropy: Callable[[int], bytes]
    ) -> None:
        self._plan = plan
        self._sequencer = sequencer
        self._pads = pads
        self._entropy = entropy
        self.users = ordered(plan.node, plan.peer)
        self.role = Role.COORDINATOR if plan.node == self.users[0] else Role.PARTICIPANT
        self._n_asked = 0
        self._block: Block | None = None
        self._waiting: Frame | None = None
        self._qber = plan.qber_hint
        self.round_trips = RoundTrips()

    @property
    def blocks_left(self) -> int:
        """Blocks that are still to be asked for."""
        return self._plan.blocks - self._n_asked

    @property
    def block(self) -> Block | None:
        """The block at hand."""
        return self._block

    def request(self) -> list[Effect]:
        """Ask the relay for the next block."""
        if self._block is not None and not self._block.ended:
            raise LocalProtocolError("a block is still under way")
        if self._block is not None and self._block.qber_z is not None:
            self._qber = max(self._block.qber_z, 1e-4)
        self._n_asked += 1
        return [Tell(PairRequest(n_pulses=self._plan.n_pulses, peer=self._plan.peer), 0)]

    def receive_relay(self, frame: Frame) -> list[Effect]:
        """Take a message of the relay.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            WireError: Not a message.
        """
        message = decode(frame)
        if isinstance(message, PairReady):
            return self._ready(message, frame.stream)
        if self._block is None:
            raise RemoteProtocolError(f"{type(message).__name__} before PairReady", WRONG_STATE)
        if self._block.ended:
            return []  # the rest of a session whose block has ended here
        return self._block.receive_relay(message, frame)

    def receive_peer(self, frame: Frame) -> list[Effect]:
        """Take a frame of the peer.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            WireError: Not a message, or out of sequence.
        """
        if self._block is None or self._block.ended:
            if frame.stream < self._n_asked:
                return []  # crossed with the end of its block
            message = decode(frame)
            if isinstance(message, BlockOpen) and self._waiting is None:
                self._waiting = frame  # the relay's word is still on its way to us
                return []
            raise RemoteProtocolError(
                f"{type(message).__name__} without a block; allowed: BlockOpen", WRONG_STATE
            )
        return self._block.receive_peer(frame)

    def resume(self) -> list[Effect]:
        """Go on computing where a `Resume` effect left off."""
        if self._block is None or self._block.ended:
            return []
        return self._block.resume()

    def abort(self, reason: str) -> list[Effect]:
        """End the block at hand, if there is one."""
        return [] if self._block is None else self._block.abort(reason)

    def _ready(self, ready: PairReady, stream: int) -> list[Effect]:
        if self._block is not None and not self._block.ended:
            raise RemoteProtocolError("PairReady while a block is under way", WRONG_STATE)
        self._check_ready(ready)
        n_segments = -(-ready.n_pulses // ready.segment_pulses)
        source = self._plan.agreement.prepared_source
        try:
            log = AnnouncementLog(
                ready.session, ready.relay_key, ready.n_pulses, ready.segment_pulses
            )
        except ValueError:
            raise RemoteProtocolError("PairReady: the relay's key is no Ed25519 key") from None
        context = BlockContext(
            role=self.role,
            users=self.users,
            peer=self._plan.peer,
            block=self._n_asked,
            stream_at_relay=stream,
            ready=ready,
            agreement=self._plan.agreement,
            light=SessionLight(source, n_segments, self._entropy),
            sequencer=self._sequencer,
            pads=self._pads,
            entropy=self._entropy,
            qber_hint=self._qber,
            log=log,
            round_trips=self.round_trips,
        )
        self._block = Block(context)
        if self.role is Role.COORDINATOR:
            return self._block.open()
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else self._block.receive_peer(waiting)

    def _check_ready(self, ready: PairReady) -> None:
        if tuple(ready.users) != self.users:
            raise RemoteProtocolError(
                f"PairReady: found users {ready.users}; allowed: {list(self.users)}"
            )
        if ready.n_pulses > self._plan.n_pulses:
            raise RemoteProtocolError(
                f"PairReady: found {ready.n_pulses} pulses; allowed: {self._plan.n_pulses}"
            )
        if ready.n_pulses > MAX_SEGMENTS * ready.segment_pulses:
            raise RemoteProtocolError(
                f"PairReady: found segments of {ready.segment_pulses} pulses; "
                f"allowed: at most {MAX_SEGMENTS} segments"
            )
