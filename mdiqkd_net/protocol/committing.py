"""The commit of blocks at one user, by the table of `commit` (spec 7)."""

from collections.abc import Iterable
from typing import Final, Protocol

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.commit import (
    COMMIT_MOVES,
    CommitRecord,
    Heard,
    Move,
    Phase,
    Said,
)
from mdiqkd_net.protocol.effects import BurnReceived, Effect, Report, Say, Settle
from mdiqkd_net.protocol.ids import pair_id
from mdiqkd_net.protocol.states import WRONG_STATE, Role
from mdiqkd_net.protocol.tags import Pads, check, seal, tag_context
from mdiqkd_net.wire.codec import decode_body, encode
from mdiqkd_net.wire.messages import (
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    Message,
    Vote,
)

Tagged = Vote | Commit | Committed | CommitAborted

HEARD: Final[dict[type[Message], Heard]] = {
    Vote: Heard.VOTE,
    Commit: Heard.COMMIT,
    Committed: Heard.COMMITTED,
    CommitAborted: Heard.ABORTED,
    CommitUnknown: Heard.UNKNOWN,
}
_SAYS: Final[dict[Said, type[Tagged]]] = {
    Said.VOTE: Vote,
    Said.COMMIT: Commit,
    Said.COMMITTED: Committed,
    Said.ABORTED: CommitAborted,
}


class Records(Protocol):
    """What a user's store knows of the commits with one peer."""

    def record(self, block_id: bytes) -> CommitRecord | None:
        """Of one block, however long ago it was settled."""

    def unsettled(self) -> list[CommitRecord]:
        """Of all blocks that wait for the peer's word, oldest first."""

    def next_block(self) -> int:
        """The least number that no block has had."""


class Commits:
    """All commits with one peer. Effects make the moves; nothing is remembered here."""

    def __init__(self, users: tuple[str, str], role: Role, pads: Pads, records: Records) -> None:
        self._users = users
        self._pair_id = pair_id(users)
        self._role = role
        self._pads = pads
        self._records = records

    def vote(self, block_id: bytes, bits: int) -> CommitRecord:
        """Participant: the record of a block that is about to be held, with its vote."""
        said = self._tag(Vote, block_id, bits)
        return CommitRecord(block_id, self._role, Phase.PREPARED, bits, encode(said))

    def receive(self, message: Tagged | CommitUnknown) -> list[Effect]:
        """Take a message about a block, from whatever connection.

        Raises:
            RemoteProtocolError: Not legal for a block in that phase.
            AuthenticationError: Its tag fails; nothing has changed.
        """
        return self._hear(message.block_id, HEARD[type(message)], message)

    def listed(self, blocks: Iterable[bytes], at_hand: bytes | None) -> list[Effect]:
        """The peer waits for our word on these; one that is still on its way here is left out."""
        effects: list[Effect] = []
        for block_id in blocks:
            if block_id != at_hand:
                effects += self._hear(block_id, Heard.LISTED, None)
        return effects

    def lacks_words(self, block_id: bytes) -> bool:
        """Whether our word on a block, should the peer list it, takes a pad for its tag."""
        record = self._records.record(block_id)
        if record is None or record.said:
            return False
        move = COMMIT_MOVES[self._role].get((record.phase, Heard.LISTED))
        return move is not None and move.says in _SAYS

    def give_up(self, block_id: bytes) -> list[Effect]:
        """Coordinator: end a block that is prepared and not committed."""
        return self._hear(block_id, Heard.GIVE_UP, None)

    def _hear(
        self, block_id: bytes, heard: Heard, message: Tagged | CommitUnknown | None
    ) -> list[Effect]:
        record = self._records.record(block_id)
        phase = None if record is None else record.phase
        move = COMMIT_MOVES[self._role].get((phase, heard))
        if move is None:
            raise RemoteProtocolError(
                f"{heard.value} of block {block_id.hex()} in phase "
                f"{phase.value if phase else 'unknown'}: not legal for a {self._role.value}",
                WRONG_STATE,
            )
        if move.says is Said.ALARM:
            return [self._alarm(block_id, phase, heard)]
        if record is None:
            says_so = move.says is Said.UNKNOWN
            return [Say(CommitUnknown(block_id=block_id))] if says_so else []
        if move.phase is phase:
            return self._repeat(record, move)
        return self._step(record, move, message)

    def _step(
        self, record: CommitRecord, move: Move, message: Tagged | CommitUnknown | None
    ) -> list[Effect]:
        burn: list[Effect] = []
        if message is not None and not isinstance(message, CommitUnknown):
            context = self._context_of(type(message), record)
            check(self._pads, context, message.pad, message.tag)
            burn = [BurnReceived(message.pad)]
        assert move.phase is not None  # noqa: S101  # no record ever goes away
        answer = None
        if move.says is not Said.NOTHING:
            answer = self._tag(_SAYS[move.says], record.block_id, record.bits)
        said = b"" if answer is None else encode(answer)
        effects: list[Effect] = [Settle(record.block_id, move.phase, said), *burn]
        return effects if answer is None else [*effects, Say(answer)]

    def _repeat(self, record: CommitRecord, move: Move) -> list[Effect]:
        if move.says is Said.NOTHING:
            return []
        if move.says is Said.UNKNOWN:
            return [Say(CommitUnknown(block_id=record.block_id))]
        kind = _SAYS[move.says]
        if record.said:
            return [Say(decode_body(kind.TYPE, record.said))]
        # An abort is only said, and a pad only spent on it, to a participant that asks. Of other
        # words nothing is known if they were said under pads that were replaced.
        answer = self._tag(kind, record.block_id, record.bits)
        return [Settle(record.block_id, record.phase, encode(answer)), Say(answer)]

    def _tag(self, kind: type[Tagged], block_id: bytes, bits: int) -> Tagged:
        context = tag_context(
            kind.TYPE, self._pair_id, block_id, bits, by_coordinator=self._coordinates
        )
        pad, tag = seal(self._pads, context)
        return kind(block_id=block_id, pad=pad, tag=tag)

    def _context_of(self, kind: type[Message], record: CommitRecord) -> bytes:
        return tag_context(
            kind.TYPE,
            self._pair_id,
            record.block_id,
            record.bits,
            by_coordinator=not self._coordinates,
        )

    @property
    def _coordinates(self) -> bool:
        return self._role is Role.COORDINATOR

    def _alarm(self, block_id: bytes, phase: Phase | None, heard: Heard) -> Report:
        return Report(
            "commit.alarm",
            {
                "users": list(self._users),
                "block_id": block_id.hex(),
                "phase": phase.value if phase else "unknown",
                "heard": heard.value,
                "reason": "one of the two stores has lost state; keys of this block may be "
                "missing at one side and are not handed out twice",
            },
        )
