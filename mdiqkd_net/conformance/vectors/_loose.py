"""A MessagePack encoder that also makes what the protocol refuses."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

_WIDTHS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Wide:
    """A value whose head is written with `width` bytes, needed or not."""

    value: Any
    width: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """A map as its items stand: in any order, keys of any type and as often as one likes."""

    items: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are put in as they are."""

    data: bytes


def pack(value: Any) -> bytes:
    """Encode builtins, and what the classes of this module ask for."""
    match value:
        case Raw(data):
            return data
        case Wide(inner, width):
            return _wide(inner, width)
        case Pairs(items):
            return _map_head(len(items)) + _flat(items)
        case dict():
            return _map_head(len(value)) + _flat(sorted(value.items()))
        case list():
            head: bytes = msgpack.packb([0] * len(value))[: -len(value) or None]
            return head + b"".join(map(pack, value))
        case _:
            packed: bytes = msgpack.packb(value)
            return packed


def _flat(items: Iterable[tuple[Any, Any]]) -> bytes:
    return b"".join(pack(key) + pack(item) for key, item in items)


def _map_head(n: int) -> bytes:
    return bytes([0x80 | n]) if n < 16 else b"\xde" + struct.pack(">H", n)


def _wide(value: Any, width: int) -> bytes:
    index = (1, 2, 4, 8).index(width)

    def head(first: int, n: int) -> bytes:
        return bytes([first]) + struct.pack(">" + _WIDTHS[width], n)

    match value:
        case bool():
            return pack(value)
        case int() if value >= 0:
            return head(0xCC + index, value)
        case int():
            return bytes([0xD0 + index]) + value.to_bytes(width, "big", signed=True)
        case str():
            return head(0xD9 + index, len(value.encode())) + value.encode()
        case bytes():
            return head(0xC4 + index, len(value)) + value
        case list():
            return head(0xDC + max(0, index - 1), len(value)) + b"".join(map(pack, value))
        case dict():
            return head(0xDE + max(0, index - 1), len(value)) + _flat(sorted(value.items()))
    raise TypeError(f"found {type(value).__name__}; allowed: a builtin")
