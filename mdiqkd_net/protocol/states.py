"""Legal moves, as tables. What is not in a table is refused; tests and the spec read the tables.

A value lists every state in which handling the message may leave the core.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    Announcement,
    AnnouncementsClosed,
    BlockAborted,
    BlockOpen,
    BlockOpened,
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    Credit,
    Disclose,
    EstimationBits,
    Gate,
    GroupsVerified,
    KeyAssign,
    KeyAssigned,
    KeyBurn,
    KeyBurned,
    KeyRefused,
    Message,
    PadLease,
    PadLeaseRequest,
    PairAborted,
    PairArmed,
    PairRequest,
    Prepare,
    Reconcile,
    ReconcileStart,
    Resume,
    Sift,
    SiftDone,
    Verified,
    Verify,
    VerifyGroups,
    Vote,
)


class Role(Enum):
    """Of a user within a pair; the lower node id coordinates."""

    COORDINATOR = "coordinator"
    PARTICIPANT = "participant"


class State(Enum):
    """Of one block at one endpoint."""

    OPENING = "opening"  # parameters are being compared
    COLLECTING = "collecting"  # announcements come in
    EARLY_GATE = "early gate"  # the coordinator's gate is here, our announcements are not all
    CLOSED = "closed"  # all announcements are in; the gate is open to be proven
    SIFTING = "sifting"  # both gates proven; settings are revealed
    TESTING = "testing"  # bits of basis X are revealed
    RECONCILING = "reconciling"
    VERIFYING = "verifying"
    AMPLIFYING = "amplifying"
    PREPARED = "prepared"  # the key is durable here; what follows is the table of the commit
    DONE = "done"
    ABORTED = "aborted"


S = State
Moves = Mapping[tuple[State, type[Message]], frozenset[State]]

_ABORTABLE: Final = (
    S.OPENING,
    S.COLLECTING,
    S.EARLY_GATE,
    S.CLOSED,
    S.SIFTING,
    S.TESTING,
    S.RECONCILING,
    S.VERIFYING,
    S.AMPLIFYING,
)
"""An untagged abort never moves a participant that has voted, nor anybody who has committed."""


def _moves(*rows: tuple[State, type[Message], tuple[State, ...]]) -> Moves:
    table = {(state, message): frozenset(after) for state, message, after in rows}
    for state in _ABORTABLE:
        table[state, BlockAborted] = frozenset({S.ABORTED})
    for state in (S.OPENING, S.COLLECTING, S.EARLY_GATE):
        table[state, PairAborted] = frozenset({S.ABORTED})
    return table


COORDINATOR_MOVES: Final = _moves(
    (S.OPENING, BlockOpened, (S.COLLECTING, S.ABORTED)),
    (S.COLLECTING, Announcement, (S.COLLECTING,)),
    (S.COLLECTING, AnnouncementsClosed, (S.CLOSED,)),
    (S.CLOSED, Gate, (S.SIFTING, S.ABORTED)),
    (S.SIFTING, Sift, (S.SIFTING,)),
    (S.SIFTING, SiftDone, (S.TESTING,)),
    (S.TESTING, EstimationBits, (S.TESTING, S.RECONCILING, S.ABORTED)),
    (S.RECONCILING, Reconcile, (S.RECONCILING, S.VERIFYING)),
    (S.VERIFYING, GroupsVerified, (S.VERIFYING,)),
    (S.VERIFYING, Verified, (S.AMPLIFYING, S.ABORTED)),
    (S.PREPARED, BlockAborted, (S.PREPARED, S.ABORTED)),  # alone only until it has committed
)

PARTICIPANT_MOVES: Final = _moves(
    (S.OPENING, BlockOpen, (S.COLLECTING, S.ABORTED)),
    (S.COLLECTING, Announcement, (S.COLLECTING,)),
    (S.COLLECTING, Gate, (S.EARLY_GATE,)),
    (S.COLLECTING, AnnouncementsClosed, (S.CLOSED,)),
    (S.EARLY_GATE, Announcement, (S.EARLY_GATE,)),
    (S.EARLY_GATE, AnnouncementsClosed, (S.SIFTING, S.ABORTED)),
    (S.CLOSED, Gate, (S.SIFTING, S.ABORTED)),
    (S.SIFTING, Sift, (S.SIFTING,)),
    (S.SIFTING, SiftDone, (S.TESTING,)),
    (S.TESTING, EstimationBits, (S.TESTING, S.RECONCILING)),
    (S.RECONCILING, ReconcileStart, (S.RECONCILING,)),
    (S.RECONCILING, Reconcile, (S.RECONCILING, S.VERIFYING)),
    (S.VERIFYING, VerifyGroups, (S.VERIFYING,)),
    (S.VERIFYING, Disclose, (S.VERIFYING,)),
    (S.VERIFYING, Verify, (S.AMPLIFYING, S.ABORTED)),
    (S.AMPLIFYING, AmplifySeed, (S.AMPLIFYING,)),
    (S.AMPLIFYING, Prepare, (S.PREPARED, S.ABORTED)),
)

MOVES: Final[Mapping[Role, Moves]] = {
    Role.COORDINATOR: COORDINATOR_MOVES,
    Role.PARTICIPANT: PARTICIPANT_MOVES,
}

_AT_ANY_TIME: Final[frozenset[type[Message]]] = frozenset(
    {
        Resume,
        PadLeaseRequest,
        PadLease,
        CommitUnknown,
        KeyAssign,
        KeyAssigned,
        KeyRefused,
        KeyBurn,
        KeyBurned,
    }
)
PAIR_MESSAGES: Final[Mapping[Role, frozenset[type[Message]]]] = {
    Role.COORDINATOR: _AT_ANY_TIME | {Vote, Committed},
    Role.PARTICIPANT: _AT_ANY_TIME | {Commit, CommitAborted},
}
"""What a user may hear from its peer on stream 0, whatever the state of a block."""


class RelayState(Enum):
    """Of one user's link at the relay."""

    IDLE = "idle"  # connected; may ask for pairs
    READY = "ready"  # told that its session is next
    ARMED = "armed"  # its transmitter is ready; waiting for the peer, or being measured


RELAY_MOVES: Final[Mapping[tuple[RelayState, type[Message]], frozenset[RelayState]]] = {
    (RelayState.IDLE, PairRequest): frozenset({RelayState.IDLE, RelayState.READY}),
    (RelayState.READY, PairRequest): frozenset({RelayState.READY}),
    (RelayState.ARMED, PairRequest): frozenset({RelayState.ARMED}),
    # Late words about a session that has been given up are heard and change nothing.
    (RelayState.IDLE, PairArmed): frozenset({RelayState.IDLE}),
    (RelayState.READY, PairArmed): frozenset({RelayState.READY, RelayState.ARMED}),
    (RelayState.IDLE, Credit): frozenset({RelayState.IDLE}),
    (RelayState.READY, Credit): frozenset({RelayState.READY}),
    (RelayState.ARMED, Credit): frozenset({RelayState.ARMED}),
}

WRONG_STATE: Final = 0x0301


def require_legal(role: Role, state: State, message: Message) -> None:
    """Return if `message` may come in `state`.

    Raises:
        RemoteProtocolError: It may not; names the message, the state and what is allowed.
    """
    if (state, type(message)) not in MOVES[role]:
        allowed = sorted({m.__name__ for s, m in MOVES[role] if s is state}) or ["nothing"]
        raise RemoteProtocolError(
            f"{type(message).__name__} in state {state.value}; allowed: {', '.join(allowed)}",
            WRONG_STATE,
        )
