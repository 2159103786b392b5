"""What must be true of stores and frames: planted defects that need no network."""

import msgspec
import numpy as np
from commits import offer, prepare
from examples import EXAMPLES

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import COMMIT_MOVES, UNSETTLED, Heard, Phase, Said
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.secret import SecretBuffer
from mdiqkd_net.simulation.books import STORE
from mdiqkd_net.simulation.watch import TOGETHER, Watch
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer


def hold(path, owner, phase, block_id=bytes(16)):
    """A store with one block, `phase` far."""
    pair = ("alice", "bob")
    meta = BlockMeta(
        block_id=block_id,
        pair=pair,
        owner=owner,
        peer=pair[owner == "alice"],
        block_no=1,
        origin="simulated",
        eps=0.1,
        leak_model="none",
    )
    path.mkdir(exist_ok=True)
    with KeyStore.open(path / STORE) as store:
        prepare(store, meta, SecretKey(block_id, 256, "simulated", SecretBuffer(32)))
        for step in Phase:
            if step is phase or (step, phase) == (Phase.COMMITTED, Phase.CONFIRMED):
                store.settle(block_id, step, b"")


def test_keys_of_an_aborted_block_that_are_offered(tmp_path):
    hold(tmp_path / "alice", "alice", Phase.PREPARED)
    watch = Watch([("alice", "bob")], lambda node: tmp_path / node)
    watch.reported(
        "alice", "block.aborted", {"users": ["alice", "bob"], "block_id": bytes(16).hex()}
    )
    watch.check_stores()
    assert watch.violations == []
    with KeyStore.open(tmp_path / "alice" / STORE) as store:
        offer(store, bytes(16))
    watch.check_stores()
    assert [v for v in watch.violations if v.startswith("K11: alice offers")]


def test_settings_that_are_revealed_too_early(tmp_path):
    watch = Watch([("alice", "bob")], lambda _: tmp_path)
    sequencers = {"alice": Sequencer(), "bob": Sequencer()}

    def send(sender, receiver, message):
        raw = sequencers[sender].seal(message.TYPE, encode(message), 1).raw
        watch.sent(1, sender, receiver, raw)

    gate = m.Gate(batches=0, count=0, digest=bytes(16), hash_key=bytes(32))
    sift = m.Sift(chunk=0, settings=bulk.pack_ranked(np.array([], np.uint8)))
    send("alice", "bob", gate)
    send("alice", "bob", sift)
    assert watch.violations == ["K7: alice reveals settings before both gates are closed"]
    watch.violations.clear()
    send("bob", "alice", gate)
    send("bob", "alice", sift)
    assert watch.violations == []


def test_commits_that_can_come_to_no_end(tmp_path):
    hold(tmp_path / "alice", "alice", Phase.CONFIRMED)
    hold(tmp_path / "bob", "bob", Phase.COMMITTED)
    watch = Watch([("alice", "bob")], lambda node: tmp_path / node)
    watch.check_stores()
    assert watch.violations == []
    hold(tmp_path / "alice", "alice", Phase.COMMITTED, b"1" * 16)
    hold(tmp_path / "bob", "bob", Phase.PREPARED, b"1" * 16)
    watch.check_stores()
    assert watch.violations == []
    assert watch.unsettled() == {
        ("K9", "block 31313131 of alice with bob"),
        ("K9", "block 31313131 of bob with alice"),
    }
    hold(tmp_path / "alice", "alice", Phase.ABORTED, b"2" * 16)
    hold(tmp_path / "bob", "bob", Phase.COMMITTED, b"2" * 16)
    watch.check_stores()
    assert [v for v in watch.violations if v.startswith("K9")] == [
        "K9: block 32323232 is aborted at alice and committed at bob"
    ]


