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
from mdiqkd_net.secret import SecretBuffer, wipe
from mdiqkd_net.wire.frames import Frame

TAG_BYTES = 16
MAX_TAG_FAILURES: Final = 8
"""Failed tags of a peer after which nothing more is accepted from it."""

_MODULUS = 1 << 128

Secret = bytearray | memoryview
"""Bytes that can be wiped."""


class Pads(Protocol):
    """Where pads come from, and who may use which (spec 8)."""

    @property
    def send_keys(self) -> tuple[Secret, Secret]:
        """r1 and r2 for tags that this user sends."""

    @property
    def receive_keys(self) -> tuple[Secret, Secret]:
        """r1 and r2 for tags that this user checks."""

    @property
    def high_water(self) -> int:
        """The index below which every pad for sending is used or given up."""

    @property
    def lease_left(self) -> int:
        """Pads that the peer has granted and that are still unused; none after a restart."""

    def take_send(self) -> tuple[int, Secret]:
        """The next granted pad, to be wiped after use, and its index; burnt durably by then.

        Raises:
            LeaseUsedUpError: The peer has granted no more.
        """

    def read_receive(self, index: int) -> Secret:
        """The peer's pad of that index, a copy to be wiped; the pad stays until `burn_receive`.

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
    keys: tuple[Secret, Secret],
    pad: Secret,
    forth: Iterable[bytes],
    back: Iterable[bytes],
    context: bytes,
) -> bytes:
    # The library hands out each hash as `bytes`, which nobody can wipe, and a hash without its pad
    # would tell its key. So the pad is split at random: half of it masks the one, half the other.
    with SecretBuffer.random(TAG_BYTES) as first, SecretBuffer(TAG_BYTES) as second:
        _subtract(pad, first.view, second.view)
        wipe(pad)
        total = _masked(keys[0], first.view, forth, context)
        total += _masked(keys[1], second.view, back, b"")
    return (total % _MODULUS).to_bytes(TAG_BYTES, "little")


def _subtract(a: Secret, b: Secret, out: Secret) -> None:
    """Set out to a - b modulo 2^128, byte by byte: a greater `int` would be one more copy."""
    borrow = 0
    for i in range(TAG_BYTES):
        difference = a[i] - b[i] - borrow
        out[i] = difference & 0xFF
        borrow = int(difference < 0)


def _masked(r: Secret, mask: Secret, frames: Iterable[bytes], context: bytes) -> int:
    """The polynomial of a direction under r, plus `mask`, modulo 2^128."""
    with SecretBuffer(2 * TAG_BYTES) as key:
        key.view[:TAG_BYTES], key.view[TAG_BYTES:] = r, mask
        mac = Poly1305(key.view)
    for raw in frames:
        mac.update(raw)
    # Frames delimit themselves; the context has its length behind it, so the whole is injective.
    mac.update(context + struct.pack("<Q", len(context)))
    return int.from_bytes(mac.finalize(), "little")
