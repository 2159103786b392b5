"""A user's node: a relay link, a light link, and for every peer a link, a core and a task."""

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

import trio

from mdiqkd_net.devices.entropy import ENTROPY_SOURCES, EntropySource
from mdiqkd_net.errors import (
    ConfigError,
    ProtocolError,
    RemoteProtocolError,
    WireError,
)
from mdiqkd_net.keys.asking import socket_path
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.correspondence import LINK_LOST, Correspondence
from mdiqkd_net.protocol.handshake import Expected, RoleName
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.accepting import Report, accept, attend
from mdiqkd_net.runtime.config import (
    EndpointConfig,
    FileEntropyConfig,
    Peer,
    SystemEntropyConfig,
)
from mdiqkd_net.runtime.counter import serve as serve_counter
from mdiqkd_net.runtime.designs import analysis_of, frozen_path
from mdiqkd_net.runtime.link import Link, is_breach, is_final, secure, told
from mdiqkd_net.runtime.optical import Transmitter
from mdiqkd_net.runtime.pair import Pair
from mdiqkd_net.runtime.processors import processor_of
from mdiqkd_net.runtime.world import Credentials, World
from mdiqkd_net.secret import in_use
from mdiqkd_net.telemetry.events import Telemetry
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import MAX_STREAMS, Frame
from mdiqkd_net.wire.messages import Message, PairReady

RECONNECT_S: Final = 0.5
MAX_RECONNECT_S: Final = 5.0
"""So small that a line that is mended carries keys again within ten seconds."""

STEADY_S: Final = 10.0
"""A link that lasted so long was a good one: back-off begins anew."""

MAX_VIOLATIONS: Final = 8
"""Links in a row that may end by a breach of the protocol."""


class RelayLink:
    """The one relay link of a node, shared by its pairs; connections to the relay come and go."""

    def __init__(self, pairs: Mapping[str, Pair], entropy: EntropySource, report: Report) -> None:
        self.correspondence = Correspondence(entropy)
        self._all_pairs = pairs
        self._report = report
        self._link: Link | None = None
        self._pairs: dict[int, Pair] = {}
        self._violation: RemoteProtocolError | None = None
        self.away_since = trio.current_time()

    def tell(self, message: Message, stream: int) -> int:
        """Say something to the relay, now or, on a stream above 0, once it is there."""
        if stream == 0:
            return 0 if self._link is None else self._link.tell(message)
        frame = self.correspondence.sequencer.seal(message.TYPE, encode(message), stream)
        if self._link is not None:
            self._link.send(frame.raw)
        return len(frame.raw)

    async def refuse(self, why: str, code: int) -> None:
        """The relay broke the protocol: close its link, and begin anew."""
        self._report("relay.violation", reason=why)
        self.correspondence.break_off()
        if self._link is not None:
            self._violation = RemoteProtocolError(why, code)
            await self._link.refuse(code)

    async def serve(self, link: Link) -> None:
        """Hand the relay's frames to the pairs until it goes.

        Raises:
            RemoteProtocolError, WireError: It does not speak the protocol, or it is gone.
        """
        kept = link.take_up()
        if not kept:
            self._pairs.clear()
        self._link = link
        self._since(math.inf)
        for pair in self._all_pairs.values():
            await pair.relay_linked(kept=kept)
        try:
            while frame := await link.next_frame():
                if link.accept(frame):
                    await self._route(frame)
        except (WireError, RemoteProtocolError) as error:
            violation, self._violation = self._violation, None
            if violation is not None:
                raise violation from None
            if is_breach(told(error)):
                self.correspondence.break_off()
            raise
        finally:
            self._link = None
            self._since(trio.current_time())
        raise RemoteProtocolError("the relay closed the link", LINK_LOST)

    async def _route(self, frame: Frame) -> None:
        if frame.kind == PairReady.TYPE:
            ready = decode(frame)
            users = ready.users if isinstance(ready, PairReady) else []
            peers = [self._all_pairs[user] for user in users if user in self._all_pairs]
            if len(peers) != 1:
                raise RemoteProtocolError(
                    f"PairReady for {users}; allowed: one of {sorted(self._all_pairs)} and us"
                )
            self._pairs = dict(list(self._pairs.items())[-MAX_STREAMS:])
            self._pairs[frame.stream] = peers[0]
        pair = self._pairs.get(frame.stream)
        if pair is None:
            raise RemoteProtocolError(f"relay: session {frame.stream} has not begun")
        await pair.from_relay(frame)

    def _since(self, time_s: float) -> None:
        self.away_since = time_s
        for pair in self._all_pairs.values():
            pair.check_patience()


