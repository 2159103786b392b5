"""What nodes say on their standard output: one JSON object per line.

Unknown events and unknown fields are passed over, so that a node may say more than a scenario
needs to know; a line that is no event at all is a fault of the node.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct

from mdiqkd_net.errors import RemoteProtocolError

Stage = Literal["opened", "light", "gate", "sift", "reconcile", "verify", "amplify", "commit"]


class Event(Struct, frozen=True, kw_only=True):
    """Any event: who says it, and when (CLOCK_MONOTONIC, alike in all processes)."""

    node: str
    t_s: float


class PairEvent(Event, frozen=True, kw_only=True):
    """An event about two users."""

    users: tuple[str, str]

    @property
    def pair(self) -> tuple[str, str]:
        """The users, the lower id first."""
        low, high = sorted(self.users)
        return (low, high)


class Ready(Event, frozen=True, kw_only=True):
    """The first event of every node."""

    role: Literal["charles", "endpoint"]
    listen: str


class PairStarted(PairEvent, frozen=True, kw_only=True):
    """Charles has both users of a pair, and light begins."""

    n_pulses: int


class LightProgress(PairEvent, frozen=True, kw_only=True):
    """Charles: how much light of the running session has passed, and what it gave."""

    pulses: int
    n_pulses: int
    announced: int


class PairFinished(PairEvent, frozen=True, kw_only=True):
    """Charles: the light of a session has ended."""

    pulses: int
    announced: int
    light_s: float


class BlockStage(PairEvent, frozen=True, kw_only=True):
    """A user has entered a stage of a block."""

    block: int
    stage: Stage


class BlockSifted(PairEvent, frozen=True, kw_only=True):
    """A user has sifted (a part of) a block; counts are of the block so far."""

    block: int
    n: Mapping[str, int] = {}
    m: Mapping[str, int] = {}
    qber_x: float | None = None


class BlockReconciled(PairEvent, frozen=True, kw_only=True):
    """A user has reconciled (a part of) a block."""

    block: int
    qber_z: float | None = None
    leak_ec_bits: int | None = None
    scheme: str | None = None


class BlockEstimated(PairEvent, frozen=True, kw_only=True):
    """A user knows how long the key of a block may be."""

    block: int
    s11_lower: float | None = None
    e11_upper: float | None = None
    key_length_bits: int | None = None


class BlockEnd(PairEvent, frozen=True, kw_only=True):
    """Common to both endings of a block; an aborted block tells as much as is known."""

    block: int
    block_id: str | None = None
    pulses: int = 0
    n: Mapping[str, int] = {}
    m: Mapping[str, int] = {}
    qber_z: float | None = None
    qber_x: float | None = None
    s11_lower: float | None = None
    e11_upper: float | None = None
    leak_ec_bits: int | None = None
    scheme: str | None = None
    secret_bits: int = 0
    tag_failures: int = 0
    origin: str = "simulated"
    bytes_relay: int = 0
    bytes_peer: int = 0
    bytes_light: int = 0
    seconds: Mapping[str, float] = {}


class BlockKey(BlockEnd, frozen=True, kw_only=True):
    """A block ended with a key in this user's store."""


class BlockAborted(BlockEnd, frozen=True, kw_only=True):
    """A block ended without a key."""

    reason: str


class MonitorAlarm(PairEvent, frozen=True, kw_only=True):
    """A monitor of a user would have somebody look at a block; nothing else follows from it."""

    block: int
    monitor: str
    reason: str


class PairFailed(PairEvent, frozen=True, kw_only=True):
    """A user makes nothing more with the other, for good or until it is back: no run waits."""

    reason: str


class Fault(Event, frozen=True, kw_only=True):
    """Last words of a node that leaves with an error."""

    message: str


EVENTS: Final[Mapping[str, type[Event]]] = {
    "ready": Ready,
    "pair.started": PairStarted,
    "light.progress": LightProgress,
    "pair.finished": PairFinished,
    "block.stage": BlockStage,
    "block.sifted": BlockSifted,
    "block.reconciled": BlockReconciled,
    "block.estimated": BlockEstimated,
    "block.key": BlockKey,
    "block.aborted": BlockAborted,
    "monitor.alarm": MonitorAlarm,
    "pair.failed": PairFailed,
    "pair.lost": PairFailed,
    "error": Fault,
}


def parse(line: bytes, node: str) -> Event | None:
    """Read one line of a node's standard output; None for an event that is not in `EVENTS`.

    Raises:
        RemoteProtocolError: The line is no event, or misses a field, or is another node's.
    """
    try:
        raw = msgspec.json.decode(line, type=dict[str, object])
        kind = EVENTS.get(str(raw.get("event", "")))
        if "event" not in raw:
            raise msgspec.ValidationError("Object missing required field `event`")
        if kind is None:
            return None
        event = msgspec.convert(raw, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        shown = line[:120].decode("utf-8", "backslashreplace").rstrip()
        raise RemoteProtocolError(
            f"{node}: found {shown!r} on its standard output, which is no event: {error}"
        ) from None
    if event.node != node:
        raise RemoteProtocolError(f"{node}: found an event that claims to be of {event.node!r}")
    return event
