"""A relay and two users in memory, and the frames they exchange.

Cores, records and pads are those of the package; entropy, pads and light are fixed, so that
everything is the same on every run. A user alone can be fed from a file in place of the others.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from mdiqkd_net.blocks import EARLY_0, LATE_0, LATE_1, ClickBlock
from mdiqkd_net.conformance.endpoint.played import EmptyShelf, MemoryRecords
from mdiqkd_net.errors import AuthenticationError, RemoteProtocolError
from mdiqkd_net.params import Source
from mdiqkd_net.protocol.correspondence import Correspondence
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
    StartLight,
    Tell,
)
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.handshake import PROTOCOL_VERSION, RoleName
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Hello, Message

CHARLES: Final = "charles"
WINDOW: Final = 16
_IMPLEMENTATION: Final = "recorded 1"
"""What `Hello` says in place of a version, which would change with every release."""
_WRONG_ONE_IN: Final = 100

Entropy = Callable[[int], bytes]
Post = Callable[[str, str, Frame], None]
"""Takes a frame from one node to another: sender, receiver, frame."""


class ListedPads:
    """Pads of one user from lists.

    Args:
        send_keys, receive_keys: r1 and r2 of each direction.
        send, receive: One pad for each index.
    """

    def __init__(
        self,
        send_keys: tuple[bytes, bytes],
        receive_keys: tuple[bytes, bytes],
        send: list[bytes],
        receive: list[bytes],
    ) -> None:
        self.send_keys = (bytearray(send_keys[0]), bytearray(send_keys[1]))
        self.receive_keys = (bytearray(receive_keys[0]), bytearray(receive_keys[1]))
        self._send, self._receive = send, dict(enumerate(receive))
        self.high_water = self._end = self._granted = 0

    @property
    def lease_left(self) -> int:
        """Granted pads that are still unused."""
        return self._end - self.high_water

    def take_send(self) -> tuple[int, bytearray]:
        """The next pad and its index."""
        self.high_water += 1
        return self.high_water - 1, bytearray(self._send[self.high_water - 1])

    def read_receive(self, index: int) -> bytearray:
        """The peer's pad of that index.

        Raises:
            AuthenticationError: It was never granted, or is burnt.
        """
        if index >= self._granted or index not in self._receive:
            raise AuthenticationError("authentication failed")
        return bytearray(self._receive[index])

    def burn_receive(self, index: int) -> None:
        """Forget a pad of the peer."""
        del self._receive[index]

    def grant(self, high_water: int) -> tuple[int, int]:
        """A window for the peer."""
        base = max(self._granted, high_water)
        self._granted = base + WINDOW
        return base, WINDOW

    def accept_lease(self, base: int, count: int) -> None:
        """The peer's window.

        Raises:
            RemoteProtocolError: It begins below what is used.
        """
        if base < self.high_water:
            raise RemoteProtocolError(f"lease: found {base}; allowed: from {self.high_water}")
        self.high_water, self._end = base, base + count


class _Node(ABC):
    """What users and relay have in common: links, and `Hello` as the first frame of each."""

    def __init__(self, name: str, role: RoleName, entropy: Entropy, post: Post) -> None:
        self.name = name
        self._role: RoleName = role
        self._entropy = entropy
        self._post = post
        self._known: dict[str, Correspondence] = {}
        self._links: dict[str, Sequencer] = {}
        self._hellos: dict[str, Hello] = {}

    def connect(self, other: str) -> None:
        """A connection is there: greet."""
        if other not in self._known:
            self._known[other] = Correspondence(self._entropy)
        kept = self._known[other]
        hello = Hello(
            epoch=kept.epoch,
            impl=_IMPLEMENTATION,
            node=self.name,
            nonce=self._entropy(32),
            positions=kept.sequencer.positions(),
            role=self._role,
            seen=kept.seen,
            versions=[PROTOCOL_VERSION],
        )
        self._links[other], self._hellos[other] = Sequencer(), hello
        self._say(other, hello)

    def receive(self, other: str, frame: Frame) -> None:
        """Take a frame of another node, and do what follows."""
        if frame.stream == 0:
            self._links[other].accept(frame)
        if frame.kind == Hello.TYPE:
            theirs = decode(frame)
            assert isinstance(theirs, Hello)  # noqa: S101  # by its type
            kept, _ = self._known[other].meet(self._hellos[other], theirs, 0)
            self._linked(other, kept=kept)
        else:
            self._heard(other, frame)

    def _say(self, other: str, message: Message) -> None:
        self._post(self.name, other, self._links[other].seal(message.TYPE, encode(message)))

    @abstractmethod
    def _linked(self, other: str, *, kept: bool) -> None:
        """There is a connection; `kept` if both go on where the last one broke off."""

    @abstractmethod
    def _heard(self, other: str, frame: Frame) -> None:
        """A frame behind the greeting has come."""


class RecordedUser(_Node):
    """A user on given entropy and pads.

    Attributes:
        lights: Its light by session, as long as it may be asked for.
        key: The key that its block ended with, packed; nothing without one.
        outcome: How its block ended.
    """

    def __init__(self, plan: PairPlan, pads: ListedPads, entropy: Entropy, post: Post) -> None:
        super().__init__(plan.node, "endpoint", entropy, post)
        self._plan, self._pads = plan, pads
        self._records = MemoryRecords()
        self._known[plan.peer] = Correspondence(entropy)
        self.lights: dict[bytes, SessionLight] = {}
        self.key, self.outcome = b"", ""
        self._core = Endpoint(
            plan,
            sequencer=self._known[plan.peer].sequencer,
            pads=pads,
            records=self._records,
            shelf=EmptyShelf(),
            entropy=entropy,
            now_s=lambda: 0.0,
        )

    def _linked(self, other: str, *, kept: bool) -> None:
        core = self._core
        linked = core.relay_linked if other == CHARLES else core.linked
        self._perform(linked(kept=kept))

    def _heard(self, other: str, frame: Frame) -> None:
        if other != CHARLES:
            self._perform(self._core.receive_peer(frame))
        elif self._known[other].sequencer.accept(frame):
            self._perform(self._core.receive_relay(frame))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(node=node, data=data):
                    self._post(self.name, node, _frame(data))
                case Say(message=message):
                    self._say(self._plan.peer, message)
                case Tell(message=message, stream=0):
                    self._say(CHARLES, message)
                case Tell(message=message, stream=stream):
                    sequencer = self._known[CHARLES].sequencer
                    frame = sequencer.seal(message.TYPE, encode(message), stream)
                    self._post(self.name, CHARLES, frame)
                case Arm(session=session, light=light):
                    self.lights[session] = light
                case Begin(block=block):
                    self._records.begin(block)
                case Hold(key=key):
                    self._records.hold(effect)
                    self.key = bytes(key.value.view)
                case Settle():
                    self._records.settle(effect)
                case BurnReceived(pad=pad):
                    self._pads.burn_receive(pad)
                case Continue():
                    self._perform(self._core.go_on())
                case Finished(outcome=outcome):
                    self.outcome = outcome


class RecordedRelay(_Node):
    """A relay whose device sees single photons alone, and errs in one event of a hundred.

    Args:
        chances: Bytes for everything that happens by chance in the light.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        segment_pulses: int,
        entropy: Entropy,
        post: Post,
        users: Mapping[str, RecordedUser],
        chances: Entropy,
    ) -> None:
        super().__init__(CHARLES, "relay", entropy, post)
        self._users, self._chances = users, chances
        self._core = Relay(
            pulse_rate_hz=10**9, segment_pulses=segment_pulses, entropy=entropy, key=key
        )

    def _linked(self, other: str, *, kept: bool) -> None:
        self._perform(self._core.connected(other, self._known[other].sequencer, kept=kept))

    def _heard(self, other: str, frame: Frame) -> None:
        if frame.stream == 0 or self._known[other].sequencer.accept(frame):
            self._perform(self._core.receive(other, frame))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(node=node, data=data):
                    self._post(self.name, node, _frame(data))
                case StartLight(session=session, users=users, segments=segments):
                    lights = [self._users[user].lights[session] for user in users]
                    for segment in segments:
                        pulses = np.arange(segment.n_pulses, dtype=np.int64)
                        alice, bob = (
                            light.states_at(segment.number, pulses).astype(np.intp)
                            for light in lights
                        )
                        sources = [light.source for light in lights]
                        singles = _single(sources[0])[alice] * _single(sources[1])[bob]
                        clicks = _clicks(segment.number, alice, bob, singles, self._chances)
                        self._perform(self._core.clicks(session, clicks))


