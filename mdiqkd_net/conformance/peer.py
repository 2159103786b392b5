"""One connection of the harness: it can say anything, and judges how it is answered."""

import secrets
import ssl
from collections import deque
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import trio

from mdiqkd_net.conformance.cases import Broken, Close, Ending
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.wirelog import WireLog, describe
from mdiqkd_net.errors import MdiqkdError, WireError
from mdiqkd_net.protocol.handshake import RoleName, greet
from mdiqkd_net.runtime.tls import certified_node
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Error, Hello, Message

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)

M = TypeVar("M", bound=Message)


class Peer:
    """A TLS connection to the node under test, after the TLS handshake.

    Args:
        stream: The connection.
        label: Who the harness is on it, for the log.
    """

    def __init__(
        self,
        stream: trio.SSLStream[trio.SocketStream],
        label: str,
        deadlines: Deadlines,
        log: WireLog,
    ) -> None:
        self._stream = stream
        self._deadlines = deadlines
        self._log = log
        self._reader = FrameReader(CAPS)
        self._arrived: deque[Frame] = deque()
        self.label = label
        self.sequencer = Sequencer()
        self.ended = False
        self.hello: Hello | None = None

    @property
    def certified(self) -> str:
        """Node id in the certificate of the other side.

        Raises:
            Broken: It names no node.
        """
        try:
            return certified_node(self._stream.getpeercert())
        except MdiqkdError as error:
            raise Broken(f"its certificate: {error}") from None

    async def send(self, raw: bytes) -> None:
        """Send bytes. If the other side has gone, whoever reads will find out."""
        self._log.add("sent", self.label, describe(raw))
        with suppress(*_GONE):
            await self._stream.send_all(raw)

    async def tell(self, message: Message, stream: int = 0) -> None:
        """Send a message as its next frame."""
        await self.send(self.sealed(message, stream))

    def sealed(self, message: Message, stream: int = 0) -> bytes:
        """A message as its next frame."""
        return self.sequencer.seal(message.TYPE, encode(message), stream).raw

    async def greet(self, node: str, role: RoleName, /, **changes: Any) -> None:
        """Send a Hello, with some of its fields changed."""
        await self.send(hello(node, role, self.sequencer, **changes))

    async def next(self, within_s: float | None = None) -> Frame | None:
        """The next frame; None once the link has ended.

        Raises:
            trio.TooSlowError: Nothing came.
            Broken: Bytes that are no frame.
        """
        with trio.fail_after(self._deadlines.reaction_s if within_s is None else within_s):
            while not self._arrived:
                if self.ended or not await self._receive():
                    return None
        return self._arrived.popleft()

    async def _receive(self) -> bool:
        try:
            data = bytes(await self._stream.receive_some())
        except _GONE as error:
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
            self._log.add("got", self.label, describe(frame.raw))
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
            Broken: It is not valid, or out of sequence.
        """
        try:
            self.sequencer.accept(frame)
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
        with trio.move_on_after(self._deadlines.close_s):
            with suppress(*_GONE):
                await self._stream.unwrap()
            with suppress(*_GONE):
                while await self._stream.transport_stream.receive_some():
                    pass
        await self.drop()

    async def drop(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self._stream)


def hello(node: str, role: RoleName, sequencer: Sequencer, /, **changes: Any) -> bytes:
    """A Hello as a frame, with some of its fields changed."""
    plain = greet(node, role, secrets.token_bytes, Sequencer())
    (frame,) = FrameReader(CAPS).receive_data(plain)
    message = decode(frame)
    changed = msgspec.structs.replace(message, **changes)
    return sequencer.seal(message.TYPE, encode(changed)).raw
