"""The accept loop of every listener: bounded, one bad connection never disturbs another."""

import errno
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import trio

from mdiqkd_net.errors import ProtocolError, RemoteProtocolError, WireError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import Expected, RoleName
from mdiqkd_net.runtime.limits import BUSY, LIMITS, Failures, Limits, Pace
from mdiqkd_net.runtime.link import LOCAL_REASON, Link, is_breach, secure
from mdiqkd_net.runtime.node import leaves
from mdiqkd_net.runtime.sockets import remote_host
from mdiqkd_net.runtime.world import Credentials

NO_DESCRIPTORS_S: Final = 0.5
_OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

REFUSALS_PER_S: Final = 1.0
REFUSALS_AT_ONCE: Final = 20
"""What strangers can make a node write into its log."""

Report = Callable[..., None]


class Door:
    """Who may be connected to a listener at the same time.

    A stranger can take another stranger's place, and never that of a node that has said who it is.
    """

    def __init__(self, limits: Limits, report: Report) -> None:
        self._limits = limits
        self._report = report
        self._pace = Pace(REFUSALS_PER_S, REFUSALS_AT_ONCE, trio.current_time)
        self._n_unreported = 0
        self._failures = Failures(limits, trio.current_time)
        self._strangers: dict[str, dict[trio.CancelScope, None]] = {}
        self._links: dict[str, dict[trio.CancelScope, str]] = {}

    @property
    def n_strangers(self) -> int:
        """Connections that have not said who they are."""
        return sum(map(len, self._strangers.values()))

    def keeps_out(self, address: str) -> bool:
        """Whether too many handshakes from an address have failed lately; reported if so."""
        wait_s = self._failures.wait_s(address)
        if wait_s:
            self.refused(address, f"too many failed handshakes: wait for {wait_s:.1f} s")
        return wait_s > 0

    def failed(self, address: str, why: str) -> None:
        """Count and report a handshake that came to nothing."""
        self._failures.count(address)
        self.refused(address, why)

    @contextmanager
    def stranger(self, address: str) -> Iterator[trio.CancelScope]:
        """A connection that has not said who it is; cancelled if others need its place.

        The oldest of the address that has the most of them makes room, so that whoever floods the
        node from a few addresses floods himself.
        """
        here = self._strangers.setdefault(address, {})
        if len(here) >= self._limits.handshakes_per_address:
            _turn_out_oldest(here)
        elif self.n_strangers >= self._limits.handshakes:
            busiest = max(self._strangers, key=lambda host: len(self._strangers[host]))
            _turn_out_oldest(self._strangers[busiest])
        with _entry(self._strangers, address, here) as scope:
            here[scope] = None
            yield scope

    @contextmanager
    def guest(self, node: str, address: str) -> Iterator[trio.CancelScope]:
        """A connection of a node; cancelled if the node makes two newer ones.

        Raises:
            RemoteProtocolError: There are too many, and the node has none of them.
        """
        here = self._links.get(node, {})
        if not here:
            everybody = [place for links in self._links.values() for place in links.values()]
            if len(everybody) >= self._limits.links:
                raise RemoteProtocolError(f"{node}: {len(everybody)} links are here", BUSY)
            if everybody.count(address) >= self._limits.links_per_address:
                raise RemoteProtocolError(
                    f"{node}: {everybody.count(address)} links from {address} are here", BUSY
                )
        here = self._links.setdefault(node, here)
        for scope in list(here)[:-1]:  # who serves the newest is about to close the one before
            scope.cancel()
        with _entry(self._links, node, here) as scope:
            here[scope] = address
            yield scope

    def refused(self, address: str, why: str) -> None:
        """Report a connection that is not let in, unless there have been many."""
        if self._pace.take(1):
            self._pace.take(-1)
            self._n_unreported += 1
            return
        self._report("link.refused", address=address, reason=why, n_unreported=self._n_unreported)
        self._n_unreported = 0


T = TypeVar("T")


def _turn_out_oldest(scopes: dict[trio.CancelScope, T]) -> None:
    oldest = next(iter(scopes))
    del scopes[oldest]  # it ends at once, and has no place any more
    oldest.cancel()


@contextmanager
def _entry(
    table: dict[str, dict[trio.CancelScope, T]], name: str, here: dict[trio.CancelScope, T]
) -> Iterator[trio.CancelScope]:
    with trio.CancelScope() as scope:
        try:
            yield scope
        finally:
            here.pop(scope, None)
            if not here and table.get(name) is here:
                del table[name]


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
    limits: Limits = LIMITS,
) -> None:
    """Accept, greet and serve links until cancelled; closes the listener.

    A peer that breaks the protocol is told a code, reported, and dropped.
    """
    door = Door(limits, report)

    async def greeted(stream: trio.abc.Stream, address: str) -> Link | None:
        link: Link | None = None
        with door.stranger(address) as scope:
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
                    limits=limits,
                )
            except (ProtocolError, WireError) as error:
                door.failed(address, str(error))
        if scope.cancelled_caught:
            door.failed(address, "made room for newer connections before it said who it is")
        return link

    async def handle(stream: trio.abc.Stream) -> None:
        async with stream:
            address = remote_host(stream)
            if door.keeps_out(address):
                return
            link = await greeted(stream, address)
            if link is None:
                return
            try:
                with door.guest(link.node, address) as scope:
                    await attend(link, serve, report)
                if scope.cancelled_caught:
                    report("link.down", peer=link.node, reason="it has made two newer connections")
            except RemoteProtocolError as error:
                door.refused(address, str(error))
                await link.turn_away(error.abort_code)

    async with listener, trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                report("accept.failed", reason=error.strerror, again_in_s=NO_DESCRIPTORS_S)
                # Let connections end before asking again (trio's own advice).
                await trio.sleep(NO_DESCRIPTORS_S)
                continue
            nursery.start_soon(handle, stream)


async def attend(
    link: Link, serve: Callable[[Link], Awaitable[None]], report: Report
) -> ProtocolError | WireError | None:
    """Run a link's writer beside `serve`; return what ended the link, None for a clean end."""
    ended: ProtocolError | WireError | None = None
    report("link.up", peer=link.node)
    link.when_slowed = partial(report, "link.slowed", peer=link.node)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.write)
            try:
                await serve(link)
            except (ProtocolError, WireError) as error:
                code = int(getattr(error, "abort_code", LOCAL_REASON))
                if is_breach(code):
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
