"""What a peer may not say, message by message; and messages that overtake one another."""

import msgspec
import pytest
from examples import BOUNDS
from triangle import Triangle, rewritten

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.bulk import Bulk, Ranked, Rice
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import HEADER, Frame, Sequencer

N_PULSES = 40_000_000


def ranked(n):
    """So many settings o, in a few bytes."""
    return Ranked(n=n, ranks=3 * [Rice(k=0, n=0, v=b"")], symbols=bytes(range(4)))


@pytest.mark.parametrize(
    ("speaker", "kind", "fields", "words"),
    [
        ("bob", m.BlockOpened, {"block": 7}, "block: the peer proposes 7; allowed: 1"),
        (
            "alice",
            m.BlockOpen,
            {
                "source": m.SourceSettings(
                    bounds=BOUNDS, intensities=[5, 4, 1], probabilities=[1, 1, 1]
                )
            },
            "peer's source: x.intensity",
        ),
        (
            "alice",
            m.BlockOpen,
            {
                "source": m.SourceSettings(
                    bounds=msgspec.structs.replace(BOUNDS, relative=[0, 10**9, 0]),
                    intensities=[1, 4, 1],
                    probabilities=[1, 1, 1],
                )
            },
            "peer's source: y_relative: found 1.0; allowed: 0 or more, below 1",
        ),
        ("alice", m.Sift, {"chunk": 1}, "sift: found chunk 1"),
        ("alice", m.Sift, {"settings": ranked(4 * 10**6)}, "at most"),
        ("bob", m.SiftDone, {"count": 3}, "3 stated; allowed"),
        ("alice", m.EstimationBits, {"chunk": 5}, "test bits: found chunk 5"),
        ("bob", m.EstimationBits, {"last": False}, "bits in all"),
        ("bob", m.EstimationBits, {"bits": Bulk(n=8, t="b1", v=b"\0")}, "that makes 8 bits"),
        ("alice", m.ReconcileStart, {"chunk": 1}, "found chunk 1 of"),
        ("alice", m.ReconcileStart, {"bits": 9}, "of 9 bits; allowed: chunk 0"),
        ("alice", m.ReconcileStart, {"qber": 2 * 10**9}, "at `$.qber`"),
        ("bob", m.Reconcile, {"round": 9}, "found round 9 of chunk 0; allowed: round 0"),
        ("bob", m.Reconcile, {"payload": b""}, "payload"),
        ("bob", m.Verified, {"corrected": 1}, "corrected 1 bits"),
        ("alice", m.AmplifySeed, {"bits": 0}, "found a key of 0 bits"),
        ("alice", m.AmplifySeed, {"bits": 10**6}, "our own bound"),
        ("alice", m.AmplifySeed, {"part": 1}, "found part 1 of 1"),
        ("alice", m.AmplifySeed, {"parts": 2}, "found part 0 of 2"),
        ("alice", m.AmplifySeed, {"seed": b"short"}, "makes 5 bytes"),
        ("alice", m.Prepare, {"bits": 5}, "prepare: found block"),
        ("alice", m.Prepare, {"block_id": bytes(16)}, "prepare: found block 00000000"),
    ],
)
def test_a_peer_that_says_it_is_refused_and_nobody_has_a_key(speaker, kind, fields, words):
    done = []

    def tamper(source, _target, frame):
        if (source, frame.kind) == (speaker, kind.TYPE) and not done:
            done.append(frame)
            return rewritten(frame, **fields)
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    victim = triangle.bob if speaker == "alice" else triangle.alice
    assert done
    assert words in str(victim.error)
    assert victim.ended == ["aborted"]
    assert not triangle.alice.keys
    assert not triangle.bob.keys


def test_the_memory_of_settings_is_what_is_awaited(monkeypatch):
    """A few bytes that claim millions of settings are refused before there is room for them."""

    def tamper(source, _target, frame):
        if (source, frame.kind) == ("alice", m.Sift.TYPE):
            monkeypatch.setattr(bulk, "unpack_ranked", None)  # nobody may call it
            return rewritten(frame, settings=ranked(bulk.MAX_RANKED))
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    assert "with 4194304 settings; allowed: chunk 0 with at most" in str(triangle.bob.error)
    assert not triangle.bob.keys


def test_a_verification_that_fails_ends_the_block_at_both():
    def tamper(source, _target, frame):
        if (source, frame.kind) == ("alice", m.Verify.TYPE):
            return rewritten(frame, digest=bytes(16))
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    for user in (triangle.alice, triangle.bob):
        assert user.ended == ["aborted"]
        assert "keys differ" in user.report("block.aborted")["reason"]


def test_a_budget_below_what_the_hash_gives_makes_no_key():
    from mdiqkd_net.params import Security

    tiny = Security(eps_sec=1e-6, eps_cor=1e-40)
    triangle = Triangle(N_PULSES, alice_security=tiny, bob_security=tiny).run()
    assert "eps_cor is below" in triangle.alice.report("block.aborted")["reason"]
    assert "ended the block (code 0x0501)" in triangle.bob.report("block.aborted")["reason"]


