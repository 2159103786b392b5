"""Simulated light on TCP: the one exception to secrecy, and it lives here alone.

The simulated fiber asks both transmitters for the light of the few pulses that may click. It draws
those pulses before and independently of anything secret, so asking tells nothing that a real fiber
would not. Its answers go into the simulated receiver, behind the interface of a real one; the relay
core sees clicks. Keys from such light are labelled "simulated".
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import trio
from numpy.typing import NDArray

from mdiqkd_net.blocks import ClickBlock, Segment
from mdiqkd_net.devices import Candidates, LitReceiver, SimulatedReceiver
from mdiqkd_net.errors import DeviceError, RemoteProtocolError
from mdiqkd_net.params import MAX_PULSES, Source
from mdiqkd_net.physics.drift import ArmDrift
from mdiqkd_net.physics.pair_optics import Arm, PairOptics, pair_optics
from mdiqkd_net.protocol.light import SessionLight, peer_source, source_settings
from mdiqkd_net.runtime.config import SimulatedDevice
from mdiqkd_net.runtime.limits import QUOTA
from mdiqkd_net.runtime.link import Link
from mdiqkd_net.runtime.world import World
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Light, LightArm, LightAsk

ARM_S: Final = 10.0
BATCH: Final = 1 << 17
"""Candidates asked for at once: enough that the cost of a message vanishes."""
MAX_ASKED: Final = 2 * BATCH
"""Pulses of a question: those that may click, and the ones before them."""
MAX_ARMED: Final = 16
"""Sessions that one transmitter may be armed for."""
UNKNOWN_SESSION: Final = 0x0302

States = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""What two users say that they sent at the pulses of a question."""


