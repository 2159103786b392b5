"""A proxy on TCP that does to connections what networks do: cut, delay, narrow, stall, keep silent.

It reads no secrets: all that it understands of the bytes is where TLS records end. A node writes
every frame as one record (a long one as several), so a cut can be placed at the end of any frame,
or inside.

    proxy = await nursery.start(FaultProxy(("127.0.0.1", 7000)).run)
    proxy.address                     # dial this instead
    proxy.cut(after=12, inside=True)  # a connection to come: in the middle of its 13th record
    proxy.stall()                     # nothing passes any more, and nobody is told: half-open
    proxy.heal()
"""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import trio

PIECE_BYTES = 1 << 14
RECORD_HEADER = struct.Struct(">BHH")


class Records:
    """Where the TLS records of one direction end."""

    def __init__(self):
        self._header = b""
        self._left = 0

    def ends(self, data):
        """Take the next bytes; return the offsets in them behind which a record ends."""
        found, at = [], 0
        while at < len(data):
            if not self._left:
                missing = RECORD_HEADER.size - len(self._header)
                self._header += data[at : at + missing]
                at += missing
                if len(self._header) < RECORD_HEADER.size:
                    break
                self._left = RECORD_HEADER.unpack(self._header)[2]
                self._header = b""
            else:
                taken = min(self._left, len(data) - at)
                at += taken
                self._left -= taken
                if not self._left:
                    found.append(at)
        return found


@dataclass(frozen=True)
class Cut:
    """To be made behind so many records of a connection, or in the middle of the next one."""

    after: int
    inside: bool
    reset: bool


@dataclass(eq=False)
class Connection:
    near: trio.SocketStream
    far: trio.SocketStream
    cut: Cut | None
    n_records: int = 0
    is_cut: bool = False

    def pass_on(self, data, ends):
        """How many of the bytes go on; sets `is_cut` if they are the last."""
        cut = self.cut
        if cut is None or cut.after > self.n_records + len(ends):
            self.n_records += len(ends)
            return len(data)
        missing = cut.after - self.n_records
        at = ends[missing - 1] if missing else 0
        self.n_records = cut.after
        if not cut.inside:
            self.is_cut = True
            return at
        # What follows may be the middle of the record that is to be torn, or not be here yet.
        end = next((e for e in ends if e > at), len(data))
        self.is_cut = end > at + 1
        return at + (end - at) // 2 if self.is_cut else len(data)

    def close(self, *, reset):
        for stream in (self.near, self.far):
            if reset:
                with suppress(OSError):  # it may be closed already
                    stream.socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
            stream.socket.close()


class FaultProxy:
    """Between everybody who dials `address` and the node at `target`, a (host, port).

    Attributes:
        n_connections: How many there have been.
        n_records: Records that have passed on the newest one, in both directions together.
        n_bytes: Bytes that have passed in all.
        delay_s: What a piece of data waits on average: between nothing and twice that.
        bytes_per_s: Of each direction of each connection.
    """

    def __init__(self, target, *, seed=0):
        self._target = target
        self._rng = Random(seed)
        self._cuts = []
        self._open = []
        self._listener = None
        self._is_refusing = False
        self._moving = trio.Event()
        self._gone = trio.lowlevel.ParkingLot()
        self.n_connections = 0
        self.n_bytes = 0
        self.heal()

    @property
    def address(self):
        return "{}:{}".format(*self._listener.socket.getsockname())

    @property
    def n_records(self):
        return self._open[-1].n_records if self._open else 0

    def cut(self, *, after, inside=False, reset=False):
        """Cut one of the connections to come, in the order of the calls."""
        self._cuts.append(Cut(after, inside, reset))

    def cut_all(self, *, reset=False):
        """Cut every connection now."""
        for connection in list(self._open):
            connection.is_cut = True
            connection.close(reset=reset)

    def refuse(self):
        """Cut everything, and all that is dialed from now on."""
        self._is_refusing = True
        self.cut_all(reset=True)

    def stall(self):
        """From now on let nothing pass and tell nobody, on old connections and new ones."""
        self._moving = trio.Event()

    def heal(self):
        """No fault from now on; what was held back goes on its way."""
        self._cuts.clear()
        self.delay_s, self.bytes_per_s, self._is_refusing = 0.0, float("inf"), False
        self._moving.set()

    async def all_cuts_made(self):
        """Wait until every cut that was asked for has been made."""
        while self._cuts or any(connection.cut for connection in self._open):
            await self._gone.park()

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        """Be the proxy until cancelled."""
        (self._listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(self)
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, near):
        if self._is_refusing:
            return
        try:
            far = await trio.open_tcp_stream(*self._target)
        except OSError:
            return
        cut = self._cuts.pop(0) if self._cuts else None
        connection = Connection(near, far, cut)
        if self._is_refusing:  # since a moment ago
            connection.close(reset=True)
            return
        self.n_connections += 1
        self._open.append(connection)
        try:
            async with far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, connection, near, far)
                nursery.start_soon(self._pass, connection, far, near)
        finally:
            self._open.remove(connection)
            self._gone.unpark_all()

    async def _pass(self, connection, source, sink):
        records = Records()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(PIECE_BYTES):
                late_s = self._rng.uniform(0, 2 * self.delay_s) + len(data) / self.bytes_per_s
                if late_s:
                    await trio.sleep(late_s)  # this is the fault
                await self._moving.wait()
                n_bytes = connection.pass_on(data, records.ends(data))
                await sink.send_all(data[:n_bytes])
                self.n_bytes += n_bytes
                if connection.is_cut:
                    break
        # The end of one direction is the end of both, as it is for TLS.
        connection.close(reset=connection.cut is not None and connection.cut.reset)
