"""All that a node touches of the world outside it.

The shells of the nodes are given a `World` and use nothing else: no socket, thread, clock or
generator of their own. Time is trio's, and files are below the directory that a node is given. So
the same shells run on a real machine (`RealWorld`) and in a simulation (`mdiqkd_net.simulation`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self, TypeVar

import trio

from mdiqkd_net.devices.entropy import EntropySource, SystemEntropy
from mdiqkd_net.runtime import sockets, tls
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.runtime.crashing import Step, crash_at

T = TypeVar("T")


class Channel(Protocol):
    """An encrypted stream. One task may send while another receives.

    Raises:
        trio.BrokenResourceError: From every call: the connection is gone; the text says why.
        trio.ClosedResourceError: It was closed at this end.
    """

    async def send_all(self, data: bytes) -> None:
        """Send; returns once the connection has taken everything."""

    async def receive(self) -> bytes:
        """Wait for bytes and return all that have come; empty at the end of the stream."""

    async def aclose_forcefully(self) -> None:
        """Close at once."""


class Credentials(Protocol):
    """What a node proves its name with."""

    async def secure(self, stream: trio.abc.Stream, *, server_side: bool) -> tuple[Channel, str]:
        """Encrypt a fresh connection; also says which node is proven to be at the other end.

        Raises:
            trio.BrokenResourceError: The other end cannot do that, or refuses us.
            AuthenticationError: It proves no name of a node.
        """


class World(Protocol):
    """What the shells need."""

    @property
    def entropy(self) -> EntropySource:
        """Bytes that nobody can predict."""

    def credentials(self, tls: Tls, base: Path) -> Credentials:
        """Those that a configuration names.

        Raises:
            ConfigError: Files that cannot be used.
        """

    async def listen(
        self, address: str, key: str
    ) -> tuple[trio.abc.Listener[trio.abc.Stream], str]:
        """Listen at an address of the configuration; also says where that is, as HOST:PORT.

        Raises:
            ConfigError: Nobody can listen there.
        """

    async def listen_local(self, path: Path) -> trio.abc.Listener[trio.abc.Stream]:
        """Listen to programs of the same user on this machine.

        Raises:
            ConfigError: Another node does there.
        """

    async def connect(self, address: str, key: str) -> trio.abc.Stream:
        """Try once to connect.

        Raises:
            OSError: Nobody answers.
        """

    async def in_thread(self, work: Callable[..., T], *args: object) -> T:
        """Do work that computes long or waits for a disk; not abandoned when cancelled."""

    def utc_now(self) -> datetime:
        """The time of day, for people; nothing is decided by it."""

    def reach(self, point: str) -> None:
        """A crash point is passed, one of `crash_points()`; any thread may say so."""


def between_points(world: World, step: Step, work: Callable[..., T], *args: object) -> T:
    """Do a durable step, between its crash points."""
    world.reach(f"{step}.before")
    result = work(*args)
    world.reach(f"{step}.after")
    return result


async def durably(world: World, step: Step, work: Callable[..., object], *args: object) -> None:
    """Do a durable step in a thread, between its crash points."""
    await world.in_thread(between_points, world, step, work, *args)


@dataclass(frozen=True, slots=True)
class RealWorld:
    """This machine: TCP, TLS, threads, the system's generator and clock.

    Attributes:
        crash: Called with the name of every crash point that is passed.
    """

    entropy: EntropySource = field(default_factory=SystemEntropy)
    crash: Callable[[str], None] | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """With the crash that the environment asks for, if any.

        Raises:
            ConfigError: It asks for what it may not.
        """
        return cls(crash=crash_at(environment))

    def credentials(self, tls_config: Tls, base: Path) -> Credentials:
        """Certificate and private key, from files."""
        return tls.Certificates(*tls.contexts(tls_config, base))

    async def listen(
        self, address: str, key: str
    ) -> tuple[trio.abc.Listener[trio.abc.Stream], str]:
        """Listen on HOST:PORT, or on an inherited socket."""
        listener = await sockets.listen(address, key)
        return listener, sockets.address_of(listener)

    async def listen_local(self, path: Path) -> trio.abc.Listener[trio.abc.Stream]:
        """Listen on a Unix socket."""
        return await sockets.listen_local(path)

    async def connect(self, address: str, key: str) -> trio.abc.Stream:
        """Connect by TCP."""
        return await sockets.connect(address, key)

    async def in_thread(self, work: Callable[..., T], *args: object) -> T:
        """In one of trio's worker threads."""
        return await trio.to_thread.run_sync(work, *args)

    def utc_now(self) -> datetime:
        """By the system's clock."""
        return datetime.now(UTC)

    def reach(self, point: str) -> None:
        """Pass it on to whoever waits for crash points."""
        if self.crash is not None:
            self.crash(point)