class Transmitter:
    """A user's end of the light link: answers for the sessions that are armed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[bytes, SessionLight] = {}
        self._bytes: Counter[bytes] = Counter()
        self._link: Link | None = None
        self.up = trio.Event()

    def count_bytes(self, session: bytes) -> int:
        """Bytes on the light link for a session, both directions; forgets them."""
        return self._bytes.pop(session, 0)

    def arm(self, session: bytes, light: SessionLight) -> None:
        """Be ready for a session, and say so to the fiber, now or when the link is there."""
        self._sessions[session] = light
        if self._link is not None:
            self._say_armed(self._link, session, light)

    def disarm(self, session: bytes) -> None:
        """Forget a session."""
        self._sessions.pop(session, None)

    async def serve(self, link: Link) -> None:
        """Answer the fiber until it goes.

        Raises:
            RemoteProtocolError: It asks for what it may not.
            WireError: It does not speak the protocol.
        """
        self._link = link
        self.up.set()
        for session, light in self._sessions.items():
            self._say_armed(link, session, light)
        try:
            await self._answer_all(link)
        finally:
            if self._link is link:
                self._link = None

    def _say_armed(self, link: Link, session: bytes, light: SessionLight) -> None:
        link.tell(LightArm(session=session, source=source_settings(light.source)))

    async def _answer_all(self, link: Link) -> None:
        while frame := await link.next_frame():
            session, answer = await self._world.in_thread(self._answer, frame)
            self._bytes[session] += len(frame.raw) + link.tell(answer)
            await link.drained()

    def _answer(self, frame: Frame) -> tuple[bytes, Light]:
        ask = decode(frame)
        if not isinstance(ask, LightAsk):
            raise RemoteProtocolError(
                f"light link: found {type(ask).__name__}; allowed: LightAsk", UNKNOWN_SESSION
            )
        light = self._sessions.get(ask.session)
        if light is None:
            # Our block has ended while the question was on its way: the fiber must not wait.
            return ask.session, Light(session=ask.session, states=bulk.Bulk(n=0, t="u8", v=b""))
        try:
            states = light.states_at(ask.segment, _asked(ask))
        except ValueError as error:
            raise RemoteProtocolError(f"light link: {error}") from None
        states_sent = bulk.Bulk(n=states.size, t="u8", v=states.tobytes())
        return ask.session, Light(session=ask.session, states=states_sent)


@dataclass(frozen=True, slots=True)
class _Line:
    """A light link, and what came over it.

    A session keeps to those that it begins with: what is lost with one does not come over the next.
    """

    link: Link
    answers: trio.MemoryReceiveChannel[Light]


class LightPlane:
    """Charles' side: transmitters that have come, and the sessions they are armed for."""

    def __init__(
        self,
        device: SimulatedDevice,
        world: World,
        *,
        pulse_rate_hz: float = 1e9,
    ) -> None:
        self._device = device
        self._world = world
        self._pulse_rate_hz = pulse_rate_hz
        # The arms drift while light runs, from the first session of this node on.
        self._light_s = 0.0
        self._n_sessions = 0
        self._lines: dict[str, _Line] = {}
        self._sources: dict[tuple[bytes, str], Source] = {}
        self._changed = trio.Condition()
        # A physics seed is public; without one every run is another sample.
        self._seed = int.from_bytes(world.entropy(8), "big") if device.seed is None else device.seed

    async def serve(self, link: Link) -> None:
        """Read one transmitter's messages until it goes.

        Raises:
            RemoteProtocolError, WireError: It does not speak the protocol, or is here already.
        """
        if link.node not in self._device.fibers:
            known = ", ".join(sorted(self._device.fibers)) or "nobody"
            raise RemoteProtocolError(f"{link.node} has no fiber here; allowed: {known}")
        old = self._lines.pop(link.node, None)
        if old is not None:  # half open: its user has come back
            await old.link.close()
        deliver, answers = trio.open_memory_channel[Light](16)
        line = self._lines[link.node] = _Line(link, answers)
        try:
            async with deliver:
                while frame := await link.next_frame():
                    message = decode(frame)
                    if isinstance(message, LightArm):
                        await self._armed(link.node, message)
                    elif isinstance(message, Light) and message.states.n > MAX_ASKED:
                        raise RemoteProtocolError(
                            f"light link: found {message.states.n} states; allowed: {MAX_ASKED}",
                            QUOTA,
                        )
                    elif isinstance(message, Light) and message.states.t == "u8":
                        await deliver.send(message)
                    else:
                        raise RemoteProtocolError(
                            f"light link: found {type(message).__name__}; "
                            "allowed: LightArm, or Light with states of type u8"
                        )
        finally:
            if self._lines.get(link.node) is line:
                del self._lines[link.node]
            async with self._changed:
                self._changed.notify_all()

    async def _armed(self, user: str, message: LightArm) -> None:
        source = peer_source(message.source)
        armed = [key for key in self._sources if key[1] == user]
        if len(armed) >= MAX_ARMED:
            del self._sources[armed[0]]  # sessions end; who arms for so many has forgotten it
        self._sources[message.session, user] = source
        async with self._changed:
            self._changed.notify_all()

    async def measure(
        self,
        session: bytes,
        users: tuple[str, str],
        segments: tuple[Segment, ...],
        deliver: Callable[[ClickBlock], Awaitable[None]],
    ) -> None:
        """Run the simulated receiver over a session's light.

        Raises:
            DeviceError: A transmitter is missing, goes away, or answers nonsense.
        """
        await self._wait_until_armed(session, users)
        lines = self._line_of(users[0]), self._line_of(users[1])
        number, self._n_sessions = self._n_sessions, self._n_sessions + 1
        arms = self._arm(session, users[0]), self._arm(session, users[1])
        nominal = pair_optics(self._device.receiver, arms, pulse_rate_hz=self._pulse_rate_hz)
        questions: deque[bytes] = deque()
        answers: deque[States] = deque()
        receiver = LitReceiver(
            SimulatedReceiver(
                receiver=nominal.receiver,
                transmittances=nominal.transmittances,
                light=nominal.light,
                phase=nominal.phase,
                optics_of=self._drifting(users, arms),
                seed=(self._seed, number),
                pulse_rate_hz=self._pulse_rate_hz,
            ),
            ask=lambda candidates: questions.append(_question(session, candidates)),
            collect=answers.popleft,
            max_candidates=BATCH,
        )
        for segment in segments:
            # Drifting arms make new tables here, which takes its time.
            await self._world.in_thread(receiver.begin, segment)
            while await self._world.in_thread(receiver.look_ahead):
                while questions:
                    await self._post(lines, questions.popleft())
                answers.append(await self._collect(session, lines))
                if clicks := await self._world.in_thread(receiver.next_clicks):
                    await deliver(clicks)
            self._light_s += segment.n_pulses / self._pulse_rate_hz

    def _arm(self, session: bytes, user: str) -> Arm:
        source = self._sources.pop((session, user))
        return Arm(source, self._device.fibers[user], self._device.transmitter(user))

    def _drifting(
        self, users: tuple[str, str], arms: tuple[Arm, Arm]
    ) -> Callable[[Segment], PairOptics] | None:
        """The optics of a segment as it begins, or None if both arms stay as they are."""
        # A fiber's drift is its own, whoever shares the relay with it.
        alice, bob = (
            ArmDrift(arm.fiber, (self._seed, int.from_bytes(user.encode(), "big")))
            for user, arm in zip(users, arms, strict=True)
        )
        if not (alice.changes or bob.changes):
            return None
        return lambda _: pair_optics(
            self._device.receiver,
            arms,
            (alice.at(self._light_s), bob.at(self._light_s)),
            pulse_rate_hz=self._pulse_rate_hz,
        )

    async def _wait_until_armed(self, session: bytes, users: tuple[str, str]) -> None:
        missing = list(users)
        with trio.move_on_after(ARM_S):
            async with self._changed:
                while missing := [u for u in users if (session, u) not in self._sources]:
                    await self._changed.wait()
        if missing:
            raise DeviceError(
                f"no light from {' and '.join(missing)} within {ARM_S:g} s; "
                "is `light` set in their configuration?"
            )

    async def _post(self, lines: tuple[_Line, _Line], body: bytes) -> None:
        for line in lines:
            line.link.send(line.link.sequencer.seal(LightAsk.TYPE, body).raw)
            await line.link.drained()

    async def _collect(self, session: bytes, lines: tuple[_Line, _Line]) -> States:
        answers: list[NDArray[np.uint8]] = []
        for line in lines:
            try:
                answer = await line.answers.receive()
                while answer.session != session:  # left over from a session that was stopped
                    answer = await line.answers.receive()
            except trio.EndOfChannel:
                raise _went_away(line.link.node) from None
            answers.append(bulk.unpack_unsigned(answer.states).astype(np.uint8, copy=False))
        return answers[0], answers[1]

    def _line_of(self, user: str) -> _Line:
        line = self._lines.get(user)
        if line is None:
            raise _went_away(user)
        return line


