"""The accept loop of every listener: bounded, one bad connection never disturbs another."""

import errno
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from mdiqkd_net.errors import ProtocolError, WireError
from mdiqkd_net.protocol.correspondence import LINK_LOST, Correspondence
from mdiqkd_net.protocol.handshake import Expected, RoleName
from mdiqkd_net.runtime.link import Link, secure
from mdiqkd_net.runtime.node import leaves
from mdiqkd_net.runtime.sockets import UNREACHABLE
from mdiqkd_net.runtime.world import Credentials

MAX_CONNECTIONS: Final = 256
NO_DESCRIPTORS_S: Final = 0.5

Report = Callable[..., None]


async def accept(
    listener: trio.abc.Listener[trio.abc.Stream],
    *,
    credentials: Credentials,
    entropy: Callable[[int], bytes],
    node: str,
    role: RoleName,
    expected: Expected,
    correspond: Callable[[str], Correspondence],
    serve: Callable[[Link], Awaitable[None]],
    report: Report,
) -> None:
    """Accept, greet and serve links until cancelled; closes the listener.

    A peer that breaks the protocol is told a code, reported, and dropped.
    """
    limit = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def handle(stream: trio.abc.Stream) -> None:
        async with limit, stream:
            try:
                link = await secure(
                    stream,
                    credentials,
                    node=node,
                    role=role,
                    expected=expected,
                    entropy=entropy,
                    correspond=correspond,
                    server_side=True,
                )
            except (ProtocolError, WireError) as error:
                report("link.refused", reason=str(error))
                return
            await attend(link, serve, report)

    async with listener, trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                # Out of descriptors: let connections end before asking again (trio's own advice).
                await trio.sleep(NO_DESCRIPTORS_S)
                continue
            nursery.start_soon(handle, stream)


async def attend(
    link: Link, serve: Callable[[Link], Awaitable[None]], report: Report
) -> ProtocolError | WireError | None:
    """Run a link's writer beside `serve`; return what ended the link, None for a clean end."""
    ended: ProtocolError | WireError | None = None
    report("link.up", peer=link.node)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.write)
            try:
                await serve(link)
            except (ProtocolError, WireError) as error:
                code = getattr(error, "abort_code", 0x0503)
                if code not in (LINK_LOST, UNREACHABLE):
                    await link.refuse(code)
                raise
            nursery.cancel_scope.cancel()
    except* (ProtocolError, WireError) as group:
        ended = leaves(group)[0]
    finally:
        await link.close()
    if ended is None:
        report("link.down", peer=link.node)
    else:
        report("link.down", peer=link.node, reason=str(ended))
    return ended
