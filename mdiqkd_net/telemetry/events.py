"""Events of one node as JSON lines on a text stream."""

import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog


class Telemetry:
    """One node's events, each a line `{"event": ..., "node": ..., "t_s": ..., ...}`.

    `t_s` is the system's monotonic clock, so that lines of several processes can be compared.
    Lines are written whole and flushed; several threads may emit.
    """

    def __init__(self, node: str, stream: TextIO | None = None) -> None:
        logger: Any = structlog.wrap_logger(
            structlog.WriteLogger(stream or sys.stdout),
            processors=[_stamp, structlog.processors.JSONRenderer()],
        )
        self._logger = logger.bind(node=node)

    def emit(self, event: str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Write one event."""
        self._logger.msg(event, **{**(fields or {}), **more})


def _stamp(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event["t_s"] = round(time.monotonic(), 6)
    return event