def _went_away(user: str) -> DeviceError:
    return DeviceError(f"the transmitter of {user} went away")


def _asked(ask: LightAsk) -> NDArray[np.int64]:
    """The pulses of a question, shape (n,), strictly increasing.

    Raises:
        ValueError: More of them than a question may name, or numbers that no block has.
        WireError: Malformed gaps.
    """
    gaps = bulk.unpack_unsigned(ask.gaps)
    if gaps.size > MAX_ASKED:
        raise ValueError(f"question: found {gaps.size} pulses; allowed: {MAX_ASKED}")
    # Each of these is below 2^50 and there are at most 2^18, so that no sum leaves int64.
    largest = max(ask.base, int(gaps.max()) if gaps.size else 0)
    if largest < MAX_PULSES:
        pulses: NDArray[np.int64] = np.cumsum(gaps.astype(np.int64) + 1) + (ask.base - 1)
        if not pulses.size or (largest := int(pulses[-1])) < MAX_PULSES:
            return pulses
    raise ValueError(f"question: found pulse or gap {largest}; allowed: below {MAX_PULSES}")


def _question(session: bytes, candidates: Candidates) -> bytes:
    asked = candidates.asked
    # The pulse before the first candidate may belong to the batch before.
    base = min(candidates.n_before, int(asked[0])) if asked.size else candidates.n_before
    before = np.concatenate([[base - 1], asked[:-1]])
    gaps = asked - before[: asked.size] - 1
    return encode(
        LightAsk(
            base=base, gaps=bulk.pack_unsigned(gaps), segment=candidates.segment, session=session
        )
    )
