"""Three cores wired in memory: relay and two endpoints, simulated light, fake pads and stores.

Knobs: `tamper` may change, drop (None) or keep every frame on its way. Everything is pumped until
nothing moves any more. Connections can be cut and made again, and a user can be restarted on what
its store and its pads kept.
"""

import hashlib
from collections import deque
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_users import MemoryPads, Random, User
from msgspec.structs import replace

from mdiqkd_net.devices import SimulatedReceiver
from mdiqkd_net.errors import AuthenticationError, ProtocolError, WireError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.engine import DEFAULT
from mdiqkd_net.params import ReceiverParams, Security, Setting, Source
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.announcing import MAX_ANNOUNCED
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.endpoint import PairPlan
from mdiqkd_net.protocol.handshake import greet
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import HEADER, Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Message

SOURCE = Source(
    x=Setting(intensity=0.12, probability=0.35),
    y=Setting(intensity=0.38, probability=0.12),
    z=Setting(intensity=0.55, probability=0.45),
)
RECEIVER = ReceiverParams(
    efficiency=0.9, dark_probability=1e-8, misalignment=0.01, mode_overlap=1.0
)
SECURITY = Security(eps_sec=1e-6, eps_cor=1e-10)
TRANSMITTANCE = 0.7
RELAY_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"relay").digest())

Tamper = Callable[[str, str, Frame], Frame | None]


def with_message(frame: Frame, message: Message) -> Frame:
    """The frame with another message in it, as somebody who has broken TLS could send it."""
    body = encode(message)
    _, *rest = HEADER.unpack_from(frame.raw)
    raw = HEADER.pack(len(body), *rest) + body
    return Frame(frame.kind, frame.stream, frame.seq, frame.ack, raw)


def rewritten(frame: Frame, **fields: object) -> Frame:
    """The frame with fields of its message changed."""
    return with_message(frame, replace(decode(frame), **fields))


class _Wire:
    """One connection: stream 0 and the readers of both ends, and whatever is in flight on it."""

    def __init__(self, a: str, b: str) -> None:
        self.ends = {a: Sequencer(), b: Sequencer()}
        self.readers = {a: FrameReader(CAPS), b: FrameReader(CAPS)}


