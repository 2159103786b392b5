"""Frames whose header or place in the stream is wrong (spec 2): what both roles must refuse.

Every builder takes the connection and a message that would be legal there, and returns bytes. The
connection has greeted, so the next frame of stream 0 is number 1.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import (
    BAD_HEADER,
    BAD_SEQUENCE,
    CRITICAL,
    HEADER,
    HEADER_BYTES,
    NOT_CANONICAL,
    SCHEMA,
    TOO_LARGE,
    UNKNOWN_BODY_BYTES,
    UNKNOWN_CRITICAL,
    WIRE_VERSION,
)
from mdiqkd_net.wire.messages import Message

UNKNOWN: Final = 0x0777
UNUSED_STREAM: Final = (1 << 63) - 1

Build = Callable[[Peer, Message], bytes]


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame to be refused: its case number, what it is, clause, code, and how it is made."""

    number: int
    text: str
    clause: str
    codes: tuple[int, ...]
    build: Build


def header(
    length: int,
    kind: int,
    *,
    version: int = WIRE_VERSION,
    flags: int = 0,
    stream: int = 0,
    seq: int = 1,
    ack: int = 1,
) -> bytes:
    """Any header."""
    return HEADER.pack(length, kind, version, flags, stream, seq, ack)


def _with_header(**changes: int) -> Build:
    def build(_peer: Peer, message: Message) -> bytes:
        body = encode(message)
        return header(len(body), message.TYPE, **changes) + body

    return build


def _header_alone(**changes: int) -> Build:
    return lambda _peer, message: header(message.CAP, message.TYPE, **changes)


BAD_FRAMES: Final = (
    BadFrame(1, "another VER is refused", "2.3", (BAD_HEADER,), _with_header(version=2)),
    BadFrame(2, "VER 0 is refused", "2.3", (BAD_HEADER,), _with_header(version=0)),
    BadFrame(
        3,
        "another VER is refused from the header alone, before the body comes",
        "2.3",
        (BAD_HEADER,),
        _header_alone(version=255),
    ),
    BadFrame(4, "FLAGS other than 0 are refused", "2.3", (BAD_HEADER,), _with_header(flags=1)),
    BadFrame(5, "FLAGS 0x80 are refused", "2.3", (BAD_HEADER,), _with_header(flags=0x80)),
    BadFrame(
        6,
        "LEN one above the cap of the type is refused before the body comes",
        "2.3",
        (TOO_LARGE,),
        lambda _, message: header(message.CAP + 1, message.TYPE),
    ),
    BadFrame(
        7,
        "the greatest LEN is refused before the body comes",
        "2.3",
        (TOO_LARGE,),
        lambda _, message: header(0xFFFFFFFF, message.TYPE),
    ),
    BadFrame(
        8,
        "a body as long as the cap is read, and refused for what it is",
        "3.2",
        (SCHEMA, NOT_CANONICAL),
        lambda _, message: header(message.CAP, message.TYPE) + b"\xc1" * message.CAP,
    ),
    BadFrame(
        9,
        "an unknown type with bit 15 set is refused",
        "2.3",
        (UNKNOWN_CRITICAL,),
        lambda *_: header(3, UNKNOWN | CRITICAL) + b"\x81\xa1x",
    ),
    BadFrame(
        10,
        "an unknown type without bit 15 above 64 KiB is refused before the body comes",
        "2.3",
        (TOO_LARGE,),
        lambda *_: header(UNKNOWN_BODY_BYTES + 1, UNKNOWN, stream=UNUSED_STREAM, seq=0, ack=0),
    ),
    BadFrame(11, "a gap in SEQ is refused", "2.4", (BAD_SEQUENCE,), _with_header(seq=2)),
    BadFrame(
        12, "a repeated SEQ is refused on stream 0", "2.4", (BAD_SEQUENCE,), _with_header(seq=0)
    ),
    BadFrame(
        13,
        "ACK beyond what was sent is refused",
        "2.4",
        (BAD_SEQUENCE,),
        _with_header(ack=1000),
    ),
)


def noise(rng: random.Random) -> bytes:
    """A header of random bytes that no reader takes."""
    head = bytearray(rng.randbytes(HEADER_BYTES))
    if head[6] == WIRE_VERSION:
        head[6] ^= 0x40
    return bytes(head)


def unknown_frame(stream: int = UNUSED_STREAM) -> bytes:
    """A frame of an unknown type that is not critical, on a stream of its own."""
    return header(3, UNKNOWN, stream=stream, seq=0, ack=0) + b"\x81\xa1x"
