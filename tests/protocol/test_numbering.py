"""Numbers of blocks: two users meet again however far one store is behind, and a lie moves none."""

import msgspec
import pytest
from examples import EXAMPLES
from triangle import Triangle

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.protocol.numbering import MAX_AHEAD
from mdiqkd_net.protocol.states import WRONG_STATE
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer

OPEN = next(message for message in EXAMPLES if isinstance(message, m.BlockOpen))


def network(**ahead):
    """Small blocks, and stores that have had so many blocks."""
    analysis = Analysis(method="asymptotic")
    net = Triangle(
        1_000_000, segment_pulses=400_000, alice_analysis=analysis, bob_analysis=analysis
    )
    for user, n_blocks in ahead.items():
        net.users[user].store.first_free += n_blocks
    return net


def proposal(block):
    return Sequencer().seal(OPEN.TYPE, encode(msgspec.structs.replace(OPEN, block=block)), block)


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_user_whose_store_was_put_back_goes_on_behind_its_peer(user):
    net = network(**{user: MAX_AHEAD}).run()
    assert net.alice.ended == net.bob.ended == ["key"]
    assert net.alice.store.first_free == net.bob.store.first_free == MAX_AHEAD + 2


@pytest.mark.parametrize("user", ["alice", "bob"])
@pytest.mark.parametrize("n_blocks", [MAX_AHEAD + 1, 2**63 - 2])
def test_a_peer_that_is_too_far_ahead_is_refused_and_moves_nothing(user, n_blocks):
    net = network(**{user: n_blocks}).run()
    other = net.bob if user == "alice" else net.alice
    assert f"found {n_blocks + 1} as the number of the next block" in str(other.error)
    assert other.error.abort_code == WRONG_STATE
    assert not other.core.request()
    assert other.store.first_free == 1
    assert net.alice.ended == net.bob.ended == []
    net.users[user].store.first_free = 5  # its store is repaired
    other.error = None
    net.restart(user)
    net.connect(user, "charles")
    net.connect("alice", "bob")
    net.pump()
    assert other.ended == ["key"]
    assert other.store.first_free == 6


def test_words_alone_take_nobody_further():
    """Only a block that begins moves the bound: a peer cannot climb by saying it again."""
    bob = network().bob.core
    for _ in range(2):
        said = m.Resume(blocks=[], next_block=1 + MAX_AHEAD)
        bob.receive_peer(Sequencer().seal(said.TYPE, encode(said)))
    more = m.Resume(blocks=[], next_block=2 + MAX_AHEAD)
    with pytest.raises(RemoteProtocolError, match=f"allowed: at most {1 + MAX_AHEAD}"):
        bob.receive_peer(Sequencer().seal(more.TYPE, encode(more)))


@pytest.mark.parametrize("block", [2 + MAX_AHEAD, 2**63 - 1])
def test_a_block_whose_number_is_too_great_is_refused(block):
    bob = network().bob.core
    with pytest.raises(RemoteProtocolError, match=f"found block {block}; allowed: 1 to") as caught:
        bob.receive_peer(proposal(block))
    assert caught.value.abort_code == WRONG_STATE
    assert bob.receive_peer(proposal(1 + MAX_AHEAD)) == []  # waits for the relay's word