class Late:
    """Holds the first frame of a kind back until another one has been delivered."""

    def __init__(self, triangle, held, until, target="bob"):
        self.triangle, self.held, self.until, self.target = triangle, held, until, target
        self.kept = None
        self.overtook = False

    def wire(self):
        return self.triangle._wires[frozenset(self.kept[:2])]

    def __call__(self, source, target, frame):
        if target != self.target:
            return frame
        if frame.kind == self.held and self.kept is None:
            self.kept = (source, target, frame.raw)
            return None
        if frame.kind == self.until and self.kept is not None and not self.overtook:
            self.overtook = True
            self.triangle._flight.appendleft((*self.kept, self.wire()))
        return frame


@pytest.mark.parametrize(
    ("held", "until"),
    [(m.PairReady.TYPE, m.BlockOpen.TYPE), (m.AnnouncementsClosed.TYPE, m.Gate.TYPE)],
)
def test_links_may_overtake_each_other(held, until):
    """Bob hears Alice before he hears Charles: he waits, and the block goes on."""
    triangle = Triangle(N_PULSES)
    triangle.tamper = late = Late(triangle, held, until)
    triangle.run()
    assert late.overtook
    assert triangle.alice.keys == triangle.bob.keys != {}


def test_a_gate_that_fails_after_an_early_gate_ends_the_block():
    triangle = Triangle(N_PULSES)
    late = Late(triangle, m.AnnouncementsClosed.TYPE, m.Gate.TYPE)

    def tamper(source, target, frame):
        frame = late(source, target, frame)
        if frame is not None and (source, frame.kind) == ("alice", m.Gate.TYPE):
            return rewritten(frame, digest=bytes(16))
        return frame

    triangle.tamper = tamper
    triangle.run()
    assert "different things" in triangle.bob.report("block.aborted")["reason"]
    assert triangle.alice.ended == ["aborted"]


READY = m.PairReady(
    n_pulses=1,
    pulse_rate_hz=1,
    relay_key=bytes(32),
    segment_pulses=1,
    session=bytes(16),
    users=["alice", "bob"],
)
PREPARE = {"block_id": bytes(16), "bits": 1, "pad": 0, "tag": bytes(16)}


def framed(message, stream=1, seq=0):
    sequencer = Sequencer()
    frame = sequencer.seal(message.TYPE, encode(message), stream)
    return Frame(frame.kind, stream, seq, 0, frame.raw)


def test_a_core_without_a_block_hears_only_what_opens_one():
    core = Triangle(N_PULSES).bob.core
    for message in (m.SiftDone(count=0, nonce=bytes(16)), m.Prepare(**PREPARE)):
        name = type(message).__name__
        with pytest.raises(RemoteProtocolError, match=f"{name} of block 1, which is not open"):
            core.receive_peer(framed(message))
    with pytest.raises(RemoteProtocolError, match="before PairReady"):
        core.receive_relay(framed(m.PairAborted(code=1, session=bytes(16))))
    with pytest.raises(RemoteProtocolError, match="nobody asked for"):
        core.receive_relay(framed(READY))
    with pytest.raises(RemoteProtocolError, match="PadLease that nobody asked for"):
        core.receive_peer(framed(m.PadLease(base=0, count=1), stream=0))
    assert core.go_on() == []
    assert core.abort("no reason") == []
    assert core.receive_peer(framed(m.BlockAborted(code=1))) == []


@pytest.mark.parametrize(
    "message", [m.BlockAborted(code=1), m.PairAborted(code=1, session=b"s" * 16)]
)
def test_stream_0_carries_what_belongs_to_the_pair(message):
    core = Triangle(N_PULSES).bob.core
    with pytest.raises(RemoteProtocolError, match="on stream 0 for a participant"):
        core.receive_peer(framed(message, stream=0))


def test_each_role_hears_its_own_words_of_the_commit():
    triangle = Triangle(N_PULSES)
    said = {"block_id": bytes(16), "pad": 0, "tag": bytes(16)}
    for user, kinds in (
        (triangle.alice, (m.Commit, m.CommitAborted)),
        (triangle.bob, (m.Vote, m.Committed)),
    ):
        for kind in kinds:
            with pytest.raises(RemoteProtocolError, match=f"{kind.__name__} on stream 0"):
                user.core.receive_peer(framed(kind(**said), stream=0))


def test_a_core_with_a_block_takes_no_second_one():
    stop = []

    def tamper(_source, target, frame):
        if target == "bob" and frame.kind == m.Announcement.TYPE and not stop:
            stop.append(True)
            core = triangle.bob.core
            assert core.request() == []
            with pytest.raises(RemoteProtocolError, match="while a block is under way"):
                core.receive_relay(framed(READY))
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper)
    triangle.run()
    assert stop
    assert triangle.alice.keys == triangle.bob.keys != {}


def test_the_relay_may_end_a_session_until_its_announcements_are_closed():
    def tamper(_source, target, frame):
        if target in ("alice", "bob") and frame.kind == m.AnnouncementsClosed.TYPE:
            aborted = m.PairAborted(code=0x0501, session=bytes(16))
            body = encode(aborted)
            raw = HEADER.pack(len(body), aborted.TYPE, 1, 0, frame.stream, frame.seq, 0) + body
            return Frame(aborted.TYPE, frame.stream, frame.seq, 0, raw)
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    for user in (triangle.alice, triangle.bob):
        assert user.core.block.state is State.ABORTED
        assert "relay ended the session" in user.report("block.aborted")["reason"]
        assert user.core.receive_relay(framed(m.PairAborted(code=1, session=bytes(16)))) == []
