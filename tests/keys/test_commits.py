"""The commit of blocks in the store: only the table's moves, each whole and durable."""

import dataclasses

import pytest
from commits import agree, free_keys, prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.records import NoKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import COMMIT_MOVES, OFFERED, UNSETTLED, CommitRecord, Phase
from mdiqkd_net.protocol.handout import OWNED_PARITY
from mdiqkd_net.protocol.states import Role

OWNERS = {Role.COORDINATOR: "alice", Role.PARTICIPANT: "bob"}

STEPS = {
    Role.COORDINATOR: {
        (Phase.PREPARED, Phase.COMMITTED),
        (Phase.PREPARED, Phase.ABORTED),
        (Phase.COMMITTED, Phase.CONFIRMED),
    },
    Role.PARTICIPANT: {(Phase.PREPARED, Phase.COMMITTED), (Phase.PREPARED, Phase.ABORTED)},
}

WAYS = {
    Phase.PREPARED: (),
    Phase.COMMITTED: (Phase.COMMITTED,),
    Phase.CONFIRMED: (Phase.COMMITTED, Phase.CONFIRMED),
    Phase.ABORTED: (Phase.ABORTED,),
}

REACHABLE = [
    (role, phase)
    for role in Role
    for phase in Phase
    if (role, phase) != (Role.PARTICIPANT, Phase.CONFIRMED)
]


def enter(store, block, role, phase, no=1, said=b"last"):
    """A block of `role` that has come to `phase`; returns its id."""
    meta, key = block(no, owner=OWNERS[role])
    prepare(store, meta, key, said=said if phase is Phase.PREPARED else b"first")
    for step in WAYS[phase]:
        store.settle(meta.block_id, step, said)
    return meta.block_id


def test_the_steps_of_the_store_are_those_of_the_protocols_table():
    for role, moves in COMMIT_MOVES.items():
        steps = {(b, move.phase) for (b, _), move in moves.items() if b is not move.phase}
        assert steps == STEPS[role]


@pytest.mark.parametrize(("role", "phase"), REACHABLE)
@pytest.mark.parametrize("target", Phase)
def test_a_block_goes_where_a_move_leads_and_nowhere_else(path, block, role, phase, target):
    with KeyStore.open(path) as store:
        block_id = enter(store, block, role, phase)
        before = store.record(block_id)
        if (phase, target) in STEPS[role]:
            store.settle(block_id, target, b"new")
            after = dataclasses.replace(before, phase=target, said=b"new")
        elif target is phase:
            with pytest.raises(KeyStoreError, match="has said something else"):
                store.settle(block_id, target, b"new")
            store.settle(block_id, target, b"last")
            after = before
        else:
            with pytest.raises(KeyStoreError, match=f"no move leads from there to {target.value}"):
                store.settle(block_id, target, b"new")
            after = before
        assert store.record(block_id) == after
    with KeyStore.open(path) as store:
        assert store.record(block_id) == after


@pytest.mark.parametrize(("role", "phase"), REACHABLE)
def test_keys_are_offered_in_the_phase_of_the_role(path, block, role, phase):
    with KeyStore.open(path) as store:
        enter(store, block, role, phase)
        peer = store.status()[0].peer
        if OFFERED[role] is phase:
            agree(store, peer)
            assert store.take(peer).index == OWNED_PARITY[role]
        else:
            assert free_keys(store, peer, ours=True) == ()
            with pytest.raises(NoKeyError, match="0 keys"):
                store.choose(peer, 1)
            assert store.fingerprints(peer, b"") == {}
        assert len(store.keys()) == (0 if phase is Phase.ABORTED else 4)


@pytest.mark.parametrize(("role", "phase"), REACHABLE)
def test_what_waits_for_the_peer_is_listed(path, block, role, phase):
    with KeyStore.open(path) as store:
        ids = [enter(store, block, role, phase, no) for no in (3, 1, 2)]
        peer = store.status()[0].peer
        listed = [record.block_id for record in store.unsettled(peer)]
        assert listed == (ids if phase in UNSETTLED[role] else [])
        assert store.unsettled("carol") == []


def test_a_record_comes_back_as_it_went(store, block):
    meta, key = block()
    record = CommitRecord(meta.block_id, Role.COORDINATOR, Phase.PREPARED, 1024, b"\x00\xffbody")
    store.prepare(meta, key, record)
    assert store.record(meta.block_id) == record
    assert store.unsettled("bob") == [record]


def test_a_message_may_be_added_where_none_was_known(store, block):
    """A tagged abort is made when the peer asks; a store of version 1 knew no messages."""
    block_id = enter(store, block, Role.COORDINATOR, Phase.PREPARED, said=b"")
    store.settle(block_id, Phase.ABORTED, b"")
    store.settle(block_id, Phase.ABORTED, b"tagged abort")
    store.settle(block_id, Phase.ABORTED, b"tagged abort")
    with pytest.raises(KeyStoreError, match="has said something else"):
        store.settle(block_id, Phase.ABORTED, b"another")
    assert store.record(block_id).said == b"tagged abort"