def test_phases_that_go_together_are_those_that_the_tables_lead_to():
    """Search both users' tables, with messages that may be lost or come again."""
    coordinator, participant = COMMIT_MOVES[Role.COORDINATOR], COMMIT_MOVES[Role.PARTICIPANT]
    said = {Said.VOTE: Heard.VOTE, Said.COMMIT: Heard.COMMIT, Said.COMMITTED: Heard.COMMITTED}
    said |= {Said.ABORTED: Heard.ABORTED, Said.UNKNOWN: Heard.UNKNOWN}
    start = (Phase.PREPARED, None, frozenset())
    seen, left = {start}, [start]
    while left:
        low, high, words = left.pop()
        moves = [(0, heard) for who, heard in words if who == 0]
        moves += [(1, heard) for who, heard in words if who == 1]
        after = []
        if high is None and low is Phase.PREPARED:  # its `Prepare` comes
            after.append((low, Phase.PREPARED, words | {(0, Heard.VOTE)}))
        if low in UNSETTLED[Role.COORDINATOR]:
            moves.append((1, Heard.LISTED))
        if high in UNSETTLED[Role.PARTICIPANT]:
            moves.append((0, Heard.LISTED))
        if low is Phase.PREPARED:
            moves.append((0, Heard.GIVE_UP))
        for who, heard in moves:
            own, table = ((low, coordinator), (high, participant))[who]
            move = table.get((own, heard))
            # A peer that has no record yet may say so while `Prepare` is under way: it says
            # nothing then, since the block is in its memory.
            if move is None or (who == 1 and own is None and low is Phase.PREPARED):
                continue
            more = {(1 - who, said[move.says])} if move.says in said else set()
            phases = (move.phase, high) if who == 0 else (low, move.phase)
            after.append((*phases, words | more))
        left += [state for state in after if state not in seen]
        seen.update(after)
    assert {state[:2] for state in seen} == TOGETHER


def test_an_alarm_where_no_store_was_set_back(tmp_path):
    fields = {"users": ["alice", "bob"], "heard": "vote", "block_id": "00" * 16, "phase": "unknown"}
    watch = Watch([("alice", "bob")], lambda node: tmp_path / node)
    watch.put_back("bob", pads=False, store=True)
    watch.reported("alice", "commit.alarm", fields)
    assert watch.violations == []
    watch = Watch([("alice", "bob")], lambda node: tmp_path / node)
    watch.reported("alice", "commit.alarm", fields)
    assert watch.violations[0].startswith("K9: alice hears vote")


def frames(tmp_path, *sent):
    """What the watch says to frames (connection, stream, seq, message) of alice for bob."""
    watch = Watch([("alice", "bob")], lambda _: tmp_path)
    for connection, stream, seq, message in sent:
        sequencer = Sequencer()
        for _ in range(seq + 1):
            frame = sequencer.seal(message.TYPE, encode(message), stream)
        watch.sent(connection, "alice", "bob", frame.raw)
    return watch


def test_frames_that_are_left_out_or_said_anew(tmp_path):
    one, other = (m.GroupsVerified(wrong=[n]) for n in (1, 2))
    assert frames(tmp_path, (1, 5, 0, one), (1, 5, 1, one), (2, 5, 1, one)).violations == []
    assert frames(tmp_path, (1, 5, 0, one), (2, 5, 0, other)).violations == [
        "K4: alice sends two frames 0 of block 5 to bob"
    ]
    assert frames(tmp_path, (1, 5, 0, one), (1, 5, 2, one)).violations == [
        "K4: alice leaves out frame 1 of block 5"
    ]
    assert frames(tmp_path, (1, 0, 0, one), (2, 0, 0, one), (1, 0, 2, one)).violations == [
        "K4: alice sends frame 2 to bob, not 1"
    ]


def test_a_block_number_that_is_used_again(tmp_path):
    opened = [message for message in EXAMPLES if isinstance(message, m.BlockOpen)] * 2
    numbered = [msgspec.structs.replace(message, block=5) for message in opened]
    watch = frames(tmp_path, (1, 5, 0, numbered[0]))
    watch.ended("alice")
    sequencer = Sequencer()
    raw = sequencer.seal(m.BlockOpen.TYPE, encode(numbered[1]), 5).raw
    watch.sent(2, "alice", "bob", raw)
    assert watch.violations == ["K4: alice opens block 5 with bob again"]
