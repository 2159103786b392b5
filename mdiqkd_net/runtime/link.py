"""One authenticated connection: TLS, greeting, frames in, frames out."""

import contextlib
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol.correspondence import LINK_LOST, Correspondence
from mdiqkd_net.protocol.handshake import BAD_IDENTITY, Expected, RoleName, greet, welcome
from mdiqkd_net.runtime.limits import BUSY, LIMITS, QUOTA, Limits, Pace
from mdiqkd_net.runtime.secure import NotTrustedError
from mdiqkd_net.runtime.sockets import UNREACHABLE
from mdiqkd_net.runtime.world import Channel, Credentials
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Error, Hello, Message, Ping, Pong

LOCAL_REASON: Final = 0x0503
HIGH_WATER_BYTES: Final = 8 << 20
"""Who makes data faster than the link takes it waits in `drained` above this."""

PING_AFTER_S: Final = 15.0
"""How long a link may be silent before the other side is asked whether it is there."""

LOST_AFTER_S: Final = 45.0
"""How long a link may be silent before it is taken for lost: the other side is gone without a word,
as after a power cut or behind a firewall that has forgotten the connection."""


class RefusedError(RemoteProtocolError):
    """The other side refuses us; `told` is the code that it gave (spec 10)."""

    def __init__(self, message: str, told: int) -> None:
        super().__init__(message, LINK_LOST)
        self.told = told


def told(error: Exception | None) -> int:
    """The code of what ended a link, whichever side gave it; 0x0403 if nobody is to blame."""
    if isinstance(error, RefusedError):
        return error.told
    return LINK_LOST if error is None else int(getattr(error, "abort_code", LOCAL_REASON))


def is_final(code: int) -> bool:
    """Whether trying again is of no use: version, identity or parameters differ."""
    return code >> 8 == 2


def is_breach(code: int) -> bool:
    """Whether one side broke the protocol; else nobody did, and streams above 0 may go on."""
    return code not in (LINK_LOST, BUSY, UNREACHABLE)


