"""The relay core: registration, round robin, quotas, and ends."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_users import Random

from mdiqkd_net.blocks import EARLY_0, LATE_0, LATE_1, ClickBlock
from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.credit import WINDOW_BYTES
from mdiqkd_net.protocol.relay import MAX_REQUESTS, Relay, segments
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import FrameReader, Sequencer


class Bench:
    """A relay with users whose links are lists."""

    def __init__(self, *users: str, segment_pulses: int = 100) -> None:
        self.relay = Relay(
            pulse_rate_hz=10**9,
            segment_pulses=segment_pulses,
            entropy=Random(3),
            key=Ed25519PrivateKey.generate(),
        )
        self.received: dict[str, list[m.Message]] = {user: [] for user in users}
        self.lit: list[fx.StartLight] = []
        self.stopped: list[bytes] = []
        self.awaited: list[bytes] = []
        self.away: list[tuple[str, int]] = []
        self._sequencers = {user: Sequencer() for user in users}
        self._n_asked = 0
        for user in users:
            self.perform(self.relay.connected(user, Sequencer(), kept=False))

    def perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(node=user, data=data):
                    (frame,) = FrameReader(CAPS).receive_data(data)
                    self.received[user].append(decode(frame))
                case fx.StartLight():
                    self.lit.append(effect)
                case fx.AwaitArmed(session=session):
                    self.awaited.append(session)
                case fx.StopLight(session=session):
                    self.stopped.append(session)
                case fx.AwaitReturn(user=user, n_visits=n_visits):
                    self.away.append((user, n_visits))

    def say(self, user: str, message: m.Message) -> None:
        frame = self._sequencers[user].seal(message.TYPE, encode(message))
        self.perform(self.relay.receive(user, frame))

    def ask(self, user: str, peer: str, n_pulses: int = 200) -> None:
        self._n_asked += 1
        self.say(user, m.PairRequest(n_pulses=n_pulses, peer=peer, request=self._n_asked))

    def last(self, user: str, kind: type) -> m.Message:
        return next(msg for msg in reversed(self.received[user]) if isinstance(msg, kind))

    def arm(self, *users: str) -> None:
        for user in users:
            self.say(user, m.PairArmed(session=self.last(user, m.PairReady).session))

    def shine(self) -> None:
        start = self.lit[-1]
        for segment in start.segments:
            clicks = ClickBlock(
                segment=segment.number,
                pulses=np.array([1, 3, 5]),
                patterns=np.array([EARLY_0 | LATE_1, EARLY_0 | LATE_0, 15], np.uint8),
                n_elapsed=segment.n_pulses,
                last=True,
            )
            self.perform(self.relay.clicks(start.session, clicks))


def pair_of(bench: Bench) -> tuple[str, str]:
    return bench.lit[-1].users


def test_a_session_needs_both_users_and_both_transmitters():
    bench = Bench("alice", "bob")
    bench.ask("alice", "bob")
    assert not bench.received["alice"]
    bench.ask("bob", "alice", n_pulses=150)
    ready = bench.last("alice", m.PairReady)
    assert ready == bench.last("bob", m.PairReady)
    assert ready.n_pulses == 150
    bench.arm("alice")
    assert not bench.lit
    bench.arm("bob")
    assert [s.n_pulses for s in bench.lit[0].segments] == [100, 50]


def test_both_users_get_the_same_announcements():
    bench = Bench("alice", "bob")
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    bench.arm("alice", "bob")
    bench.shine()
    assert bench.received["alice"] == bench.received["bob"]
    batches = [msg for msg in bench.received["bob"] if isinstance(msg, m.Announcement)]
    assert [batch.pulses.n for batch in batches] == [2, 2]  # fourfold clicks are no Bell state
    closed = bench.last("bob", m.AnnouncementsClosed)
    assert (closed.batches, closed.count) == (2, 4)


def test_pairs_take_turns():
    bench = Bench("alice", "bob", "carol")
    for _ in range(2):
        for a, b in (("alice", "bob"), ("alice", "carol"), ("bob", "carol")):
            bench.ask(a, b)
            bench.ask(b, a)
    order = []
    for _ in range(6):
        users = [u for u in bench.received if bench.received[u]]
        users = [u for u in users if isinstance(bench.received[u][-1], m.PairReady)]
        bench.arm(*users)
        order.append(pair_of(bench))
        bench.shine()
    assert order == [("alice", "bob"), ("alice", "carol"), ("bob", "carol")] * 2


def test_a_user_that_leaves_ends_its_session_and_the_next_pair_starts():
    bench = Bench("alice", "bob", "carol", "dave")
    for a, b in (("alice", "bob"), ("carol", "dave")):
        bench.ask(a, b)
        bench.ask(b, a)
    bench.arm("alice", "bob")
    bench.perform(bench.relay.disconnected("bob"))
    assert not bench.stopped
    bench.perform(bench.relay.gone(*bench.away[-1]))
    assert bench.stopped == [bench.lit[0].session]
    assert bench.last("alice", m.PairAborted).code == 0x0503
    assert bench.last("carol", m.PairReady).users == ["carol", "dave"]
    before = len(bench.received["alice"])
    bench.shine()  # clicks of a session that is over are nobody's
    assert len(bench.received["alice"]) == before


def test_users_that_never_get_ready_do_not_hold_up_others():
    bench = Bench("alice", "bob", "carol", "dave")
    for a, b in (("alice", "bob"), ("carol", "dave")):
        bench.ask(a, b)
        bench.ask(b, a)
    bench.arm("alice")
    (overdue,) = bench.awaited
    bench.perform(bench.relay.arming_overdue(overdue))
    assert bench.last("alice", m.PairAborted).code == 0x0503
    assert bench.last("dave", m.PairReady).users == ["carol", "dave"]
    bench.arm("carol", "dave")
    assert bench.relay.arming_overdue(bench.awaited[-1]) == []
    assert bench.relay.arming_overdue(overdue) == []
    assert not bench.stopped


def test_a_device_that_fails_ends_the_session_alone():
    bench = Bench("alice", "bob")
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    bench.arm("alice", "bob")
    bench.perform(bench.relay.light_failed(bench.lit[0].session))
    assert bench.last("bob", m.PairAborted).code == 0x0501
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    assert isinstance(bench.received["bob"][-1], m.PairReady)
    assert bench.relay.light_failed(b"another") == []


@pytest.mark.parametrize(
    "message",
    [
        m.PairRequest(n_pulses=1, peer="alice", request=1),
        m.SiftDone(count=0, nonce=bytes(16)),
        m.AnnouncementsClosed(batches=0, count=0, signature=bytes(64)),
    ],
)
def test_what_a_user_may_not_say_is_refused_and_changes_nothing(message):
    bench = Bench("alice", "bob")
    with pytest.raises(RemoteProtocolError):
        bench.say("alice", message)
    bench.ask("bob", "alice")
    with pytest.raises(RemoteProtocolError, match="itself"):
        bench.say("bob", m.PairRequest(n_pulses=1, peer="bob", request=1))


def test_armed_for_another_session_comes_too_late_and_changes_nothing():
    bench = Bench("alice", "bob")
    bench.say("alice", m.PairArmed(session=bytes(16)))
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    bench.say("alice", m.PairArmed(session=bytes(16)))
    bench.arm("bob")
    assert not bench.lit
    bench.arm("alice")
    assert bench.lit
    with pytest.raises(RemoteProtocolError, match="PairArmed in state armed"):
        bench.arm("alice")


def test_requests_are_bounded():
    bench = Bench("alice")
    for _ in range(MAX_REQUESTS):
        bench.ask("alice", "bob")
    with pytest.raises(RemoteProtocolError, match="open requests"):
        bench.ask("alice", "bob")


def test_a_user_that_comes_back_goes_on_where_it_was():
    bench = Bench("alice", "bob")
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    bench.arm("alice")
    bench.perform(bench.relay.disconnected("bob"))
    bench.perform(bench.relay.connected("bob", Sequencer(), kept=True))
    assert bench.relay.gone(*bench.away[-1]) == []  # the time to return is over for an old visit
    bench.arm("bob")
    assert bench.lit
    assert bench.relay.disconnected("nobody") == []
    assert bench.relay.gone("nobody", 1) == []


def test_a_user_that_starts_anew_ends_its_session():
    bench = Bench("alice", "bob")
    bench.ask("alice", "bob")
    bench.ask("bob", "alice")
    bench.perform(bench.relay.connected("bob", Sequencer(), kept=False))
    assert bench.last("alice", m.PairAborted).code == 0x0503


def test_a_request_that_is_said_again_counts_once():
    bench = Bench("alice", "bob")
    for _ in range(2):
        bench.say("alice", m.PairRequest(n_pulses=200, peer="bob", request=1))
    bench.ask("bob", "alice")
    bench.arm("alice", "bob")
    bench.shine()
    bench.say("bob", m.PairRequest(n_pulses=200, peer="alice", request=9))
    assert isinstance(bench.received["alice"][-1], m.AnnouncementsClosed)


def test_announcements_wait_for_credit():
    bench = Bench("alice", "bob", segment_pulses=10)
    bench.ask("alice", "bob", n_pulses=20)
    bench.ask("bob", "alice", n_pulses=20)
    bench.arm("alice", "bob")
    start = bench.lit[-1]
    assert bench.relay.has_room(start.session)
    bench.relay._outstanding("bob", 1).sent(WINDOW_BYTES)
    assert not bench.relay.has_room(start.session)
    assert bench.relay.has_room(b"another session")
    grant = m.Credit(n_bytes=WINDOW_BYTES)
    frame = Sequencer().seal(grant.TYPE, encode(grant), 1)
    assert bench.relay.receive("bob", frame) == [fx.HasRoom()]
    assert bench.relay.has_room(start.session)
    with pytest.raises(RemoteProtocolError, match="which were sent"):
        bench.relay.receive("bob", frame)


def test_noise_is_refused():
    bench = Bench("alice")
    with pytest.raises(WireError):
        bench.relay.receive("alice", Sequencer().seal(m.PairRequest.TYPE, b"noise"))


def test_segments_cover_the_block():
    cut = segments(250, 100)
    assert [(s.number, s.first_pulse, s.n_pulses) for s in cut] == [
        (0, 0, 100),
        (1, 100, 100),
        (2, 200, 50),
    ]
