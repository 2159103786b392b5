"""One pair at one user: the only task that touches its core."""

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from mdiqkd_net.errors import (
    AuthenticationError,
    KeyStoreError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    WireError,
)
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.keys.asking import ANSWER_S, AwayError
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.credit import Unread
from mdiqkd_net.protocol.effects import (
    Agreed,
    Answered,
    Arm,
    Asked,
    Begin,
    BurnReceived,
    Continue,
    Disarm,
    Effect,
    Finished,
    Freeze,
    HandOut,
    Hold,
    Latch,
    Observe,
    Refuse,
    Report,
    Say,
    Send,
    Settle,
    Tell,
)
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.light import Entropy
from mdiqkd_net.protocol.states import State
from mdiqkd_net.runtime.arrivals import (
    Arrival,
    Broken,
    FromPeer,
    FromRelay,
    GivenUp,
    Linked,
    RelayLinked,
)
from mdiqkd_net.runtime.config import EndpointConfig, Peer
from mdiqkd_net.runtime.journal import Journal
from mdiqkd_net.runtime.link import Link, RefusedError, is_final, told
from mdiqkd_net.runtime.optical import Transmitter
from mdiqkd_net.runtime.pads import SteppedPads
from mdiqkd_net.runtime.patience import FED_BY_RELAY, Lack, Patience, Place
from mdiqkd_net.runtime.shelves import PeerRecords
from mdiqkd_net.runtime.timing import Stages
from mdiqkd_net.runtime.watching import Watcher
from mdiqkd_net.runtime.wishes import Wish, Wishes
from mdiqkd_net.runtime.world import World
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Message

INBOX_SIZE: Final = 16
"""Frames that wait for a core, each of 4 MiB at most."""
MAX_VIOLATIONS: Final = 3
"""Times that a peer may break the protocol before nothing more is tried with it."""


class RelayPort(Place, Protocol):
    """What a pair needs of the node's relay link."""

    def tell(self, message: Message, stream: int) -> int:
        """Say something to the relay, now or once it is there; returns the length in bytes."""

    async def refuse(self, why: str, code: int) -> None:
        """The relay broke the protocol: close its link, and begin anew."""


