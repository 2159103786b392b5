"""Where programs on this machine ask a node for keys: the other end of `keys.asking`."""

from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.asking import MAX_LINE_BYTES, AwayError, KeyAnswer, KeyWish
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError

MAX_ASKING: Final = 32
PATIENCE_S: Final = 5.0
"""How long somebody may take to ask, or to hear the answer."""


class Clerk(Protocol):
    """Who can agree with one peer."""

    async def agree(self, n_keys: int, *, allow_simulated: bool) -> None:
        """Set keys aside at both users.

        Raises:
            KeyStoreError: That is not possible; nothing can be taken.
        """


async def serve(listener: trio.abc.Listener[trio.abc.Stream], clerks: Mapping[str, Clerk]) -> None:
    """Answer whoever asks, until cancelled."""
    await trio.serve_listeners(
        partial(_serve_one, clerks, trio.CapacityLimiter(MAX_ASKING)), [listener]
    )


async def answer(clerks: Mapping[str, Clerk], line: bytes) -> KeyAnswer:
    """Do what a line of JSON asks for."""
    try:
        wish = msgspec.json.decode(line, type=KeyWish)
    except (msgspec.DecodeError, RecursionError) as error:
        return KeyAnswer(kind="refused", why=f"no question that a node understands: {error}"[:1024])
    clerk = clerks.get(wish.peer)
    if clerk is None:
        allowed = ", ".join(sorted(clerks))
        return KeyAnswer(kind="none", why=f"peer: found {wish.peer!r}; allowed: {allowed}"[:1024])
    try:
        await clerk.agree(wish.n_keys, allow_simulated=wish.allow_simulated)
    except NoKeyError as error:
        return KeyAnswer(kind="none", why=str(error)[:1024])
    except SimulatedKeyError as error:
        return KeyAnswer(kind="simulated", why=str(error)[:1024])
    except AwayError as error:
        return KeyAnswer(kind="away", why=str(error)[:1024])
    except KeyStoreError as error:
        return KeyAnswer(kind="refused", why=str(error)[:1024])
    return KeyAnswer(kind="agreed")


async def _serve_one(
    clerks: Mapping[str, Clerk], limit: trio.CapacityLimiter, stream: trio.abc.Stream
) -> None:
    try:
        async with limit, stream:
            with trio.fail_after(PATIENCE_S):
                line = await _line(stream)
            if line:
                said = msgspec.json.encode(await answer(clerks, line)) + b"\n"
                with trio.fail_after(PATIENCE_S):
                    await stream.send_all(said)
    except (trio.BrokenResourceError, trio.TooSlowError):
        pass  # who asked has gone, and what was agreed upon can be taken by the next


async def _line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some(MAX_LINE_BYTES)
        line += data
        if not data or len(line) > MAX_LINE_BYTES:
            return b""
    return bytes(line)
