"""First words: who may speak to whom."""

import msgspec
import pytest
from memory_users import Random

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import Expected, greet, welcome
from mdiqkd_net.protocol.ids import block_id, ordered, pair_id
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer


def hello(node="bob", role="endpoint"):
    message = greet(node, role, Random(1), Correspondence(Random(2)))
    return Sequencer().seal(message.TYPE, encode(message))


def test_the_expected_node_is_welcome():
    assert welcome(hello(), "bob", Expected("endpoint", ["bob", "carol"])).node == "bob"
    assert welcome(hello(), "bob", Expected("endpoint")).role == "endpoint"


@pytest.mark.parametrize(
    ("certified", "expected", "words"),
    [
        ("mallory", Expected("endpoint"), "its certificate says 'mallory'"),
        ("bob", Expected("endpoint", ["carol"]), "found 'bob'; allowed: carol"),
        ("bob", Expected("relay"), "role of bob: found endpoint; allowed: relay"),
    ],
)
def test_others_are_not(certified, expected, words):
    with pytest.raises(RemoteProtocolError, match=words):
        welcome(hello(), certified, expected)


def test_another_version_is_refused():
    ours = greet("bob", "endpoint", Random(1), Correspondence(Random(2)))
    future = msgspec.structs.replace(ours, versions=[2, 3])
    frame = Sequencer().seal(m.Hello.TYPE, encode(future))
    with pytest.raises(RemoteProtocolError, match=r"found \[2, 3\]; allowed: 1"):
        welcome(frame, "bob", Expected("endpoint"))


def test_a_first_message_that_is_no_hello_is_refused():
    frame = Sequencer().seal(m.Error.TYPE, encode(m.Error(code=1)))
    with pytest.raises(RemoteProtocolError, match="allowed: Hello"):
        welcome(frame, "bob", Expected("endpoint"))


def test_names_are_alike_at_both_users_and_different_otherwise():
    assert ordered("bob", "alice") == ordered("alice", "bob") == ("alice", "bob")
    with pytest.raises(LocalProtocolError):
        ordered("bob", "bob")
    names = {
        block_id(users, session, block, gates)
        for users in (("alice", "bob"), ("alice", "carol"))
        for session in (bytes(16), bytes([1] * 16))
        for block in (1, 2)
        for gates in ((b"a" * 32, b"b" * 32), (b"b" * 32, b"a" * 32))
    }
    assert len(names) == 16
    assert pair_id(("a", "bc")) != pair_id(("ab", "c"))


def meet(ours, theirs):
    """Both sides of one connection: whether each goes on, and what each sends again."""
    sides = (ours, theirs)
    hellos = [greet("x", "endpoint", Random(1), side) for side in sides]
    numbers = [side.n_meetings for side in sides]
    return [
        side.meet(own, other, number)
        for side, own, other, number in zip(sides, hellos, hellos[::-1], numbers, strict=True)
    ]


def test_who_meets_again_goes_on_with_what_was_lost():
    ours, theirs = Correspondence(Random(1)), Correspondence(Random(2))
    assert [kept for kept, _ in meet(ours, theirs)] == [False, False]
    came, lost = (ours.sequencer.seal(0x8301, text, 5) for text in (b"a", b"b"))
    theirs.sequencer.accept(came)
    (kept, again), (also, nothing) = meet(ours, theirs)
    assert kept
    assert also
    assert [frame.raw for frame in again] == [lost.raw]
    assert not nothing


@pytest.mark.parametrize("who", [0, 1])
def test_if_one_side_started_anew_both_do(who):
    sides = [Correspondence(Random(1)), Correspondence(Random(2))]
    meet(*sides)
    sides[1 - who].sequencer.seal(0x8301, b"a", 5)
    sides[who] = Correspondence(Random(3))
    assert meet(*sides) == [(False, []), (False, [])]
    assert [side.sequencer.positions() for side in sides] == [[], []]
    assert [kept for kept, _ in meet(*sides)] == [True, True]
    sides[who].break_off()
    assert meet(*sides) == [(False, []), (False, [])]


def test_of_two_connections_the_older_greeting_does_not_count():
    ours, theirs = Correspondence(Random(1)), Correspondence(Random(2))
    stale = greet("x", "endpoint", Random(1), ours)
    meet(ours, theirs)
    with pytest.raises(RemoteProtocolError, match="overtaken"):
        ours.meet(stale, greet("x", "endpoint", Random(1), theirs), 0)
