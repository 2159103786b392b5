"""Events of one node as JSON lines on a text stream."""

import sys
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any, TextIO

import msgspec


class Telemetry:
    """One node's events, each a line `{"event": ..., "node": ..., "t_s": ..., ...}`.

    `t_s` is the system's monotonic clock, so that lines of several processes can be compared.
    Lines are written whole and flushed; several threads may emit.
    """

    def __init__(self, node: str, stream: TextIO | None = None) -> None:
        self._node = node
        self._stream = sys.stdout if stream is None else stream
        self._lock = Lock()

    def emit(self, event: str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Write one event."""
        head = {"event": event, "node": self._node, "t_s": round(time.monotonic(), 6)}
        line = msgspec.json.encode({**head, **(fields or {}), **more}).decode()
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
