"""One run of a pair: the harness is relay, fiber and peer of the node under test."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.conformance.endpoint.altering import Alter, as_it_is
from mdiqkd_net.conformance.endpoint.listening import Listening
from mdiqkd_net.conformance.endpoint.played import PlayedUser
from mdiqkd_net.conformance.endpoint.session import Told, measure, sign
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.errors import MdiqkdError
from mdiqkd_net.protocol.effects import (
    Arm,
    Begin,
    BurnReceived,
    Continue,
    Effect,
    Finished,
    Hold,
    Say,
    Send,
    Settle,
    Tell,
)
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.wire.codec import decode, decode_body, encode
from mdiqkd_net.wire.frames import HEADER, HEADER_BYTES, Frame
from mdiqkd_net.wire.messages import (
    Commit,
    Committed,
    Error,
    LightArm,
    Message,
    PairArmed,
    PairReady,
    PairRequest,
    Prepare,
    Vote,
)

if TYPE_CHECKING:
    from mdiqkd_net.conformance.endpoint.harness import EndpointHarness

HANDLE: Final = 1
M = TypeVar("M", bound=Message)
Change = Callable[[list[Told]], list[Told]]
"""What the node is told in place of the truth about a session."""


class Pairing(Listening):
    """Connections to the node as its relay, its fiber and its peer.

    Attributes:
        relay, fiber, link: The connections.
        user: The peer.
        alter: Changes what the peer says.
        ready: What the relay has said of the session at hand.
        rng: Of the case.
    """

    def __init__(
        self, harness: "EndpointHarness", user: PlayedUser, nursery: trio.Nursery, alter: Alter
    ) -> None:
        super().__init__(harness.deadlines)
        self._harness = harness
        self.rng = harness.rng
        self._nursery = nursery
        self.user = user
        self.alter = alter
        self._asks = False
        self._unheard: tuple[type[Message], ...] = ()
        self._light: dict[bytes, SessionLight] = {}
        self._key = Ed25519PrivateKey.generate()
        self.relay: Peer
        self.fiber: Peer
        self.link: Peer
        self.ready: PairReady

    async def connect(self) -> None:
        """Be dialed as relay and fiber, and meet as peer."""
        self.relay = await self._harness.greeted()
        self.fiber = await self._harness.fiber()
        await self.link_up()
        await self.wait(lambda: self._asks or None, "it does not agree where they are")
        with trio.move_on_after(self.deadlines.reaction_s):
            while self.user.records.unsettled():  # commits that an earlier case left open
                await self.changed.park()
        await self.settled()
        self.news_begin()

    async def link_up(self) -> None:
        """A (new) connection as peer; takes up what is kept."""
        self.ended, self.refusal = False, None
        self.link = await self._harness.meet_as_peer(self.user.correspondence)
        self._nursery.start_soon(self._listen, self.link)
        await self._perform(self.user.core.linked(kept=self.link.kept))

    async def link_again(self) -> None:
        """The connection is lost, and there is another."""
        await self.link.drop()
        while not self.ended:
            await self.changed.park()
        await self.link_up()

    async def session(self, **changes: object) -> None:
        """A session begins, and the node hears of it; its peer does not yet."""
        await self.choose_session(**changes)
        await self.relay.tell(self.ready, HANDLE)

    async def choose_session(self, **changes: object) -> None:
        """Wait for the requests of both; nobody hears of the session yet."""
        asked = await self.asked()
        await self.wait(lambda: self._asks or None, "its peer could not ask")
        self._asks = False
        self.ready = self._ready(asked, **changes)

    async def peer_begins_anew(self) -> None:
        """The peer's process ends, and another begins on the same store and pads."""
        await self.link.drop()
        while not self.ended:
            await self.changed.park()
        self.user.begin()
        await self.link_up()

    async def asked(self) -> PairRequest:
        """The node's request for the next session."""
        limit_s = self.deadlines.return_s
        with trio.move_on_after(limit_s):
            while frame := await self.relay.next(math.inf):
                message = self.relay.read(frame)
                if isinstance(message, PairRequest):
                    return message
            raise Broken("it closes the link to its relay")
        raise Broken(f"it asks for no session within {limit_s:g} s")

    @property
    def number(self) -> int:
        """Of the block at hand at the peer; of the next one before the first."""
        block = self.user.core.block
        return self.user.records.next_block() if block is None else block.number

    @property
    def epoch(self) -> bytes:
        """Of the node, on the connection at hand."""
        return self.link.greeting.epoch

    @property
    def decided(self) -> type[Commit | Committed]:
        """What the node says once it has committed."""
        return Commit if self.relay.certified < self.user.plan.node else Committed

    @property
    def prepared(self) -> type[Prepare | Vote]:
        """What it says once it has prepared a block."""
        return Prepare if self.decided is Commit else Vote

    async def abort(self) -> None:
        """The peer ends the block at hand."""
        await self._perform(self.user.core.abort("the case wants it"))

    def _ready(self, asked: PairRequest, **changes: object) -> PairReady:
        fields = {
            "n_pulses": min(asked.n_pulses, self._harness.n_pulses),
            "pulse_rate_hz": 10**9,
            "relay_key": self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
            "segment_pulses": 500_000,
            "session": self.rng.randbytes(16),
            "users": sorted((self.relay.certified, self.user.plan.node)),
        }
        return PairReady(**{**fields, **changes})  # type: ignore[arg-type]  # by the tests

    async def open(self, **changes: object) -> None:
        """A session up to the light: both have agreed on the block and are armed."""
        await self.session(**changes)
        await self.agree()
        await self.relay.expect(PairArmed)
        await self.fiber.expect(LightArm)
        session = self.ready.session
        why = "it is armed, and has not agreed with its peer"
        await self.wait(lambda: session in self._light or None, why, self.deadlines.reaction_s)

    async def agree(self) -> None:
        """The peer hears of the session, too."""
        await self._to_user(self.ready)

    async def light(self, change: Change = lambda said: said, *, signed: bool = True) -> None:
        """Announce a whole session to both.

        Args:
            change: Of what the node is told; its peer is told the truth.
            signed: Whether what is changed is signed anew.
        """
        said = await self._measured()
        told = change(list(said))
        await self._announce(self.signed(told) if signed and told != said else told)

    async def lie(self, change: Change, *, signed: bool) -> None:
        """Announce a session to both, to the node up to the first message that is not true.

        As in `altering.then_nothing`, the node is told nothing behind what it must refuse.
        """
        said = await self._measured()
        told = change(list(said))
        pairs = zip(told, said, strict=False)
        n_true = next((n for n, (lie, truth) in enumerate(pairs) if lie != truth), len(said))
        await self._announce((self.signed(told) if signed else told)[: n_true + 1])

    async def _measured(self) -> list[Told]:
        light = self._light[self.ready.session]
        said = await measure(self.fiber, self.ready, light, self.user.plan, self._key)
        for message in said:
            await self._to_user(message)
        return said

    async def _announce(self, told: list[Told]) -> None:
        for message in told:
            await self.relay.tell(message, HANDLE)

    def signed(self, told: list[Told]) -> list[Told]:
        """The same, signed as the relay of the session at hand signs."""
        return sign(told, self.ready, self._key)

    async def block(self, **changes: object) -> None:
        """A block up to the close of its announcements."""
        await self.open(**changes)
        await self.light()

    async def tell(self, message: Message, stream: int | None = None) -> None:
        """Say something as the peer that a sound one would not; on the block's stream."""
        await self.link.tell(message, self.number if stream is None else stream)

    async def settled(self) -> None:
        """Wait until the peer has answered everything that has come.

        A quiet window, as every test from outside must have one: nothing that the node says tells
        that it will say no more. Too short a window can only make a sound node fail.
        """
        await trio.sleep(self.deadlines.quiet_s / 4)

    def keep_from_peer(self, *kinds: type[Message]) -> None:
        """From now on the peer does not hear these: the case deals with them in its name."""
        self._unheard = kinds

    async def _listen(self, link: Peer) -> None:
        while True:
            frame = await link.next(math.inf)
            if frame is None:
                break
            message = decode(frame)
            if isinstance(message, Error):
                self.refusal = message.code
                self.changed.unpark_all()
                continue
            self.heard.append((message, frame))
            self.changed.unpark_all()
            if frame.stream == 0:
                link.read(frame)
            if isinstance(message, self._unheard):
                continue
            try:
                effects = self.user.core.receive_peer(frame)
            except MdiqkdError as error:
                raise Broken(f"to a sound peer it says what is not legal: {error}") from None
            await self._perform(effects)
            self.changed.unpark_all()
        self.ended = True
        self.changed.unpark_all()

    async def hear(self, message: Message) -> None:
        """The peer hears something about the pair as if the node had said it."""
        await self._perform(self.user.core.receive_peer(_frame(message, 0)))

    async def _to_user(self, message: Message) -> None:
        await self._perform(self.user.core.receive_relay(_frame(message, HANDLE)))

    async def _perform(self, effects: list[Effect]) -> None:
        records = self.user.records
        for effect in effects:
            match effect:
                case Send(data=data):
                    await self._send(data)
                case Say(message=message):
                    for altered in self.alter(message):
                        await self.link.tell(altered)
                case Tell(message=PairRequest()):
                    self._asks = True
                    self.changed.unpark_all()
                case Finished():
                    await self._perform(self.user.core.request())
                case Arm(session=session, light=light):
                    self._light[session] = light
                case Begin(block=block):
                    records.begin(block)
                case Hold():
                    records.hold(effect)
                case Settle():
                    records.settle(effect)
                case BurnReceived(pad=pad):
                    self.user.pads.burn_receive(pad)
                case Continue():
                    await self._perform(self.user.core.go_on())

    async def _send(self, raw: bytes) -> None:
        _, kind, version, flags, stream, seq, ack = HEADER.unpack_from(raw)
        message = decode_body(kind, raw[HEADER_BYTES:])
        for altered in self.alter(message):
            if altered is message:
                await self.link.send(raw)
                continue
            body = encode(altered)
            head = HEADER.pack(len(body), altered.TYPE, version, flags, stream, seq, ack)
            await self.link.send(head + body)


@asynccontextmanager
async def pairing(harness: "EndpointHarness", alter: Alter = as_it_is) -> AsyncIterator[Pairing]:
    """A pairing with a peer that begins anew; its tasks end with the block."""
    user = harness.played_user()
    user.begin()
    async with trio.open_nursery() as nursery:
        run = Pairing(harness, user, nursery, alter)
        await run.connect()
        yield run
        nursery.cancel_scope.cancel()


def _frame(message: Message, stream: int) -> Frame:
    """A message as whoever does not look at numbers receives it."""
    body = encode(message)
    head = HEADER.pack(len(body), message.TYPE, 1, 0, stream, 0, 0)
    return Frame(message.TYPE, stream, 0, 0, head + body)
