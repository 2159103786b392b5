"""Hand-out by the real cores on real stores: a key goes to one request, at both ends alike."""

import pytest
from handings import Handing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.keys.records import NoKeyError
from mdiqkd_net.protocol.handout import MAX_KEYS, Owner
from mdiqkd_net.wire.messages import BlockKeys, KeyAssign, KeyAssigned, KeyBurned, KeyRefused


@pytest.fixture
def network(tmp_path):
    network = Handing(tmp_path)
    yield network
    for user in network.users.values():
        user.store.close()


@pytest.mark.parametrize(("owner", "numbers"), [("alice", [0, 2, 4]), ("bob", [1, 3, 5])])
def test_a_key_is_had_at_both_ends_with_the_same_name_and_bits(network, owner, numbers):
    ours, theirs = network.users[owner], network.users[network.users[owner].peer]
    for number in numbers:
        request = network.ask(ours)
        network.pump()
        assert ours.agreed[request]
        key = ours.take()
        assert key.index == number
        twin = theirs.take_named(key.key_id)
        assert (twin.key_id, twin.value) == (key.key_id, key.value)
    with pytest.raises(NoKeyError, match=r"0 keys with .* are ours to hand out; asked for 1"):
        network.ask(ours)
    assert not network.alarms


def test_a_request_may_span_blocks_and_both_may_ask_at_once(network):
    network.add_block(4)
    network.ask(network.alice, 5)
    network.ask(network.bob, 4)
    network.pump()
    assert [(key.block_no, key.index) for key in network.alice.store.take_many("bob", 5)] == [
        *((1, 0), (1, 2), (1, 4)),
        *((2, 0), (2, 2)),
    ]
    assert len(network.bob.store.take_many("alice", 4)) == 4


def test_nothing_is_delivered_before_the_peer_has_set_it_aside(network):
    network.ask(network.alice)
    assert network.alice.state(0) == "reserved"
    with pytest.raises(NoKeyError):
        network.alice.take()
    with pytest.raises(NoKeyError, match="is reserved"):
        network.alice.take_named(network.alice.store.keys()[0].key_id)
    network.deliver()
    assert network.bob.state(0) == "assigned"
    with pytest.raises(NoKeyError):
        network.alice.take()
    network.deliver()
    network.alice.take()


def test_a_question_that_was_lost_is_asked_again(network):
    request = network.ask(network.alice)
    network.cut()
    network.link()
    network.pump()
    assert network.alice.agreed[request]
    network.alice.take()
    assert not network.alarms


def test_an_answer_that_was_lost_is_given_again(network):
    request = network.ask(network.alice)
    network.deliver()
    network.cut()
    network.link()
    network.pump()
    assert network.alice.agreed[request]
    assert not network.alarms


def test_whoever_gave_up_leaves_keys_that_both_burn(network):
    request = network.ask(network.alice, 2)
    network.alice.core.give_up(request)
    network.pump()
    assert {user.state(0) for user in network.users.values()} == {"burned"}
    assert request not in network.alice.agreed
    assert network.alice.store.open_requests("bob") == []
    assert not network.alarms
    network.ask(network.alice)
    network.pump()
    assert network.alice.take().index == 4


def test_an_agreement_ends_with_the_process_that_asked(network):
    network.ask(network.alice, 2)
    network.pump()
    taken = network.alice.take()
    network.restart(network.alice)
    with pytest.raises(NoKeyError):
        network.alice.take()
    network.pump()
    assert network.alice.state(2) == network.bob.state(2) == "burned"
    assert network.bob.take_named(taken.key_id).value == taken.value
    assert not network.alarms


def test_a_restart_of_the_holder_changes_nothing(network):
    network.ask(network.alice)
    network.pump()
    network.restart(network.bob)
    network.pump()
    key = network.alice.take()
    assert network.bob.take_named(key.key_id).value == key.value


