"""The harness against an endpoint: it waits to be dialed, as the relay.

An endpoint dials; so a case begins when the node under test comes. A node that has refused, or was
refused, must come again: by itself, or because something starts it again when it ends.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from mdiqkd_net.conformance.cases import Broken, Case
from mdiqkd_net.conformance.connection import Connection, TlsConnection
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.endpoint.played import PlayedUser
from mdiqkd_net.conformance.harness import Harness
from mdiqkd_net.conformance.identity import Identity
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.endpoint import PairPlan
from mdiqkd_net.runtime import sockets
from mdiqkd_net.wire.messages import PairReady

REDIAL_S: Final = 60.0
"""How long a node may take to come again: twice the longest back-off."""


PEER: Final = "--peer"


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What the harness needs to be the node's fiber and its peer, too.

    Attributes:
        identity: The peer. Its node id is greater than the node's, so it dials.
        address: Where the node listens for users: HOST:PORT.
        light: Where the node dials its fiber: HOST:PORT, or an inherited socket "fd://N".
        plan: The peer's configuration for the pair.
        pads: The peer's file of pads.
    """

    identity: Identity
    address: str
    light: str
    plan: PairPlan
    pads: Path


class EndpointHarness(Harness):
    """The relay of the endpoint under test.

    Args:
        address: Where the node dials its relay: HOST:PORT, or an inherited socket "fd://N".
        identity: The relay that it expects there.
        pair: The peer to play, and the fiber; without it, cases that need a peer are skipped.
        deadlines, seed: As in `Harness`.
    """

    def __init__(
        self,
        address: str,
        identity: Identity,
        *,
        pair: "PairSettings | None" = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008  # frozen
        seed: int = 1,
    ) -> None:
        super().__init__(deadlines, seed)
        self.pair = pair
        self._user: PlayedUser | None = None
        self._at_fiber: trio.abc.Listener[trio.SocketStream] | None = None
        self.identity = identity
        self._address = address
        self._listener: trio.SocketListener | None = None

    def why_not(self, case: Case[Any]) -> str | None:
        """Why a case cannot be run with what the harness was given; None if it can."""
        if PEER in case.needs and self.pair is None:
            return f"needs {PEER}: the configuration of a peer to play"
        return None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address cannot be used.
        """
        self._listener = await sockets.listen(self._address, "--listen")
        if self.pair is not None:
            self._at_fiber = await sockets.listen(self.pair.light, "light")
            self.open_pads(self.pair)

    def open_pads(self, pair: PairSettings) -> None:
        """Begin to be the peer.

        Raises:
            KeyStoreError: The pads cannot be used.
        """
        plan = pair.plan
        self._pads = PadFile.open(pair.pads, plan.node, plan.peer, leased=True)
        self._user = PlayedUser(plan, self._pads, self.rng.randbytes)

    async def stop(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            await self._listener.aclose()
        if self._at_fiber is not None:
            await self._at_fiber.aclose()
        if self._user is not None:
            self._pads.close()

    def played_user(self) -> PlayedUser:
        """The peer."""
        assert self._user is not None  # noqa: S101  # by `why_not`
        return self._user

    async def fiber(self) -> Peer:
        """The node's transmitter, connected and greeted.

        Raises:
            Broken: It does not come.
        """
        why = "nobody dialed"
        with trio.move_on_after(REDIAL_S):
            while True:
                try:
                    connection = await self.accept_at_fiber()
                except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError) as error:
                    why = str(error.__cause__ or error) or type(error).__name__
                    continue
                peer = Peer(connection, "fiber", self.deadlines, self.log)
                self.opened.push_async_callback(peer.leave)
                try:
                    await peer.greet(self.identity.node, "receiver")
                    await peer.met()
                except Broken as error:  # it has hung up while nobody listened
                    why = str(error)
                    continue
                return peer
        raise Broken(f"its transmitter does not dial the fiber within {REDIAL_S:g} s: {why}")

    async def accept_at_fiber(self) -> Connection:
        """The next connection of a transmitter; replaced together with `accept`."""
        assert self._at_fiber is not None  # noqa: S101  # by `why_not`
        return await self._secured(await self._at_fiber.accept())

    async def dial_as_peer(self, correspondence: Correspondence) -> Peer:
        """A connection to the node as its peer, greeted.

        Raises:
            Broken: There is none, or the node does not greet as it must.
        """
        assert self.pair is not None  # noqa: S101  # by `why_not`
        try:
            with trio.fail_after(self.deadlines.reaction_s):
                connection = await self.connect(self.pair)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Broken(f"no connection to the node as its peer: {error}") from None
        node = self.pair.identity.node
        peer = Peer(connection, node, self.deadlines, self.log, correspondence)
        self.opened.push_async_callback(peer.leave)
        await peer.greet(node, "endpoint")
        await peer.met()
        return peer

    async def connect(self, pair: PairSettings) -> Connection:
        """A connection to the node; replaced together with `accept`."""
        host, port = sockets.parse_address(pair.address, "peer")
        tcp = await trio.open_tcp_stream(host, port)
        stream = trio.SSLStream(tcp, pair.identity.client, https_compatible=True)
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return TlsConnection(stream)

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
        return await self._secured(await self._listener.accept())

    async def _secured(self, tcp: trio.SocketStream) -> Connection:
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
