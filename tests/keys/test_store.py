import dataclasses
import uuid

import pytest
from commits import offer, prepare

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.secret import SecretBuffer


def test_keys_are_cut_in_order_and_the_surplus_is_counted(store, block):
    meta, key = block(n_bits=3 * 256 + 200)
    assert prepare(store, meta, key) == 3
    offer(store, meta.block_id)
    taken = [store.take("bob") for _ in range(3)]
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
            fill(store, owner=owner)
            prints.append(store.fingerprints(peer, b"salt"))
            names.append([store.take(peer).key_id for _ in range(4)])
    assert names[0] == names[1]
    assert prints[0] == prints[1]
    assert sorted(prints[0]) == sorted(names[0])


def test_prepared_keys_are_not_offered(store, block):
    meta, key = block()
    prepare(store, meta, key)
    (status,) = store.status()
    assert (status.available, status.prepared, status.delivered, status.bits) == (0, 4, 0, 0)
    with pytest.raises(NoKeyError, match="0 keys with 'bob' are available"):
        store.take("bob")
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
    assert store.take("bob", key_id=name.upper()).value == value[64:96]
    with pytest.raises(NoKeyError, match="delivered before"):
        store.take("bob", key_id=name)
    assert [store.take("bob").index for _ in range(3)] == [0, 1, 3]


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
    first, second = fill(store, 1), fill(store, 2)
    with pytest.raises(NoKeyError, match="8 keys with 'bob' are available; asked for 9"):
        store.take_many("bob", 9)
    keys = store.take_many("bob", 6)
    assert b"".join(key.value.view for key in keys) == first + second[:64]
    assert store.status()[0].available == 2
    for count in (0, -1):
        with pytest.raises(ConfigError, match=f"number of keys: found {count}"):
            store.take_many("bob", count)


def test_simulated_keys_need_consent(store, fill):
    fill(store, 1, origin="simulated")
    name = store.keys()[0].key_id
    for ask in (lambda: store.take("bob"), lambda: store.take("bob", key_id=name)):
        with pytest.raises(SimulatedKeyError, match=r"simulated.*--allow-simulated"):
            ask()
    assert store.status()[0].available == 4
    assert store.take("bob", key_id=name, allow_simulated=True).origin == "simulated"
    assert store.take("bob", allow_simulated=True).index == 1


def test_without_consent_only_measured_keys_are_taken(store, fill):
    fill(store, 1, origin="simulated")
    fill(store, 2, origin="measured")
    assert {key.origin for key in store.take_many("bob", 4)} == {"measured"}
    with pytest.raises(SimulatedKeyError):
        store.take("bob")
    assert [(row.origin, row.available) for row in store.status()] == [
        ("measured", 0),
        ("simulated", 4),
    ]


def test_keys_lists_and_filters_without_values(store, block, fill):
    value = fill(store, 1)
    meta, key = block(2, origin="simulated")
    prepare(store, meta, key)
    store.take("bob")
    rows = store.keys()
    assert [row.state for row in rows] == ["delivered"] + 3 * ["available"] + 4 * ["prepared"]
    assert [row.index for row in store.keys("bob", "available")] == [1, 2, 3]
    assert store.keys("carol") == []
    assert store.keys(state="prepared")[0].block_id == meta.block_id
    assert rows[0].delivered_utc is not None
    assert rows[1].delivered_utc is None
    assert value[32:64].hex() not in repr(rows)


def test_reprs_show_no_secrets(store, fill):
    fill(store)
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
    fill(store, 2)
    one, other = store.fingerprints("bob", b"1"), store.fingerprints("bob", b"2")
    assert len(set(one.values()) | set(other.values())) == 16
    store.take("bob")
    assert len(store.fingerprints("bob", b"1")) == 7
    assert store.fingerprints("carol", b"1") == {}


def test_twenty_thousand_keys_enter_at_once(store, block):
    meta, key = block(n_bits=256)
    bulk = dataclasses.replace(key, n_bits=20_000 * 256, value=SecretBuffer.random(20_000 * 32))
    assert prepare(store, meta, bulk) == 20_000