def test_a_reserved_key_is_burned_after_a_restart_once_both_know_of_it(network):
    network.ask(network.alice)
    network.cut()
    network.restart(network.alice)
    assert network.alice.state(0) == "reserved"
    network.pump()
    assert network.alice.state(0) == network.bob.state(0) == "burned"


def test_an_older_copy_of_the_owners_store_delivers_nothing_again(network):
    copy = network.copy(network.alice)
    network.ask(network.alice)
    network.pump()
    key = network.alice.take()
    network.restart(network.alice, copy)
    request = network.ask(network.alice)
    network.pump()
    assert network.alice.agreed[request] is False
    assert network.alarms == ["handout.alarm", "handout.alarm"]
    assert network.alice.state(0) == "burned"
    assert network.bob.take_named(key.key_id).value == key.value
    network.ask(network.alice)
    network.pump()
    assert network.alice.take().index == 2


def test_an_older_copy_that_knows_of_an_agreement_burns_it(network):
    network.ask(network.alice)
    network.pump()
    copy = network.copy(network.alice)
    network.alice.take()
    network.restart(network.alice, copy)
    network.pump()
    assert network.alice.state(0) == network.bob.state(0) == "burned"


def test_an_older_copy_whose_request_is_half_done_at_the_peer_is_refused(network):
    network.ask(network.alice, 2)
    copy = network.copy(network.alice)
    network.pump()
    key = network.alice.take()
    network.bob.take_named(key.key_id)
    network.restart(network.alice)
    network.pump()  # the second key is burned
    network.restart(network.alice, copy)
    network.pump()
    assert network.alice.state(0) == network.alice.state(2) == "burned"
    assert network.bob.state(0) == "delivered"
    assert network.alarms == ["handout.alarm", "handout.alarm"]


def test_an_older_copy_of_the_holders_store_gives_no_key_to_another_request(network):
    copy = network.copy(network.bob)
    network.ask(network.alice)
    network.pump()
    network.alice.take()
    network.restart(network.bob, copy)
    network.ask(network.bob)
    network.ask(network.alice)
    network.pump()
    assert network.bob.take().index == 1
    assert network.alice.take().index == 2
    assert network.bob.state(0) == "available"  # and nobody will hand it out


def test_a_key_that_was_named_too_early_is_lost(network):
    """Its name could be guessed from the list; the owner had not handed it out."""
    names = {key.index: key.key_id for key in network.bob.store.keys("alice")}
    network.bob.take_named(names[0])
    with pytest.raises(NoKeyError, match="is ours to hand out"):
        network.bob.take_named(names[1])
    request = network.ask(network.alice)
    network.pump()
    assert network.alice.agreed[request] is False
    assert network.alice.state(0) == "burned"
    assert len(network.alarms) == 2


def test_keys_taken_while_no_node_runs_are_handed_out_by_nobody_else(network):
    (key,) = network.alice.store.take_unagreed("bob", 1)
    network.ask(network.alice, 2)
    network.ask(network.bob, 3)
    network.pump()
    assert [one.index for one in network.alice.store.take_many("bob", 2)] == [2, 4]
    assert network.bob.take_named(key.key_id).value == key.value
    assert not network.alarms


def keys_of(network, *numbers):
    block_id = network.alice.store.keys()[0].block_id
    return BlockKeys(block_id=block_id, numbers=list(numbers))


def test_keys_that_the_holder_owns_itself_are_refused(network):
    with pytest.raises(RemoteProtocolError, match="all owned by the participant"):
        network.alice.core.receive(KeyAssign(keys=[keys_of(network, 1, 2)], request=bytes(16)))
    with pytest.raises(RemoteProtocolError, match="all owned by the coordinator"):
        network.bob.core.receive(KeyAssign(keys=[keys_of(network, 1)], request=bytes(16)))
    assert {key.state for key in network.bob.store.keys("alice")} == {"available"}


