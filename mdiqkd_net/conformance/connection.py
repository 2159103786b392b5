"""What a case needs of a connection; over TLS, unless a test brings its own."""

import ssl
from contextlib import suppress
from typing import Final, Protocol

import trio

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.errors import MdiqkdError
from mdiqkd_net.runtime.tls import certified_node

GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)
"""What is raised on a connection that the other side has ended."""


class Connection(Protocol):
    """A connection to the node under test, after both sides have proven who they are.

    Raises:
        trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError: From `send_all` and
            `receive`: the connection is gone.
    """

    @property
    def node(self) -> str:
        """Node id that the other side has proven.

        Raises:
            Broken: It has proven none.
        """

    async def send_all(self, data: bytes) -> None:
        """Send."""

    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end."""

    async def leave(self, within_s: float) -> None:
        """Close in order, and wait until the other side has closed, too."""

    async def drop(self) -> None:
        """Close at once."""


class TlsConnection:
    """Over TLS, after its handshake."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    @property
    def node(self) -> str:
        """Node id in the certificate of the other side."""
        try:
            return certified_node(self._stream.getpeercert())
        except MdiqkdError as error:
            raise Broken(f"its certificate: {error}") from None

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send."""
        await self._stream.send_all(data)

    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end."""
        return bytes(await self._stream.receive_some())

    async def leave(self, within_s: float) -> None:
        """Close in order, and wait until the other side has closed, too."""
        with trio.move_on_after(within_s):
            with suppress(*GONE):
                await self._stream.unwrap()
            with suppress(*GONE):
                while await self._stream.transport_stream.receive_some():
                    pass
        await self.drop()

    async def drop(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self._stream)
