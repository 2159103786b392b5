"""Two-phase commit of a block's key, as a table (spec 7).

A block that has been prepared is held by a record that outlives crashes and connections. What a
user hears about a block, together with its own phase, gives its next phase and what it says;
nothing else does. The same table serves a first run, a repetition after a lost connection and a
restart, and the model check of the tests searches it.

The order of things: a phase is durable before what it says leaves, and what was said once is said
again with the same bytes, so that a pad never authenticates two messages; under new pads it is
tagged anew. `Said.UNKNOWN`, `LISTED` and everything that repeats are not authenticated: they move
only a coordinator that has not committed, to the safe side. Every step that lets keys be handed out
needs a tag.

A coordinator that hears of a decision that it does not know, or a participant whose peer does not
know a block that it has voted for, faces a peer or a store of its own that lost state. That raises
an alarm and moves nothing: keys in doubt stay held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mdiqkd_net.protocol.states import Role


class Phase(Enum):
    """Of a block's commit at one user, durable."""

    PREPARED = "prepared"  # the key is durable here
    COMMITTED = "committed"  # the decision is durable here
    CONFIRMED = "confirmed"  # coordinator: the decision is durable at the peer, too
    ABORTED = "aborted"  # the key is erased


class Heard(Enum):
    """What moves a commit."""

    VOTE = "vote"
    COMMIT = "commit"
    COMMITTED = "committed"
    ABORTED = "commit aborted"
    UNKNOWN = "commit unknown"  # the peer has no record of the block
    LISTED = "listed"  # after a new connection, the peer says that it has not settled the block
    GIVE_UP = "give up"  # the peer refused the block, or we do; local


class Said(Enum):
    """What a user says about a commit."""

    NOTHING = "nothing"
    VOTE = "vote"
    COMMIT = "commit"
    COMMITTED = "committed"
    ABORTED = "commit aborted"
    UNKNOWN = "commit unknown"
    ALARM = "alarm"  # nothing to the peer; the operator must look


@dataclass(frozen=True, slots=True)
class Move:
    """Where a commit goes, and what is said on the way. `phase` None: there is no record."""

    phase: Phase | None
    says: Said


CommitMoves = Mapping[tuple[Phase | None, Heard], Move]

_P, _C, _F, _A = Phase.PREPARED, Phase.COMMITTED, Phase.CONFIRMED, Phase.ABORTED
_H, _S = Heard, Said

COORDINATOR_COMMITS: Final[CommitMoves] = {
    (None, _H.VOTE): Move(None, _S.ALARM),
    (None, _H.COMMITTED): Move(None, _S.ALARM),
    (None, _H.UNKNOWN): Move(None, _S.NOTHING),
    (None, _H.LISTED): Move(None, _S.UNKNOWN),
    (_P, _H.VOTE): Move(_C, _S.COMMIT),
    (_P, _H.COMMITTED): Move(_P, _S.ALARM),
    (_P, _H.UNKNOWN): Move(_A, _S.NOTHING),
    (_P, _H.LISTED): Move(_P, _S.NOTHING),  # our own list makes the peer repeat its vote
    (_P, _H.GIVE_UP): Move(_A, _S.NOTHING),
    (_C, _H.VOTE): Move(_C, _S.COMMIT),
    (_C, _H.COMMITTED): Move(_F, _S.NOTHING),
    (_C, _H.UNKNOWN): Move(_C, _S.ALARM),
    (_C, _H.LISTED): Move(_C, _S.COMMIT),
    (_F, _H.VOTE): Move(_F, _S.ALARM),
    (_F, _H.COMMITTED): Move(_F, _S.NOTHING),
    (_F, _H.UNKNOWN): Move(_F, _S.ALARM),
    (_F, _H.LISTED): Move(_F, _S.ALARM),
    (_A, _H.VOTE): Move(_A, _S.ABORTED),
    (_A, _H.COMMITTED): Move(_A, _S.ALARM),
    (_A, _H.UNKNOWN): Move(_A, _S.NOTHING),
    (_A, _H.LISTED): Move(_A, _S.ABORTED),
}

PARTICIPANT_COMMITS: Final[CommitMoves] = {
    (None, _H.COMMIT): Move(None, _S.UNKNOWN),
    (None, _H.ABORTED): Move(None, _S.NOTHING),
    (None, _H.UNKNOWN): Move(None, _S.NOTHING),
    (None, _H.LISTED): Move(None, _S.UNKNOWN),
    (_P, _H.COMMIT): Move(_C, _S.COMMITTED),
    (_P, _H.ABORTED): Move(_A, _S.NOTHING),
    (_P, _H.UNKNOWN): Move(_P, _S.ALARM),
    (_P, _H.LISTED): Move(_P, _S.VOTE),
    (_C, _H.COMMIT): Move(_C, _S.COMMITTED),
    (_C, _H.ABORTED): Move(_C, _S.ALARM),
    (_C, _H.UNKNOWN): Move(_C, _S.NOTHING),  # crossed with our own answer
    (_C, _H.LISTED): Move(_C, _S.COMMITTED),
    (_A, _H.COMMIT): Move(_A, _S.ALARM),
    (_A, _H.ABORTED): Move(_A, _S.NOTHING),
    (_A, _H.UNKNOWN): Move(_A, _S.NOTHING),
    (_A, _H.LISTED): Move(_A, _S.UNKNOWN),
}

COMMIT_MOVES: Final[Mapping[Role, CommitMoves]] = {
    Role.COORDINATOR: COORDINATOR_COMMITS,
    Role.PARTICIPANT: PARTICIPANT_COMMITS,
}

UNSETTLED: Final[Mapping[Role, frozenset[Phase]]] = {
    Role.COORDINATOR: frozenset({Phase.PREPARED, Phase.COMMITTED}),
    Role.PARTICIPANT: frozenset({Phase.PREPARED}),
}
"""What a user lists after a new connection: it waits for the peer's word."""

OFFERED: Final[Mapping[Role, Phase]] = {
    Role.COORDINATOR: Phase.CONFIRMED,
    Role.PARTICIPANT: Phase.COMMITTED,
}
"""The phase in which a user's keys may be handed out."""

NEEDS_TAG: Final = frozenset({Heard.VOTE, Heard.COMMIT, Heard.COMMITTED, Heard.ABORTED})
"""A message that moves a phase is checked first; one that only makes us repeat is not."""


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What a user keeps of a prepared block.

    Attributes:
        block_id: 16 bytes, alike at both users.
        role: Of this user.
        phase: How far the commit is here.
        bits: Length of the key.
        said: Body of the tagged message said last, repeated byte for byte; empty if none was.
    """

    block_id: bytes
    role: Role
    phase: Phase
    bits: int
    said: bytes = b""
