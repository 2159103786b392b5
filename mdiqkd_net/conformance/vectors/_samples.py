"""Samples of every message, made from its schema: least, greatest, edges, and what is refused."""

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import inspect

from mdiqkd_net.conformance.vectors._loose import pack
from mdiqkd_net.wire.messages import Message

Value = Any
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
FORM_EDGES: Final = (127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32)
LENGTH_EDGES: Final = (31, 32, 255, 256, 65535, 65536)
UNBOUNDED_ITEMS: Final = 64
_NAMES: Final = ("a", "a" + "z" * 31, "a_b-9")


def fields(message: type[Message]) -> list[inspect.Field]:
    """Fields of a message, by name."""
    info = inspect.type_info(message)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"found {info}; allowed: a message")
    return sorted(info.fields, key=lambda field: field.encode_name)


def minimal(message: type[Message]) -> dict[str, Value]:
    """Every field at its least."""
    return {field.encode_name: least(field.type) for field in fields(message)}


def maximal(message: type[Message]) -> dict[str, Value]:
    """Every field at its greatest, as far as the cap allows; byte strings take all the room."""
    most_items = 4096
    while True:
        values = {f.encode_name: greatest(f.type, most_items) for f in fields(message)}
        if len(pack(values)) <= message.CAP:
            return _fill(values, fields(message), message.CAP)
        if most_items == 1:
            raise ValueError(f"{message.__name__}: its cap is below its own greatest fields")
        most_items //= 2


def _fill(values: dict[str, Value], infos: list[inspect.Field], cap: int) -> dict[str, Value]:
    for info in infos:
        name, kind = info.encode_name, info.type
        if isinstance(kind, inspect.StructType):
            room = cap - len(pack(values)) + len(pack(values[name]))
            inner = sorted(kind.fields, key=lambda field: field.encode_name)
            values[name] = _fill(dict(values[name]), inner, room)
        elif isinstance(kind, inspect.BytesType) and kind.min_length != kind.max_length:
            room = cap - len(pack(values))
            # The head of a byte string takes 2, 3 or 5 bytes.
            n = room - next(more for more, top in ((0, 256), (1, 65538), (3, cap)) if room < top)
            values[name] = b"\xa5" * min(n, INT_MAX if kind.max_length is None else kind.max_length)
    return values


def least(info: inspect.Type) -> Value:
    """The least value of a type."""
    match info:
        case inspect.BoolType():
            return False
        case inspect.IntType(ge=ge):
            return INT_MIN if ge is None else ge
        case inspect.StrType(pattern=None, min_length=n):
            return "s" * (n or 0)
        case inspect.StrType(pattern=pattern):
            return min(_matching(pattern), key=len)
        case inspect.BytesType(min_length=n):
            return bytes(n or 0)
        case inspect.LiteralType(values=values):
            return sorted(values, key=str)[0]
        case inspect.ListType(item_type=item, min_length=n):
            return [least(item)] * (n or 0)
        case inspect.TupleType(item_types=items):
            return [least(item) for item in items]
        case inspect.StructType(fields=inner):
            return {field.encode_name: least(field.type) for field in inner}
    raise _unknown(info)


def greatest(info: inspect.Type, most_items: int) -> Value:
    """The greatest value of a type; byte strings without a fixed length are empty."""
    match info:
        case inspect.BoolType():
            return True
        case inspect.IntType(le=le):
            return INT_MAX if le is None else le
        case inspect.StrType(pattern=None, max_length=n):
            return "é" * (UNBOUNDED_ITEMS if n is None else n)
        case inspect.StrType(pattern=pattern):
            return max(_matching(pattern), key=len)
        case inspect.BytesType(min_length=low, max_length=high):
            return b"\xff" * high if high == low and high is not None else b""
        case inspect.LiteralType(values=values):
            return sorted(values, key=str)[-1]
        case inspect.ListType(item_type=item, max_length=n):
            return [greatest(item, most_items)] * min(most_items, n or UNBOUNDED_ITEMS)
        case inspect.TupleType(item_types=items):
            return [greatest(item, most_items) for item in items]
        case inspect.StructType(fields=inner):
            return {field.encode_name: greatest(field.type, most_items) for field in inner}
    raise _unknown(info)