class Triangle:
    """Alice, Bob and Charles in one process."""

    def __init__(
        self,
        n_pulses: int = 3_000_000,
        *,
        seed: int = 1,
        tamper: Tamper | None = None,
        source: Source = SOURCE,
        alice_security: Security = SECURITY,
        bob_security: Security = SECURITY,
        bell_states: tuple[str, ...] = ("psi_minus", "psi_plus"),
        segment_pulses: int = 1_000_000,
        pad_seeds: tuple[int, int] = (5, 5),
        blocks: int = 1,
        alice_analysis: Analysis = DEFAULT,
        bob_analysis: Analysis = DEFAULT,
        reconciler: str = "cascade",
        round_trip_s: float = 0.0,
        receiver: ReceiverParams = RECEIVER,
        processor: Processor = HERE,
        session_events: int = MAX_ANNOUNCED,
    ) -> None:
        self.random = Random(seed)
        self.tamper = tamper or (lambda _source, _target, frame: frame)
        self.trace: list[tuple[str, str, int]] = []
        self._seed = seed
        self._receiver = receiver
        self._round_trip_s = round_trip_s
        self._flight: deque[tuple[str, str, bytes, _Wire]] = deque()
        self._wires: dict[frozenset[str], _Wire] = {}
        self.relay = Relay(
            pulse_rate_hz=10**9,
            segment_pulses=segment_pulses,
            entropy=self.random,
            key=RELAY_KEY,
        )
        self._at_relay = {name: Correspondence(self.random) for name in ("alice", "bob")}
        self.users: dict[str, User] = {}
        for name, peer in (("alice", "bob"), ("bob", "alice")):
            agreement = Agreement(
                source=source,
                security=alice_security if name == "alice" else bob_security,
                bell_states=bell_states,
                reconciler=reconciler,
                analysis=alice_analysis if name == "alice" else bob_analysis,
            )
            plan = PairPlan(
                node=name,
                peer=peer,
                n_pulses=n_pulses,
                blocks=blocks,
                agreement=agreement,
                qber_hint=0.02,
                session_events=session_events,
            )
            pads = MemoryPads(pad_seeds[name == "bob"], name == "alice")
            self.users[name] = User(name, plan, pads, self.random, processor)

    @property
    def alice(self) -> User:
        return self.users["alice"]

    @property
    def bob(self) -> User:
        return self.users["bob"]

    def run(self) -> "Triangle":
        """Connect everybody and pump until nothing moves."""
        for name in self.users:
            self.connect(name, "charles")
        self.connect("alice", "bob")
        self.pump()
        return self

    def connect(self, a: str, b: str) -> None:
        """Make a connection, in place of one that there may be."""
        self.cut(a, b)
        self._wires[frozenset((a, b))] = _Wire(a, b)
        sides = [self._side(a, b), self._side(b, a)]
        hellos = [greet(a, "endpoint", self.random, side) for side in sides]
        n_meetings = [side.n_meetings for side in sides]
        for end, other, side, ours, theirs, n in zip(
            (a, b), (b, a), sides, hellos, hellos[::-1], n_meetings, strict=True
        ):
            kept, frames = side.meet(ours, theirs, n)
            for frame in frames:
                self._put(end, other, frame.raw)
            if end == "charles":
                self._perform_relay(self.relay.connected(other, side.sequencer, kept=kept))
            elif other == "charles":
                self._perform(self.users[end], self.users[end].core.relay_linked(kept=kept))
            else:
                self._perform(self.users[end], self.users[end].core.linked(kept=kept))

    def cut(self, a: str, b: str) -> None:
        """Lose a connection, with all that is in flight on it."""
        wire = self._wires.pop(frozenset((a, b)), None)
        self._flight = deque(entry for entry in self._flight if entry[3] is not wire)
        for end, other in ((a, b), (b, a)):
            if end == "charles" and wire is not None:
                self._perform_relay(self.relay.disconnected(other))

    def restart(self, name: str) -> None:
        """Kill a user and start it again, without connections."""
        for other in ("charles", *self.users):
            if other != name:
                self.cut(name, other)
        self.users[name].start()

    def _side(self, name: str, other: str) -> Correspondence:
        if name == "charles":
            return self._at_relay[other]
        user = self.users[name]
        return user.relay if other == "charles" else user.peer

    def pump(self, limit: int | None = None) -> None:
        """Deliver frames until none is left, or so many."""
        while self._flight and limit != 0:
            limit = None if limit is None else limit - 1
            source, target, raw, wire = self._flight.popleft()
            try:
                frames = wire.readers[target].receive_data(raw)
            except WireError as error:
                self._refuse(self.users[target], source, error)
                continue
            for frame in frames:
                self.trace.append((source, target, frame.kind))
                changed = self.tamper(source, target, frame)
                if changed is not None:
                    self._deliver(source, target, changed, wire)

    def _put(self, source: str, target: str, raw: bytes) -> None:
        wire = self._wires.get(frozenset((source, target)))
        if wire is not None:
            self._flight.append((source, target, raw, wire))

    def _say(self, source: str, target: str, message: Message) -> None:
        wire = self._wires.get(frozenset((source, target)))
        if wire is not None:
            frame = wire.ends[source].seal(message.TYPE, encode(message))
            self._put(source, target, frame.raw)

    def _deliver(self, source: str, target: str, frame: Frame, wire: _Wire) -> None:
        if target == "charles":
            if self._accept(target, source, frame, wire):
                self._perform_relay(self.relay.receive(source, frame))
            return
        user = self.users[target]
        if user.error is not None:
            return
        try:
            if source == "charles":
                new = self._accept(target, source, frame, wire)
                effects = user.core.receive_relay(frame) if new else []
            else:
                if frame.stream == 0:
                    wire.ends[target].accept(frame)
                effects = user.core.receive_peer(frame)
        except AuthenticationError as error:
            user.error = error
            return
        except (ProtocolError, WireError) as error:
            self._refuse(user, source, error)
            return
        self._perform(user, effects)

    def _refuse(self, user: User, source: str, error: ProtocolError | WireError) -> None:
        """A user refuses what came from somewhere, and hears nobody from then on."""
        user.error, user.blamed = error, source
        self._perform(user, user.core.abort(str(error)))

    def _accept(self, target: str, source: str, frame: Frame, wire: _Wire) -> bool:
        if frame.stream == 0:
            return wire.ends[target].accept(frame)
        return self._side(target, source).sequencer.accept(frame)

    def _perform(self, user: User, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(node=node, data=data):
                    self._put(user.name, node, data)
                case fx.Say(message=message):
                    self._say(user.name, user.plan.peer, message)
                case fx.Tell(message=message, stream=0):
                    self._say(user.name, "charles", message)
                case fx.Tell(message=message, stream=stream):
                    sequencer = user.relay.sequencer
                    frame = sequencer.seal(message.TYPE, encode(message), stream)
                    self._put(user.name, "charles", frame.raw)
                case fx.Freeze(digest=digest):
                    assert not user.light, "frozen before the light"
                    user.frozen.append(digest)
                case fx.Answered():
                    user.core.round_trips.add(self._round_trip_s)
                case fx.Arm(session=session, light=light):
                    user.light[session] = light
                    user.light_seen.append(session)
                case fx.Disarm(session=session):
                    user.light.pop(session, None)
                case fx.Begin(block=block):
                    assert block >= user.store.first_free, "numbers only rise"
                    user.store.first_free = block + 1
                case fx.Hold():
                    user.store.hold(effect)
                case fx.Settle():
                    user.store.settle(effect)
                case fx.BurnReceived(pad=pad):
                    user.pads.burn_receive(pad)
                case fx.Report(event=event, fields=fields):
                    user.reports.append((event, dict(fields)))
                case fx.Continue():
                    self._perform(user, user.core.go_on())
                case fx.Latch(reason=reason):
                    user.latched = reason
                case fx.Refuse(error=error):
                    self._refuse(user, user.plan.peer, error)
                case fx.Finished(outcome=outcome):
                    user.ended.append(outcome)
                    self._perform(user, user.core.request())

    def _perform_relay(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(node=node, data=data):
                    self._put("charles", node, data)
                case fx.StartLight():
                    self._measure(effect)

    def _measure(self, start: fx.StartLight) -> None:
        receiver = SimulatedReceiver(
            receiver=self._receiver,
            transmittances=(TRANSMITTANCE, TRANSMITTANCE),
            light=(light_table(SOURCE), light_table(SOURCE)),
            seed=self._seed,
        )
        for segment in start.segments:
            receiver.begin(segment)
            while batch := receiver.next_candidates(1 << 16):
                if any(start.session not in self.users[name].light for name in start.users):
                    self._perform_relay(self.relay.light_failed(start.session))
                    return
                lights = [self.users[name].light[start.session] for name in start.users]
                states = [light.states_at(segment.number, batch.pulses) for light in lights]
                clicks = receiver.detect(batch, *states)
                self._perform_relay(self.relay.clicks(start.session, clicks))
