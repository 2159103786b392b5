"""Bodies that are not of this profile of MessagePack, or not of their type (spec 3.1, 3.2)."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import msgspec

from mdiqkd_net.wire.frames import NOT_CANONICAL, SCHEMA
from mdiqkd_net.wire.messages import Message

EITHER: Final = (SCHEMA, NOT_CANONICAL)
"""Where a decoder may stop before there is anything to hold against a schema."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A legal message, and which of its fields hold a whole number and, if any, a node id."""

    message: Message
    number: str
    name: str

    @property
    def fields(self) -> dict[str, Any]:
        """The message as builtins, keys in order."""
        builtins = msgspec.to_builtins(self.message, order="sorted", builtin_types=(bytes,))
        return dict(builtins)


@dataclass(frozen=True, slots=True)
class BadBody:
    """A body to be refused: case number, what it is, codes, how it is made, and of what."""

    number: int
    text: str
    codes: tuple[int, ...]
    build: Callable[[Subject], bytes]
    needs_name: bool = False


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _map(items: list[tuple[bytes, bytes]]) -> bytes:
    """A map of up to 15 packed keys and values, in the order given."""
    return bytes([0x80 | len(items)]) + b"".join(key + value for key, value in items)


def _packed(fields: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(_pack(key), _pack(value)) for key, value in fields.items()]


def _replacing(which: str, value: Callable[[Any], bytes]) -> Callable[[Subject], bytes]:
    """The body with the packed value of the subject's number or name replaced."""

    def build(subject: Subject) -> bytes:
        target = subject.number if which == "number" else subject.name
        items = [
            (_pack(key), value(old) if key == target else _pack(old))
            for key, old in subject.fields.items()
        ]
        return _map(items)

    return build


def _without_one(subject: Subject) -> bytes:
    items = _packed(subject.fields)
    return _map(items[1:])


def _with_one_more(subject: Subject) -> bytes:
    return _map([*_packed(subject.fields), (_pack("zz"), _pack(1))])


def _key_not_text(subject: Subject) -> bytes:
    items = _packed(subject.fields)
    return _map([(_pack(7), items[0][1]), *items[1:]])


BAD_BODIES: Final = (
    BadBody(1, "keys out of order", (NOT_CANONICAL,), lambda s: _map(_packed(s.fields)[::-1])),
    BadBody(
        2,
        "a key that comes twice",
        EITHER,
        lambda s: _map([_packed(s.fields)[0], *_packed(s.fields)]),
    ),
    BadBody(
        3,
        "a whole number in a longer form than it needs",
        (NOT_CANONICAL,),
        _replacing("number", lambda _: b"\xcf" + struct.pack(">Q", 1)),
    ),
    BadBody(
        4,
        "a string in a longer form than it needs",
        (NOT_CANONICAL,),
        _replacing("name", lambda old: b"\xda" + struct.pack(">H", len(old)) + old.encode()),
        needs_name=True,
    ),
    BadBody(
        5,
        "a map in a longer form than it needs",
        (NOT_CANONICAL,),
        lambda s: (
            b"\xde"
            + struct.pack(">H", len(s.fields))
            + b"".join(key + value for key, value in _packed(s.fields))
        ),
    ),
    BadBody(6, "a byte after the map", EITHER, lambda s: _map(_packed(s.fields)) + b"\x00"),
    BadBody(7, "a field that is missing", (SCHEMA,), _without_one),
    BadBody(8, "a field that the type does not have", (SCHEMA,), _with_one_more),
    BadBody(9, "nil", (SCHEMA,), _replacing("number", lambda _: b"\xc0")),
    BadBody(
        10,
        "a float where a whole number belongs",
        (SCHEMA,),
        _replacing("number", lambda old: b"\xcb" + struct.pack(">d", float(old))),
    ),
    BadBody(
        11, "true where a whole number belongs", (SCHEMA,), _replacing("number", lambda _: b"\xc3")
    ),
    BadBody(12, "an extension", EITHER, _replacing("number", lambda _: b"\xd4\x05\x00")),
    BadBody(13, "a timestamp", EITHER, _replacing("number", lambda _: b"\xd6\xff\x00\x00\x00\x01")),
    BadBody(
        14,
        "binary where a string belongs",
        (SCHEMA,),
        _replacing("name", lambda old: _pack(old.encode())),
        needs_name=True,
    ),
    BadBody(
        15,
        "a string that is not UTF-8",
        EITHER,
        _replacing("name", lambda _: b"\xa2\xc3\x28"),
        needs_name=True,
    ),
    BadBody(
        16, "a whole number below its range", (SCHEMA,), _replacing("number", lambda _: _pack(-1))
    ),
    BadBody(
        17,
        "a whole number above its range",
        (SCHEMA,),
        _replacing("number", lambda _: _pack(2**64 - 1)),
    ),
    BadBody(
        18,
        "a name that is no node id",
        (SCHEMA,),
        _replacing("name", lambda _: _pack("Bob")),
        needs_name=True,
    ),
    BadBody(19, "a key that is not a string", EITHER, _key_not_text),
    BadBody(20, "an array in place of the map", EITHER, lambda s: _pack(list(s.fields.values()))),
    BadBody(21, "no bytes at all", EITHER, lambda _: b""),
    BadBody(22, "a byte that MessagePack never uses", EITHER, lambda _: b"\xc1"),
    BadBody(23, "a hundred nested arrays", EITHER, lambda _: b"\x91" * 100 + b"\x00"),
    BadBody(24, "an array said to hold 2^32 - 1 items", EITHER, lambda _: b"\xdd\xff\xff\xff\xff"),
    BadBody(25, "a map said to hold 2^32 - 1 items", EITHER, lambda _: b"\xdf\xff\xff\xff\xff"),
    BadBody(
        26,
        "bytes said to be 2^32 - 1 long",
        EITHER,
        _replacing("name", lambda _: b"\xc6\xff\xff\xff\xff"),
        needs_name=True,
    ),
    BadBody(
        27, "a map that ends before its last value", EITHER, lambda s: _map(_packed(s.fields))[:-1]
    ),
)
