"""One user's side of one pair: blocks, one after another, over connections that come and go."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mdiqkd_net.errors import AuthenticationError, RemoteProtocolError, WireError
from mdiqkd_net.monitoring.public import End
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.announcing import MAX_ANNOUNCED, AnnouncementLog
from mdiqkd_net.protocol.block import Block
from mdiqkd_net.protocol.commit import OFFERED, Phase
from mdiqkd_net.protocol.committing import Commits, Records
from mdiqkd_net.protocol.context import BlockContext
from mdiqkd_net.protocol.credit import Granted
from mdiqkd_net.protocol.effects import (
    BurnReceived,
    Effect,
    Latch,
    Refuse,
    Report,
    Say,
    Settle,
    Tell,
)
from mdiqkd_net.protocol.handing import HANDOUT_MESSAGES, Handouts, Shelf
from mdiqkd_net.protocol.ids import ordered
from mdiqkd_net.protocol.leases import GrantLimit
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.protocol.numbering import BlockNumbers
from mdiqkd_net.protocol.reconciling import RoundTrips
from mdiqkd_net.protocol.states import PAIR_MESSAGES, WRONG_STATE, Role, State
from mdiqkd_net.protocol.tags import MAX_TAG_FAILURES, Pads
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import MAX_STREAMS, Frame, Sequencer
from mdiqkd_net.wire.messages import (
    MAX_UNSETTLED,
    BlockAborted,
    BlockOpen,
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    Message,
    PadLease,
    PadLeaseRequest,
    PairReady,
    PairRequest,
    Resume,
    Vote,
)

MAX_SEGMENTS = 1 << 20
PADS_PER_BLOCK = 3
"""A user tags two messages of a block, or three if the commit is given up."""

_COLLECTING = (State.OPENING, State.COLLECTING, State.EARLY_GATE)


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a user wants from a pair.

    Attributes:
        node: This user.
        peer: The other.
        n_pulses: Pulses of one block.
        blocks: How many blocks; 0 is without end.
        agreement: What both must hold in common.
        qber_hint: Z error rate to reconcile the first block with.
        session_events: Events of a session that there is memory for.
    """

    node: str
    peer: str
    n_pulses: int
    blocks: int
    agreement: Agreement
    qber_hint: float
    session_events: int = MAX_ANNOUNCED