class Link:
    """Frames to and from one node. One task reads, one writes; anybody may queue.

    `sequencer` numbers stream 0, which belongs to this connection; all other streams belong to the
    correspondence with the node, of which this is one connection.
    """

    def __init__(
        self,
        stream: Channel,
        node: str,
        correspondence: Correspondence,
        limits: Limits = LIMITS,
    ) -> None:
        self._stream = stream
        self.node = node
        self._limits = limits
        self.sequencer = Sequencer()
        self._correspondence = correspondence
        self._hellos: tuple[Hello, Hello] | None = None
        self._meeting = correspondence.n_meetings
        self._reader = FrameReader(CAPS, first=(Hello.TYPE, Error.TYPE))
        self._arrived: deque[Frame] = deque()
        self._waited_s = 0.0
        self._pace = Pace(limits.frames_per_s, limits.frames_at_once, trio.current_time)
        self._writing = trio.CancelScope()
        self._why_given_up = ""
        self._queue, self._to_send = trio.open_memory_channel[bytes](float("inf"))
        self._pending = 0
        self._is_closed = False
        self._n_pings = 0
        self._waiting = trio.lowlevel.ParkingLot()
        self.n_bytes = 0
        self.when_slowed: Callable[[], None] | None = None

    def send(self, data: bytes) -> None:
        """Queue bytes for the writer; never waits. Lost if the connection is closed.

        The connection ends when too much waits for the peer, and when stream 0 has no numbers left.
        """
        if self._is_closed:
            return
        self._pending += len(data)
        if self._pending > self._limits.queued_bytes:
            self._give_up(
                f"does not take in what is sent: {self._pending} bytes wait; allowed: "
                f"{self._limits.queued_bytes}"
            )
            return
        self.n_bytes += len(data)
        self._queue.send_nowait(data)
        if self.sequencer.is_spent:
            self._give_up("stays, but another connection must come: stream 0 is out of numbers")

    def tell(self, message: Message) -> int:
        """Seal and queue a message on stream 0; returns its length in bytes."""
        raw = self.sequencer.seal(message.TYPE, encode(message)).raw
        self.send(raw)
        return len(raw)

    def accept(self, frame: Frame) -> bool:
        """Count a frame in its stream; False for one that came before, on another connection.

        Frames of stream 0 have been counted as they were read.

        Raises:
            WireError: It is out of sequence.
        """
        return not frame.stream or self._correspondence.sequencer.accept(frame)

    def take_up(self) -> bool:
        """Begin to use the connection: queue what the other side has not got of earlier ones.

        Returns:
            Whether both sides go on where they broke off; else all streams start anew.

        Raises:
            RemoteProtocolError: Another connection to the node was taken up in the meantime, or
                this one is closed.
        """
        assert self._hellos is not None  # noqa: S101  # `greet` comes first
        if self._is_closed:
            raise self._lost()
        kept, frames = self._correspondence.meet(*self._hellos, self._meeting)
        self._meeting = self._correspondence.n_meetings
        for frame in frames:
            self.send(frame.raw)
        return kept

    async def drained(self) -> None:
        """Wait until the queue is short enough to make more."""
        while self._pending > HIGH_WATER_BYTES:
            await self._waiting.park()

    async def write(self) -> None:
        """Be the task that writes.

        Raises:
            RemoteProtocolError: The connection is gone or given up, or the peer is too slow.
        """
        with self._writing:
            async for data in self._to_send:
                self._writing.deadline = trio.current_time() + self._limits.written_s(len(data))
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise self._lost() from None
                self._writing.deadline = math.inf
                self._pending -= len(data)
                self._waiting.unpark_all()
        if self._writing.cancelled_caught:
            why = self._why_given_up or (
                f"does not take in what is sent: {self._pending} bytes wait; allowed: "
                f"{self._limits.write_s:g} s and {self._limits.bytes_per_s:g} bytes/s"
            )
            raise RemoteProtocolError(f"{self.node} {why}", LINK_LOST)

    async def next_frame(self) -> Frame | None:
        """Wait for the next frame; None when the peer closes between frames. One task reads.

        Signs of life (spec 4.6) are dealt with here.

        Raises:
            RemoteProtocolError: The connection is gone or too slow, the peer refuses us, or it
                sends too much that we do not know.
            WireError: Bytes that are no frame, or stream 0 is out of sequence.
        """
        while frame := await self._next_of_any_kind():
            if frame.stream == 0:
                self.sequencer.accept(frame)
            if frame.kind == Error.TYPE:
                raise self._refused(frame)
            if frame.kind not in (Ping.TYPE, Pong.TYPE) or self._hellos is None:
                return frame
            message = decode(frame)
            # Who has that much on its way to the other side shows that it is there.
            if isinstance(message, Ping) and self._pending < HIGH_WATER_BYTES:
                self.tell(Pong(n=message.n))
        return None

    async def _next_of_any_kind(self) -> Frame | None:
        while not self._arrived:
            data = await self._receive()
            if not data:
                if self._reader.mid_frame:
                    raise self._lost()
                return None
            n_ignored = self._reader.n_ignored
            self._arrived.extend(self._reader.receive_data(data))
            n_frames = len(self._arrived) + self._reader.n_ignored - n_ignored
            if n_frames:
                self._waited_s = 0.0
                await self._keep_pace(n_frames)
        return self._arrived.popleft()

    async def refuse(self, code: int) -> None:
        """Tell the peer why it is refused, in a code, and close."""
        self.tell(Error(code=code & 0xFFFF))
        with trio.move_on_after(1.0) as scope:
            scope.shield = True
            while self._pending:
                await self._waiting.park()
        await self.close()

    def break_off(self) -> None:
        """Go on with nothing of what was: the other side broke the protocol.

        Unless another connection was taken up after this one: what goes on is that one's.
        """
        if self._meeting == self._correspondence.n_meetings:
            self._correspondence.break_off()

    async def close(self) -> None:
        """Close at once; what is queued is lost."""
        self._is_closed = True
        self._pending = 0
        self._waiting.unpark_all()
        await self._stream.aclose_forcefully()

    async def greet(
        self, node: str, role: RoleName, expected: Expected, entropy: Callable[[int], bytes]
    ) -> None:
        """Exchange Hellos; before `write` and `next_frame` are in use.

        Raises:
            RemoteProtocolError: The peer is not who it should be.
            WireError: Not a Hello.
        """
        ours = greet(node, role, entropy, self._correspondence)
        raw = self.sequencer.seal(ours.TYPE, encode(ours)).raw
        self.n_bytes += len(raw)
        await self._stream.send_all(raw)
        try:
            first = await self.next_frame()
            if first is None:
                raise self._lost()
            theirs = welcome(first, self.node, expected)
        except (RemoteProtocolError, WireError) as error:
            if is_breach(error.abort_code):
                refusal = self.sequencer.seal(Error.TYPE, encode(Error(code=error.abort_code)))
                await self._stream.send_all(refusal.raw)
            raise
        self._hellos = ours, theirs

    async def turn_away(self, code: int) -> None:
        """Tell the peer why it is refused, and close; in place of `write` and `next_frame`."""
        raw = self.sequencer.seal(Error.TYPE, encode(Error(code=code))).raw
        with trio.move_on_after(1.0), contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_all(raw)
        await self.close()

    async def _receive(self) -> bytes:
        data = await self._receive_within(PING_AFTER_S)
        if data is None:
            self._n_pings += 1
            self.tell(Ping(n=self._n_pings))
            data = await self._receive_within(LOST_AFTER_S - PING_AFTER_S)
        if data is None:
            why = f"{self.node} has been silent for {LOST_AFTER_S:g} s"
            raise RemoteProtocolError(why, LINK_LOST)
        return data

    async def _receive_within(self, wait_s: float) -> bytes | None:
        """Wait for bytes; not longer than the frame that has begun may take.

        Only the time that we wait counts: while we do not read, the peer cannot be in time.
        """
        allowed_s = math.inf
        if self._reader.mid_frame:
            allowed_s = self._limits.frame_s(self._reader.begun_bytes)
        left_s = max(0.0, allowed_s - self._waited_s)
        began_s = trio.current_time()
        try:
            with trio.move_on_at(began_s + min(wait_s, left_s)):
                data = await self._stream.receive()
                self.n_bytes += len(data)
                return data
        except NotTrustedError as error:  # who is dialed says so only now, by TLS 1.3
            raise RemoteProtocolError(f"{self._lost()}: {error}", LINK_LOST) from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost() from None
        finally:
            if self._reader.mid_frame:
                self._waited_s += trio.current_time() - began_s
        if wait_s < left_s:
            return None
        raise RemoteProtocolError(
            f"{self.node} is too slow: found {self._reader.n_held} bytes of a frame after "
            f"{allowed_s:g} s; allowed: all of it",
            LINK_LOST,
        )

    async def _keep_pace(self, n_frames: int) -> None:
        limits = self._limits
        if self._reader.n_ignored > limits.unknown_frames:
            raise RemoteProtocolError(
                f"{self.node}: found {self._reader.n_ignored} frames of unknown types; allowed: "
                f"{limits.unknown_frames}",
                QUOTA,
            )
        wait_s = self._pace.take(n_frames)
        if wait_s:
            if self.when_slowed is not None:
                self.when_slowed()
                self.when_slowed = None  # once is enough
            await trio.sleep(wait_s)  # the peer's network holds it back meanwhile

    def _give_up(self, why: str) -> None:
        self._why_given_up = self._why_given_up or why
        self._writing.cancel()

    def _refused(self, frame: Frame) -> RefusedError:
        message = decode(frame)
        code = message.code if isinstance(message, Error) else 0
        return RefusedError(f"{self.node} refuses us with code {code:#06x}", code)

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
    correspond: Callable[[str], Correspondence],
    server_side: bool,
    limits: Limits = LIMITS,
) -> Link:
    """Encryption and greeting on a fresh connection.

    `correspond` gives what there has been with a node before this connection.

    Raises:
        RemoteProtocolError: No TLS, no answer in time, or another node than expected.
        WireError: Not a Hello, or a certificate that names no node.
    """
    try:
        with trio.fail_after(limits.handshake_s):
            channel, other = await credentials.secure(stream, server_side=server_side)
            link = Link(channel, other, correspond(other), limits)
            await link.greet(node, role, expected, entropy)
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, trio.TooSlowError):
            why = f"no handshake within {limits.handshake_s:g} s"
            raise RemoteProtocolError(why, LINK_LOST) from None
        if isinstance(error, trio.BrokenResourceError):
            code = BAD_IDENTITY if isinstance(error, NotTrustedError) else LINK_LOST
            raise RemoteProtocolError(f"TLS: {error}", code) from None
        raise
    return link
