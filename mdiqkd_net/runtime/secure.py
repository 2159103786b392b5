"""TLS over a stream, by memory BIOs, in large strides.

`trio.SSLStream` does the same and more, but hands over one TLS record of 16 KiB at a time, which at
the hundreds of megabytes per second of simulated light costs more than the light itself. The
protection is OpenSSL's either way. There is no renegotiation in TLS 1.3, and tickets are off; what
OpenSSL may want to send of its own (a key update's answer) goes out with the next `send_all`.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

STRIDE_BYTES: Final = 1 << 18


class NotTrustedError(trio.BrokenResourceError):
    """One side does not accept the other; trying again does not help."""


class SecureStream:
    """One side of a TLS connection, a `Channel` after `do_handshake`."""

    def __init__(
        self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool
    ) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    async def do_handshake(self) -> None:
        """Agree on keys and check certificates, in both directions.

        Raises:
            trio.BrokenResourceError: That is not possible; the text says why.
        """
        with _explained():
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._fill():
                        raise trio.BrokenResourceError from None
                except ssl.SSLError:
                    await self._flush()  # the alert tells the peer why
                    raise
                else:
                    await self._flush()
                    return

    @property
    def certificate(self) -> dict[str, object] | None:
        """The peer's, as `ssl` decodes it."""
        return self._tls.getpeercert()  # type: ignore[return-value]  # the stub is narrower

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send."""
        with _explained():
            self._tls.write(data)
            await self._flush()

    async def receive(self) -> bytes:
        """Wait for bytes and return all that have come; empty at the end of the stream."""
        with _explained():
            while True:
                records: list[bytes] = []
                try:
                    while record := self._tls.read(STRIDE_BYTES):
                        records.append(record)
                except ssl.SSLWantReadError:
                    if not records and await self._fill():
                        continue
                # Without an error, an empty record is the peer's close_notify: nothing more comes.
                return b"".join(records)

    async def aclose_forcefully(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self._transport)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._transport.send_all(self._outgoing.read())

    async def _fill(self) -> bool:
        data = await self._transport.receive_some(STRIDE_BYTES)
        self._incoming.write(data)
        return bool(data)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what breaks a connection into one kind of error, with a text for people."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NotTrustedError(f"certificate refused: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise NotTrustedError(f"refused by the other side ({error.reason})") from None
    except trio.BrokenResourceError:
        raise trio.BrokenResourceError("the other side hung up") from None