class Endpoint:
    """The core of a pair at one user; sans-I/O.

    Args:
        sequencer: Numbers the frames of the streams that outlive a connection to the peer.
        pads: One-time pads shared with this peer.
        records: What the key store knows of earlier blocks.
        shelf: What it knows of their keys.
        entropy: Source of everything that must not be guessed.
        now_s: Seconds of a clock that never goes back; it limits how often pads are granted.
        processor: Reconciles and amplifies; it may take its time, and may fail.
    """

    def __init__(
        self,
        plan: PairPlan,
        *,
        sequencer: Sequencer,
        pads: Pads,
        records: Records,
        shelf: Shelf,
        entropy: Callable[[int], bytes],
        now_s: Callable[[], float],
        processor: Processor = HERE,
    ) -> None:
        self._plan = plan
        self._sequencer = sequencer
        self._pads = pads
        self._records = records
        self._entropy = entropy
        self._now_s = now_s
        self._processor = processor
        self._grants = GrantLimit()
        self.users = ordered(plan.node, plan.peer)
        self.role = Role.COORDINATOR if plan.node == self.users[0] else Role.PARTICIPANT
        self._commits = Commits(self.users, self.role, pads, records)
        self.handouts = Handouts(self.users, self.role, shelf, entropy)
        self._numbers = BlockNumbers(records)
        self._has_met = False
        self._n_asked = 0
        self._asks = False
        self._asks_pads = False
        self._lacks_pads = False
        self._unanswered: list[bytes] = []
        self._block: Block | None = None
        self._waiting: tuple[Frame, BlockOpen] | None = None
        self._over: deque[bytes] = deque(maxlen=MAX_STREAMS)
        self._qber, self._qber_guessed = plan.qber_hint, True
        self._n_tag_failures = 0
        self.round_trips = RoundTrips()

    @property
    def blocks_left(self) -> bool:
        """Whether more blocks are to be asked for."""
        return not self._plan.blocks or self._n_asked < self._plan.blocks

    @property
    def block(self) -> Block | None:
        """The block at hand."""
        return self._block

    def request(self) -> list[Effect]:
        """Ask the relay for the next block, if it is time for one.

        It is once both users have agreed where they are, the last block has ended, and the pads
        for the tags of another one are there.
        """
        ready = self._has_met and not self._asks and self.blocks_left
        if not ready or (self._block is not None and not self._block.ended):
            return []
        if self._pads.lease_left < PADS_PER_BLOCK:
            return self._ask_for_pads()
        if self._block is not None and self._block.qber_z is not None:
            self._qber, self._qber_guessed = max(self._block.qber_z, 1e-4), False
        self._n_asked += 1
        self._asks = True
        return [self._request]

    def linked(self, *, kept: bool) -> list[Effect]:
        """There is a new connection to the peer.

        Args:
            kept: Whether both sides go on where the last one broke off.
        """
        self._asks_pads = False
        self._unanswered = []
        effects: list[Effect] = []
        if not kept:
            self._waiting = None
            if self._block is not None:
                effects = self._block.abort("the peer started anew", tell=False)
        return [*effects, self._resume()]

    def relay_linked(self, *, kept: bool) -> list[Effect]:
        """There is a new connection to the relay; `kept` as in `linked`."""
        effects = [] if kept else self.relay_failed("the relay started anew")
        return [*effects, self._request] if self._asks else effects

    def relay_failed(self, reason: str) -> list[Effect]:
        """End a block that the relay leaves without its announcements; past them it goes on."""
        if self._block is None or self._block.state not in _COLLECTING:
            return []
        return self._block.abort(reason, end="relay")

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
            return self._block.outlive(message, frame)
        return self._block.receive_relay(message, frame)

    def receive_peer(self, frame: Frame) -> list[Effect]:
        """Take a frame of the peer.

        Raises:
            RemoteProtocolError: Not legal now, or not true.
            AuthenticationError: A tag that does not fit; nothing has changed.
            WireError: Not a message, or out of sequence.
        """
        if frame.stream == 0:
            return self._receive_about_pair(decode(frame))
        if not self._sequencer.accept(frame):
            return []
        try:
            return self._receive_in_block(frame)
        except BaseException:
            self._sequencer.forget(frame)
            raise

    def go_on(self) -> list[Effect]:
        """Go on computing where a `Continue` effect left off."""
        if self._block is None or self._block.ended:
            return []
        return self._block.go_on()

    def abort(self, reason: str, *, end: End = "other") -> list[Effect]:
        """End the block at hand, if there is one that still can end this way."""
        return [] if self._block is None else self._block.abort(reason, end=end)

    def _resume(self) -> Say:
        unsettled = self._records.unsettled()[-MAX_UNSETTLED:]
        blocks = [record.block_id for record in unsettled]
        return Say(Resume(blocks=blocks, next_block=self._numbers.least))

    def _ask_for_pads(self) -> list[Effect]:
        if self._asks_pads:
            return []  # the answer is on its way
        self._asks_pads = True
        return [Say(PadLeaseRequest(high_water=self._pads.high_water))]

    @property
    def _request(self) -> Effect:
        plan = self._plan
        return Tell(PairRequest(n_pulses=plan.n_pulses, peer=plan.peer, request=self._n_asked), 0)

    def _receive_about_pair(self, message: Message) -> list[Effect]:
        if type(message) not in PAIR_MESSAGES[self.role]:
            raise RemoteProtocolError(
                f"{type(message).__name__} on stream 0 for a {self.role.value}", WRONG_STATE
            )
        if isinstance(message, HANDOUT_MESSAGES):
            return self.handouts.receive(message)
        match message:
            case Resume(blocks=blocks, next_block=next_block):
                self._numbers.hear(next_block)
                self._has_met = True
                return [*self._answer(blocks), *self.handouts.linked(), *self.request()]
            case PadLeaseRequest(high_water=high_water):
                self._grants.admit(self._now_s())
                base, count = self._pads.grant(high_water)
                return [Say(PadLease(base=base, count=count))]
            case PadLease(base=base, count=count):
                if not self._asks_pads:
                    raise RemoteProtocolError("PadLease that nobody asked for", WRONG_STATE)
                return self._take_lease(base, count)
            case Vote() | Commit() | Committed() | CommitAborted() | CommitUnknown():
                return self._receive_commit(message)
        raise AssertionError(f"the table allows {type(message).__name__}, nothing handles it")

    def _take_lease(self, base: int, count: int) -> list[Effect]:
        self._asks_pads = False
        self._pads.accept_lease(base, count)
        # Who lacked a pad to answer with asks to be told once more.
        again, self._lacks_pads = self._lacks_pads, False
        blocks = self._unanswered
        left = self._pads.lease_left
        if left == 0 or (left < PADS_PER_BLOCK and not again and not blocks):
            peer = self._plan.peer
            return [Latch(f"the pads for {peer} are used up; `mdiqkd pki` makes new ones")]
        answers = self._answer(blocks)
        return [*answers, *([self._resume()] if again else []), *self.request()]

    def _answer(self, blocks: Iterable[bytes]) -> list[Effect]:
        """What we say of blocks that the peer has listed; where that takes a pad, once there is."""
        effects: list[Effect] = []
        self._unanswered = []
        for block_id in dict.fromkeys(blocks):
            if self._commits.lacks_words(block_id) and not self._can_answer(block_id):
                self._unanswered.append(block_id)
            else:
                effects += self._commits.listed([block_id], self._ripening)
        return [*effects, *(self._ask_for_pads() if self._unanswered else [])]

    @property
    def _ripening(self) -> bytes | None:
        """The block at hand if no record speaks for it yet: its `Prepare` may be on its way."""
        block = self._block
        if block is None or block.ended or block.state is State.PREPARED:
            return None
        return block.block_id

    def _receive_commit(
        self, message: Vote | Commit | Committed | CommitAborted | CommitUnknown
    ) -> list[Effect]:
        if not self._can_answer(message.block_id):
            self._lacks_pads = True
            return self._ask_for_pads()
        try:
            effects = self._commits.receive(message)
        except AuthenticationError:
            if latch := self._count_failed_tags(1):
                return latch
            raise
        return self._settled(effects)

    def _count_failed_tags(self, n_failures: int) -> list[Effect]:
        self._n_tag_failures += n_failures
        if not n_failures or self._n_tag_failures < MAX_TAG_FAILURES:
            return []
        return [Latch(f"{self._n_tag_failures} tags of {self._plan.peer} did not fit")]

    def _can_answer(self, block_id: bytes) -> bool:
        """Whether there is a pad for an answer, besides those that the block at hand will need."""
        block = self._block
        is_other = block is not None and not block.ended and block.block_id != block_id
        return self._pads.lease_left > (PADS_PER_BLOCK if is_other else 0)

    def _settled(self, effects: list[Effect]) -> list[Effect]:
        """Add what follows from a commit that has come to its end, when all of it is done."""
        after = [*effects]
        for effect in effects:
            if isinstance(effect, BurnReceived):
                self._grants.count_tags(1)
            if isinstance(effect, Settle) and effect.phase in (OFFERED[self.role], Phase.ABORTED):
                after += self._end(effect)
        return after

    def _end(self, settled: Settle) -> list[Effect]:
        block = self._block
        if block is not None and block.block_id == settled.block_id and not block.ended:
            return block.settle(settled.phase)
        fields = {
            "users": list(self.users),
            "block_id": settled.block_id.hex(),
            "phase": settled.phase.value,
        }
        return [Report("commit.settled", fields)]

    def _receive_in_block(self, frame: Frame) -> list[Effect]:
        block = None if self._block is None or self._block.ended else self._block
        message = decode(frame)
        if isinstance(message, BlockOpen) and self.role is Role.PARTICIPANT:
            return self._receive_open(block, frame, message)
        # Before `BlockOpen` a participant's block has no stream: what comes is about an older one.
        has_stream = block is not None and (
            self.role is Role.COORDINATOR or block.state is not State.OPENING
        )
        if block is not None and has_stream and frame.stream == block.number:
            effects = self._settled(block.receive_peer(frame, message))
            # A tag that fails ends the block, so that it is counted once.
            return [*self._count_failed_tags(block.tag_failures), *effects]
        if isinstance(message, BlockAborted):
            if self._waiting is not None and self._waiting[0].stream == frame.stream:
                self._waiting = None
            return []
        if frame.stream < self._numbers.least:
            return []  # crossed with the end of its block
        raise RemoteProtocolError(
            f"{type(message).__name__} of block {frame.stream}, which is not open; "
            "allowed: BlockOpen by the coordinator",
            WRONG_STATE,
        )

    def _receive_open(self, block: Block | None, frame: Frame, message: BlockOpen) -> list[Effect]:
        if block is None and self._block is not None:
            self._remember(self._block)
        if message.session_digest in self._over:
            return []  # kept while there was no connection, and overtaken by the end of its session
        if frame.seq or message.block != frame.stream:
            raise RemoteProtocolError(
                f"BlockOpen of block {message.block} as frame {frame.seq} of stream "
                f"{frame.stream}; allowed: first of the stream of its block"
            )
        self._numbers.require(message.block)
        if block is not None and block.state is State.OPENING:
            return block.open_as(message.block, frame, message)
        self._waiting = frame, message  # the relay's word is still on its way to us
        return []

    def _remember(self, ended: Block) -> None:
        if ended.session_digest not in self._over:
            self._over.append(ended.session_digest)

    def _ready(self, ready: PairReady, stream: int) -> list[Effect]:
        if self._block is not None and not self._block.ended:
            raise RemoteProtocolError("PairReady while a block is under way", WRONG_STATE)
        if not self._asks:
            raise RemoteProtocolError("PairReady that nobody asked for", WRONG_STATE)
        self._check_ready(ready)
        n_segments = -(-ready.n_pulses // ready.segment_pulses)
        source = self._plan.agreement.prepared_source
        try:
            log = AnnouncementLog(
                ready.session,
                ready.relay_key,
                ready.n_pulses,
                ready.segment_pulses,
                self._plan.session_events,
            )
        except ValueError:
            raise RemoteProtocolError("PairReady: the relay's key is no Ed25519 key") from None
        self._asks = False
        if self._block is not None:
            self._remember(self._block)
        self._block = Block(
            BlockContext(
                role=self.role,
                users=self.users,
                peer=self._plan.peer,
                block=self._numbers.least,
                stream_at_relay=stream,
                ready=ready,
                agreement=self._plan.agreement,
                light=SessionLight(source, n_segments, self._entropy),
                sequencer=self._sequencer,
                pads=self._pads,
                commits=self._commits,
                entropy=self._entropy,
                qber_hint=self._qber,
                qber_guessed=self._qber_guessed,
                log=log,
                credit=Granted(),
                round_trips=self.round_trips,
                processor=self._processor,
            )
        )
        if self.role is Role.COORDINATOR:
            return self._block.open()
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return []
        frame, proposal = waiting
        try:
            return self._block.open_as(proposal.block, frame, proposal)
        except (RemoteProtocolError, WireError) as error:
            return [Refuse(error)]  # the relay has only shown what is wrong with it

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