class Pair:
    """The shell around one `Endpoint` core.

    A pair is *lost* while time may heal it: nothing is made with the peer, and as soon as it and
    the relay are there, it goes on. It has *failed* when an operator must look, and stays so.

    Args:
        when_troubled: Called when it has said that it is lost, or has failed.

    Attributes:
        trouble: Why nothing is made with the peer, once this was said; empty if all is well.
        done: All blocks have been tried, or the pair has failed.
    """

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
        when_troubled: Callable[[], None],
        processor: Processor = HERE,
    ) -> None:
        self._config = config
        self._peer = peer
        self._relay = relay
        self._transmitter = transmitter
        self._emit = emit
        self._world = world
        self._when_troubled = when_troubled
        self._journal = Journal(
            config.node, peer.node, store=store, pads=pads, frozen=frozen, world=world
        )
        self._watcher = Watcher(peer.commissioned, world, emit)
        self.correspondence = Correspondence(world.entropy)
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
                analysis=analysis,
            ),
            qber_hint=config.qber_hint,
            session_events=config.limits.session_events,
        )
        records = PeerRecords(store, peer.node)
        self._core = Endpoint(
            plan,
            sequencer=self.correspondence.sequencer,
            pads=SteppedPads(pads, world),
            records=records,
            shelf=records,
            entropy=entropy,
            now_s=lambda: self._patience.heard_at,  # cores run in threads, where trio has no time
            processor=processor,
        )
        self._unread = Unread()
        self._inbox, self._to_handle = trio.open_memory_channel[Arrival](INBOX_SIZE)
        self._link: Link | None = None
        self._patience = Patience(config.patience_s, relay)
        self._waiting = trio.CancelScope()
        self._asked_s = trio.current_time()
        self._stages = Stages()
        self._session = b""
        self._relay_bytes = 0
        self._peer_bytes = 0
        self._n_ended = 0
        self._n_violations = 0
        self._wishes = Wishes(self._core.handouts, peer.node)
        self._runs = False
        self._lost = ""
        self._failure = ""
        self.trouble = ""
        self.done = trio.Event()

    async def serve(self, link: Link) -> None:
        """Read a fresh link to the peer until it goes; it takes the place of an older one.

        Raises:
            RemoteProtocolError: The peer refuses us, or the connection is gone.
            WireError: Bytes that are no frame.
        """
        await self._queue(Linked(link))
        try:
            while frame := await link.next_frame():
                await self._queue(FromPeer(link, frame))
        except RefusedError as error:
            if is_final(error.told):
                self.fail(f"{self._peer.node}: {error}")
            raise
        except WireError:
            await self._queue(Broken(link))
            raise
        finally:
            if self._link is link:
                self._link = None
                self._patience.away_since = trio.current_time()
                self.check_patience()

    async def from_relay(self, frame: Frame) -> None:
        """Queue a frame of the relay; dropped once the pair has failed."""
        self._relay_bytes += len(frame.raw)
        self._watcher.arrived(frame)
        try:
            self._unread.came(frame)
        except RemoteProtocolError as error:
            await self._relay.refuse(str(error), told(error))
        else:
            await self._queue(FromRelay(frame))

    async def relay_linked(self, *, kept: bool) -> None:
        """There is a new link to the relay; of no interest before anything was asked of it."""
        if self._runs:
            await self._queue(RelayLinked(kept))

    async def agree(self, n_keys: int, *, allow_simulated: bool) -> None:
        """Set keys aside at both users, to be taken from the store.

        Raises:
            AwayError: The peer is not connected, or does not answer.
            KeyStoreError: There are not so many keys, or the peer refuses.
        """
        wish = Wish(n_keys, allow_simulated=allow_simulated)
        if self._failure:
            self._wishes.refuse(wish)
        await self._queue(wish)
        try:
            await wish.wait(ANSWER_S)
        except TimeoutError:
            await self._queue(GivenUp(wish))
            raise AwayError(f"{self._peer.node} does not answer; try again later") from None

    async def _queue(self, event: Arrival) -> None:
        # A pair that has failed must not hold up the links that it shares with others.
        with contextlib.suppress(trio.BrokenResourceError):
            await self._inbox.send(event)

    def fail(self, why: str) -> None:
        """Nothing more can be done with this peer."""
        if not self.done.is_set() and not self._failure:
            self._failure = why
            self._waiting.cancel()

    def check_patience(self) -> None:
        """A link has come or gone, so another deadline may apply."""
        self._waiting.deadline = self._deadline()

    async def run(self) -> None:
        """Make the configured blocks, and answer the peer for as long as it has questions."""
        self._runs = True
        with self._to_handle:
            await self._compute(self._core.handouts.start)
            while not self._failure:
                event = None
                with trio.CancelScope(deadline=self._deadline()) as self._waiting:
                    event = await self._to_handle.receive()
                if event is not None:
                    await self._handle(event)
                elif not self._failure:
                    await self._lose_patience()
            await self._give_up()

    def _deadline(self) -> float:
        if self.done.is_set() or self._lost:
            return math.inf
        return self._patience.limit(self._state)[0]

    @property
    def _state(self) -> State:
        return State.ABORTED if self._core.block is None else self._core.block.state

    async def _lose_patience(self) -> None:
        limit_s, lack = self._patience.limit(self._state)
        if trio.current_time() < limit_s:
            return  # it came at the last moment
        peer, within = self._peer.node, f"{self._config.patience_s:g} s"
        if lack is Lack.PEER:
            await self._lose(f"{peer} did not connect within {within}")
        elif lack is Lack.RELAY:
            await self._lose(f"the relay has been away for {within}")
        elif lack is Lack.SESSION:
            self._patience.forgo_session()  # once is enough
            self._emit(
                "pair.waiting",
                users=list(self._core.users),
                reason=f"the relay has begun no session within {within}: other pairs have their "
                f"turn, or {peer} has not asked for one, or the relay keeps it back",
            )
        elif self._state in FED_BY_RELAY:
            self._patience.heard()
            why = f"neither the relay nor {peer} has said anything for {within}"
            await self._perform(
                self._core.abort(f"{why} in state {self._state.value}", end="relay")
            )
        else:
            await self._lose(f"{peer} has been silent for {within} in state {self._state.value}")

    async def _lose(self, why: str) -> None:
        """End the block, say so, and make nothing more until the peer and the relay are there."""
        self._lost = why
        await self._perform(self._core.abort(why))
        if self._link is not None and self._patience.everybody_is_here:
            await self._link.close()  # if there is still somebody, we hear of it on the next link
        self._tell_trouble("pair.lost", why)

    async def _find(self) -> None:
        """Go on if what was lost is there again."""
        if self._lost and self._patience.everybody_is_here:
            self._lost = self.trouble = ""
            self._emit("pair.back", users=list(self._core.users))
            await self._compute(self._core.request)

    def _tell_trouble(self, event: str, why: str) -> None:
        self._emit(event, users=list(self._core.users), reason=why)
        self.trouble = why
        self._when_troubled()

    async def _handle(self, event: Arrival) -> None:
        match event:
            case Linked(link=link):
                await self._take_up(link)
            case Broken(link=link):
                link.break_off()
            case RelayLinked(kept=kept):
                await self._compute(partial(self._core.relay_linked, kept=kept))
                await self._find()
            case FromPeer(link=link, frame=frame) if link is self._link:
                self._patience.heard()
                self._peer_bytes += len(frame.raw)
                await self._hear_peer(link, frame)
            case FromRelay(frame=frame):
                self._unread.taken(frame)
                self._patience.hear_relay(frame.kind)
                try:
                    await self._compute(partial(self._core.receive_relay, frame))
                except (ProtocolError, WireError) as error:
                    await self._relay.refuse(str(error), told(error))
                    await self._perform(self._core.relay_failed(f"the relay: {error}"))
            case Wish() if self._link is None:
                self._wishes.refuse(event)
            case Wish():
                await self._ask(event)
            case GivenUp(wish=wish):
                self._wishes.give_up(wish)

    async def _ask(self, wish: Wish) -> None:
        try:
            effects = await self._world.in_thread(self._wishes.ask, wish)
        except KeyStoreError as error:
            wish.answer(error)
        else:
            await self._perform(effects)

    async def _take_up(self, link: Link) -> None:
        try:
            kept = link.take_up()
        except RemoteProtocolError:
            await link.close()  # the peer dials again
            return
        old, self._link = self._link, link
        self._patience.away_since = math.inf
        self._patience.heard()
        if old is not None:
            await old.close()
        await self._compute(partial(self._core.linked, kept=kept))

    async def _hear_peer(self, link: Link, frame: Frame) -> None:
        try:
            await self._compute(partial(self._core.receive_peer, frame))
        except AuthenticationError as error:
            self._report("tag.failed", {"users": list(self._core.users)})
            await link.refuse(error.abort_code)
        except (ProtocolError, WireError) as error:
            await self._refuse_peer(error, link)
        else:
            await self._find()

    async def _refuse_peer(self, error: ProtocolError | WireError, link: Link | None) -> None:
        why, code = f"{self._peer.node}: {error}", told(error)
        self._n_violations += 1
        self._report("peer.violation", {"users": list(self._core.users), "reason": why})
        if is_final(code) or self._n_violations > MAX_VIOLATIONS:
            self._failure = why
        if link is not None:
            link.break_off()
            await link.refuse(code)
        if not self._failure:
            await self._perform(self._core.abort(why))

    async def _give_up(self) -> None:
        effects = self._core.abort(self._failure)
        await self._perform(effects)
        if not any(isinstance(effect, Finished) for effect in effects):
            self._emit(
                "block.aborted",
                users=list(self._core.users),
                block=self._n_ended + 1,
                reason=self._failure,
                secret_bits=0,
                tag_failures=0,
            )
        self.done.set()
        self._tell_trouble("pair.failed", self._failure)

    async def _compute(self, work: Callable[[], list[Effect]]) -> None:
        await self._perform(await self._world.in_thread(work))

    async def _perform(self, effects: list[Effect]) -> None:
        """Effects in order; what is durable is on disk before what follows it starts."""
        for effect in effects:
            match effect:
                case Send(data=data):
                    self._peer_bytes += len(data)
                    if self._link is not None:
                        self._link.send(data)
                case Say(message=message):
                    if self._link is not None:
                        self._peer_bytes += self._link.tell(message)
                case Tell(message=message, stream=stream):
                    self._patience.tell_relay(message)
                    self._relay_bytes += self._relay.tell(message, stream)
                case Report(event=event, fields=fields):
                    self._report(event, fields)
                case Asked():
                    self._asked_s = trio.current_time()
                case Answered():
                    self._core.round_trips.add(self._patience.heard_at - self._asked_s)
                case Observe(block=block):
                    await self._watcher.observe(block)
                case Arm(session=session, light=light):
                    self._session = session
                    self._transmitter.arm(session, light)
                case Disarm(session=session):
                    self._transmitter.disarm(session)
                case Begin() | Hold() | Settle() | HandOut() | BurnReceived() | Freeze():
                    await self._journal.write(effect)
                case Agreed(request=request, agreed=agreed):
                    self._wishes.answer(request, agreed=agreed)
                case Continue():
                    await trio.lowlevel.checkpoint()  # the writer takes what was queued
                    await self._compute(self._core.go_on)
                case Latch(reason=reason):
                    self._failure = reason
                case Refuse(error=error):
                    await self._refuse_peer(error, self._link)
                case Finished():
                    await self._finished()
                case _:
                    raise LocalProtocolError(f"an endpoint has no {type(effect).__name__}")

    async def _finished(self) -> None:
        self._n_ended += 1
        if self._n_ended == self._peer.blocks:
            self.done.set()
        elif not (self._lost or self._failure):
            await self._compute(self._core.request)

    def _report(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "block.stage":
            if fields["stage"] == "opened":
                self._stages = Stages()
                self._peer_bytes = 0
            self._stages.enter(fields["stage"])
        if event in ("block.key", "block.aborted"):
            fields = {
                **fields,
                "n_keys": self._journal.n_keys if event == "block.key" else 0,
                "bytes_relay": self._relay_bytes,
                "bytes_peer": self._peer_bytes,
                "bytes_light": self._transmitter.count_bytes(self._session),
                "seconds": self._stages.leave(),
            }
            self._relay_bytes = self._peer_bytes = 0
        self._emit(event, fields)
