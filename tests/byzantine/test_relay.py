"""The seam between the honest core and its teller: links, numbers, and whom it listens to."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_users import Random

from mdiqkd_net.blocks import EARLY_0, LATE_1, ClickBlock
from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.relay import HostileRelay
from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import FrameReader, Sequencer


class Bench:
    """A hostile relay with users whose links are lists and check every number."""

    def __init__(self, name, *users, extent=None):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"relay").digest())
        honest = Relay(pulse_rate_hz=10**9, segment_pulses=100, entropy=Random(3), key=key)
        behaviour = BEHAVIOURS[name].behaviour(extent or Extent(), key, np.random.default_rng(1))
        self.relay = HostileRelay(honest, behaviour, name)
        self.received = {user: [] for user in users}
        self.cut = []
        self.lit = []
        self.stopped = []
        self._n_asked = 0
        self._links = {user: Sequencer() for user in users}
        for user in users:
            self.perform(self.relay.connected(user, Sequencer(), kept=False))

    def perform(self, effects):
        for effect in effects:
            match effect:
                case fx.Send(node=user, data=data):
                    (frame,) = FrameReader(CAPS).receive_data(data)
                    self._links[user].accept(frame)
                    self.received[user].append(decode(frame))
                case fx.Cut(node=user):
                    self.cut.append(user)
                case fx.StartLight():
                    self.lit.append(effect)
                case fx.StopLight():
                    self.stopped.append(effect)

    def say(self, user, message):
        frame = self._links[user].seal(message.TYPE, encode(message))
        self.perform(self.relay.receive(user, frame))

    def start(self, *pair):
        self._n_asked += 1
        for user, peer in (pair, pair[::-1]):
            self.say(user, m.PairRequest(n_pulses=200, peer=peer, request=self._n_asked))

    def arm(self, *users):
        for user in users:
            ready = [x for x in self.received[user] if isinstance(x, m.PairReady)][-1]
            self.say(user, m.PairArmed(session=ready.session))

    def shine(self):
        start = self.lit[-1]
        for segment in start.segments:
            pulses = np.array([1, 3, 5])
            patterns = np.full(3, EARLY_0 | LATE_1, np.uint8)
            clicks = ClickBlock(segment.number, pulses, patterns, segment.n_pulses, True)
            self.perform(self.relay.clicks(start.session, clicks))

    def kinds(self, user):
        return [type(message) for message in self.received[user]]


HONEST = [m.PairReady, m.Announcement, m.Announcement, m.AnnouncementsClosed]


def test_words_that_are_left_out_leave_no_gap_in_the_numbers():
    bench = Bench("skip_batch", "alice", "bob")
    bench.start("alice", "bob")
    bench.arm("alice", "bob")
    bench.shine()
    assert bench.kinds("alice") == bench.kinds("bob") == [HONEST[0], *HONEST[2:]]


def test_one_user_alone_is_left_in_silence():
    bench = Bench("withhold_from_one", "alice", "bob")
    bench.start("alice", "bob")
    bench.arm("alice", "bob")
    bench.shine()
    assert bench.kinds("alice") == HONEST
    assert bench.kinds("bob") == [m.PairReady]


def test_the_first_batch_comes_second():
    bench = Bench("reorder", "alice", "bob")
    bench.start("alice", "bob")
    bench.arm("alice", "bob")
    bench.shine()
    batches = [x.batch for x in bench.received["bob"] if isinstance(x, m.Announcement)]
    assert batches == [1, 0]


def test_who_asks_later_is_never_served():
    bench = Bench("starve", "alice", "bob", "carol")
    bench.start("alice", "bob")
    bench.start("alice", "carol")
    bench.start("bob", "carol")
    bench.start("alice", "bob")
    for _ in range(2):
        bench.arm("alice", "bob")
        bench.shine()
    assert bench.kinds("carol") == []
    assert bench.kinds("alice") == bench.kinds("bob") == HONEST * 2
    with pytest.raises(RemoteProtocolError, match="itself"):
        bench.say("carol", m.PairRequest(n_pulses=1, peer="carol", request=9))


def test_links_are_cut_after_the_close():
    bench = Bench("cut", "alice", "bob")
    bench.start("alice", "bob")
    bench.arm("alice", "bob")
    bench.shine()
    assert bench.kinds("bob") == HONEST
    assert bench.cut == ["alice", "bob"]
    bench.perform(bench.relay.disconnected("bob"))
    bench.perform(bench.relay.connected("bob", Sequencer(), kept=True))


def test_what_the_honest_core_does_beside_talking_stays():
    bench = Bench("equivocate", "alice", "bob", extent=Extent(first_session=2))
    bench.start("alice", "bob")
    bench.start("alice", "bob")
    (first,) = [x for x in bench.received["alice"] if isinstance(x, m.PairReady)]
    bench.perform(bench.relay.arming_overdue(first.session))
    assert isinstance(bench.received["bob"][1], m.PairAborted)
    bench.arm("alice", "bob")
    bench.perform(bench.relay.light_failed(bench.lit[0].session))
    assert bench.stopped
    bench.perform(bench.relay.disconnected("alice"))
    assert not bench.relay.gone("bob", 1)
    bench.perform(bench.relay.gone("alice", 1))
    assert isinstance(bench.received["bob"][-1], m.PairAborted)
    with pytest.raises(WireError):
        bench.relay.receive("bob", Sequencer().seal(m.PairRequest.TYPE, b"noise"))


@pytest.mark.parametrize("name", ["equivocate", "post_select", "invent", "swap_labels"])
def test_batches_without_events_stay_without(name):
    bench = Bench(name, "alice", "bob")
    bench.start("alice", "bob")
    bench.arm("alice", "bob")
    start = bench.lit[-1]
    for segment in start.segments:
        none = np.empty(0, np.int64)
        clicks = ClickBlock(segment.number, none, none.astype(np.uint8), segment.n_pulses, True)
        bench.perform(bench.relay.clicks(start.session, clicks))
    assert bench.received["alice"] == bench.received["bob"]
    assert bench.received["bob"][-1].count == 0
