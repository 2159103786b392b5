"""What arrives at the task of a pair, in the order in which it deals with it."""

from dataclasses import dataclass

from mdiqkd_net.runtime.link import Link
from mdiqkd_net.runtime.wishes import Wish
from mdiqkd_net.wire.frames import Frame


@dataclass(frozen=True, slots=True)
class Linked:
    """There is a fresh link to the peer."""

    link: Link


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer broke the protocol on a link, in a way that no core has to judge."""

    link: Link


@dataclass(frozen=True, slots=True)
class RelayLinked:
    """There is a fresh link to the relay."""

    kept: bool


@dataclass(frozen=True, slots=True)
class FromPeer:
    """A frame of the peer."""

    link: Link
    frame: Frame


@dataclass(frozen=True, slots=True)
class FromRelay:
    """A frame of the relay."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Nobody waits any more for keys that were wished for."""

    wish: Wish


Arrival = Linked | Broken | RelayLinked | FromPeer | FromRelay | Wish | GivenUp
