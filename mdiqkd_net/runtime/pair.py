"""One pair at one user: the only task that touches its core."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from mdiqkd_net.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, WireError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.effects import (
    Arm,
    Disarm,
    Discard,
    Effect,
    Finished,
    Freeze,
    Hold,
    Observe,
    Release,
    Report,
    Resume,
    Send,
    Tell,
)
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.light import Entropy
from mdiqkd_net.protocol.states import State
from mdiqkd_net.runtime.config import EndpointConfig, Peer
from mdiqkd_net.runtime.designs import store_digest
from mdiqkd_net.runtime.link import Link
from mdiqkd_net.runtime.optical import Transmitter
from mdiqkd_net.runtime.watching import Watcher
from mdiqkd_net.runtime.world import World, durably
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Message

INBOX_FRAMES: Final = 64
_RELAYS_TURN: Final = (State.COLLECTING, State.ABORTED, State.DONE)
"""While the relay measures, or other pairs have their turn, silence is no fault of the peer."""


class RelayPort(Protocol):
    """What a pair needs of the node's relay link."""

    def tell(self, message: Message, stream: int) -> int:
        """Queue a message for the relay; returns its length in bytes."""


class Pair:
    """The shell around one `Endpoint` core."""

    def __init__(
        self,
        *,
        config: EndpointConfig,
        peer: Peer,
        pads: PadFile,
        store: KeyStore,
        relay: RelayPort,
        transmitter: Transmitter,
        entropy: Entropy,
        emit: Callable[..., None],
        analysis: Analysis,
        frozen: Path,
        world: World,
    ) -> None:
        self._config = config
        self._peer = peer
        self._pads = pads
        self._store = store
        self._relay = relay
        self._transmitter = transmitter
        self._entropy = entropy
        self._emit = emit
        self._analysis = analysis
        self._frozen = frozen
        self._world = world
        self._watcher = Watcher(peer.commissioned, world, emit)
        self._inbox, self._to_handle = trio.open_memory_channel[tuple[bool, Frame]](INBOX_FRAMES)
        self._link: Link | None = None
        self._linked = trio.Event()
        self._scope = trio.CancelScope()
        self._stages = _Stages()
        self._session = b""
        self._relay_bytes = 0
        self._peer_bytes_before = 0
        self._n_ended = 0
        self._n_keys = 0
        self.failure = ""

    async def serve(self, link: Link) -> None:
        """Read a fresh link to the peer until it goes.

        Raises:
            RemoteProtocolError: There is one already, or the peer broke the protocol.
            WireError: Bytes that are no frame.
        """
        if self._link is not None:
            raise RemoteProtocolError(f"{link.node} is connected already")
        self._link = link
        self._linked.set()
        why = f"the link to {link.node} broke"
        try:
            while frame := await link.next_frame():
                await self._queue(frame, from_peer=True)
            why = f"{link.node} closed the link"
        except (ProtocolError, WireError) as error:
            why = f"{link.node}: {error}"
            raise
        finally:
            self.fail(why)

    async def from_relay(self, frame: Frame) -> None:
        """Queue a frame of the relay; dropped once the pair has ended."""
        self._relay_bytes += len(frame.raw)
        self._watcher.arrived(frame)
        await self._queue(frame, from_peer=False)

    async def _queue(self, frame: Frame, *, from_peer: bool) -> None:
        # A pair that has ended must not hold up the links that it shares with others.
        with contextlib.suppress(trio.BrokenResourceError):
            await self._inbox.send((from_peer, frame))

    def fail(self, why: str) -> None:
        """Nothing more can be done with this peer."""
        if self._n_ended < self._peer.blocks and not self.failure:
            self.failure = why
            self._scope.cancel()

    async def run(self) -> None:
        """Make the configured blocks."""
        core: Endpoint | None = None
        with self._scope, self._to_handle:
            core = await self._connect()
            if core is not None:
                await self._work(core)
        if self.failure:
            await self._give_up(core)

    async def _connect(self) -> Endpoint | None:
        with trio.move_on_after(self._config.patience_s):
            await self._linked.wait()
        if self._link is None:
            self.failure = f"{self._peer.node} did not connect within {self._config.patience_s:g} s"
            return None
        config, peer = self._config, self._peer
        plan = PairPlan(
            node=config.node,
            peer=peer.node,
            n_pulses=peer.n_pulses,
            blocks=peer.blocks,
            agreement=Agreement(
                source=config.source,
                security=config.security,
                bell_states=config.bell_states,
                reconciler=config.reconciler,
                analysis=self._analysis,
            ),
            qber_hint=config.qber_hint,
        )
        return Endpoint(
            plan, sequencer=self._link.sequencer, pads=self._pads, entropy=self._entropy
        )

    async def _work(self, core: Endpoint) -> None:
        await self._perform(core, core.request())
        while self._n_ended < self._peer.blocks:
            limit_s = math.inf if self._waits_for_relay(core) else self._config.patience_s
            with trio.move_on_after(limit_s) as patience:
                from_peer, frame = await self._to_handle.receive()
            if patience.cancelled_caught:
                state = core.block.state.value if core.block else "opening"
                self.failure = (
                    f"{self._peer.node} has been silent for {limit_s:g} s in state {state}"
                )
                return
            handle = core.receive_peer if from_peer else core.receive_relay
            try:
                await self._perform(core, await self._world.in_thread(handle, frame))
            except (ProtocolError, WireError) as error:
                culprit = self._peer.node if from_peer else "the relay"
                self.failure = f"{culprit}: {error}"
                if from_peer and self._link is not None:
                    await self._link.refuse(getattr(error, "abort_code", 0x0503))
                return

    def _waits_for_relay(self, core: Endpoint) -> bool:
        return core.block is None or core.block.state in _RELAYS_TURN

    async def _give_up(self, core: Endpoint | None) -> None:
        effects: list[Effect] = [] if core is None else core.abort(self.failure)
        if core is not None:
            await self._perform(core, effects)
        users = sorted((self._config.node, self._peer.node))
        if not any(isinstance(effect, Finished) for effect in effects):
            self._emit(
                "block.aborted",
                users=users,
                block=self._n_ended + 1,
                reason=self.failure,
                secret_bits=0,
                tag_failures=0,
            )
        self._emit("pair.failed", users=users, reason=self.failure)

    async def _perform(self, core: Endpoint, effects: list[Effect]) -> None:
        """Effects in order; `Hold` and `Freeze` are on disk before what follows them starts."""
        for effect in effects:
            match effect:
                case Send(data=data):
                    if self._link is not None:
                        self._link.send(data)
                case Tell(message=message, stream=stream):
                    self._relay_bytes += self._relay.tell(message, stream)
                case Report(event=event, fields=fields):
                    self._report(event, fields)
                case Observe(block=block):
                    await self._watcher.observe(block)
                case Arm(session=session, light=light):
                    self._session = session
                    self._transmitter.arm(session, light)
                case Disarm(session=session):
                    self._transmitter.disarm(session)
                case Hold():
                    await durably(self._world, "hold", self._hold, effect)
                case Freeze():
                    await durably(self._world, "freeze", store_digest, self._frozen, effect)
                case Release(block_id=block_id):
                    await durably(self._world, "release", self._store.release, block_id)
                case Discard(block_id=block_id):
                    await durably(self._world, "discard", self._store.discard, block_id)
                case Resume():
                    await trio.lowlevel.checkpoint()  # the writer takes what was queued
                    await self._perform(core, await self._world.in_thread(core.resume))
                case Finished():
                    self._n_ended += 1
                    if core.blocks_left and not self.failure:
                        await self._perform(core, core.request())
                case _:
                    raise LocalProtocolError(f"an endpoint has no {type(effect).__name__}")

    def _hold(self, effect: Hold) -> None:
        meta = BlockMeta(
            block_id=effect.key.block_id,
            pair=effect.users,
            owner=self._config.node,
            peer=self._peer.node,
            block_no=effect.block,
            origin=effect.key.origin,
            eps=effect.eps,
            leak_model=effect.leak_model,
            created_utc=self._world.utc_now().isoformat(timespec="seconds"),
        )
        self._n_keys = self._store.hold(meta, effect.key)

    def _report(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "block.stage":
            if fields["stage"] == "opened":
                self._stages = _Stages()
                self._peer_bytes_before = self._peer_bytes()
            self._stages.enter(fields["stage"])
        if event in ("block.key", "block.aborted"):
            fields = {
                **fields,
                "n_keys": self._n_keys if event == "block.key" else 0,
                "bytes_relay": self._relay_bytes,
                "bytes_peer": self._peer_bytes() - self._peer_bytes_before,
                "bytes_light": self._transmitter.count_bytes(self._session),
                "seconds": self._stages.leave(),
            }
            self._relay_bytes = 0
        self._emit(event, fields)

    def _peer_bytes(self) -> int:
        return 0 if self._link is None else self._link.n_bytes


class _Stages:
    """How long each stage of a block took."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._stage = ""
        self._since = 0.0

    def enter(self, stage: str) -> None:
        self.leave()
        self._stage, self._since = stage, trio.current_time()

    def leave(self) -> dict[str, float]:
        if self._stage:
            spent = trio.current_time() - self._since
            self._seconds[self._stage] = round(self._seconds.get(self._stage, 0.0) + spent, 6)
            self._stage = ""
        return self._seconds
