"""One authenticated connection: TLS, greeting, frames in, frames out."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol.handshake import Expected, RoleName, greet, welcome
from mdiqkd_net.runtime.world import Channel, Credentials
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Error, Message

HANDSHAKE_S: Final = 10.0
HIGH_WATER_BYTES: Final = 8 << 20
"""Who makes data faster than the link takes it waits in `drained` above this."""

LINK_LOST: Final = 0x0403


class Link:
    """Frames to and from one node. One task reads, one writes; anybody may queue.

    `sequencer` numbers what the holder of the link seals; see `Sequencer`.
    """

    def __init__(self, stream: Channel, node: str) -> None:
        self._stream = stream
        self.node = node
        self.sequencer = Sequencer()
        self._reader = FrameReader(CAPS)
        self._arrived: deque[Frame] = deque()
        self._queue, self._to_send = trio.open_memory_channel[bytes](float("inf"))
        self._pending = 0
        self._waiting = trio.lowlevel.ParkingLot()
        self.n_bytes = 0

    def send(self, data: bytes) -> None:
        """Queue bytes for the writer; never waits."""
        self._pending += len(data)
        self.n_bytes += len(data)
        self._queue.send_nowait(data)

    def tell(self, message: Message, stream: int = 0) -> int:
        """Seal and queue a message; returns its length in bytes."""
        raw = self.sequencer.seal(message.TYPE, encode(message), stream).raw
        self.send(raw)
        return len(raw)

    async def drained(self) -> None:
        """Wait until the queue is short enough to make more."""
        while self._pending > HIGH_WATER_BYTES:
            await self._waiting.park()

    async def write(self) -> None:
        """Be the task that writes.

        Raises:
            RemoteProtocolError: The connection is gone.
        """
        async for data in self._to_send:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise self._lost() from None
            self._pending -= len(data)
            self._waiting.unpark_all()

    async def next_frame(self) -> Frame | None:
        """Wait for the next frame; None when the peer closes between frames. One task reads.

        Raises:
            RemoteProtocolError: The connection is gone, or the peer refuses us.
            WireError: Bytes that are no frame.
        """
        while not self._arrived:
            data = await self._receive()
            if not data:
                if self._reader.mid_frame:
                    raise self._lost()
                return None
            self._arrived.extend(self._reader.receive_data(data))
        frame = self._arrived.popleft()
        if frame.kind == Error.TYPE:
            raise self._refused(frame)
        return frame

    async def refuse(self, code: int) -> None:
        """Tell the peer why it is refused, in a code, and close."""
        self.tell(Error(code=code & 0xFFFF))
        with trio.move_on_after(1.0) as scope:
            scope.shield = True
            while self._pending:
                await self._waiting.park()
        await self.close()

    async def close(self) -> None:
        """Close at once; what is queued is lost."""
        await self._stream.aclose_forcefully()

    async def greet(
        self, node: str, role: RoleName, expected: Expected, entropy: Callable[[int], bytes]
    ) -> None:
        """Exchange Hellos; before `write` and `next_frame` are in use.

        Raises:
            RemoteProtocolError: The peer is not who it should be.
            WireError: Not a Hello.
        """
        hello = greet(node, role, entropy, self.sequencer)
        self.n_bytes += len(hello)
        await self._stream.send_all(hello)
        try:
            first = await self.next_frame()
            if first is None:
                raise self._lost()
            self.sequencer.accept(first)
            welcome(first, self.node, expected)
        except (RemoteProtocolError, WireError) as error:
            if error.abort_code != LINK_LOST:
                refusal = self.sequencer.seal(Error.TYPE, encode(Error(code=error.abort_code)))
                await self._stream.send_all(refusal.raw)
            raise

    async def _receive(self) -> bytes:
        try:
            data = await self._stream.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost() from None
        self.n_bytes += len(data)
        return data

    def _refused(self, frame: Frame) -> RemoteProtocolError:
        message = decode(frame)
        code = message.code if isinstance(message, Error) else 0
        return RemoteProtocolError(f"{self.node} refuses us with code {code:#06x}", LINK_LOST)

    def _lost(self) -> RemoteProtocolError:
        return RemoteProtocolError(f"the connection to {self.node} is gone", LINK_LOST)


async def secure(
    stream: trio.abc.Stream,
    credentials: Credentials,
    *,
    node: str,
    role: RoleName,
    expected: Expected,
    entropy: Callable[[int], bytes],
    server_side: bool,
) -> Link:
    """Encryption and greeting on a fresh connection.

    Raises:
        RemoteProtocolError: No TLS, no answer in time, or another node than expected.
        WireError: Not a Hello, or a certificate that names no node.
    """
    try:
        with trio.fail_after(HANDSHAKE_S):
            link = Link(*await credentials.secure(stream, server_side=server_side))
            await link.greet(node, role, expected, entropy)
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, trio.TooSlowError):
            why = f"no handshake within {HANDSHAKE_S:g} s"
            raise RemoteProtocolError(why, LINK_LOST) from None
        if isinstance(error, trio.BrokenResourceError):
            raise RemoteProtocolError(f"TLS: {error}", LINK_LOST) from None
        raise
    return link
