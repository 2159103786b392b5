"""Connections cut at every frame, users killed at every frame: no half key, and nothing lost."""

from dataclasses import replace

import msgspec
import pytest
from memory_users import MemoryPads
from triangle import Triangle, with_message

from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.protocol import leases
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import HEADER_BYTES, Frame

LINKS = [("alice", "bob"), ("alice", "charles"), ("bob", "charles")]


def network(**options):
    """Small blocks, whose length means nothing: the asymptotic formula gives some bits anyhow."""
    analysis = Analysis(method="asymptotic")
    return Triangle(
        1_000_000,
        segment_pulses=400_000,
        alice_analysis=analysis,
        bob_analysis=analysis,
        **options,
    )


def frames_of_a_block():
    """Everything that the users and the relay say in a block: sender, receiver, type; once each."""
    whole = network().run()
    assert whole.alice.ended == whole.bob.ended == ["key"]
    return list(dict.fromkeys(whole.trace))


FRAMES = frames_of_a_block()


def name(frame):
    source, target, kind = frame
    return f"{source}-{target}-{m.BY_TYPE[kind].__name__}"


class At:
    """Does something when the first frame of a sort is about to arrive, which may be lost then."""

    def __init__(self, sort, action, *, lose):
        self.sort, self.action, self.lose = sort, action, lose
        self.done = False

    def __call__(self, source, target, frame):
        if self.done or (source, target, frame.kind) != self.sort:
            return frame
        self.done = True
        self.action()
        return None if self.lose else frame


def disturbed(sort, action, *, lose=True):
    """Run a block, do something at a frame, bring all connections back, and see how it ends."""
    disturbed = network()
    disturbed.tamper = at = At(sort, lambda: action(disturbed), lose=lose)
    disturbed.run()
    assert at.done
    for link in LINKS:
        disturbed.connect(*link)
    disturbed.pump()
    alice, bob = disturbed.alice, disturbed.bob
    assert (alice.error, bob.error) == (None, None)
    assert not alice.store.unsettled()
    assert not bob.store.unsettled()
    assert alice.keys == bob.keys
    return disturbed


@pytest.mark.parametrize("sort", FRAMES, ids=name)
@pytest.mark.parametrize("lose", [True, False], ids=["lost", "delivered"])
def test_a_cut_costs_nothing(sort, lose):
    source, target, _ = sort
    ended = disturbed(sort, lambda net: net.cut(source, target), lose=lose)
    assert ended.alice.ended == ended.bob.ended == ["key"]
    assert len(ended.alice.keys) == 1
    assert ended.alice.pads.n_sent == ended.bob.pads.n_sent == 2


@pytest.mark.parametrize("sort", FRAMES, ids=name)
@pytest.mark.parametrize("victims", [("alice",), ("bob",), ("alice", "bob")], ids="+".join)
def test_a_restart_ends_a_block_that_is_not_prepared_and_no_other(sort, victims):
    def restart(net):
        for victim in victims:
            net.restart(victim)

    # Without a restart at either end the connection stands, and loses nothing.
    ended = disturbed(sort, restart, lose=bool({*sort} & {*victims}))
    phases = {record.phase for record in ended.alice.store.records.values()}
    if Phase.CONFIRMED in phases:
        assert len(ended.alice.keys) >= 1
    for user in (ended.alice, ended.bob):
        assert user.pads.n_sent <= 2 * len(user.store.records) + 1


@pytest.mark.parametrize("said", [m.Prepare, m.Vote, m.Commit, m.Committed])
@pytest.mark.parametrize("victims", [("alice", "bob"), ("bob", "alice")], ids="+".join)
def test_new_pads_find_blocks_in_doubt_and_settle_them(said, victims):
    """What was said under pads that nobody has any more is tagged anew, once there is a lease."""
    sort = next(frame for frame in FRAMES if frame[2] == said.TYPE)

    def replace_pads(net):
        for victim in victims:
            user = net.users[victim]
            user.pads = MemoryPads(77, lower=victim == "alice")
            user.store.forget_words()
            net.restart(victim)

    ended = disturbed(sort, replace_pads)
    phases = [{r.phase for r in user.store.records.values()} for user in (ended.alice, ended.bob)]
    if said is m.Prepare:  # the participant never knew of the block
        assert phases == [{Phase.ABORTED, Phase.CONFIRMED}, {Phase.COMMITTED}]
    else:
        assert phases == [{Phase.CONFIRMED}, {Phase.COMMITTED}]
        assert len(ended.alice.keys) == 2
    assert ended.alice.error is ended.bob.error is None


def test_an_abort_that_was_never_said_waits_for_a_pad():
    """A coordinator that has given a block up is asked for its word before it has a lease."""
    net = network()
    net.tamper = At(("bob", "alice", m.Vote.TYPE), lambda: net.cut("alice", "bob"), lose=True)
    net.run()
    ((block_id, record),) = net.alice.store.records.items()
    net.alice.store.records[block_id] = replace(record, phase=Phase.ABORTED)
    net.restart("alice")
    net.connect("alice", "bob")
    net.pump()
    assert net.bob.store.records[block_id].phase is Phase.ABORTED
    assert net.alice.store.records[block_id].said
    assert (net.alice.error, net.bob.error) == (None, None)


