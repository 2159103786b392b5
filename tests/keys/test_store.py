import dataclasses
import uuid

import pytest
from commits import agree, offer, prepare

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.secret import SecretBuffer


def test_keys_are_cut_in_order_and_the_surplus_is_counted(store, block):
    meta, key = block(n_bits=3 * 256 + 200)
    assert prepare(store, meta, key) == 3
    offer(store, meta.block_id)
    agree(store, "bob")
    names = [row.key_id for row in store.keys("bob")]
    taken = [store.take("bob", key_id=name) for name in names]
    assert [one.value for one in taken] == [key.value.view[i : i + 32] for i in (0, 32, 64)]
    assert [one.index for one in taken] == [0, 1, 2]
    assert {(one.peer, one.origin, one.size_bits, one.block_no, one.eps) for one in taken} == {
        ("bob", "measured", 256, 1, 1e-10)
    }
    assert store.status()[0].surplus_bits == 200


def test_both_users_name_the_same_keys_alike(tmp_path, fill):
    names, prints = [], []
    for owner, peer in (("alice", "bob"), ("bob", "alice")):
        with KeyStore.open(tmp_path / f"{owner}.db") as store:
            fill(store, owner=owner, agreed=True)
            prints.append(store.fingerprints(peer, b"salt"))
            names.append([row.key_id for row in store.keys(peer)])
            assert [key.index % 2 for key in store.take_many(peer, 2)] == 2 * [owner == "bob"]
    assert names[0] == names[1]
    assert prints[0] == prints[1]
    assert sorted(prints[0]) == sorted(names[0])


def test_prepared_keys_are_not_offered(store, block):
    meta, key = block()
    prepare(store, meta, key)
    (status,) = store.status()
    assert (status.available, status.prepared, status.delivered, status.bits) == (0, 4, 0, 0)
    with pytest.raises(NoKeyError, match="0 keys are agreed upon with 'bob'"):
        store.take("bob")
    with pytest.raises(NoKeyError, match="0 keys with 'bob' are ours"):
        store.choose("bob", 1)
    with pytest.raises(NoKeyError, match="not offered yet"):
        store.take("bob", key_id=store.keys()[0].key_id)
    offer(store, meta.block_id)
    (status,) = store.status()
    assert (status.available, status.prepared, status.delivered, status.bits) == (4, 0, 0, 1024)


def test_aborting_erases_and_the_block_stays_refused(store, block):
    meta, key = block()
    prepare(store, meta, key)
    store.settle(meta.block_id, Phase.ABORTED, b"")
    store.settle(meta.block_id, Phase.ABORTED, b"")
    assert store.keys() == []
    assert store.fingerprints("bob", b"") == {}
    (status,) = store.status()
    assert (status.available, status.prepared, status.delivered) == (0, 0, 0)
    with pytest.raises(KeyStoreError, match="prepared once"):
        prepare(store, meta, key)
    with pytest.raises(
        KeyStoreError,
        match="found aborted at the coordinator; no move leads from there to committed",
    ):
        offer(store, meta.block_id)


def test_an_offered_block_cannot_be_aborted(store, block, fill):
    fill(store)
    with pytest.raises(
        KeyStoreError,
        match="found confirmed at the coordinator; no move leads from there to aborted",
    ):
        store.settle(block()[0].block_id, Phase.ABORTED, b"")
    assert store.status()[0].available == 4


def test_unknown_blocks_are_refused(store):
    assert store.record(bytes(16)) is None
    for phase in Phase:
        with pytest.raises(KeyStoreError, match="is unknown; only a prepared block can be settled"):
            store.settle(bytes(16), phase, b"")


def test_a_block_is_prepared_once(store, block, fill):
    fill(store)
    with pytest.raises(KeyStoreError, match="prepared once"):
        prepare(store, *block())
    assert store.status()[0].available == 4


def test_a_key_is_taken_by_its_name_once(store, fill):
    value = fill(store)
    name = store.keys()[2].key_id
    with pytest.raises(NoKeyError, match="is ours to hand out: it is taken without its name"):
        store.take("bob", key_id=name)
    agree(store, "bob")
    assert store.take("bob", key_id=name.upper()).value == value[64:96]
    with pytest.raises(NoKeyError, match="is delivered"):
        store.take("bob", key_id=name)
    assert store.take("bob").index == 0
    with pytest.raises(NoKeyError, match="0 keys are agreed upon"):  # the rest is the peer's
        store.take("bob")


def test_keys_are_taken_without_the_peers_word(store, fill, path):
    first, second = fill(store, 1), fill(store, 2)
    with pytest.raises(NoKeyError, match="4 keys with 'bob' are ours to hand out; asked for 5"):
        store.take_unagreed("bob", 5)
    keys = store.take_unagreed("bob", 3)
    assert [key.value for key in keys] == [first[:32], first[64:96], second[:32]]
    named = store.take("bob", key_id=store.keys()[1].key_id)
    assert named.value == first[32:64]
    (row,) = store.ledger()
    assert (row.available, row.delivered, row.balances) == (4 * 256, 4 * 256, True)
    with KeyStore.open(path) as again:
        assert [key.index for key in again.take_unagreed("bob", 1)] == [2]
    with pytest.raises(ConfigError, match="number of keys: found 0"):
        store.take_unagreed("bob", 0)


