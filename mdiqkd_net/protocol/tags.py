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
from mdiqkd_net.secret import SecretBuffer, wipe
from mdiqkd_net.wire.frames import Frame

TAG_BYTES = 16
_MODULUS = 1 << 128

Secret = bytearray | memoryview
"""Bytes that can be wiped."""


class Pads(Protocol):
    """Where pads come from. Both `take` calls burn the pad durably before they return."""

    @property
    def send_keys(self) -> tuple[Secret, Secret]:
        """r1 and r2 for tags that this user sends."""

    @property
    def receive_keys(self) -> tuple[Secret, Secret]:
        """r1 and r2 for tags that this user checks."""

    def take_send(self) -> tuple[int, Secret]:
        """The next fresh pad, to be wiped after use, and its index."""

    def take_receive(self, index: int) -> Secret:
        """The peer's pad of that index, to be wiped after use.

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