def edges(info: inspect.Type) -> Iterator[tuple[str, Value]]:
    """Legal values of a type at its limits and at those of the forms of MessagePack."""
    match info:
        case inspect.BoolType():
            yield "true", True
        case inspect.IntType(ge=ge, le=le):
            low, high = INT_MIN if ge is None else ge, INT_MAX if le is None else le
            for value in sorted({low, *FORM_EDGES, high}):
                if low <= value <= high:
                    yield str(value), value
        case inspect.StrType(pattern=None, max_length=n):
            for length in LENGTH_EDGES:
                if n is not None and length <= n:
                    yield f"{length} characters", "t" * length
        case inspect.StrType(pattern=pattern):
            yield from ((repr(name), name) for name in _matching(pattern))
        case inspect.BytesType(min_length=low, max_length=high):
            for length in LENGTH_EDGES:
                if (low or 0) <= length <= (high or INT_MAX) and low != high:
                    yield f"{length} bytes", bytes(length)
        case inspect.LiteralType(values=values):
            yield from ((repr(value), value) for value in sorted(values, key=str))
        case inspect.ListType(item_type=item, min_length=low, max_length=high):
            for n in sorted({low or 0, 15, 16, high or UNBOUNDED_ITEMS}):
                if (low or 0) <= n <= (high or UNBOUNDED_ITEMS):
                    yield f"{n} items", [least(item)] * n
        case inspect.StructType(fields=inner):
            values = least(info)
            for field in inner:
                for words, value in edges(field.type):
                    yield f"{field.encode_name} {words}", {**values, field.encode_name: value}


def wrong(info: inspect.Type) -> Iterator[tuple[str, Value]]:
    """Values that are not of a type, each by one step or by another form."""
    match info:
        case inspect.BoolType():
            yield from (("an integer", 1), ("a string", "true"))
        case inspect.IntType(ge=ge, le=le):
            yield from (("true", True), ("a string", "1"), ("a float", 1.0))
            if ge is not None:
                yield str(ge - 1), ge - 1
            if le is not None:
                yield str(le + 1), le + 1
        case inspect.StrType(pattern=pattern, max_length=n):
            yield "a byte string", b"alice"
            if pattern is not None:
                for value in ("", "Alice", "alice\n", "9a", "a" * 33, "a\0"):
                    yield repr(value), value
            elif n is not None:
                yield f"{n + 1} characters", "s" * (n + 1)
        case inspect.BytesType(min_length=low, max_length=high):
            yield "a string", "s" * (low or 0)
            if low:
                yield f"{low - 1} bytes", bytes(low - 1)
            if high is not None and high < 4096:
                yield f"{high + 1} bytes", bytes(high + 1)
        case inspect.LiteralType():
            yield from (("another word", "other"), ("nothing", ""), ("a byte string", b""))
        case inspect.ListType(item_type=item, min_length=low, max_length=high):
            yield "a map", {}
            if low:
                yield f"{low - 1} items", [least(item)] * (low - 1)
            if high is not None:
                yield f"{high + 1} items", [least(item)] * (high + 1)
            for words, value in wrong(item):
                yield f"an item, {words}", [value] * max(1, low or 0)
        case inspect.StructType(fields=inner):
            values = least(info)
            yield "a list", []
            yield "an unknown field", {**values, "zz": 0}
            for field in inner:
                name = field.encode_name
                yield f"without {name}", {k: v for k, v in values.items() if k != name}
                for words, value in wrong(field.type):
                    yield f"{name} {words}", {**values, name: value}


def _matching(pattern: str | None) -> list[str]:
    names = [name for name in _NAMES if re.search(pattern or "", name)]
    if not names:
        raise ValueError(f"pattern {pattern!r}: no sample fits; add one to _NAMES")
    return names


def _unknown(info: inspect.Type) -> TypeError:
    return TypeError(f"found a field of {info}; no sample is made of such yet")
