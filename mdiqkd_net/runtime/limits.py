"""What strangers and peers may cost a node (spec 9).

All times are of the monotonic clock; none of these limits depends on the time of day.
"""

from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta, Struct

from mdiqkd_net.protocol.announcing import MAX_ANNOUNCED

QUOTA: Final = 0x0401
BUSY: Final = 0x0402

MAX_ADDRESSES: Final = 4096
"""Addresses whose failures are remembered."""

Count = Annotated[int, Meta(ge=1, le=2**20)]
Seconds = Annotated[float, Meta(gt=0.0, le=3600.0)]
Rate = Annotated[float, Meta(gt=0.0, le=1e9)]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one listener and of the links of a node; the table `limits` of its configuration.

    Attributes:
        handshakes: Connections of a listener that have not said who they are.
        handshakes_per_address: Of these, from one address.
        failures_per_s: Of handshakes that fail from one address, on average; a connection from an
            address that has had more is closed before it costs anything.
        failures_at_once: What an address may be ahead of that average.
        links: Links of a listener.
        links_per_address: Of these, from one address.
        handshake_s: For TCP, TLS and Hello together.
        header_s: For a header, from its first byte on.
        body_s: For a frame from its first byte on, besides what `bytes_per_s` allows its body.
        bytes_per_s: Least rate of a body.
        write_s: For the peer to take a frame in, besides what `bytes_per_s` allows.
        queued_bytes: What may wait for the peer to take it in.
        frames_per_s: Of one peer, on average; who sends more is read more slowly.
        frames_at_once: What a peer may be ahead of the average.
        unknown_frames: Of one connection, frames of unknown types that may be skipped.
        session_events: Events that a relay may announce in a session; a user holds about 50 bytes
            of each until the block has ended.
    """

    handshakes: Count = 128
    handshakes_per_address: Count = 64
    failures_per_s: Rate = 1.0
    failures_at_once: Count = 64
    links: Count = 256
    links_per_address: Count = 128
    handshake_s: Seconds = 10.0
    header_s: Seconds = 5.0
    body_s: Seconds = 10.0
    bytes_per_s: Rate = 65_536.0
    write_s: Seconds = 60.0
    queued_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 128 << 20
    frames_per_s: Rate = 2000.0
    frames_at_once: Count = 20_000
    unknown_frames: Annotated[int, Meta(ge=0, le=2**20)] = 1024
    session_events: Annotated[int, Meta(ge=1, le=2**32)] = MAX_ANNOUNCED

    def frame_s(self, body_bytes: int) -> float:
        """How long a frame may take from its first byte on; 0 bytes: its header is not whole."""
        return self.body_s + body_bytes / self.bytes_per_s if body_bytes else self.header_s

    def written_s(self, n_bytes: int) -> float:
        """How long the peer may take to take so many bytes in."""
        return self.write_s + n_bytes / self.bytes_per_s


LIMITS: Final = Limits()


class Pace:
    """So many things a second on average, and some at once.

    Args:
        per_s: The average.
        at_once: What may come ahead of it.
        now_s: The clock.
    """

    def __init__(self, per_s: float, at_once: float, now_s: Callable[[], float]) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._now_s = now_s
        self._left = at_once
        self._since_s = now_s()

    def take(self, n: int) -> float:
        """Count `n` things; in how many seconds the average is kept again, 0 if it is kept."""
        now_s = self._now_s()
        gained = (now_s - self._since_s) * self._per_s
        self._left = min(self._at_once, self._left + gained) - n
        self._since_s = now_s
        return max(0.0, -self._left / self._per_s)


class Failures:
    """Handshakes that failed, by address; who has had too many must wait.

    Memory is bounded: of more than `MAX_ADDRESSES` addresses, those that failed longest ago are
    forgotten.
    """

    def __init__(self, limits: Limits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._paces: dict[str, Pace] = {}

    def __len__(self) -> int:
        return len(self._paces)

    def count(self, address: str) -> None:
        """Count a failure; not if the address is no place of the internet."""
        if not address:
            return
        limits = self._limits
        pace = self._paces.pop(address, None)
        if pace is None:
            pace = Pace(limits.failures_per_s, limits.failures_at_once, self._now_s)
        pace.take(1)
        self._paces[address] = pace
        if len(self._paces) > MAX_ADDRESSES:
            del self._paces[next(iter(self._paces))]

    def wait_s(self, address: str) -> float:
        """How long the address must wait before it may try again."""
        pace = self._paces.get(address)
        return 0.0 if pace is None else pace.take(0)
