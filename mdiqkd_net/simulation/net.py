"""Connections between simulated nodes: what TCP promises, and all that it does not.

Within a connection bytes neither change places nor get lost; they come late, in pieces of any
size, or not any more. A route between two nodes can be stalled, in one direction or both: nothing
arrives and nothing is refused, as behind a cable that was pulled; what was sent meanwhile arrives
when it is healed. A connection can be cut: what had not arrived is lost, but for a random first
part of it. Bandwidth is not modelled, nor is a host that loses its connections without telling
anyone.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import trio

from mdiqkd_net.errors import ConfigError

WINDOW_BYTES: Final = 1 << 20
"""A sender waits while so much of what it sent has not been read."""
BACKLOG: Final = 64
PIECE_BYTES: Final = 1 << 18
LATENCY_S: Final = 0.005
NEVER: Final = float("inf")

Tap = Callable[["End", bytes], None]


class _Pipe:
    """One direction of a connection. A receive that is cancelled takes nothing."""

    def __init__(self, net: "Net", source: str, target: str, rng: Random) -> None:
        self._net = net
        self._route = source, target
        self._rng = rng
        self._distance = rng.uniform(0.2, 3.0)
        self._latency_s = net.latency_s * self._distance
        self._arrivals: deque[tuple[float, bytes]] = deque()
        self._last_s = 0.0
        self._n_bytes = 0
        self._ended = False
        self.broken = False
        self.unread = False
        self.changed = trio.lowlevel.ParkingLot()

    def put(self, data: bytes) -> None:
        due_s = trio.current_time() + self._latency_s * self._rng.uniform(0.5, 2.0)
        self._last_s = max(self._last_s, due_s)
        self._arrivals.append((self._last_s, data))
        self._n_bytes += len(data)
        self.changed.unpark_all()

    def calm(self) -> None:
        """What is sent from now on takes as long as on a connection that is made now."""
        self._latency_s = self._net.latency_s * self._distance

    def end(self) -> None:
        """The sender has closed; the reader learns it behind everything else."""
        if not (self._ended or self.broken):
            self._ended = True
            self.put(b"")

    def leave(self) -> None:
        """The reader has closed; what is sent from now on is for nobody."""
        self.unread = True
        self._arrivals.clear()
        self._n_bytes = 0
        self.changed.unpark_all()

    def cut(self) -> None:
        """Lose what is under way, but for a random first part."""
        now_s = trio.current_time()
        lost = [data for due_s, data in self._arrivals if due_s > now_s]
        while self._arrivals and self._arrivals[-1][0] > now_s:
            self._arrivals.pop()
        part = lost[0][: self._rng.randint(0, len(lost[0]))] if lost else b""
        if part and not self._stalled:
            self._arrivals.append((now_s, part))
        self.broken = True
        self.changed.unpark_all()

    async def room(self) -> None:
        """Wait until more may be sent."""
        while self._n_bytes >= WINDOW_BYTES and not (self.broken or self.unread):
            await self.changed.park()

    async def get(self, max_bytes: int) -> bytes:
        has_yielded = False
        while True:
            if self.unread:
                raise trio.ClosedResourceError
            due_s = self._due_s()
            if due_s <= trio.current_time():
                if has_yielded:
                    return self._take(max_bytes)
                await trio.lowlevel.checkpoint()
            elif self.broken:
                raise trio.BrokenResourceError("the other side hung up")
            elif due_s == NEVER:
                await self.changed.park()  # a deadline that never comes costs as much as any
            else:
                with trio.move_on_at(due_s):
                    await self.changed.park()
            has_yielded = True

    @property
    def _stalled(self) -> bool:
        return self._route in self._net.stalled

    def _due_s(self) -> float:
        return self._arrivals[0][0] if self._arrivals and not self._stalled else NEVER

    def _take(self, max_bytes: int) -> bytes:
        if not self._arrivals[0][1]:
            return b""  # the end; it stays
        limit = self._rng.randint(1, min(max_bytes, self._net.piece_bytes))
        due_s, data = self._arrivals.popleft()
        if len(data) > limit:
            self._arrivals.appendleft((due_s, data[limit:]))
        self._n_bytes -= min(limit, len(data))
        self.changed.unpark_all()
        return data[:limit]


class End(trio.abc.Stream):
    """One end of a connection; also the `Channel` that it becomes, since nobody can listen in.

    Attributes:
        number: No other end has it.
        own: The node at this end.
        peer: The node at the other end.
        closed: Whether this end was closed.
    """

    def __init__(self, net: "Net", own: str, peer: str, pipes: tuple[_Pipe, _Pipe]) -> None:
        self._net = net
        self.number = net.number()
        self.own = own
        self.peer = peer
        self._outgoing, self._incoming = pipes
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while the other end does not read."""
        await trio.lowlevel.checkpoint()
        await self._outgoing.room()
        if self.closed:
            raise trio.ClosedResourceError
        if self._outgoing.broken or self._outgoing.unread:
            raise trio.BrokenResourceError("the other side hung up")
        sent = bytes(data)
        self._net.tap(self, sent)
        if sent:
            self._outgoing.put(sent)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await trio.lowlevel.checkpoint()
        await self._outgoing.room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        return await self._incoming.get(max_bytes or PIECE_BYTES)

    async def receive(self) -> bytes:
        """As `receive_some`, of any size."""
        return await self.receive_some()

    async def aclose(self) -> None:
        """Close; the other end reads what was sent, and then the end."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def aclose_forcefully(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self)

    def close(self) -> None:
        """What the system does for a process that has died, too."""
        if not self.closed:
            self.closed = True
            self._outgoing.end()
            self._incoming.leave()
            self._net.forget(self)

    def calm(self) -> None:
        """The network is well again; this connection, too."""
        self._outgoing.calm()

    def cut(self) -> None:
        """Break the connection, in both directions."""
        self._outgoing.cut()
        self._incoming.cut()
        self._net.forget(self)


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Takes the connections to one address."""

    def __init__(self, net: "Net", address: str, node: str) -> None:
        self._net = net
        self._address = address
        self.node = node
        self._waiting: deque[End] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    async def accept(self) -> trio.abc.Stream:
        """Wait for the next connection."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.ClosedResourceError
            await self._changed.park()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Stop listening."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Stop listening; who waits in the backlog is cut off."""
        if not self._closed:
            self._closed = True
            self._net.listeners.pop(self._address, None)
            while self._waiting:
                self._waiting.popleft().cut()
            self._changed.unpark_all()

    def knock(self, end: End) -> None:
        """Put a connection into the backlog.

        Raises:
            ConnectionRefusedError: It is full.
        """
        if len(self._waiting) >= BACKLOG:
            raise ConnectionRefusedError("connection refused")
        self._waiting.append(end)
        self._changed.unpark_all()


