"""One run of a pair: the harness is relay, fiber and peer of the node under test."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdiqkd_net.conformance.cases import Broken, Close, Ending
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
    Error,
    LightArm,
    Message,
    PairArmed,
    PairReady,
    PairRequest,
)

if TYPE_CHECKING:
    from mdiqkd_net.conformance.endpoint.harness import EndpointHarness

HANDLE: Final = 1
M = TypeVar("M", bound=Message)
Alter = Callable[[Message], Sequence[Message]]
"""What goes out in place of a message: itself, another, none, or more."""
Change = Callable[[list[Told]], list[Told]]
"""What the node is told in place of the truth about a session."""


def as_it_is(message: Message) -> Sequence[Message]:
    """No change."""
    return (message,)


class Pairing:
    """Connections to the node as its relay, its fiber and its peer.

    Attributes:
        relay, fiber, link: The connections.
        user: The peer.
        alter: Changes what the peer says.
        heard: What the node has said on the link, with its frame, oldest first.
        ready: What the relay has said of the session at hand.
    """

    def __init__(self, harness: "EndpointHarness", user: PlayedUser) -> None:
        self._harness = harness
        self._deadlines = harness.deadlines
        self.user = user
        self.alter: Alter = as_it_is
        self.heard: list[tuple[Message, Frame]] = []
        self._changed = trio.lowlevel.ParkingLot()
        self._refusal: int | None = None
        self._ended = False
        self._asks = False
        self._n_old = 0
        self._unheard: tuple[type[Message], ...] = ()
        self._light: dict[bytes, SessionLight] = {}
        self._key = Ed25519PrivateKey.generate()
        self.relay: Peer
        self.fiber: Peer
        self.link: Peer
        self.ready: PairReady

    async def connect(self, nursery: trio.Nursery) -> None:
        """Be dialed as relay and fiber, and dial as peer."""
        self.relay = await self._harness.greeted()
        self.fiber = await self._harness.fiber()
        await self.link_up(nursery)
        await self._wait(lambda: self._asks or None, "it does not agree where they are", None)
        with trio.move_on_after(self._deadlines.reaction_s):
            while self.user.records.unsettled():  # commits that an earlier case left open
                await self._changed.park()
        await self.settled()
        self._n_old = len(self.heard)

    async def link_up(self, nursery: trio.Nursery) -> None:
        """A (new) connection as peer; takes up what is kept."""
        self._ended, self._refusal = False, None
        self.link = await self._harness.dial_as_peer(self.user.correspondence)
        nursery.start_soon(self._listen, self.link)
        await self._perform(self.user.core.linked(kept=self.link.kept))

    async def session(self, **changes: object) -> PairReady:
        """Wait for the node's request; say that a session begins, to both."""
        asked = await self.asked()
        await self._wait(lambda: self._asks or None, "its peer could not ask", None)
        self._asks = False
        self.ready = self._say_ready(asked, **changes)
        await self.relay.tell(self.ready, HANDLE)
        return self.ready

    async def asked(self) -> PairRequest:
        """The node's request for the next session."""
        limit_s = self._deadlines.return_s
        with trio.move_on_after(limit_s):
            while frame := await self.relay.next(math.inf):
                message = self.relay.read(frame)
                if isinstance(message, PairRequest):
                    return message
            raise Broken("it closes the link to its relay")
        raise Broken(f"it asks for no session within {limit_s:g} s")

    async def abort(self) -> None:
        """The peer ends the block at hand."""
        await self._perform(self.user.core.abort("the case wants it"))

    def _say_ready(self, asked: PairRequest, **changes: object) -> PairReady:
        fields = {
            "n_pulses": min(asked.n_pulses, self.user.plan.n_pulses),
            "pulse_rate_hz": 10**9,
            "relay_key": self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
            "segment_pulses": 500_000,
            "session": self._harness.rng.randbytes(16),
            "users": sorted((self.relay.certified, self.user.plan.node)),
        }
        return PairReady(**{**fields, **changes})  # type: ignore[arg-type]  # by the tests

    async def open(self, **changes: object) -> None:
        """A session up to the light: both have agreed on the block and are armed."""
        await self.session(**changes)
        await self.agree()
        await self.relay.expect(PairArmed)
        await self.fiber.expect(LightArm)
        if self.ready.session not in self._light:
            raise Broken("it is armed, and has not agreed with its peer")

    async def agree(self) -> None:
        """The peer hears of the session, too."""
        await self._to_user(self.ready)

    async def light(self, change: Change = lambda said: said, *, signed: bool = True) -> None:
        """Announce a whole session to both.

        Args:
            change: Of what the node is told; its peer is told the truth.
            signed: Whether what is changed is signed anew.
        """
        said = await measure(
            self.fiber, self.ready, self._light[self.ready.session], self.user.plan, self._key
        )
        for message in said:
            await self._to_user(message)
        told = change(list(said))
        if signed and told != said:
            told = sign(told, self.ready, self._key)
        for message in told:
            await self.relay.tell(message, HANDLE)

    async def block(self, **changes: object) -> None:
        """A block up to the close of its announcements."""
        await self.open(**changes)
        await self.light()

    async def tell(self, message: Message, stream: int | None = None) -> None:
        """Say something as the peer that a sound one would not; on the block's stream."""
        block = self.user.core.block
        number = block.number if block is not None else self.user.records.next_block()
        await self.link.tell(message, number if stream is None else stream)

    async def expect(self, kind: type[M], within_s: float | None = None, *, n: int = 1) -> M:
        """The n-th message of a kind that the node says to its peer once both are there.

        Raises:
            Broken: It does not say it in time.
        """

        def found() -> M | None:
            of_kind = [message for message, _ in self._news if isinstance(message, kind)]
            return of_kind[n - 1] if len(of_kind) >= n else None

        return await self._wait(found, f"no {kind.__name__}", within_s)

    @property
    def _news(self) -> list[tuple[Message, Frame]]:
        return self.heard[self._n_old :]

    def frames(self, kind: type[Message]) -> list[Frame]:
        """Frames of a kind that the node has sent to its peer."""
        return [frame for message, frame in self._news if isinstance(message, kind)]

    async def silent(self, *kinds: type[Message]) -> None:
        """Nothing of these kinds comes for a while.

        Raises:
            Broken: It came, now or before.
        """
        with trio.move_on_after(self._deadlines.quiet_s):
            while not any(isinstance(message, kinds) for message, _ in self._news):
                await self._changed.park()
            names = " or ".join(kind.__name__ for kind in kinds)
            raise Broken(f"it says {names}")

    async def silent_until_next(self, *kinds: type[Message]) -> None:
        """Nothing of these kinds comes until the node asks for another session.

        Raises:
            Broken: It came.
        """
        await self.asked()
        await self.silent(*kinds)

    async def settled(self) -> None:
        """Wait until the peer has answered everything that has come."""
        await trio.sleep(self._deadlines.quiet_s / 4)

    async def gone(self) -> None:
        """Wait until the connection that was dropped has ended here, too."""
        while not self._ended:
            await self._changed.park()

    def keep_to_itself(self, *kinds: type[Message]) -> None:
        """The peer does not hear these: the case has asked for them in its name."""
        self._unheard = kinds

    async def refused(self, *codes: int) -> Ending:
        """The node refuses what its peer said, and closes."""
        await self._wait(lambda: self._ended or None, "not refused: still open", None)
        if self._refusal is None:
            return Ending(Close.NO_ERROR, "the link was closed without a word")
        if codes and self._refusal not in codes:
            allowed = " or ".join(f"{code:#06x}" for code in codes)
            return Ending(Close.WRONG_CODE, f"Error {self._refusal:#06x}; expected {allowed}")
        return Ending(Close.CLEAN, f"Error {self._refusal:#06x} and close")

    async def open_still(self) -> None:
        """The link to the peer stays for a while.

        Raises:
            Broken: The node closes it.
        """
        with trio.move_on_after(self._deadlines.quiet_s):
            while not self._ended:
                await self._changed.park()
            raise Broken("it closes the link to its peer")

    async def _wait(
        self, found: Callable[[], M | bool | None], why: str, within_s: float | None
    ) -> M:
        limit_s = self._deadlines.light_s if within_s is None else within_s
        with trio.move_on_after(limit_s):
            while True:
                value = found()
                if value is not None:
                    return value  # type: ignore[return-value]  # what `found` gives
                if self._ended:
                    told = "" if self._refusal is None else f" with code {self._refusal:#06x}"
                    raise Broken(f"{why}; it closes the link to its peer{told}")
                await self._changed.park()
        raise Broken(f"{why} within {limit_s:g} s")

    async def _listen(self, link: Peer) -> None:
        while True:
            frame = await link.next(math.inf)
            if frame is None:
                break
            message = decode(frame)
            if isinstance(message, Error):
                self._refusal = message.code
                self._changed.unpark_all()
                continue
            self.heard.append((message, frame))
            self._changed.unpark_all()
            if frame.stream == 0:
                link.read(frame)
            if isinstance(message, self._unheard):
                continue
            try:
                effects = self.user.core.receive_peer(frame)
            except MdiqkdError as error:
                raise Broken(f"to a sound peer it says what is not legal: {error}") from None
            await self._perform(effects)
        self._ended = True
        self._changed.unpark_all()

    async def _to_user(self, message: Message) -> None:
        body = encode(message)
        head = HEADER.pack(len(body), message.TYPE, 1, 0, HANDLE, 0, 0)
        effects = self.user.core.receive_relay(Frame(message.TYPE, HANDLE, 0, 0, head + body))
        await self._perform(effects)

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
                    self._changed.unpark_all()
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
async def pairing(harness: "EndpointHarness") -> AsyncIterator[tuple[Pairing, trio.Nursery]]:
    """A pairing with a peer that begins anew; its tasks end with the block."""
    user = harness.played_user()
    user.begin()
    run = Pairing(harness, user)
    async with trio.open_nursery() as nursery:
        await run.connect(nursery)
        yield run, nursery
        nursery.cancel_scope.cancel()


def instead(kind: type[M], change: Callable[[M], Message | None]) -> Alter:
    """Change every message of a kind; None leaves it out."""

    def alter(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return (message,)
        changed = change(message)
        return () if changed is None else (changed,)

    return alter
