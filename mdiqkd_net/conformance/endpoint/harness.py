"""The harness against an endpoint: it waits to be dialed, as the relay.

An endpoint dials; so a case begins when the node under test comes. A node that has refused, or was
refused, must come again: by itself, or because something starts it again when it ends.

Of two users, the greater id dials the other and participates; so the id of the peer that the
harness plays decides which of the two roles the node has.
"""

import ssl
from contextlib import AsyncExitStack
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
from mdiqkd_net.protocol.handshake import RoleName
from mdiqkd_net.runtime import sockets
from mdiqkd_net.wire.messages import PairReady

REDIAL_S: Final = 60.0
"""How long a node may take to come again: twice the longest back-off."""


PEER: Final = "--peer"
GREATER: Final = "a --peer with the greater id"
"""So that the node coordinates."""
LESSER: Final = "a --peer with the lesser id"
"""So that it participates."""


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What the harness needs to be the node's fiber and its peer, too.

    Attributes:
        identity: The peer.
        address: Where the node listens for users; if the peer's id is the lesser, where the node
            dials the peer. HOST:PORT, or for the latter an inherited socket "fd://N".
        light: Where the node dials its fiber: HOST:PORT, or an inherited socket "fd://N".
        plan: The peer's configuration for the pair.
        pads: The peer's file of pads.
        n_pulses: Of a session that is to give a key; not more than the plan says.
    """

    identity: Identity
    address: str
    light: str
    plan: PairPlan
    pads: Path
    n_pulses: int

    @property
    def node_coordinates(self) -> bool:
        """Whether the node under test has the lesser id of the two."""
        return self.plan.peer < self.plan.node


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
        self._open_all_along = AsyncExitStack()
        self._user: PlayedUser | None = None
        self.identity = identity
        self._address = address
        self._listener: trio.abc.Listener[trio.abc.Stream]
        self._at_fiber: trio.abc.Listener[trio.abc.Stream]
        self._at_peer: trio.abc.Listener[trio.abc.Stream]

    def why_not(self, case: Case[Any]) -> str | None:
        """Why a case cannot be run with what the harness was given; None if it can."""
        for need in {PEER, GREATER, LESSER}.intersection(case.needs):
            if self.pair is None:
                return f"needs {need}: the configuration of a peer to play"
            if need == (LESSER if self.pair.node_coordinates else GREATER):
                role = "coordinates" if self.pair.node_coordinates else "participates"
                return (
                    f"needs {need}: beside {self.pair.plan.node} the node {role}; "
                    "play this in a run of its own"
                )
        return None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: An address cannot be used.
            KeyStoreError: The peer's pads cannot be used.
        """
        self._listener = await self._listen(self._address, "--listen")
        if self.pair is None:
            return
        self._at_fiber = await self._listen(self.pair.light, "light")
        if not self.pair.node_coordinates:
            self._at_peer = await self._listen(self.pair.address, "listen")
        plan = self.pair.plan
        pads = self._open_all_along.enter_context(
            PadFile.open(self.pair.pads, plan.node, plan.peer)
        )
        self._user = PlayedUser(plan, pads, self.rng.randbytes)

    async def _listen(self, address: str, key: str) -> trio.abc.Listener[trio.abc.Stream]:
        return await self._open_all_along.enter_async_context(await self.listen(address, key))

    async def stop(self) -> None:
        """Listen no longer."""
        await self._open_all_along.aclose()

    async def listen(self, address: str, key: str) -> trio.abc.Listener[trio.abc.Stream]:
        """Listen at an address; a test that runs a node elsewhere replaces this.

        Raises:
            ConfigError: It cannot be used.
        """
        return await sockets.listen(address, key)

    @property
    def n_pulses(self) -> int:
        """Of a session that is to give a key."""
        assert self.pair is not None  # noqa: S101  # by `why_not`
        return self.pair.n_pulses

    def played_user(self) -> PlayedUser:
        """The peer."""
        assert self._user is not None  # noqa: S101  # by `why_not`
        return self._user

    async def fiber(self) -> Peer:
        """The node's transmitter, connected and greeted.

        Raises:
            Broken: It does not come.
        """
        return await self._comes(self._at_fiber, self.identity, "fiber", "receiver")

    async def meet_as_peer(self, correspondence: Correspondence) -> Peer:
        """A connection with the node as its peer, greeted; whose id is the greater dials.

        Raises:
            Broken: There is none, or the node does not greet as it must.
        """
        assert self.pair is not None  # noqa: S101  # by `why_not`
        who = self.pair.identity
        if not self.pair.node_coordinates:
            return await self._comes(self._at_peer, who, who.node, "endpoint", correspondence)
        try:
            with trio.fail_after(self.deadlines.reaction_s):
                connection = await self.connect(self.pair)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Broken(f"no connection to the node as its peer: {error}") from None
        peer = Peer(connection, who.node, self.deadlines, self.log, correspondence)
        self.opened.push_async_callback(peer.leave)
        await peer.greet(who.node, "endpoint")
        await peer.met()
        return peer

    async def connect(self, pair: PairSettings) -> Connection:
        """A connection to the node; replaced together with `listen`."""
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
        return await self._comes(self._listener, self.identity, self.identity.node)

    async def _comes(
        self,
        listener: trio.abc.Listener[trio.abc.Stream],
        who: Identity,
        label: str,
        role: RoleName | None = None,
        correspondence: Correspondence | None = None,
    ) -> Peer:
        """The next connection that the node makes to us, and does not end at once.

        Without a role nothing is said yet.
        """
        why = "nobody dialed"
        with trio.move_on_after(REDIAL_S):
            while True:
                try:
                    connection = await self.secured(await listener.accept(), who)
                    peer = Peer(connection, label, self.deadlines, self.log, correspondence)
                    self.opened.push_async_callback(peer.leave)
                    if role is not None:
                        await peer.greet(who.node, role)
                        await peer.met()
                except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError, Broken) as error:
                    # It may have hung up while the case before was played.
                    why = str(error.__cause__ or error) or type(error).__name__
                    continue
                return peer
        raise Broken(f"the node does not dial {label} within {REDIAL_S:g} s: {why}")

    async def secured(self, tcp: trio.abc.Stream, who: Identity) -> Connection:
        """The TLS handshake on a fresh connection; replaced together with `listen`.

        Raises:
            trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError: There is none.
        """
        assert isinstance(tcp, trio.SocketStream)  # noqa: S101  # by `listen`
        stream = trio.SSLStream(tcp, who.server, server_side=True, https_compatible=True)
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
