"""What a core asks its shell to do. The shell performs effects strictly in order.

A `DurableEffect` is on disk before the next effect starts; that is how a key is there before the
message that speaks of it leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from mdiqkd_net.blocks import SecretKey, Segment
from mdiqkd_net.errors import ProtocolError, WireError
from mdiqkd_net.monitoring.public import PublicBlock
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.handout import Keys
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes of one frame for the link to a node."""

    node: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Say:
    """A message for the peer on stream 0. Lost if there is no connection: it is said again then."""

    message: Message


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the link to a node at once; what is queued may be lost.

    `anew`: go on with nothing of what was when the link is back. No honest core asks for it.
    """

    node: str
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """A message for the relay; its link, which several pairs share, numbers the frame."""

    message: Message
    stream: int


@dataclass(frozen=True, slots=True)
class Arm:
    """Make the transmitter ready for a session before the next effect starts."""

    session: bytes
    light: SessionLight


@dataclass(frozen=True, slots=True)
class Disarm:
    """The session's light is over; its settings may be forgotten."""

    session: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """Note durably that a block of this number begins; a number never comes twice."""

    block: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Store a key and the record of its commit durably; it is not yet to be handed out."""

    key: SecretKey
    users: tuple[str, str]
    block: int
    eps: float
    leak_model: str
    record: CommitRecord


@dataclass(frozen=True, slots=True)
class Settle:
    """Make the next phase of a commit durable, with what is now said about it."""

    block_id: bytes
    phase: Phase
    said: bytes


@dataclass(frozen=True, slots=True)
class BurnReceived:
    """Erase a pad of the peer: the message that it authenticated has been acted on."""

    pad: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Store durably which design a block will be judged by; no light before it is on disk."""

    users: tuple[str, str]
    block: int
    session: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sent next is answered at once: note the time."""


@dataclass(frozen=True, slots=True)
class Answered:
    """This message was the answer: tell the core's `round_trips` how long it took to come."""


@dataclass(frozen=True, slots=True)
class AwaitArmed:
    """Two users were told that their session is next: call `arming_overdue` if they take long."""

    session: bytes


@dataclass(frozen=True, slots=True)
class StartLight:
    """Let the device measure a session's segments, one after another."""

    session: bytes
    users: tuple[str, str]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class StopLight:
    """Stop the device; nobody wants this session any more."""

    session: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the operator. Never holds a secret."""

    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observe:
    """Let the monitors look at what is public of a block that has ended; nothing comes back."""

    block: PublicBlock


@dataclass(frozen=True, slots=True)
class Finished:
    """The pair's block has ended, with a key or without; call the core's `request` for more."""

    outcome: Literal["key", "aborted"]


class HandStep(Enum):
    """A durable step of a key's hand-out."""

    RESERVE = "reserve"  # owner: set aside, before the holder is asked
    AGREE = "agree"  # owner: the holder has set the same keys aside
    BURN = "burn"  # owner: erase what is not delivered
    FORGET = "forget"  # owner: the holder has erased them, too
    ASSIGN = "assign"  # holder: set aside
    DROP = "drop"  # holder: erase what is not delivered


@dataclass(frozen=True, slots=True)
class HandOut:
    """Make a step of a hand-out durable: of all of these keys, or of none."""

    step: HandStep
    request: bytes
    keys: Keys


@dataclass(frozen=True, slots=True)
class Agreed:
    """Tell who waits for a request: its keys can be taken from the store, or they are lost."""

    request: bytes
    agreed: bool


@dataclass(frozen=True, slots=True)
class Latch:
    """Stop working with the peer until an operator has looked."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """What the peer said a while ago turns out to break the protocol: refuse it for that now."""

    error: ProtocolError | WireError


@dataclass(frozen=True, slots=True)
class AwaitReturn:
    """A user's connection is lost: call `gone` if it stays away for long."""

    user: str
    n_visits: int


@dataclass(frozen=True, slots=True)
class HasRoom:
    """A user has taken announcements in: ask `has_room` again."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Perform what came before, then call the core's `go_on`: it has more to compute."""


DurableEffect = Begin | Hold | Settle | HandOut | BurnReceived | Freeze

Effect = (
    Send
    | Say
    | Cut
    | Tell
    | Continue
    | Arm
    | Disarm
    | DurableEffect
    | Agreed
    | Asked
    | Answered
    | AwaitArmed
    | StartLight
    | StopLight
    | Report
    | Observe
    | Finished
    | Latch
    | Refuse
    | AwaitReturn
    | HasRoom
)