@dataclass(slots=True)
class Recording:
    """Frames of a network, in the order in which they were sent.

    Attributes:
        frames: Sender, receiver, and the frame.
        scripts: For each node the numbers of the frames that it has sent and received, in its
            own order of time.
    """

    frames: list[tuple[str, str, Frame]]
    scripts: dict[str, list[int]]


class Tape:
    """Carries frames from node to node, oldest first, and writes them down."""

    def __init__(self) -> None:
        self.nodes: dict[str, RecordedUser | RecordedRelay] = {}
        self.recording = Recording([], {})
        self._flight: deque[int] = deque()

    def post(self, sender: str, receiver: str, frame: Frame) -> None:
        """A node sends a frame."""
        number = len(self.recording.frames)
        self.recording.frames.append((sender, receiver, frame))
        self._note(sender, number)
        self._flight.append(number)

    def run(self) -> Recording:
        """Connect all nodes, and go on until nothing moves."""
        names = list(self.nodes)
        for one, other in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
            self.nodes[one].connect(other)
            self.nodes[other].connect(one)
        while self._flight:
            number = self._flight.popleft()
            sender, receiver, frame = self.recording.frames[number]
            self._note(receiver, number)
            self.nodes[receiver].receive(sender, frame)
        return self.recording

    def _note(self, node: str, number: int) -> None:
        self.recording.scripts.setdefault(node, []).append(number)