def test_a_hundred_reconnects_spend_no_pad():
    net = network().run()
    sent = net.alice.pads.n_sent, net.bob.pads.n_sent
    for _ in range(100):
        net.connect("alice", "bob")
        net.pump()
    assert (net.alice.pads.n_sent, net.bob.pads.n_sent) == sent
    assert net.alice.pads.high_water == net.alice.pads.n_sent


def test_blocks_that_use_their_pads_up_are_never_too_many(monkeypatch):
    monkeypatch.setattr(leases, "MAX_GRANTS", 1)
    monkeypatch.setattr(leases, "IN_USE", 4)  # half of a lease of the triangle
    net = network(blocks=10).run()
    assert net.alice.ended == net.bob.ended == ["key"] * 10
    assert net.alice.pads.n_sent == 20


def test_a_restart_gives_up_what_is_left_of_a_lease_and_blocks_go_on():
    net = network(blocks=2)
    net.tamper = At(("bob", "alice", m.Committed.TYPE), lambda: net.restart("alice"), lose=True)
    net.run()
    for link in LINKS:
        net.connect(*link)
    net.pump()
    assert net.bob.ended == ["key", "key"]
    assert net.alice.ended == ["key"]  # the first ended in its store, with no block at hand
    assert net.alice.report("commit.settled")["phase"] == "confirmed"
    assert net.alice.keys == net.bob.keys
    assert len(net.alice.keys) == 2
    assert net.alice.pads.high_water > net.alice.pads.n_sent


@pytest.mark.parametrize("lost", ["alice", "bob"])
def test_a_store_that_lost_a_record_raises_an_alarm_and_hands_nothing_out(lost):
    sort = ("alice", "bob", m.Commit.TYPE) if lost == "bob" else ("bob", "alice", m.Vote.TYPE)
    net = network()
    net.tamper = At(sort, lambda: net.cut("alice", "bob"), lose=True)
    net.run()
    user, other = net.users[lost], net.users["bob" if lost == "alice" else "alice"]
    net.restart(lost)
    user.store.records.clear()
    user.store.values.clear()
    net.connect("alice", "bob")
    net.pump()
    assert other.report("commit.alarm")["heard"] == "commit unknown"
    assert not user.keys
    assert not other.keys


def test_eight_tags_that_fail_latch_the_pair():
    def tamper(_source, _target, frame):
        if frame.kind == m.Vote.TYPE:
            net.cut("alice", "bob")
            vote = msgspec.structs.replace(decode(frame), tag=bytes(16))
            raw = frame.raw[:HEADER_BYTES] + encode(vote)  # as long as it was
            return Frame(frame.kind, frame.stream, frame.seq, frame.ack, raw)
        return frame

    net = network(tamper=tamper)
    net.run()
    for _ in range(7):
        assert not net.alice.latched
        net.alice.error = None
        net.connect("alice", "bob")
        net.pump()
    assert "8 tags" in net.alice.latched
    assert not net.alice.keys
    assert not net.bob.keys


def test_eight_prepares_whose_tag_fails_latch_the_pair_too():
    def tamper(_source, _target, frame):
        if frame.kind != m.Prepare.TYPE:
            return frame
        return with_message(frame, msgspec.structs.replace(decode(frame), tag=bytes(16)))

    net = network(blocks=7, tamper=tamper)
    net.run()
    assert net.bob.ended == ["aborted"] * 7
    assert not net.bob.latched
    net = network(blocks=8, tamper=tamper)
    net.run()
    assert "8 tags" in net.bob.latched
    assert not net.alice.keys
    assert not net.bob.keys


def test_a_proposal_that_waited_for_the_relay_and_differs_is_its_senders_fault():
    net = Triangle(1_000_000, bob_analysis=Analysis(tail="poisson"))
    net.tamper = At(
        ("charles", "bob", m.PairReady.TYPE), lambda: net.cut("bob", "charles"), lose=True
    )
    net.run()
    assert net.bob.error is None, "it waits"
    net.connect("bob", "charles")
    net.pump()
    assert net.bob.error.abort_code == 0x0203
    assert net.bob.blamed == "alice"


@pytest.mark.parametrize("early", [True, False], ids=["before the next session", "within it"])
def test_a_proposal_for_a_session_that_is_over_costs_no_other(early):
    """The users' line is dead while the relay gives a session up; what was kept comes late."""
    lost = network(blocks=2)
    sort = ("alice", "bob", m.BlockOpen.TYPE)
    lost.tamper = At(sort, lambda: lost.cut("alice", "bob"), lose=True)
    lost.run()
    session = lost.bob.core.block._ctx.ready.session
    if early:  # the relay's word on the next session is still on its way when the line is back
        lost.tamper = At(
            ("charles", "bob", m.PairReady.TYPE), lambda: lost.cut("bob", "charles"), lose=True
        )
    lost._perform_relay(lost.relay.arming_overdue(session))
    lost.pump()
    lost.connect("alice", "bob")
    lost.pump()
    lost.connect("bob", "charles")
    lost.pump()
    assert (lost.alice.error, lost.bob.error) == (None, None)
    assert lost.alice.ended == lost.bob.ended == ["aborted", "key"]
    assert lost.alice.keys == lost.bob.keys != {}
