"""What a core asks its shell to do. The shell performs effects strictly in order.

`Hold` is durable before the next effect starts; that is how a key is on disk before the message
that speaks of it leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mdiqkd_net.blocks import SecretKey, Segment
from mdiqkd_net.monitoring.public import PublicBlock
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes of one frame for the link to a node."""

    node: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the link to a node at once; what is queued may be lost."""

    node: str


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
class Hold:
    """Store a key durably, not yet to be handed out."""

    key: SecretKey
    users: tuple[str, str]
    block: int
    eps: float
    leak_model: str


@dataclass(frozen=True, slots=True)
class Release:
    """A held key may be handed out."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class Discard:
    """A held key must never be handed out."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class Freeze:
    """Store durably which design a block will be judged by; no light before it is on disk."""

    users: tuple[str, str]
    block: int
    session: bytes
    digest: str


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
    """The pair's block has ended, with a key or without."""

    outcome: Literal["key", "aborted"]


@dataclass(frozen=True, slots=True)
class Resume:
    """Perform what came before, then call the core's `resume`: it has more to compute."""


Effect = (
    Send
    | Cut
    | Tell
    | Resume
    | Arm
    | Disarm
    | Hold
    | Release
    | Discard
    | Freeze
    | AwaitArmed
    | StartLight
    | StopLight
    | Report
    | Observe
    | Finished
)
