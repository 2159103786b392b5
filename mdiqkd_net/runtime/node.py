"""What every node process does around its own work: signals, the ready line, exit codes."""

import contextlib
import errno
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import trio

from mdiqkd_net.errors import MdiqkdError
from mdiqkd_net.runtime.memory import keep_buffers
from mdiqkd_net.secret import forbid_dumps
from mdiqkd_net.telemetry.events import Telemetry

EXIT_DEVICE: Final = 4
EXIT_SOFTWARE: Final = 3


def serve(telemetry: Telemetry, work: Callable[[], Awaitable[None]]) -> int:
    """Run `work` until it ends or SIGTERM or SIGINT comes; return the exit code.

    An error becomes one `error` event and one line on stderr; a signal is a clean end.
    """
    forbid_dumps()
    keep_buffers()
    try:
        trio.run(_until_signal, work)
    except BaseExceptionGroup as group:
        known, unknown = group.split((MdiqkdError, OSError))
        if unknown is not None or known is None:
            raise
        return _fail(telemetry, *_describe(leaves(known)[0]))
    return 0


def _describe(error: BaseException) -> tuple[str, int]:
    if isinstance(error, MdiqkdError):
        return str(error), error.exit_code
    assert isinstance(error, OSError)  # noqa: S101  # by the split above
    place = f"{error.filename}: " if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    return f"{place}{error.strerror or error}", EXIT_DEVICE if full else EXIT_SOFTWARE


async def _until_signal(work: Callable[[], Awaitable[None]]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await work()
            nursery.cancel_scope.cancel()


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _fail(telemetry: Telemetry, message: str, code: int) -> int:
    telemetry.emit("error", message=message)
    with contextlib.suppress(OSError):  # a log on the same full disk must not change the exit code
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    return code


E = TypeVar("E", bound=BaseException)


def leaves(group: BaseExceptionGroup[E]) -> list[E]:
    """The errors of a group and of the groups in it, in order."""
    found: list[E] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