@pytest.mark.parametrize(("role", "phase"), REACHABLE)
def test_words_under_other_pads_are_forgotten_and_nothing_else(store, block, role, phase):
    block_id = enter(store, block, role, phase)
    before, keys = store.record(block_id), store.keys()
    store.forget_words("carol")
    assert store.record(block_id) == before
    store.forget_words(store.blocks()[0].peer)
    assert store.record(block_id) == dataclasses.replace(before, said=b"")
    assert store.keys() == keys
    store.settle(block_id, phase, b"anew")
    assert store.record(block_id).said == b"anew"


@pytest.mark.parametrize(
    "change",
    [
        {"block_id": bytes(16)},
        {"role": Role.PARTICIPANT},
        {"phase": Phase.COMMITTED},
        {"bits": 1023},
    ],
)
def test_a_record_must_fit_its_block(store, block, change):
    meta, key = block()
    record = CommitRecord(meta.block_id, Role.COORDINATOR, Phase.PREPARED, 1024)
    with pytest.raises(KeyStoreError, match="record: found block"):
        store.prepare(meta, key, dataclasses.replace(record, **change))
    assert store.status() == []


def test_block_numbers_only_rise(path):
    with KeyStore.open(path) as store:
        assert store.next_block("bob") == 1
        store.begin_block("bob", 1)
        store.begin_block("bob", 7)
        for used in (7, 1, 0, -1):
            with pytest.raises(KeyStoreError, match=f"found {used}; allowed: 8 and more"):
                store.begin_block("bob", used)
        assert store.next_block("carol") == 1
    with KeyStore.open(path) as store:
        assert store.next_block("bob") == 8


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("end", [Phase.ABORTED, Phase.COMMITTED])
def test_a_commit_goes_on_although_its_keys_are_burned(path, block, role, end):
    with KeyStore.open(path) as store:
        meta, key = block(owner=OWNERS[role])
        prepare(store, meta, key)
        (waiting,) = store.blocks()
        assert (waiting.in_doubt, waiting.free, waiting.free_bits) == (True, 4, 1024)
        assert store.burn(meta.block_id) == 4
        assert store.burn(meta.block_id) == 0
        store.settle(meta.block_id, end, b"")
        (row,) = store.ledger()
        assert row.balances
        assert (row.burned, row.discarded) == ((0, 1024) if end is Phase.ABORTED else (1024, 0))
        with pytest.raises(NoKeyError, match="is unknown"):
            store.burn(bytes(16))


HISTORIES = st.lists(
    st.tuples(st.sampled_from(["prepare", "take", "reopen", *Phase]), st.integers(1, 3)),
    max_size=15,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(role=st.sampled_from(Role), steps=HISTORIES)
def test_any_history_keeps_the_books(tmp_path_factory, role, steps, block):
    path = tmp_path_factory.mktemp("books") / "node.db"
    peer = "bob" if role is Role.COORDINATOR else "alice"
    phases: dict[int, Phase] = {}
    n_delivered = n_agreed = 0
    store = KeyStore.open(path)
    try:
        for verb, no in steps:
            meta, key = block(no, owner=OWNERS[role], n_bits=600)
            n_offered = 2 * list(phases.values()).count(OFFERED[role])
            if verb == "reopen":
                store.close()
                store = KeyStore.open(path)
            elif verb == "prepare":
                if no in phases:
                    with pytest.raises(KeyStoreError, match="known already"):
                        prepare(store, meta, key)
                else:
                    assert prepare(store, meta, key) == 2
                    phases[no] = Phase.PREPARED
            elif verb == "take":
                agree(store, peer)
                n_agreed = n_offered  # what is offered is set aside now
                if 2 * n_delivered == n_offered:
                    with pytest.raises(NoKeyError):
                        store.take(peer)
                else:
                    store.take(peer)  # every other key is ours
                    n_delivered += 1
            elif (phases.get(no), verb) in STEPS[role] or phases.get(no) is verb:
                store.settle(meta.block_id, verb, b"")
                phases[no] = verb
            else:
                with pytest.raises(KeyStoreError, match=r"no move leads|is unknown"):
                    store.settle(meta.block_id, verb, b"")
            n_offered = list(phases.values()).count(OFFERED[role])
            n_aborted = list(phases.values()).count(Phase.ABORTED)
            n_waiting = len(phases) - n_offered - n_aborted
            for row in store.ledger():
                assert row.balances
                assert row.made == 600 * len(phases)
                assert row.prepared == 512 * n_waiting
                assert row.available == 512 * n_offered - 256 * n_agreed
                assert row.assigned == 256 * (n_agreed - n_delivered)
                assert row.delivered == 256 * n_delivered
                assert row.discarded == 600 * n_aborted
                assert row.surplus == 88 * (n_waiting + n_offered)
                assert (row.reserved, row.burned) == (0, 0)
            assert bool(store.ledger()) == bool(phases)
    finally:
        store.close()