def _frame(raw: bytes) -> Frame:
    (frame,) = FrameReader(CAPS).receive_data(raw)
    return frame


def _single(source: Source) -> NDArray[np.float64]:
    """How likely a state holds exactly one photon, shape (7,); states as in `blocks`."""
    means = np.repeat([s.intensity for s in (source.x, source.y, source.z)], 2)
    return np.concatenate([[0.0], means * np.exp(-means)])


def _clicks(
    segment: int,
    alice: NDArray[np.intp],
    bob: NDArray[np.intp],
    singles: NDArray[np.float64],
    chances: Entropy,
) -> ClickBlock:
    """A segment's announced events: half of the pairs of single photons.

    States of basis z are anticorrelated in both Bell states; in basis x they are after psi-minus
    and correlated after psi-plus; between the bases there is no relation.
    """
    n = alice.size
    draws = np.frombuffer(chances(4 * n), "<u4") / 2.0**32
    wrong = np.frombuffer(chances(2 * n), "<u2") % _WRONG_ONE_IN == 0
    minus = np.frombuffer(chances(n), np.uint8) % 2 == 1
    in_z = (alice > 4, bob > 4)
    differ = ((alice ^ bob) & 1).astype(np.bool_) ^ wrong
    both_z, both_x = in_z[0] & in_z[1], ~in_z[0] & ~in_z[1]
    minus = np.where(both_x, differ, minus)
    seen = draws < singles * np.where(both_z, differ, 0.5)
    pulses = np.flatnonzero(seen).astype(np.int64)
    patterns = np.where(minus[pulses], EARLY_0 | LATE_1, EARLY_0 | LATE_0).astype(np.uint8)
    return ClickBlock(segment, pulses, patterns, n, last=True)
