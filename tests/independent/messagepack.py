"""MessagePack from its specification: everything is read, and the shortest form is written."""

from dataclasses import dataclass

from independent.refusal import SCHEMA, RefusalError, refuse

DEEPEST = 8
FIXED = {  # first byte: (kind, bytes of the number that follows)
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xCA: ("float", 4), 0xCB: ("float", 8),
    0xCC: ("uint", 1), 0xCD: ("uint", 2), 0xCE: ("uint", 4), 0xCF: ("uint", 8),
    0xD0: ("int", 1), 0xD1: ("int", 2), 0xD2: ("int", 4), 0xD3: ("int", 8),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip


@dataclass(frozen=True)
class Foreign:
    """What this protocol has no use for: nil, floats, extensions."""

    kind: str


@dataclass(frozen=True)
class Map:
    """Pairs as they came; keys may be anything, and come twice."""

    pairs: tuple


def read(data):
    """The one value that `data` is."""
    value, at = _value(data, 0, 0)
    refuse(at == len(data), SCHEMA, "bytes behind the value")
    return value


def _take(data, at, n):
    refuse(at + n <= len(data), SCHEMA, "the bytes end too early")
    return data[at : at + n], at + n


def _value(data, at, depth):
    refuse(depth <= DEEPEST, SCHEMA, "too deep")
    (first,), at = _take(data, at, 1)
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first < 0x90:
        return _map(data, at, first & 15, depth)
    if first < 0xA0:
        return _list(data, at, first & 15, depth)
    if first < 0xC0:
        return _text(data, at, first & 31)
    if first in (0xC2, 0xC3):
        return first == 0xC3, at
    if first == 0xC0:
        return Foreign("nil"), at
    if 0xD4 <= first <= 0xD8:
        _, at = _take(data, at, 1 + (1 << first - 0xD4))
        return Foreign("ext"), at
    if first not in FIXED:
        raise RefusalError(SCHEMA, "0xc1 is never used")
    kind, size = FIXED[first]
    raw, at = _take(data, at, size)
    number = int.from_bytes(raw, "big", signed=kind == "int")
    match kind:
        case "uint" | "int":
            return number, at
        case "float":
            return Foreign("float"), at
        case "str":
            return _text(data, at, number)
        case "bin":
            return _take(data, at, number)
        case "ext":
            _, at = _take(data, at, 1 + number)
            return Foreign("ext"), at
        case "list":
            return _list(data, at, number, depth)
        case "map":
            return _map(data, at, number, depth)


def _text(data, at, n):
    raw, at = _take(data, at, n)
    try:
        return raw.decode("utf-8"), at
    except UnicodeDecodeError:
        raise RefusalError(SCHEMA, "a string that is no UTF-8") from None


def _list(data, at, n, depth):
    items = []
    for _ in range(n):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at


def _map(data, at, n, depth):
    pairs = []
    for _ in range(n):
        key, at = _value(data, at, depth + 1)
        item, at = _value(data, at, depth + 1)
        pairs.append((key, item))
    return Map(tuple(pairs)), at


def write(value):
    """The one canonical encoding: shortest forms, names of a map ascending by their bytes."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(len(raw), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, bytes):
        return _head(len(value), None, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, list):
        return _head(len(value), (0x90, 16), (None, 0xDC, 0xDD)) + b"".join(map(write, value))
    pairs = sorted((key.encode(), item) for key, item in value.items())
    body = b"".join(write(key.decode()) + write(item) for key, item in pairs)
    return _head(len(pairs), (0x80, 16), (None, 0xDE, 0xDF)) + body


def _number(value):
    if -32 <= value < 128:
        return bytes([value % 256])
    for index, size in enumerate((1, 2, 4, 8)):
        if 0 <= value < 1 << 8 * size:
            return bytes([0xCC + index]) + value.to_bytes(size, "big")
        if value < 0 and value >= -(1 << 8 * size - 1):
            return bytes([0xD0 + index]) + value.to_bytes(size, "big", signed=True)
    raise ValueError(value)


def _head(n, short, long):
    if short and n < short[1]:
        return bytes([short[0] + n])
    for first, size in zip(long, (1, 2, 4), strict=True):
        if first is not None and n < 1 << 8 * size:
            return bytes([first]) + n.to_bytes(size, "big")
    raise ValueError(n)