class EndpointNode:
    """The shell around a user's cores. Build it, then await `run`."""

    def __init__(
        self, config: EndpointConfig, base: Path, telemetry: Telemetry, world: World
    ) -> None:
        self._config = config
        self._base = base
        self._telemetry = telemetry
        self._world = world
        self._transmitter = Transmitter(world)
        self._pairs: dict[str, Pair] = {}
        self._trouble = trio.lowlevel.ParkingLot()
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
            processor = stack.enter_context(
                await self._world.in_thread(processor_of, config, self._base)
            )
            relay = RelayLink(self._pairs, self._world.entropy, self._telemetry.emit)
            for peer in config.peers:
                pads = stack.enter_context(
                    PadFile.open(self._base / peer.pads, config.node, peer.node)
                )
                if pads.high_water == 0:  # new ones: nobody could check what was said under others
                    await self._world.in_thread(store.forget_words, peer.node)
                self._pairs[peer.node] = Pair(
                    config=config,
                    peer=peer,
                    pads=pads,
                    store=store,
                    relay=relay,
                    transmitter=self._transmitter,
                    entropy=entropy,
                    emit=self._telemetry.emit,
                    analysis=analyses[peer.node],
                    frozen=frozen_path(self._base / config.store),
                    world=self._world,
                    when_troubled=self._pair_is_troubled,
                    processor=processor,
                )
            counter = await self._world.listen_local(socket_path(self._base / config.store))
            async with counter:
                listener, address = await self._world.listen(config.listen, "listen")
                self._telemetry.emit(
                    "ready",
                    role="endpoint",
                    listen=address,
                    secret_memory=sorted(in_use()),
                    scheduler=config.postprocessing and config.postprocessing.scheduler,
                )
                await self._serve(listener, counter, credentials, relay)

    async def _serve(
        self,
        listener: trio.abc.Listener[trio.abc.Stream],
        counter: trio.abc.Listener[trio.abc.Stream],
        credentials: Credentials,
        relay: RelayLink,
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
                    correspond=self._correspond,
                    serve=self._serve_peer,
                    report=self._telemetry.emit,
                    limits=config.limits,
                )
            )
            nursery.start_soon(serve_counter, counter, self._pairs)
            nursery.start_soon(self._keep_relay, credentials, relay)
            nursery.start_soon(self._keep_light, credentials)
            for peer in config.peers:
                if peer.node < config.node:
                    nursery.start_soon(self._keep_peer, peer, credentials)
            await self._transmitter.up.wait()
            for pair in self._pairs.values():
                nursery.start_soon(pair.run)
            await self._until_nobody_is_left()

    async def agree(self, peer: str, n_keys: int, *, allow_simulated: bool) -> None:
        """Set keys aside at this user and a peer; see `Pair.agree`."""
        await self._pairs[peer].agree(n_keys, allow_simulated=allow_simulated)

    def _correspond(self, node: str) -> Correspondence:
        pair = self._pairs.get(node)
        # Strangers are turned away after they have said who they are.
        return Correspondence(self._world.entropy) if pair is None else pair.correspondence

    def _entropy(self) -> EntropySource:
        source = self._config.entropy
        if isinstance(source, SystemEntropyConfig):
            return self._world.entropy
        if isinstance(source, FileEntropyConfig):
            return ENTROPY_SOURCES["file"](self._base / source.path)
        return ENTROPY_SOURCES["device"](self._base / source.path, source.timeout_s)

    def _pair_is_troubled(self) -> None:
        self._trouble.unpark_all()

    async def _until_nobody_is_left(self) -> None:
        """Wait until nothing is made with any peer: then there is no reason to stay.

        Raises:
            RemoteProtocolError: Why, for each of them.
        """
        while not all(pair.trouble for pair in self._pairs.values()):
            await self._trouble.park()
        raise RemoteProtocolError("; ".join(pair.trouble for pair in self._pairs.values()))

    def _patience_s(self) -> float:
        """How long the relay may be away; for ever once all blocks with some peer are made."""
        has_keys = any(pair.done.is_set() and not pair.trouble for pair in self._pairs.values())
        return math.inf if has_keys else self._config.patience_s

    async def _serve_peer(self, link: Link) -> None:
        await self._pairs[link.node].serve(link)

    async def _keep_peer(self, peer: Peer, credentials: Credentials) -> None:
        pair = self._pairs[peer.node]
        try:
            await self._keep(
                str(peer.address),
                f"peers.{peer.node}",
                Expected("endpoint", [peer.node]),
                credentials,
                correspond=lambda _: pair.correspondence,
                serve=pair.serve,
                patience_s=lambda: math.inf,  # it is the pair that loses patience
            )
        except (ProtocolError, WireError) as error:
            pair.fail(f"{peer.node}: {error}")

    async def _keep_relay(self, credentials: Credentials, relay: RelayLink) -> None:
        remote = self._config.relay
        await self._keep(
            remote.address,
            "relay",
            Expected("relay", [remote.node]),
            credentials,
            correspond=lambda _: relay.correspondence,
            serve=relay.serve,
            patience_s=self._patience_s,
        )

    async def _keep_light(self, credentials: Credentials) -> None:
        await self._keep(
            self._config.light,
            "light",
            Expected("receiver", [self._config.relay.node]),
            credentials,
            correspond=lambda _: Correspondence(self._world.entropy),
            serve=self._transmitter.serve,
            patience_s=self._patience_s,
            role="transmitter",
        )

    async def _keep(
        self,
        address: str,
        key: str,
        expected: Expected,
        credentials: Credentials,
        *,
        correspond: Callable[[str], Correspondence],
        serve: Callable[[Link], Awaitable[None]],
        patience_s: Callable[[], float],
        role: RoleName = "endpoint",
    ) -> None:
        """Keep a link to another node: dial, serve, and dial again when it is lost.

        Raises:
            RemoteProtocolError: There has been no link for `patience_s`, or there never will be.
        """
        wait_s, n_broken = RECONNECT_S, 0
        away_since = trio.current_time()
        while True:
            left_s = max(0.0, round(away_since + patience_s() - trio.current_time(), 3))
            stream = await sockets.dial(address, key, left_s, self._world.connect)
            ended: ProtocolError | WireError | None
            try:
                link = await secure(
                    stream,
                    credentials,
                    node=self._config.node,
                    role=role,
                    expected=expected,
                    entropy=self._world.entropy,
                    correspond=correspond,
                    server_side=False,
                    limits=self._config.limits,
                )
            except (ProtocolError, WireError) as error:
                ended = error
                self._telemetry.emit("link.refused", reason=f"{key} ({address}): {error}")
            else:
                began = trio.current_time()
                ended = await attend(link, serve, self._telemetry.emit)
                away_since = trio.current_time()
                if away_since - began > STEADY_S:
                    wait_s, n_broken = RECONNECT_S, 0
            code = told(ended)
            n_broken += is_breach(code)
            if is_final(code) or n_broken > MAX_VIOLATIONS:
                raise RemoteProtocolError(f"{key} ({address}): {ended}", code) from None
            # Back-off with full jitter, so that a network that comes back is not stormed.
            await trio.sleep(self._fraction() * wait_s)
            wait_s = min(2 * wait_s, MAX_RECONNECT_S)

    def _fraction(self) -> float:
        return int.from_bytes(self._world.entropy(4), "big") / 2**32


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
