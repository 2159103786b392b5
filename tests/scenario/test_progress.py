import json

import pytest

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.scenario import events
from mdiqkd_net.scenario.events import BlockAborted, BlockKey
from mdiqkd_net.scenario.progress import Board, agree

PAIR = ("alice", "bob")


def line(event, node="alice", t_s=1.0, **fields):
    return json.dumps({"event": event, "node": node, "t_s": t_s, **fields}).encode()


def key(node, block=0, t_s=5.0, **fields):
    fields = {"block_id": f"id{block}", "secret_bits": 1000, **fields}
    return BlockKey(node=node, t_s=t_s, users=PAIR, block=block, **fields)


def aborted(node, block=0, **fields):
    return BlockAborted(node=node, t_s=5.0, users=PAIR, block=block, reason="dark", **fields)


def test_a_known_event_is_read_and_more_fields_are_passed_over():
    event = events.parse(
        line("block.sifted", users=["bob", "alice"], block=1, qber_x=0.25, color="red"), "alice"
    )
    assert event == events.BlockSifted(
        node="alice", t_s=1.0, users=("bob", "alice"), block=1, qber_x=0.25
    )
    assert event.pair == PAIR


def test_an_unknown_event_is_passed_over():
    assert events.parse(line("weather", sun=True), "alice") is None


@pytest.mark.parametrize(
    "bad",
    [
        b"good morning",
        b"[1, 2]",
        b"{}",
        line("pair.started", users=["alice", "bob"]),  # without n_pulses
        line("block.stage", users=["alice", "bob"], block=0, stage="lunch"),
        line("ready", node="mallory", role="endpoint", listen=""),
    ],
)
def test_what_is_no_event_is_the_node_s_fault(bad):
    with pytest.raises(RemoteProtocolError, match="alice"):
        events.parse(bad, "alice")


def test_every_event_of_the_contract_has_a_class():
    assert set(events.EVENTS) == {
        "ready",
        "pair.started",
        "light.progress",
        "pair.finished",
        "block.stage",
        "block.sifted",
        "block.reconciled",
        "block.estimated",
        "block.key",
        "block.aborted",
        "monitor.alarm",
        "pair.failed",
        "pair.lost",
        "error",
    }


def test_a_pair_is_finished_when_both_users_have_ended_all_blocks():
    board = Board([PAIR], 100, blocks=2)
    pair = board.pairs[PAIR]
    for node, block in (("alice", 0), ("alice", 1), ("bob", 1)):
        board.take(key(node, block))
        assert not board.finished
    assert board.user_finished("alice")
    assert not board.user_finished("bob")
    assert not board.user_finished("charles")
    board.take(aborted("bob", 0))
    assert board.finished
    assert pair.stage == "done"
    assert pair.secret_bits == 1000  # of block 1 alone: about block 0 they disagree


def test_light_of_several_sessions_adds_up():
    board = Board([PAIR], 100, blocks=2)
    for start in (1.0, 4.0):
        common = {"node": "charles", "users": PAIR}
        board.take(events.PairStarted(t_s=start, n_pulses=100, **common))
        board.take(
            events.LightProgress(t_s=start + 1, pulses=60, n_pulses=100, announced=6, **common)
        )
        board.take(events.PairFinished(t_s=start + 2, pulses=100, announced=9, light_s=2, **common))
    pair = board.pairs[PAIR]
    assert (pair.pulses, pair.announced, pair.light_s) == (200, 18, 4)
    assert (pair.started_s, pair.light_ended_s) == (1.0, 6.0)


def test_progress_within_a_session_replaces_itself():
    board = Board([PAIR], 100, blocks=1)
    for pulses in (10, 40):
        board.take(
            events.LightProgress(
                node="charles", t_s=1, users=PAIR, pulses=pulses, n_pulses=100, announced=pulses
            )
        )
    assert board.pairs[PAIR].pulses == 40


def test_the_first_key_counts_when_the_second_user_has_it():
    board = Board([PAIR], 100, blocks=2)
    assert board.first_key_s is None
    board.take(key("alice", 0, t_s=3.0))
    assert board.first_key_s is None
    board.take(key("bob", 0, t_s=4.5))
    board.take(key("bob", 1, t_s=6.0))
    board.take(key("alice", 1, t_s=7.0))
    assert board.first_key_s == 4.5


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (key("alice"), key("bob"), True),
        (key("alice"), key("bob", secret_bits=999), False),
        (key("alice"), key("bob", block_id="other"), False),
        (key("alice"), aborted("bob", block_id="id0", secret_bits=1000), False),
        (aborted("alice"), aborted("bob"), True),
    ],
)
def test_users_agree_only_on_the_same_story(low, high, expected):
    assert agree(low, high) is expected


@pytest.mark.parametrize(
    "event",
    [
        key("alice"),  # for the second time
        key("carol"),
        events.BlockStage(node="alice", t_s=1, users=("alice", "dave"), block=0, stage="sift"),
    ],
)
def test_events_that_cannot_be_are_refused(event):
    board = Board([PAIR], 100, blocks=1)
    board.take(key("alice"))
    with pytest.raises(RemoteProtocolError):
        board.take(event)


def test_ready_nodes_and_last_words_are_kept():
    board = Board([PAIR], 100, blocks=1)
    board.take(events.Ready(node="bob", t_s=0, role="endpoint", listen="x:1"))
    board.take(events.Fault(node="bob", t_s=0, message="no sky"))
    assert board.ready == {"bob"}
    assert board.faults == {"bob": "no sky"}


@pytest.mark.parametrize(
    "hostile",
    [b"[" * 100_000, b'{"event":' * 100_000, b'{"event":"\xff"}', b'{"\xff":0}', b"9" * 5000],
    ids=["lists", "objects", "no UTF-8", "a name of no UTF-8", "digits"],
)
def test_a_hostile_line_is_no_event(hostile):
    with pytest.raises(RemoteProtocolError, match="which is no event"):
        events.parse(hostile, "alice")