@pytest.mark.parametrize("numbers", [(2, 0), (2, 2)])
def test_numbers_out_of_order_are_refused(network, numbers):
    with pytest.raises(RemoteProtocolError, match="allowed: rising numbers"):
        network.bob.core.receive(KeyAssign(keys=[keys_of(network, *numbers)], request=bytes(16)))


def test_a_block_twice_and_too_many_keys_are_refused(network):
    twice = KeyAssign(keys=[keys_of(network, 0), keys_of(network, 2)], request=bytes(16))
    with pytest.raises(RemoteProtocolError, match="a block twice"):
        network.bob.core.receive(twice)
    many = [
        BlockKeys(block_id=bytes([i] * 16), numbers=list(range(0, MAX_KEYS, 2))) for i in range(3)
    ]
    with pytest.raises(RemoteProtocolError, match=f"found 192 keys; allowed: 1 to {MAX_KEYS}"):
        network.bob.core.receive(KeyAssign(keys=many, request=bytes(16)))


def test_unknown_keys_are_refused_as_a_whole(network):
    network.say("bob", KeyAssign(keys=[keys_of(network, 0, 6)], request=bytes(16)))
    network.deliver()
    assert isinstance(network.flight[0][1], KeyRefused)
    assert network.bob.state(0) == "available"
    network.pump()  # alice knows of no such request, which is no news to her
    assert network.alarms == ["handout.alarm"]


def test_answers_that_nobody_asked_for_are_refused(network):
    with pytest.raises(RemoteProtocolError, match="request that is unknown here"):
        network.alice.core.receive(KeyAssigned(request=bytes(16)))
    request = network.ask(network.alice)
    with pytest.raises(RemoteProtocolError, match="key burned of a request that is reserved"):
        network.alice.core.receive(KeyBurned(request=request))
    assert network.alice.state(0) == "reserved"


VERBS = ("ask", "ask", "deliver", "deliver", "take", "name", "give up", "cut", "link", "restart")


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(VERBS), st.sampled_from(("alice", "bob"))), max_size=40
    ),
    put_back=st.none() | st.sampled_from(("alice", "bob")),
    seed=st.integers(0, 2**32),
)
def test_any_history_gives_every_key_to_one_request(tmp_path_factory, steps, put_back, seed):
    network = Handing(tmp_path_factory.mktemp("handing"), n_keys=12, seed=seed)
    copy = network.copy(network.users[put_back]) if put_back else None
    known: list[str] = []
    for verb, name in steps:
        user = network.users[name]
        try:
            if verb == "ask" and network.linked:
                network.ask(user, 1 + seed % 3)
            elif verb == "deliver" and network.flight:
                network.deliver()
            elif verb == "take":
                known.append(user.take().key_id)
            elif verb == "name" and known:
                user.take_named(known[-1])
            elif verb == "give up" and user.asked:
                user.core.give_up(user.asked[-1])
            elif verb == "cut":
                network.cut()
            elif verb == "link":
                network.link()
            elif verb == "restart":
                use_copy = copy if name == put_back else None
                copy = None if use_copy else copy
                network.restart(user, use_copy)
        except NoKeyError:
            pass  # not every step fits
    network.link()
    network.pump()
    values: dict[str, bytes] = {}
    for user in network.users.values():
        ours = [key.key_id for key in user.taken]
        if user.name != put_back:
            assert len(set(ours)) == len(ours)
        for key in user.taken:
            assert values.setdefault(key.key_id, key.value) == key.value
        assert {one.phase for one in user.store.open_requests(user.peer)} <= {Owner.ASSIGNED}
        assert all(row.balances for row in user.store.ledger())
        own_parity = user.name == "bob"
        owned = [key.key_id for key in user.taken if key.index % 2 == own_parity]
        assert len(set(owned)) == len(owned)
        user.store.close()
    if put_back is None:
        assert not network.alarms
