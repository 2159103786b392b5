"""First words: who may speak to whom."""

import pytest
from triangle import Random

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.protocol.handshake import Expected, greet, welcome
from mdiqkd_net.protocol.ids import block_id, ordered, pair_id
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS, encode
from mdiqkd_net.wire.frames import FrameReader, Sequencer


def hello(node="bob", role="endpoint"):
    (frame,) = FrameReader(CAPS).receive_data(greet(node, role, Random(1), Sequencer()))
    return frame


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
    future = m.Hello(impl="", node="bob", nonce=bytes(32), role="endpoint", versions=[2, 3])
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
