"""A listener on a real socket, and links to it, for tests of what links do."""

import contextlib
import secrets
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.accepting import accept
from mdiqkd_net.runtime.limits import LIMITS
from mdiqkd_net.runtime.link import secure
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer

SOON = replace(LIMITS, header_s=0.2, body_s=0.3, handshake_s=5.0, write_s=0.3)
"""Limits that a test need not wait for."""


def strangers(_node):
    """Nothing has been between the two before."""
    return Correspondence(secrets.token_bytes)


def open_descriptors():
    """The numbers of this process's descriptors, but for the one that lists them."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return sorted(numbers)[:-1]


def framed(message):
    return Sequencer().seal(message.TYPE, encode(message), 1).raw


class Server:
    """Listens as alice; keeps what comes in."""

    def __init__(self, credentials, expected, limits=LIMITS):
        self.credentials, self.expected, self.limits = credentials, expected, limits
        self.frames, self.events, self.got_frame = [], [], trio.Event()
        self.links = []
        self._reported = trio.lowlevel.ParkingLot()

    async def start(self, nursery):
        self.listener = await sockets.listen("127.0.0.1:0", "listen")
        self.address = sockets.address_of(self.listener)
        nursery.start_soon(
            partial(
                accept,
                self.listener,
                credentials=self.credentials,
                entropy=secrets.token_bytes,
                node="alice",
                role="endpoint",
                expected=self.expected,
                correspond=strangers,
                serve=self.serve,
                report=self.report,
                limits=self.limits,
            )
        )

    async def serve(self, link):
        self.links.append(link)
        try:
            while frame := await link.next_frame():
                link.accept(frame)
                self.frames.append(frame)
                self.got_frame.set()
        finally:
            self.links.remove(link)

    def report(self, event, **fields):
        self.events.append((event, fields))
        self._reported.unpark_all()

    async def receive(self, n_frames):
        """Wait until so many frames have come."""
        with trio.fail_after(10):
            while len(self.frames) < n_frames:
                self.got_frame = trio.Event()
                await self.got_frame.wait()

    async def reported(self, name, n=1):
        """Wait for an event, the n-th of its name."""
        with trio.fail_after(10):
            while len(found := [fields for event, fields in self.events if event == name]) < n:
                await self._reported.park()
        return found[n - 1]


ALICE = Expected("endpoint", ["alice"])


async def dialed(
    server, credentials, expected=ALICE, node="bob", limits=LIMITS, correspond=strangers
):
    """A link as `node`, whose writer is the caller's."""
    stream = await sockets.dial(server.address, "test", 5.0)
    return await secure(
        stream,
        credentials,
        node=node,
        role="endpoint",
        expected=expected,
        entropy=secrets.token_bytes,
        correspond=correspond,
        server_side=False,
        limits=limits,
    )


@contextlib.asynccontextmanager
async def connected(server, credentials, **how):
    """A link with its writer; closed at the end."""
    link = await dialed(server, credentials, **how)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.write)
            yield link
            nursery.cancel_scope.cancel()
    finally:
        await link.close()


async def read_to_the_end(link):
    """Read until the peer is gone; a refusal raises."""
    with trio.fail_after(5):
        while await link.next_frame():
            pass