def test_names_that_lead_nowhere(store, fill):
    fill(store)
    name = store.keys()[0].key_id
    with pytest.raises(NoKeyError, match=r"no key .* with 'carol'"):
        store.take("carol", key_id=name)
    with pytest.raises(NoKeyError, match="no key"):
        store.take("bob", key_id=str(uuid.UUID(int=0)))
    with pytest.raises(ConfigError, match="key id: found 'first'; allowed: a UUID"):
        store.take("bob", key_id="first")


def test_many_keys_come_all_or_none(store, fill):
    first, second = fill(store, 1, agreed=True), fill(store, 2, agreed=True)
    with pytest.raises(NoKeyError, match="4 keys are agreed upon with 'bob'; asked for 5"):
        store.take_many("bob", 5)
    keys = store.take_many("bob", 3)
    assert [key.value for key in keys] == [first[:32], first[64:96], second[:32]]
    assert store.ledger()[0].assigned == 5 * 256
    for count in (0, -1):
        with pytest.raises(ConfigError, match=f"number of keys: found {count}"):
            store.take_many("bob", count)


def test_simulated_keys_need_consent(store, fill):
    fill(store, 1, origin="simulated", agreed=True)
    name = store.keys()[0].key_id
    for ask in (lambda: store.take("bob"), lambda: store.take("bob", key_id=name)):
        with pytest.raises(SimulatedKeyError, match=r"simulated.*--allow-simulated"):
            ask()
    assert store.ledger()[0].assigned == 1024
    assert store.take("bob", key_id=name, allow_simulated=True).origin == "simulated"
    assert store.take("bob", allow_simulated=True).index == 2


def test_without_consent_only_measured_keys_are_taken(store, fill):
    fill(store, 1, origin="simulated")
    fill(store, 2, origin="measured")
    with pytest.raises(SimulatedKeyError):
        store.choose("bob", 3)
    agree(store, "bob")
    assert {key.origin for key in store.take_many("bob", 2)} == {"measured"}
    with pytest.raises(SimulatedKeyError):
        store.take("bob")
    assert [(row.origin, row.delivered) for row in store.status()] == [
        ("measured", 2),
        ("simulated", 0),
    ]


def test_keys_lists_and_filters_without_values(store, block, fill):
    value = fill(store, 1, agreed=True)
    fill(store, 3)
    meta, key = block(2, origin="simulated")
    prepare(store, meta, key)
    store.take("bob")
    rows = store.keys()
    assert [row.state for row in rows] == (
        ["delivered"] + 3 * ["assigned"] + 4 * ["available"] + 4 * ["prepared"]
    )
    assert [row.index for row in store.keys("bob", "assigned")] == [1, 2, 3]
    assert store.keys("carol") == []
    assert store.keys(state="prepared")[0].block_id == meta.block_id
    assert rows[0].delivered_utc is not None
    assert rows[1].delivered_utc is None
    assert value[32:64].hex() not in repr(rows)


def test_reprs_show_no_secrets(store, fill):
    fill(store, agreed=True)
    key = store.take("bob")
    assert key.value.view.hex() not in repr(key)
    assert repr(bytes(key.value.view)) not in repr(key)
    assert repr(store).startswith("<")


def test_a_store_belongs_to_one_node(store, block, fill):
    fill(store)
    with pytest.raises(KeyStoreError, match="found the store of 'alice'; allowed: that of 'bob'"):
        prepare(store, *block(2, owner="bob"))


@pytest.mark.parametrize("size_bits", [0, 8, 100, 65544, -64])
def test_odd_key_sizes_are_refused(store, size_bits, block):
    with pytest.raises(KeyStoreError, match=f"key size: found {size_bits} bits"):
        prepare(store, *block(), key_size_bits=size_bits)


def test_a_block_without_a_single_key_is_counted(store, block):
    meta, key = block(n_bits=255)
    assert prepare(store, meta, key) == 0
    offer(store, meta.block_id)
    assert store.status()[0].surplus_bits == 255
    with pytest.raises(NoKeyError):
        store.take("bob")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"block_id": bytes(16)}, "block: found id"),
        ({"origin": "simulated"}, "allowed: those of the key"),
        ({"n_bits": 1025}, "key: found 1025 bits; allowed: 0 to 1024"),
        ({"n_bits": -1}, "key: found -1 bits"),
    ],
)
def test_a_key_must_fit_its_block(store, change, found, block):
    meta, key = block()
    with pytest.raises(KeyStoreError, match=found):
        prepare(store, meta, dataclasses.replace(key, **change))
    assert store.status() == []


def test_fingerprints_depend_on_salt_and_key(store, fill):
    fill(store, 1)
    fill(store, 2, agreed=True)
    one, other = store.fingerprints("bob", b"1"), store.fingerprints("bob", b"2")
    assert len(set(one.values()) | set(other.values())) == 16
    store.take("bob")
    assert len(store.fingerprints("bob", b"1")) == 7
    assert store.fingerprints("carol", b"1") == {}


def test_twenty_thousand_keys_enter_at_once(store, block):
    meta, key = block(n_bits=256)
    bulk = dataclasses.replace(key, n_bits=20_000 * 256, value=SecretBuffer.random(20_000 * 32))
    assert prepare(store, meta, bulk) == 20_000
