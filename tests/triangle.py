"""Three cores wired in memory: relay and two endpoints, simulated light, fake pads and stores.

Knobs: `tamper` may change, drop (None) or keep every frame on its way; `announce` may give the two
users different frames. Everything is pumped until nothing moves any more.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.devices import SimulatedReceiver
from mdiqkd_net.errors import AuthenticationError, ProtocolError, WireError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.engine import DEFAULT
from mdiqkd_net.params import ReceiverParams, Security, Setting, Source
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire.codec import CAPS, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer

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

Tamper = Callable[[str, str, Frame], Frame | None]


class Random:
    """Reproducible `entropy` for tests."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, n: int) -> bytes:
        return self._rng.bytes(n)


class MemoryPads:
    """Pads of one user; two of them with the same seed fit together."""

    def __init__(self, seed: int, lower: bool) -> None:
        rng = np.random.default_rng(seed)
        keys = [bytearray(rng.bytes(16)) for _ in range(4)]
        pads = [[rng.bytes(16) for _ in range(8)] for _ in range(2)]
        mine, theirs = (0, 1) if lower else (1, 0)
        self.send_keys = (keys[2 * mine], keys[2 * mine + 1])
        self.receive_keys = (keys[2 * theirs], keys[2 * theirs + 1])
        self._send, self._receive = pads[mine], pads[theirs]
        self.n_sent = 0
        self.received: set[int] = set()

    def take_send(self) -> tuple[int, bytearray]:
        self.n_sent += 1
        return self.n_sent - 1, bytearray(self._send[self.n_sent - 1])

    def take_receive(self, index: int) -> bytearray:
        if index in self.received or index >= len(self._receive):
            raise AuthenticationError("authentication failed")
        self.received.add(index)
        return bytearray(self._receive[index])


@dataclass
class User:
    name: str
    core: Endpoint
    pads: MemoryPads
    sequencer: Sequencer
    relay_sequencer: Sequencer
    held: dict[bytes, SecretKey] = field(default_factory=dict)
    released: set[bytes] = field(default_factory=set)
    reports: list[tuple[str, dict]] = field(default_factory=list)
    light: dict[bytes, fx.SessionLight] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    light_seen: list[bytes] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    error: Exception | None = None

    @property
    def keys(self) -> dict[bytes, bytes]:
        return {i: k.value for i, k in self.held.items() if i in self.released}

    def report(self, event: str) -> dict:
        return next(fields for name, fields in reversed(self.reports) if name == event)


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
        receiver: ReceiverParams = RECEIVER,
    ) -> None:
        self.random = Random(seed)
        self.tamper = tamper or (lambda _source, _target, frame: frame)
        self.trace: list[tuple[str, str, int]] = []
        self._seed = seed
        self._receiver = receiver
        self._flight: deque[tuple[str, str, bytes]] = deque()
        self.relay = Relay(
            pulse_rate_hz=10**9,
            segment_pulses=segment_pulses,
            entropy=self.random,
            key=Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"relay").digest()),
        )
        self.users: dict[str, User] = {}
        for name, peer in (("alice", "bob"), ("bob", "alice")):
            agreement = Agreement(
                source=source,
                security=alice_security if name == "alice" else bob_security,
                bell_states=bell_states,
                reconciler="cascade",
                analysis=alice_analysis if name == "alice" else bob_analysis,
            )
            plan = PairPlan(
                node=name,
                peer=peer,
                n_pulses=n_pulses,
                blocks=blocks,
                agreement=agreement,
                qber_hint=0.02,
            )
            sequencer = Sequencer()
            pads = MemoryPads(pad_seeds[name == "bob"], name == "alice")
            core = Endpoint(plan, sequencer=sequencer, pads=pads, entropy=self.random)
            self.users[name] = User(name, core, pads, sequencer, Sequencer())
            self._perform_relay(self.relay.connected(name, Sequencer()))

    @property
    def alice(self) -> User:
        return self.users["alice"]

    @property
    def bob(self) -> User:
        return self.users["bob"]

    def run(self) -> "Triangle":
        """Ask for a block at both users and pump until nothing moves."""
        for user in self.users.values():
            self._perform(user, user.core.request())
        self.pump()
        return self

    def pump(self) -> None:
        while self._flight:
            source, target, raw = self._flight.popleft()
            (frame,) = FrameReader(CAPS).receive_data(raw)
            self.trace.append((source, target, frame.kind))
            changed = self.tamper(source, target, frame)
            if changed is not None:
                self._deliver(source, target, changed)

    def _deliver(self, source: str, target: str, frame: Frame) -> None:
        if target == "charles":
            self._perform_relay(self.relay.receive(source, frame))
            return
        user = self.users[target]
        if user.error is not None:
            return
        handle = user.core.receive_relay if source == "charles" else user.core.receive_peer
        try:
            effects = handle(frame)
        except (ProtocolError, WireError) as error:
            user.error = error
            effects = user.core.abort(str(error))
        self._perform(user, effects)

    def _perform(self, user: User, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(node=node, data=data):
                    self._flight.append((user.name, node, data))
                case fx.Tell(message=message, stream=stream):
                    frame = user.relay_sequencer.seal(message.TYPE, encode(message), stream)
                    self._flight.append((user.name, "charles", frame.raw))
                case fx.Freeze(digest=digest):
                    assert not user.light, "frozen before the light"
                    user.frozen.append(digest)
                case fx.Arm(session=session, light=light):
                    user.light[session] = light
                    user.light_seen.append(session)
                case fx.Disarm(session=session):
                    user.light.pop(session, None)
                case fx.Hold(key=key, leak_model=model):
                    user.held[key.block_id] = key
                    user.models.append(model)
                case fx.Release(block_id=block_id):
                    user.released.add(block_id)
                case fx.Discard(block_id=block_id):
                    user.held.pop(block_id)
                case fx.Report(event=event, fields=fields):
                    user.reports.append((event, dict(fields)))
                case fx.Resume():
                    self._perform(user, user.core.resume())
                case fx.Finished(outcome=outcome):
                    user.ended.append(outcome)
                    if user.core.blocks_left:
                        self._perform(user, user.core.request())

    def _perform_relay(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(node=node, data=data):
                    self._flight.append(("charles", node, data))
                case fx.StartLight():
                    self._measure(effect)

    def _measure(self, start: fx.StartLight) -> None:
        receiver = SimulatedReceiver(
            receiver=self._receiver,
            transmittances=(TRANSMITTANCE, TRANSMITTANCE),
            light=(light_table(SOURCE), light_table(SOURCE)),
            seed=self._seed,
        )
        lights = [self.users[name].light[start.session] for name in start.users]
        for segment in start.segments:
            receiver.begin(segment)
            while batch := receiver.next_candidates(1 << 16):
                states = [light.states_at(segment.number, batch.pulses) for light in lights]
                clicks = receiver.detect(batch, *states)
                self._perform_relay(self.relay.clicks(start.session, clicks))
