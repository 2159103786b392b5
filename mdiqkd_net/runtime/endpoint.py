"""A user's node: a relay link, a light link, and for every peer a link, a core and a task."""

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import trio

from mdiqkd_net.devices.entropy import ENTROPY_SOURCES, EntropySource
from mdiqkd_net.errors import (
    ConfigError,
    DeviceError,
    ProtocolError,
    RemoteProtocolError,
    WireError,
)
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.accepting import accept, attend
from mdiqkd_net.runtime.config import (
    EndpointConfig,
    FileEntropyConfig,
    Peer,
    SystemEntropyConfig,
)
from mdiqkd_net.runtime.designs import analysis_of, frozen_path
from mdiqkd_net.runtime.link import Link, secure
from mdiqkd_net.runtime.optical import Transmitter
from mdiqkd_net.runtime.pair import Pair
from mdiqkd_net.runtime.world import Credentials, World
from mdiqkd_net.secret import in_use
from mdiqkd_net.telemetry.events import Telemetry
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import Message, PairReady


class RelayLink:
    """The one relay link of a node, shared by its pairs."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._pairs: dict[int, Pair] = {}
        self.up = trio.Event()

    def tell(self, message: Message, stream: int) -> int:
        """Queue a message for the relay; returns its length in bytes.

        Raises:
            DeviceError: There is no link.
        """
        if self._link is None:
            raise DeviceError("no link to the relay")
        return self._link.tell(message, stream)

    async def serve(self, pairs: dict[str, Pair], link: Link) -> None:
        """Hand the relay's frames to the pairs until it goes.

        Raises:
            RemoteProtocolError, WireError: It does not speak the protocol, or it is gone.
        """
        self._link = link
        self.up.set()
        while frame := await link.next_frame():
            link.sequencer.accept(frame)
            if frame.kind == PairReady.TYPE:
                ready = decode(frame)
                users = ready.users if isinstance(ready, PairReady) else []
                peers = [pairs[user] for user in users if user in pairs]
                if len(peers) != 1:
                    raise RemoteProtocolError(
                        f"PairReady for {users}; allowed: one of {sorted(pairs)} and us"
                    )
                self._pairs[frame.stream] = peers[0]
            pair = self._pairs.get(frame.stream)
            if pair is None:
                raise RemoteProtocolError(f"relay: session {frame.stream} has not begun")
            await pair.from_relay(frame)
        raise RemoteProtocolError("the relay closed the link", sockets.UNREACHABLE)


class EndpointNode:
    """The shell around a user's cores. Build it, then await `run`."""

    def __init__(
        self, config: EndpointConfig, base: Path, telemetry: Telemetry, world: World
    ) -> None:
        self._config = config
        self._base = base
        self._telemetry = telemetry
        self._world = world
        self._relay = RelayLink()
        self._transmitter = Transmitter(world)
        self._pairs: dict[str, Pair] = {}
        self._has_all_keys = False
        _check(config)

    async def run(self) -> None:
        """Make the configured keys, then stay connected until cancelled.

        Raises:
            ConfigError: Files or addresses that cannot be used.
            RemoteProtocolError: The relay, or every peer, cannot be worked with.
        """
        config = self._config
        credentials = self._world.credentials(config.tls, self._base)
        analyses = {peer.node: analysis_of(config, peer, self._base) for peer in config.peers}
        with ExitStack() as stack:
            store = stack.enter_context(
                await self._world.in_thread(KeyStore.open, self._base / config.store)
            )
            entropy = stack.enter_context(closing(self._entropy()))
            for peer in config.peers:
                pads = PadFile.open(self._base / peer.pads, config.node, peer.node)
                self._pairs[peer.node] = Pair(
                    config=config,
                    peer=peer,
                    pads=stack.enter_context(pads),
                    store=store,
                    relay=self._relay,
                    transmitter=self._transmitter,
                    entropy=entropy,
                    emit=self._telemetry.emit,
                    analysis=analyses[peer.node],
                    frozen=frozen_path(self._base / config.store),
                    world=self._world,
                )
            listener, address = await self._world.listen(config.listen, "listen")
            kinds = sorted(in_use())
            self._telemetry.emit("ready", role="endpoint", listen=address, secret_memory=kinds)
            await self._serve(listener, credentials)

    async def _serve(
        self, listener: trio.abc.Listener[trio.abc.Stream], credentials: Credentials
    ) -> None:
        config = self._config
        async with trio.open_nursery() as nursery:
            accepted = Expected("endpoint", [p for p in self._pairs if p > config.node])
            nursery.start_soon(
                partial(
                    accept,
                    listener,
                    credentials=credentials,
                    entropy=self._world.entropy,
                    node=config.node,
                    role="endpoint",
                    expected=accepted,
                    serve=self._serve_peer,
                    report=self._telemetry.emit,
                )
            )
            nursery.start_soon(self._keep_relay, credentials)
            nursery.start_soon(self._keep_light, credentials)
            for peer in config.peers:
                if peer.node < config.node:
                    nursery.start_soon(self._dial_peer, peer, credentials)
            await self._relay.up.wait()
            await self._transmitter.up.wait()
            async with trio.open_nursery() as working:
                for pair in self._pairs.values():
                    working.start_soon(pair.run)
            self._require_some_success()
            self._has_all_keys = True
            await trio.sleep_forever()

    def _entropy(self) -> EntropySource:
        source = self._config.entropy
        if isinstance(source, SystemEntropyConfig):
            return self._world.entropy
        if isinstance(source, FileEntropyConfig):
            return ENTROPY_SOURCES["file"](self._base / source.path)
        return ENTROPY_SOURCES["device"](self._base / source.path, source.timeout_s)

    def _require_some_success(self) -> None:
        failures = [pair.failure for pair in self._pairs.values()]
        if failures and all(failures):
            raise RemoteProtocolError("; ".join(str(failure) for failure in failures))

    async def _serve_peer(self, link: Link) -> None:
        await self._pairs[link.node].serve(link)

    async def _dial_peer(self, peer: Peer, credentials: Credentials) -> None:
        pair = self._pairs[peer.node]
        try:
            link = await self._dial(
                str(peer.address),
                f"peers.{peer.node}",
                Expected("endpoint", [peer.node]),
                credentials,
            )
        except (ProtocolError, WireError) as error:
            pair.fail(f"{peer.node}: {error}")
            return
        await attend(link, pair.serve, self._telemetry.emit)

    async def _keep_relay(self, credentials: Credentials) -> None:
        relay = self._config.relay
        link = await self._dial(
            relay.address, "relay", Expected("relay", [relay.node]), credentials
        )
        ended = await attend(link, partial(self._relay.serve, self._pairs), self._telemetry.emit)
        self._miss(f"relay {relay.node} ({relay.address}): {ended}")

    def _miss(self, what: str) -> None:
        """A link that everything needs is gone: an error, unless everything is done."""
        if not self._has_all_keys:
            raise RemoteProtocolError(what)

    async def _keep_light(self, credentials: Credentials) -> None:
        address, relay = self._config.light, self._config.relay.node
        link = await self._dial(
            address, "light", Expected("receiver", [relay]), credentials, transmitter=True
        )
        self._transmitter.connected(link)
        ended = await attend(link, self._transmitter.serve, self._telemetry.emit)
        self._miss(f"light link ({address}): {ended or 'closed by the fiber'}")

    async def _dial(
        self,
        address: str,
        key: str,
        expected: Expected,
        credentials: Credentials,
        *,
        transmitter: bool = False,
    ) -> Link:
        stream = await sockets.dial(address, key, self._config.patience_s, self._world.connect)
        try:
            return await secure(
                stream,
                credentials,
                node=self._config.node,
                role="transmitter" if transmitter else "endpoint",
                expected=expected,
                entropy=self._world.entropy,
                server_side=False,
            )
        except (ProtocolError, WireError) as error:
            text = f"{key} ({address}): {error}"
            code = getattr(error, "abort_code", sockets.UNREACHABLE)
            raise RemoteProtocolError(text, code) from None


def _check(config: EndpointConfig) -> None:
    names = [peer.node for peer in config.peers]
    if not names:
        raise ConfigError("peers: found none; allowed: at least one [[peers]] table")
    if len(set(names)) != len(names) or config.node in names or config.relay.node in names:
        raise ConfigError(
            f"peers: found {', '.join(names)}; allowed: different users, "
            f"neither {config.node} itself nor the relay"
        )
    for peer in config.peers:
        if peer.node < config.node and peer.address is None:
            raise ConfigError(
                f"peers.{peer.node}: key `address` is missing; {config.node} dials {peer.node}"
            )
        if peer.address is not None:
            sockets.parse_address(peer.address, f"peers.{peer.node}.address")
    sockets.parse_address(config.relay.address, "relay.address")
    sockets.parse_address(config.light, "light")
