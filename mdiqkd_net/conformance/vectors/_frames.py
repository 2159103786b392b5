"""Frames: of every message what is legal at its limits, and what must be refused, with its code."""

from typing import Any, Final

from msgspec import inspect, to_builtins

from mdiqkd_net.conformance.vectors._cases import Cases, octets, typed
from mdiqkd_net.conformance.vectors._loose import Pairs, Raw, Wide, pack
from mdiqkd_net.conformance.vectors._samples import edges, fields, maximal, minimal, wrong
from mdiqkd_net.wire.codec import CAPS, decode
from mdiqkd_net.wire.frames import HEADER, UNKNOWN_BODY_BYTES, WIRE_VERSION, FrameReader
from mdiqkd_net.wire.messages import BY_TYPE, Error, Message

INPUTS: Final = (
    "input.octets: bytes as they come, from the first of a connection. expected.frames: the "
    "frames they hold, each with its header and its fields; expected.skipped: unknown frames that "
    "are not critical; expected.rest: bytes of a frame that has not come whole. Sequence numbers "
    "are not judged here."
)
_STREAM: Final = 0x0102030405060708
_MOST: Final = 2**32 - 1


def framed(
    kind: int,
    body: bytes,
    *,
    version: int = WIRE_VERSION,
    flags: int = 0,
    stream: int = 0,
    seq: int = 0,
    ack: int = 0,
    length: int | None = None,
) -> bytes:
    """A frame with any header."""
    n_bytes = len(body) if length is None else length
    return HEADER.pack(n_bytes, kind, version, flags, stream, seq, ack) + body


def read(stream: bytes) -> dict[str, Any]:
    """What this implementation reads in a stream."""
    reader = FrameReader(CAPS)
    frames = reader.receive_data(stream)
    described = []
    for frame in frames:
        message = decode(frame)
        described.append(
            {
                "type": f"{frame.kind:#06x}",
                "name": type(message).__name__,
                "stream": str(frame.stream),
                "seq": frame.seq,
                "ack": frame.ack,
                "fields": typed(to_builtins(message, builtin_types=(bytes,)))["map"],
            }
        )
    whole = sum(len(frame.raw) for frame in frames)
    rest = len(stream) - whole if reader.mid_frame else 0
    return {"frames": described, "skipped": reader.n_ignored, "rest": rest}


def valid() -> Cases:
    """Every message at its least, its greatest and its edges; headers at their limits."""
    cases = Cases("frames_valid", "Frames that must be accepted", INPUTS, ("2.1", "3.1"))
    seen: set[str] = set()

    def add(comment: str, stream: bytes, *flags: str, clauses: tuple[str, ...] = ()) -> None:
        given = {"octets": octets(stream)}
        cases.add(comment, given, lambda: read(stream), flags=flags, clauses=clauses)

    for kind, message in sorted(BY_TYPE.items()):
        name = message.__name__
        low = minimal(message)
        add(f"{name}: every field at its least", framed(kind, pack(low)), "minimal")
        high = framed(kind, pack(maximal(message)))
        add(f"{name}: every field at its greatest", high, "maximal")
        for field in fields(message):
            signature = repr(field.type)
            if signature in seen:
                continue
            seen.add(signature)
            for words, value in edges(field.type):
                body = pack({**low, field.encode_name: value})
                if len(body) <= message.CAP and value != low[field.encode_name]:
                    comment = f"{name}: {field.encode_name} {words}"
                    add(comment, framed(kind, body), "boundary")
    body = pack({"code": 1})
    for words, header in (
        ("the greatest stream, sequence number and acknowledgment",
         {"stream": 2**64 - 1, "seq": _MOST, "ack": _MOST}),
        ("a stream whose bytes show their order", {"stream": _STREAM}),
    ):  # fmt: skip
        add(f"header: {words}", framed(Error.TYPE, body, **header), "boundary")
    one = framed(Error.TYPE, body)
    add("no byte at all", b"", "incomplete")
    add("two frames", one + one, "boundary")
    for n in (1, 23, 24, len(one) - 1):
        add(f"the first {n} bytes of a frame", one[:n], "incomplete")
    add("a frame and the first bytes of another", one + one[:7], "incomplete")
    for comment, kind, n in (
        ("unknown type, not critical: skipped", 0x7FFF, 3),
        ("unknown type, not critical, empty", 0x0000, 0),
        ("unknown type, not critical, at its cap", 0x1234, UNKNOWN_BODY_BYTES),
    ):
        add(comment, framed(kind, b"\xc1" * n) + one, "unknown", clauses=("2.3",))
    return cases


def invalid() -> Cases:
    """One defect per case."""
    cases = Cases(
        "frames_invalid", "Frames that must be refused, with their code", INPUTS, ("3.1", "3.2")
    )

    def add(comment: str, stream: bytes, *flags: str, clauses: tuple[str, ...] = ()) -> None:
        given = {"octets": octets(stream)}
        cases.add(comment, given, lambda: read(stream), flags=flags, clauses=clauses)

    _headers(add)
    seen: set[str] = set()
    for kind, message in sorted(BY_TYPE.items()):
        name = message.__name__
        over = framed(kind, b"", length=message.CAP + 1)
        add(f"{name}: LEN is one above the cap, no body", over, "header", clauses=("2.3",))
        for comment, body in _bodies(message, seen):
            if len(body) <= message.CAP:
                add(f"{name}: {comment}", framed(kind, body), "body")
    for comment, body in _hostile():
        add(f"Error: {comment}", framed(Error.TYPE, body), "hostile")
    return cases


