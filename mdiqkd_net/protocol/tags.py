"""Information-theoretic tags over a block's transcript: Poly1305 as a Wegman-Carter hash.

Hash keys r1 and r2 are long-lived and secret; every tag adds a one-time pad that is never used
again. For transcripts of at most L bytes a forgery succeeds with probability at most
8 ceil(L / 16) / 2^106 (Bernstein, FSE 2005, Theorem 3.3), and recycled hash keys stay composably
secure with linear loss (Portmann, IEEE TIT 60, 4383 (2014)), provided that every pad is uniform,
secret and fresh. No computational assumption is made.
"""

import hmac
import struct
from collections.abc import Iterable
from typing import Protocol

from cryptography.hazmat.primitives.poly1305 import Poly1305

from mdiqkd_net.errors import AuthenticationError
from mdiqkd_net.wire.frames import Frame

TAG_BYTES = 16
_MODULUS = 1 << 128


class Pads(Protocol):
    """Where pads come from. Both `take` calls burn the pad durably before they return."""

    @property
    def send_keys(self) -> tuple[bytearray, bytearray]:
        """r1 and r2 for tags that this user sends."""

    @property
    def receive_keys(self) -> tuple[bytearray, bytearray]:
        """r1 and r2 for tags that this user checks."""

    def take_send(self) -> tuple[int, bytearray]:
        """The next fresh pad and its index."""

    def take_receive(self, index: int) -> bytearray:
        """The peer's pad of that index.

        Raises:
            AuthenticationError: It has been used, or there is none.
        """


class Transcript:
    """Raw frames of one block on the endpoint link, per direction, in order."""

    def __init__(self) -> None:
        self._sent: list[bytes] = []
        self._received: list[bytes] = []
        self.n_bytes = 0

    def add_sent(self, frame: Frame) -> None:
        """Append a frame that goes out."""
        self._sent.append(frame.raw)
        self.n_bytes += len(frame.raw)

    def add_received(self, frame: Frame) -> None:
        """Append a frame that came in."""
        self._received.append(frame.raw)
        self.n_bytes += len(frame.raw)

    def forget_received(self) -> None:
        """Take back the last received frame: its message was refused."""
        self.n_bytes -= len(self._received.pop())

    def seal(self, pads: Pads, context: bytes) -> tuple[int, bytes]:
        """Tag the transcript so far; returns the pad's index and the tag.

        The pad is burnt before the tag exists, so no crash can use it twice.
        """
        index, pad = pads.take_send()
        tag = _tag(pads.send_keys, pad, self._sent, self._received, _bind(context, index))
        return index, tag

    def check(self, pads: Pads, context: bytes, index: int, tag: bytes) -> None:
        """Return if `tag` authenticates the transcript so far.

        Raises:
            AuthenticationError: It does not. Never says why.
        """
        pad = pads.take_receive(index)
        expected = _tag(pads.receive_keys, pad, self._received, self._sent, _bind(context, index))
        if not hmac.compare_digest(expected, tag):
            raise AuthenticationError("authentication failed")


def tag_context(
    kind: int, pair_id: bytes, block_id: bytes, bits: int, *, by_coordinator: bool
) -> bytes:
    """What a tag says besides the transcript, but for the number of its pad (spec 7.1)."""
    return struct.pack(
        "<12sHB16s16sQ", b"mdiqkd1 tag\0", kind, by_coordinator, pair_id, block_id, bits
    )


def _bind(context: bytes, index: int) -> bytes:
    return context + struct.pack("<Q", index)


def _tag(
    keys: tuple[bytearray, bytearray],
    pad: bytearray,
    forth: Iterable[bytes],
    back: Iterable[bytes],
    context: bytes,
) -> bytes:
    total = int.from_bytes(pad, "little")
    total += _polynomial(keys[0], forth, context)
    total += _polynomial(keys[1], back, b"")
    pad[:] = bytes(len(pad))
    return (total % _MODULUS).to_bytes(TAG_BYTES, "little")


def _polynomial(r: bytearray, frames: Iterable[bytes], context: bytes) -> int:
    # Frames delimit themselves; the context has its length behind it, so the whole is injective.
    mac = Poly1305(bytes(r) + bytes(16))
    for raw in frames:
        mac.update(raw)
    mac.update(context + struct.pack("<Q", len(context)))
    return int.from_bytes(mac.finalize(), "little")