class Net:
    """All nodes' listeners and connections.

    Attributes:
        latency_s: About how long bytes take one way, from the next connection on.
        piece_bytes: At most so many bytes come at a time.
        stalled: Routes (from, to) on which nothing arrives.
        refused: Addresses at which nobody gets an answer but "refused".
    """

    def __init__(self, rng: Random, tap: Tap) -> None:
        self._rng = rng
        self._n_ends = 0
        self._healed = trio.lowlevel.ParkingLot()
        self.tap = tap
        self.latency_s = LATENCY_S
        self.piece_bytes = PIECE_BYTES
        self.stalled: set[tuple[str, str]] = set()
        self.refused: set[str] = set()
        self.listeners: dict[str, Listener] = {}
        self.ends: list[End] = []

    def listen(self, node: str, address: str, key: str) -> Listener:
        """Listen at an address.

        Raises:
            ConfigError: Somebody does already.
        """
        if address in self.listeners:
            raise ConfigError(f"{key}: cannot listen on {address}: the port is in use")
        listener = self.listeners[address] = Listener(self, address, node)
        return listener

    async def connect(self, node: str, address: str) -> End:
        """Connect to an address.

        Raises:
            ConnectionRefusedError: Nobody listens there.
        """
        await trio.sleep(self.latency_s * self._rng.uniform(0.5, 2.0))
        listener = self.listeners.get(address)
        while listener is not None and self._is_stalled(node, listener.node):
            await self._healed.park()
            listener = self.listeners.get(address)
        if listener is None or address in self.refused:
            raise ConnectionRefusedError("connection refused")
        rng = Random(self._rng.random())
        there = _Pipe(self, node, listener.node, rng)
        back = _Pipe(self, listener.node, node, rng)
        ours = End(self, node, listener.node, (there, back))
        theirs = End(self, listener.node, node, (back, there))
        listener.knock(theirs)
        self.ends += [ours, theirs]
        return ours

    def number(self) -> int:
        """The next number of an end."""
        self._n_ends += 1
        return self._n_ends

    def forget(self, end: End) -> None:
        """An end that is closed or cut need not be looked after."""
        if end in self.ends:
            self.ends.remove(end)

    def stall(self, source: str, target: str) -> None:
        """Let nothing more arrive."""
        self.stalled.add((source, target))

    def heal(self, source: str, target: str) -> None:
        """Let everything arrive."""
        self.stalled.discard((source, target))
        self._healed.unpark_all()
        for end in self.ends:
            end._incoming.changed.unpark_all()

    def calm(self) -> None:
        """Nothing is stalled, refused, cut to pieces or late any more."""
        self.refused.clear()
        self.latency_s, self.piece_bytes = LATENCY_S, PIECE_BYTES
        for end in self.ends:
            end.calm()
        for route in sorted(self.stalled):
            self.heal(*route)

    def drop(self, node: str, *, cut: bool) -> None:
        """A process has died: close all that it had, or cut it."""
        for listener in [each for each in self.listeners.values() if each.node == node]:
            listener.close()
        for end in [each for each in self.ends if each.own == node]:
            if cut:
                end.cut()
            end.close()

    def _is_stalled(self, one: str, other: str) -> bool:
        return (one, other) in self.stalled or (other, one) in self.stalled
