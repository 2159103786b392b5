"""The relay node: links of users, the light plane, one task that owns the core."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdiqkd_net import byzantine
from mdiqkd_net.blocks import ClickBlock
from mdiqkd_net.byzantine.relay import HostileRelay
from mdiqkd_net.errors import DeviceError, LocalProtocolError, RemoteProtocolError, WireError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.effects import (
    AwaitArmed,
    AwaitReturn,
    Cut,
    Effect,
    HasRoom,
    Report,
    Send,
    StartLight,
    StopLight,
)
from mdiqkd_net.protocol.handshake import Expected, RoleName
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.runtime.accepting import accept
from mdiqkd_net.runtime.config import CharlesConfig, attacked
from mdiqkd_net.runtime.link import Link, is_breach, told
from mdiqkd_net.runtime.optical import LightPlane
from mdiqkd_net.runtime.world import World
from mdiqkd_net.telemetry.events import Telemetry
from mdiqkd_net.wire.frames import Frame

ARMING_S: Final = 30.0
"""How long two users may take from the word that they are next to being ready for light."""

RETURN_S: Final = 30.0
"""How long a user that lost its connection keeps its place."""

STALL_S: Final = 60.0
"""How long a session waits for a user that takes no announcements in."""

Job = Callable[[], list[Effect]]
Serve = Callable[[Link], Awaitable[None]]
Correspond = Callable[[str], Correspondence]
Listener = trio.abc.Listener[trio.abc.Stream]


@dataclass(slots=True)
class _Measurement:
    session: bytes
    scope: trio.CancelScope
    started_s: float


def core_of(config: CharlesConfig, world: World) -> Relay | HostileRelay:
    """The core that a configuration asks for."""
    key = Ed25519PrivateKey.from_private_bytes(world.entropy(32))
    honest = Relay(
        pulse_rate_hz=config.pulse_rate_hz,
        segment_pulses=config.segment_pulses,
        entropy=world.entropy,
        key=key,
    )
    conduct = byzantine.conduct_of(config.relay)
    if conduct is None:
        return honest
    seed = config.device.seed
    rng = np.random.default_rng(list(world.entropy(16)) if seed is None else seed)
    return HostileRelay(honest, conduct.behaviour(config.byzantine, key, rng), config.relay)


class Charles:
    """The shell around the relay core. Build it, then await `run`."""

    def __init__(
        self, config: CharlesConfig, base: Path, telemetry: Telemetry, world: World
    ) -> None:
        self._config = config
        self._base = base
        self._telemetry = telemetry
        self._world = world
        self._core = core_of(config, world)
        self._links: dict[str, Link] = {}
        receiver = attacked(config.device.receiver, config.relay)
        device = msgspec.structs.replace(config.device, receiver=receiver)
        self._light = LightPlane(device, world, pulse_rate_hz=config.pulse_rate_hz)
        self._measurement: _Measurement | None = None
        self._correspondences: dict[str, Correspondence] = {}
        self._room = trio.lowlevel.ParkingLot()
        # One lock in place of one inbox: jobs of the core run one after another, in a thread.
        self._turn = trio.Lock()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ConfigError: Certificates or addresses that cannot be used.
        """
        config, world = self._config, self._world
        credentials = world.credentials(config.tls, self._base)
        users, address = await world.listen(config.listen, "listen")
        light, light_address = await world.listen(config.device.light_listen, "device.light_listen")
        self._telemetry.emit("ready", role="charles", listen=address, light_listen=light_address)
        self._confess()
        async with trio.open_nursery() as nursery:
            listeners: tuple[tuple[Listener, RoleName, RoleName, Serve, Correspond], ...] = (
                (
                    users,
                    "relay",
                    "endpoint",
                    partial(self._serve_user, nursery),
                    self._correspond,
                ),
                (
                    light,
                    "receiver",
                    "transmitter",
                    self._light.serve,
                    lambda _: Correspondence(world.entropy),
                ),
            )
            for listener, role, peer_role, serve, correspond in listeners:
                nursery.start_soon(
                    partial(
                        accept,
                        listener,
                        credentials=credentials,
                        entropy=world.entropy,
                        node=config.node,
                        role=role,
                        expected=Expected(peer_role),
                        correspond=correspond,
                        serve=serve,
                        report=self._telemetry.emit,
                        limits=config.limits,
                    )
                )

    def _confess(self) -> None:
        """Let nobody take a hostile relay for an honest one."""
        name = self._config.relay
        conduct = byzantine.conduct_of(name)
        if conduct is not None:
            self._telemetry.emit(
                "relay.byzantine", behaviour=name, case=conduct.case, does=conduct.does
            )

    async def _serve_user(self, nursery: trio.Nursery, link: Link) -> None:
        await self._welcome(nursery, link)
        try:
            while frame := await link.next_frame():
                await self._do(nursery, partial(self._hear, link, frame))
        except (RemoteProtocolError, WireError) as error:
            if is_breach(told(error)):
                async with self._turn:  # the core may just be numbering frames
                    link.break_off()
            raise
        finally:
            with trio.CancelScope(shield=True):
                await self._take_leave(nursery, link)

    async def _welcome(self, nursery: trio.Nursery, link: Link) -> None:
        async with self._turn:
            kept = link.take_up()
            old = self._links.get(link.node)
            self._links[link.node] = link
            sequencer = self._correspond(link.node).sequencer
            for effect in self._core.connected(link.node, sequencer, kept=kept):
                self._perform(nursery, effect)
        if old is not None:  # half open: its user has come back
            await old.close()

    async def _take_leave(self, nursery: trio.Nursery, link: Link) -> None:
        async with self._turn:
            if self._links.get(link.node) is link:  # its user has not come back meanwhile
                del self._links[link.node]
                for effect in self._core.disconnected(link.node):
                    self._perform(nursery, effect)

    def _hear(self, link: Link, frame: Frame) -> list[Effect]:
        # By the task whose turn it is: the core numbers frames of the same streams. A frame that
        # waited while its user came back is from before: what counted is said again.
        is_present = self._links.get(link.node) is link
        return self._core.receive(link.node, frame) if is_present and link.accept(frame) else []

    def _correspond(self, user: str) -> Correspondence:
        if user not in self._correspondences:
            self._correspondences[user] = Correspondence(self._world.entropy)
        return self._correspondences[user]

    async def _do(self, nursery: trio.Nursery, job: Job) -> None:
        async with self._turn:
            for effect in await self._world.in_thread(job):
                self._perform(nursery, effect)

    def _perform(self, nursery: trio.Nursery, effect: Effect) -> None:
        match effect:
            case Send(node=user, data=data):
                if user in self._links:
                    self._links[user].send(data)
            case Report(event=event, fields=fields):
                if event == "pair.finished" and self._measurement is not None:
                    light_s = trio.current_time() - self._measurement.started_s
                    fields = {**fields, "light_s": round(light_s, 6)}
                self._telemetry.emit(event, fields)
            case Cut(node=user, anew=anew):
                if user in self._links:
                    if anew:
                        self._links[user].break_off()
                    nursery.start_soon(self._links[user].close)
            case AwaitArmed(session=session):
                nursery.start_soon(self._give_time, nursery, session)
            case AwaitReturn(user=user, n_visits=n_visits):
                nursery.start_soon(self._await_return, nursery, user, n_visits)
            case HasRoom():
                self._room.unpark_all()
            case StartLight():
                nursery.start_soon(self._measure, nursery, effect)
            case StopLight(session=session):
                if self._measurement is not None and self._measurement.session == session:
                    self._measurement.scope.cancel()
            case _:
                raise LocalProtocolError(f"the relay has no {type(effect).__name__}")

    async def _give_time(self, nursery: trio.Nursery, session: bytes) -> None:
        await trio.sleep(ARMING_S)  # a deadline for users that never say they are ready
        await self._do(nursery, partial(self._core.arming_overdue, session))

    async def _await_return(self, nursery: trio.Nursery, user: str, n_visits: int) -> None:
        await trio.sleep(RETURN_S)  # what a user that lost its connection has to come back
        await self._do(nursery, partial(self._core.gone, user, n_visits))

    async def _wait_for_room(self, session: bytes) -> None:
        with trio.move_on_after(STALL_S) as scope:
            while not self._core.has_room(session):
                await self._room.park()
        if scope.cancelled_caught:
            raise DeviceError(f"a user has taken no announcements in for {STALL_S:g} s")

    async def _measure(self, nursery: trio.Nursery, start: StartLight) -> None:
        async def deliver(clicks: ClickBlock) -> None:
            await self._do(nursery, partial(self._core.clicks, start.session, clicks))
            for user in start.users:
                if user in self._links:
                    await self._links[user].drained()
            await self._wait_for_room(start.session)

        with trio.CancelScope() as scope:
            self._measurement = _Measurement(start.session, scope, trio.current_time())
            try:
                await self._light.measure(start.session, start.users, start.segments, deliver)
            except (DeviceError, RemoteProtocolError, WireError) as error:
                self._telemetry.emit("device.failed", users=list(start.users), reason=str(error))
                await self._do(nursery, partial(self._core.light_failed, start.session))
