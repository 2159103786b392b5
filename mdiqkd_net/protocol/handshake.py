"""First words on every link: who are you, and which version do we speak (spec 4)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from mdiqkd_net import __version__
from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.states import WRONG_STATE
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Hello

PROTOCOL_VERSION = 1
BAD_VERSION = 0x0201
BAD_IDENTITY = 0x0202

RoleName = Literal["endpoint", "relay", "transmitter", "receiver"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the other side of a link must be.

    Attributes:
        role: Its role.
        nodes: Node ids that may be there; None: any that the certificate vouches for.
    """

    role: RoleName
    nodes: Collection[str] | None = None


def greet(
    node: str,
    role: RoleName,
    entropy: Callable[[int], bytes],
    correspondence: Correspondence,
) -> Hello:
    """Our first message."""
    return Hello(
        epoch=correspondence.epoch,
        impl=f"mdiqkd-net {__version__}",
        node=node,
        nonce=entropy(32),
        positions=correspondence.sequencer.positions(),
        role=role,
        seen=correspondence.seen,
        versions=[PROTOCOL_VERSION],
    )


def welcome(frame: Frame, certified: str, expected: Expected) -> Hello:
    """Check the peer's Hello against its certificate and against what we expect.

    Raises:
        RemoteProtocolError: Not a Hello, or another node, role or version than allowed.
        WireError: Not a message.
    """
    message = decode(frame)
    if not isinstance(message, Hello):
        found = type(message).__name__
        raise RemoteProtocolError(f"first message: found {found}; allowed: Hello", WRONG_STATE)
    if PROTOCOL_VERSION not in message.versions:
        raise RemoteProtocolError(
            f"protocol version: found {message.versions}; allowed: {PROTOCOL_VERSION}", BAD_VERSION
        )
    if message.node != certified:
        raise RemoteProtocolError(
            f"node says it is {message.node!r}; its certificate says {certified!r}", BAD_IDENTITY
        )
    if expected.nodes is not None and certified not in expected.nodes:
        allowed = ", ".join(sorted(expected.nodes)) or "nobody"
        raise RemoteProtocolError(f"node: found {certified!r}; allowed: {allowed}", BAD_IDENTITY)
    if message.role != expected.role:
        raise RemoteProtocolError(
            f"role of {certified}: found {message.role}; allowed: {expected.role}", BAD_IDENTITY
        )
    return message