def _headers(add: Any) -> None:
    body = pack({"code": 1})
    for version in (0, 2, 255):
        add(f"version {version}", framed(Error.TYPE, body, version=version), clauses=("2.3",))
    for flags in (1, 0x80, 0xFF):
        add(f"flags {flags:#04x}", framed(Error.TYPE, body, flags=flags), clauses=("2.3",))
    for kind in (0x8000, 0x8002, 0xFFFF):
        add(f"unknown critical type {kind:#06x}", framed(kind, b""), clauses=("2.3",))
    for length in (UNKNOWN_BODY_BYTES + 1, _MOST):
        header = framed(0x1234, b"", length=length)
        add(f"unknown type, not critical, LEN {length}", header, clauses=("2.3",))
    add("LEN 2^32 - 1", framed(Error.TYPE, b"", length=_MOST), clauses=("2.3",))


def _bodies(message: type[Message], seen: set[str]) -> list[tuple[str, bytes]]:
    """Defects that any message can have, and wrong values of each of its fields.

    What is inside a struct is tried once, in the first message that has such a field.
    """
    low = minimal(message)
    plain = pack(low)
    names = sorted(low)
    first = names[0]
    items = tuple(sorted(low.items()))
    found: list[tuple[str, bytes]] = [
        ("no body", b""),
        ("a byte behind the map", plain + b"\xc0"),
        ("the last byte missing", plain[:-1]),
        ("a list in place of the map", pack(list(low.values()))),
        ("an unknown field", pack({**low, "zz": 0})),
        ("map16 for a short map", pack(Wide(low, 2))),
        ("map32 for a short map", pack(Wide(low, 4))),
        (f"{first} twice", pack(Pairs((items[0], *items)))),
        (f"the name of {first} in str8", pack(Pairs(((Wide(first, 1), low[first]), *items[1:])))),
        (f"the name of {first} as a byte string",
         pack(Pairs(((first.encode(), low[first]), *items[1:])))),
        (f"{first} nil", pack({**low, first: None})),
    ]  # fmt: skip
    if len(names) > 1:
        found.append(("fields in falling order", pack(Pairs(items[::-1]))))
    for name in names:
        less = {key: value for key, value in low.items() if key != name}
        found.append((f"without {name}", pack(less)))
        found += [(f"{name} {words}", body) for words, body in _long_forms(low, name)]
    for field in fields(message):
        name, kind = field.encode_name, field.type
        values = list(wrong(kind))
        if isinstance(kind, inspect.StructType):
            values = values[:2] if repr(kind) in seen else values
            seen.add(repr(kind))
        for words, value in values:
            found.append((f"{name} {words}", pack({**low, name: value})))
    return found


def _long_forms(low: dict[str, Any], name: str) -> list[tuple[str, bytes]]:
    value = low[name]
    if isinstance(value, bool) or (isinstance(value, int) and value < 0):
        return []
    widths = (1, 2, 4, 8) if isinstance(value, int) else (2, 4)
    forms = []
    for width in widths:
        body = pack({**low, name: Wide(value, width)})
        if body != pack(low):
            forms.append((f"with a head of {width} bytes more than needed", body))
    if isinstance(value, int) and value < 128:
        forms.append(("as int8", pack({**low, name: Raw(b"\xd0" + bytes([value]))})))
    return forms


def _hostile() -> list[tuple[str, bytes]]:
    def code(data: bytes) -> bytes:
        return pack({"code": Raw(data)})

    return [
        ("nil", b"\xc0"),
        ("a code that MessagePack never uses", b"\xc1"),
        ("float32", code(b"\xca" + bytes(4))),
        ("float64", code(b"\xcb" + bytes(8))),
        ("ext8", code(b"\xc7\x01\x05a")),
        ("fixext1", code(b"\xd4\x05a")),
        ("a timestamp", code(b"\xd6\xff" + bytes(4))),
        ("a string that is no UTF-8", code(b"\xa1\xff")),
        ("a string with half a surrogate pair", code(b"\xa3\xed\xa0\x80")),
        ("a name that is no UTF-8", b"\x81\xa1\xff\x01"),
        ("a name that is a number", b"\x81\x01\x01"),
        ("array32 of 2^32 - 1 items", code(b"\xdd\xff\xff\xff\xff")),
        ("map32 of 2^32 - 1 items", b"\xdf\xff\xff\xff\xff"),
        ("bin32 of 2^32 - 1 bytes", code(b"\xc6\xff\xff\xff\xff")),
        ("str32 of 2^32 - 1 bytes", code(b"\xdb\xff\xff\xff\xff")),
        ("array16 of 4096 items, 30 deep", code(b"\xdc\x10\x00" * 30)),
        ("lists of one item, 100 deep", code(b"\x91" * 100)),
        ("maps in maps, 5 deep", code(b"\x81\xa1a" * 5 + b"\x00")),
        ("two maps", pack({"code": 1}) * 2),
    ]
