"""The harness against an endpoint: it waits to be dialed, as the relay.

An endpoint dials; so a case begins when the node under test comes. A node that has refused, or was
refused, must come again: by itself, or because something starts it again when it ends.
"""

import ssl
from typing import Any, Final

import trio

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.conformance.connection import Connection, TlsConnection
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.harness import Harness
from mdiqkd_net.conformance.identity import Identity
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.runtime import sockets
from mdiqkd_net.wire.messages import PairReady

REDIAL_S: Final = 60.0
"""How long a node may take to come again: twice the longest back-off."""


class EndpointHarness(Harness):
    """The relay of the endpoint under test.

    Args:
        address: Where the node dials its relay: HOST:PORT, or an inherited socket "fd://N".
        identity: The relay that it expects there.
        deadlines, seed: As in `Harness`.
    """

    def __init__(
        self,
        address: str,
        identity: Identity,
        *,
        deadlines: Deadlines = Deadlines(),  # noqa: B008  # frozen
        seed: int = 1,
    ) -> None:
        super().__init__(deadlines, seed)
        self.identity = identity
        self._address = address
        self._listener: trio.SocketListener | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address cannot be used.
        """
        self._listener = await sockets.listen(self._address, "--listen")

    async def stop(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            await self._listener.aclose()

    async def probe(self) -> str | None:
        """The node dials, and greets in order."""
        try:
            await self.greeted()
        except Broken as error:
            return str(error)
        finally:
            await self.finish()
        return None

    async def dialed(self) -> Peer:
        """The next connection of the node, after the TLS handshake; nothing is said yet.

        Raises:
            Broken: It does not come.
        """
        why = "nobody dialed"
        with trio.move_on_after(REDIAL_S):
            while True:
                try:
                    connection = await self.accept()
                except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError) as error:
                    # It may have hung up while the case before was played.
                    why = str(error.__cause__ or error) or type(error).__name__
                    continue
                peer = Peer(connection, self.identity.node, self.deadlines, self.log)
                self.opened.push_async_callback(peer.leave)
                return peer
        raise Broken(f"the node does not dial its relay within {REDIAL_S:g} s: {why}")

    async def accept(self) -> Connection:
        """The next connection; a test that runs a node elsewhere replaces this.

        Raises:
            trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError: It came, and no TLS with it.
        """
        assert self._listener is not None  # noqa: S101  # `start` comes first
        tcp = await self._listener.accept()
        stream = trio.SSLStream(tcp, self.identity.server, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(self.deadlines.reaction_s):
                await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return TlsConnection(stream)

    async def greeted(self, **hello: Any) -> Peer:
        """The next connection of the node, with Hellos exchanged.

        Raises:
            Broken: It does not come, or does not greet as it must.
        """
        peer = await self.dialed()
        await peer.greet(self.identity.node, "relay", **hello)
        await peer.met()
        return peer

    def ready(self, node: str) -> PairReady:
        """A legal message of a relay, though for a pair that the node does not belong to."""
        return PairReady(
            n_pulses=1000,
            pulse_rate_hz=10**9,
            relay_key=bytes(32),
            segment_pulses=1000,
            session=self.rng.randbytes(16),
            users=sorted({f"{node}-not", "nobody"}),
        )
