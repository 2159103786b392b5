"""What passed on the wire during a case, in words, with secrets cut."""

from collections import deque
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import trio

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import HEADER, HEADER_BYTES, Frame
from mdiqkd_net.wire.messages import BY_TYPE

MAX_ENTRIES: Final = 400
_SHOWN_BYTES: Final = 8
_KEPT_BYTES: Final = 4096
"""Up to here a frame is kept as it is, and put in words only if somebody reads the log."""
_SECRET: Final = {("Light", "states")}
"""What a transmitter prepared must not be read by anybody who is handed a report."""

Direction = Literal["sent", "got", "note"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log; `t_s` counts from the start of the case."""

    t_s: float
    direction: Direction
    link: str
    text: str


class WireLog:
    """The last `MAX_ENTRIES` things that happened in a case."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Direction, str, str | bytes]] = deque(maxlen=MAX_ENTRIES)
        self._n_all = 0
        self._start_s = trio.current_time()

    def clear(self) -> None:
        """Begin another case."""
        self._entries.clear()
        self._n_all = 0
        self._start_s = trio.current_time()

    def add(self, direction: Direction, link: str, what: str | bytes) -> None:
        """Note one thing: a frame, or whatever else passed, or words."""
        self._n_all += 1
        t_s = round(trio.current_time() - self._start_s, 4)
        if isinstance(what, bytes) and len(what) > _KEPT_BYTES:
            what = describe(what)
        self._entries.append((t_s, direction, link, what))

    def so_far(self) -> "WireLog":
        """The same entries, in a log that nothing is added to."""
        twin = copy(self)
        twin._entries = self._entries.copy()
        return twin

    def entries(self) -> list[Entry]:
        """All that is kept, in words, oldest first; the first says how much is not."""
        kept = [
            Entry(t_s, direction, link, describe(what) if isinstance(what, bytes) else what)
            for t_s, direction, link, what in self._entries
        ]
        n_lost = self._n_all - len(kept)
        if n_lost:
            kept.insert(0, Entry(0.0, "note", "", f"{n_lost} earlier entries are not kept"))
        return kept


def describe(raw: bytes) -> str:
    """A frame, or whatever else was sent, in words."""
    if len(raw) < HEADER_BYTES:
        return f"{len(raw)} bytes: {_hex(raw, 24)}"
    length, kind, version, flags, stream, seq, ack = HEADER.unpack_from(raw)
    message = BY_TYPE.get(kind)
    name = message.__name__ if message else f"type {kind:#06x}"
    head = f"{name} LEN={length} STREAM={stream} SEQ={seq} ACK={ack}"
    if version != 1 or flags:
        head += f" VER={version} FLAGS={flags:#04x}"
    body = raw[HEADER_BYTES:]
    if len(body) != length:
        return f"{head}; {len(body)} bytes of its body: {_hex(body)}"
    if message is None:
        return f"{head}; {_hex(body)}"
    try:
        decoded = decode(Frame(kind, stream, seq, ack, raw))
    except WireError as error:
        return f"{head}; not valid ({error}): {_hex(body, 48)}"
    fields = msgspec.structs.asdict(decoded)
    shown = (f"{key}={_value(name, key, value)}" for key, value in fields.items())
    return f"{head} {' '.join(shown)}"


def _value(name: str, key: str, value: Any) -> str:
    if (name, key) in _SECRET:
        return f"<{value.n} states, cut>"
    if isinstance(value, bytes):
        return _hex(value)
    if isinstance(value, msgspec.Struct):
        inner = msgspec.structs.asdict(value)
        return "{" + " ".join(f"{k}={_value(name, k, v)}" for k, v in inner.items()) + "}"
    return str(value)


def _hex(data: bytes, most: int = _SHOWN_BYTES) -> str:
    if len(data) <= most:
        return data.hex() or "nothing"
    return f"{data[:most].hex()}... ({len(data)} bytes)"
