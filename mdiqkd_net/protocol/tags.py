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
from typing import Final, Protocol

from cryptography.hazmat.primitives.poly1305 import Poly1305

from mdiqkd_net.errors import AuthenticationError
from mdiqkd_net.wire.frames import Frame

TAG_BYTES = 16
MAX_TAG_FAILURES: Final = 8
"""Failed tags of a peer after which nothing more is accepted from it."""

_MODULUS = 1 << 128


class Pads(Protocol):
    """Where pads come from, and who may use which (spec 8)."""

    @property
    def send_keys(self) -> tuple[bytearray, bytearray]:
        """r1 and r2 for tags that this user sends."""

    @property
    def receive_keys(self) -> tuple[bytearray, bytearray]:
        """r1 and r2 for tags that this user checks."""

    @property
    def high_water(self) -> int:
        """The index below which every pad for sending is used or given up."""

    @property
    def lease_left(self) -> int:
        """Pads that the peer has granted and that are still unused; none after a restart."""

    def take_send(self) -> tuple[int, bytearray]:
        """The next granted pad and its index; burnt durably before this returns.

        Raises:
            LeaseUsedUpError: The peer has granted no more.
        """

    def read_receive(self, index: int) -> bytearray:
        """The peer's pad of that index, which stays where it is until `burn_receive`.

        Raises:
            AuthenticationError: It was never granted, or is burnt.
        """

    def burn_receive(self, index: int) -> None:
        """Durably erase a pad of the peer whose message has been accepted."""

    def grant(self, high_water: int) -> tuple[int, int]:
        """Let the peer use a window of pads; base and count, durable before this returns."""

    def accept_lease(self, base: int, count: int) -> None:
        """Use the pads that the peer has granted.

        Raises:
            RemoteProtocolError: They begin below `high_water`, or there are no such pads.
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
        """Tag both directions so far; returns the pad's index and the tag."""
        return _seal(pads, context, self._sent, self._received)

    def check(self, pads: Pads, context: bytes, index: int, tag: bytes) -> None:
        """Return if `tag` authenticates both directions so far; burns nothing.

        Raises:
            AuthenticationError: It does not. Never says why.
        """
        _check(pads, context, index, tag, self._received, self._sent)


def seal(pads: Pads, context: bytes) -> tuple[int, bytes]:
    """Tag a decision, which is all in its context; returns the pad's index and the tag."""
    return _seal(pads, context, (), ())


def check(pads: Pads, context: bytes, index: int, tag: bytes) -> None:
    """Return if `tag` authenticates a decision; burns nothing.

    A pad that is read and not burnt may meet several forgeries; each succeeds with the probability
    above, so failures are counted and bounded (`MAX_TAG_FAILURES`).

    Raises:
        AuthenticationError: It does not. Never says why.
    """
    _check(pads, context, index, tag, (), ())


def _seal(
    pads: Pads, context: bytes, forth: Iterable[bytes], back: Iterable[bytes]
) -> tuple[int, bytes]:
    # The pad is burnt before the tag exists, so no crash can use it twice.
    index, pad = pads.take_send()
    return index, _tag(pads.send_keys, pad, forth, back, _bind(context, index))


def _check(
    pads: Pads,
    context: bytes,
    index: int,
    tag: bytes,
    forth: Iterable[bytes],
    back: Iterable[bytes],
) -> None:
    pad = pads.read_receive(index)
    expected = _tag(pads.receive_keys, pad, forth, back, _bind(context, index))
    if not hmac.compare_digest(expected, tag):
        raise AuthenticationError("authentication failed")


def tag_context(
    kind: int, pair_id: bytes, block_id: bytes, bits: int, *, by_coordinator: bool
) -> bytes:
    """What a tag speaks of: the message, its sender, the pair, the block, the key's length.

    The number of the pad joins it when the tag is made (spec 8.1).
    """
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
