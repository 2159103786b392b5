"""One connection of the harness: it can say anything, and judges how it is answered."""

import secrets
from collections import deque
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import trio

from mdiqkd_net.conformance.cases import Broken, Close, Ending
from mdiqkd_net.conformance.connection import GONE, Connection
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.wirelog import WireLog, describe
from mdiqkd_net.errors import WireError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import RoleName, greet
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Error, Hello, Message, Ping, Pong

M = TypeVar("M", bound=Message)


class Peer:
    """A connection to the node under test, and the frames that pass on it.

    Args:
        connection: After the TLS handshake; nothing is said yet.
        label: Who the harness is on it, for the log.
        correspondence: What there has been with the node before; nothing, unless told.

    Attributes:
        sequencer: Numbers stream 0, which belongs to the connection.
        hello: The node's first message, once it has come.
        kept: Whether both sides go on where an earlier connection broke off (spec 4.4).
    """

    def __init__(
        self,
        connection: Connection,
        label: str,
        deadlines: Deadlines,
        log: WireLog,
        correspondence: Correspondence | None = None,
    ) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self._log = log
        self._reader = FrameReader(CAPS)
        self._arrived: deque[Frame] = deque()
        self._sending = trio.Lock()
        self.label = label
        self.sequencer = Sequencer()
        self.correspondence = correspondence or Correspondence(secrets.token_bytes)
        self.ended = False
        self.hello: Hello | None = None
        self.kept = False
        self._said: tuple[Hello, int] | None = None

    @property
    def certified(self) -> str:
        """Node id in the certificate of the other side.

        Raises:
            Broken: It names no node.
        """
        return self._connection.node

    @property
    def greeting(self) -> Hello:
        """The node's first message, which has come."""
        assert self.hello is not None  # noqa: S101  # by the callers
        return self.hello

    async def send(self, raw: bytes) -> None:
        """Send bytes. If the other side has gone, whoever reads will find out."""
        self._log.add("sent", self.label, raw)
        async with self._sending:  # a case and the task that answers for it
            with suppress(*GONE):
                await self._connection.send_all(raw)

    async def tell(self, message: Message, stream: int = 0) -> None:
        """Send a message as its next frame."""
        await self.send(self.sealed(message, stream))

    def sealed(self, message: Message, stream: int = 0) -> bytes:
        """A message as its next frame."""
        return self.seal(message.TYPE, encode(message), stream)

    def seal(self, kind: int, body: bytes, stream: int = 0) -> bytes:
        """Any body as the next frame."""
        return self._sequencer(stream).seal(kind, body, stream).raw

    def _sequencer(self, stream: int) -> Sequencer:
        return self.correspondence.sequencer if stream else self.sequencer

    async def greet(self, node: str, role: RoleName, /, **changes: Any) -> None:
        """Send a Hello, with some of its fields changed."""
        said = hello(node, role, self.correspondence, **changes)
        self._said = said, self.correspondence.n_meetings
        await self.tell(said)

    async def met(self) -> None:
        """Wait for the node's Hello; then send again what it has not got, if both go on.

        Raises:
            Broken: It does not greet as it must.
        """
        assert self._said is not None  # noqa: S101  # `greet` comes first
        ours, n_meetings = self._said
        self.hello, _ = await self.expect(Hello)
        self.kept, frames = self.correspondence.meet(ours, self.hello, n_meetings)
        for frame in frames:
            await self.send(frame.raw)

    async def next(self, within_s: float | None = None) -> Frame | None:
        """The next frame; None once the link has ended. Pings are answered, and passed over.

        Raises:
            trio.TooSlowError: Nothing came.
            Broken: Bytes that are no frame.
        """
        with trio.fail_after(self._deadlines.reaction_s if within_s is None else within_s):
            while True:
                while not self._arrived:
                    if self.ended or not await self._receive():
                        return None
                frame = self._arrived.popleft()
                if frame.kind != Ping.TYPE or self.hello is None:
                    return frame
                ping = self.read(frame)
                assert isinstance(ping, Ping)  # noqa: S101  # by its type
                await self.tell(Pong(n=ping.n))

    async def _receive(self) -> bool:
        try:
            data = await self._connection.receive()
        except GONE as error:
            self._log.add("got", self.label, f"end of the link ({type(error).__name__})")
            self.ended = True
            return False
        if not data:
            self._log.add("got", self.label, "end of the link")
            self.ended = True
            return False
        try:
            frames = self._reader.receive_data(data)
        except WireError as error:
            raise Broken(f"it sends what is no frame: {error}") from None
        for frame in frames:
            self._log.add("got", self.label, frame.raw)
        self._arrived.extend(frames)
        return True

    async def expect(self, kind: type[M], within_s: float | None = None) -> tuple[M, Frame]:
        """The next frame, which must be a valid and well numbered one of this kind.

        Raises:
            Broken: It is not.
        """
        try:
            frame = await self.next(within_s)
        except trio.TooSlowError:
            raise Broken(f"{self.label}: expected {kind.__name__}; nothing came") from None
        if frame is None:
            raise Broken(f"{self.label}: expected {kind.__name__}; the link was closed")
        message = self.read(frame)
        if not isinstance(message, kind):
            refusal = f" with code {message.code:#06x}" if isinstance(message, Error) else ""
            raise Broken(
                f"{self.label}: expected {kind.__name__}; got {type(message).__name__}{refusal}"
            )
        return message, frame

    def read(self, frame: Frame) -> Message:
        """The message of a frame that came.

        Raises:
            Broken: It is not valid, or out of sequence, or has come before.
        """
        try:
            if not self._sequencer(frame.stream).accept(frame):
                raise Broken(f"{self.label}: it sends again what has come: {describe(frame.raw)}")
            return decode(frame)
        except WireError as error:
            raise Broken(f"{self.label}: it sends a frame that is not valid: {error}") from None

    async def quiet(self, why: str, within_s: float | None = None) -> None:
        """Return if nothing comes for a while.

        Raises:
            Broken: Something came, or the link ended.
        """
        wait_s = self._deadlines.quiet_s if within_s is None else within_s
        try:
            frame = await self.next(wait_s)
        except trio.TooSlowError:
            return
        what = "the link was closed" if frame is None else f"got {describe(frame.raw)}"
        raise Broken(f"{self.label}: {why}; {what}")

    async def refused(self, *codes: int, within_s: float | None = None) -> Ending:
        """Wait until the other side has refused what was sent, and judge how it did.

        Args:
            codes: What its Error may say; the specification's code first.
            within_s: For the Error, or the end, to come.

        Raises:
            Broken: It took it.
        """
        wait_s = self._deadlines.reaction_s if within_s is None else within_s
        error: Error | None = None
        try:
            while error is None:
                frame = await self.next(wait_s)
                if frame is None:
                    return Ending(Close.NO_ERROR, "the link was closed without a word")
                message = decode(frame)
                error = message if isinstance(message, Error) else None
        except trio.TooSlowError:
            raise Broken(f"not refused: no Error, and still open after {wait_s:g} s") from None
        except WireError as invalid:
            raise Broken(f"it sends a frame that is not valid: {invalid}") from None
        allowed = " or ".join(f"{code:#06x}" for code in codes)
        try:
            while await self.next(self._deadlines.close_s) is not None:
                pass
        except trio.TooSlowError:
            found = f"Error {error.code:#06x}, but no close within {self._deadlines.close_s:g} s"
            return Ending(Close.LEFT_OPEN, found)
        if codes and error.code not in codes:
            return Ending(Close.WRONG_CODE, f"Error {error.code:#06x}; expected {allowed}")
        return Ending(Close.CLEAN, f"Error {error.code:#06x} and close")

    async def leave(self) -> None:
        """Close in order, and wait until the other side has closed, too."""
        await self._connection.leave(self._deadlines.close_s)

    async def drop(self) -> None:
        """Close at once."""
        await self._connection.drop()


def hello(node: str, role: RoleName, correspondence: Correspondence, /, **changes: Any) -> Hello:
    """A Hello with some of its fields changed."""
    plain = greet(node, role, secrets.token_bytes, correspondence)
    return msgspec.structs.replace(plain, **changes)
