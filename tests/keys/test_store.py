import dataclasses
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.secret import SecretBuffer


def test_keys_are_cut_in_order_and_the_surplus_is_counted(store, block):
    meta, key = block(n_bits=3 * 256 + 200)
    assert store.hold(meta, key) == 3
    store.release(meta.block_id)
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


def test_held_keys_are_not_offered(store, block):
    meta, key = block()
    store.hold(meta, key)
    (status,) = store.status()
    assert (status.available, status.held, status.delivered, status.bits) == (0, 4, 0, 0)
    with pytest.raises(NoKeyError, match="0 keys with 'bob' are available"):
        store.take("bob")
    with pytest.raises(NoKeyError, match="not released yet"):
        store.take("bob", key_id=store.keys()[0].key_id)
    store.release(meta.block_id)
    store.release(meta.block_id)
    (status,) = store.status()
    assert (status.available, status.held, status.delivered, status.bits) == (4, 0, 0, 1024)


def test_discarding_erases_and_the_block_stays_refused(store, block):
    meta, key = block()
    store.hold(meta, key)
    store.discard(meta.block_id)
    store.discard(meta.block_id)
    assert store.keys() == []
    assert store.fingerprints("bob", b"") == {}
    (status,) = store.status()
    assert (status.available, status.held, status.delivered) == (0, 0, 0)
    with pytest.raises(KeyStoreError, match="held once"):
        store.hold(meta, key)
    with pytest.raises(KeyStoreError, match="found state discarded; allowed: held or available"):
        store.release(meta.block_id)


def test_a_released_block_cannot_be_discarded(store, block, fill):
    fill(store)
    with pytest.raises(KeyStoreError, match="found state available; allowed: held or discarded"):
        store.discard(block()[0].block_id)
    assert store.status()[0].available == 4


def test_unknown_blocks_are_refused(store):
    for act in (store.release, store.discard):
        with pytest.raises(KeyStoreError, match="found state unknown"):
            act(bytes(16))


def test_a_block_is_held_once(store, block, fill):
    fill(store)
    with pytest.raises(KeyStoreError, match="held once"):
        store.hold(*block())
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
    store.hold(meta, key)
    store.take("bob")
    rows = store.keys()
    assert [row.state for row in rows] == ["delivered"] + 3 * ["available"] + 4 * ["held"]
    assert [row.index for row in store.keys("bob", "available")] == [1, 2, 3]
    assert store.keys("carol") == []
    assert store.keys(state="held")[0].block_id == meta.block_id
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
        store.hold(*block(2, owner="bob"))


@pytest.mark.parametrize("size_bits", [0, 8, 100, 65544, -64])
def test_odd_key_sizes_are_refused(store, size_bits, block):
    with pytest.raises(KeyStoreError, match=f"key size: found {size_bits} bits"):
        store.hold(*block(), key_size_bits=size_bits)


def test_a_block_without_a_single_key_is_counted(store, block):
    meta, key = block(n_bits=255)
    assert store.hold(meta, key) == 0
    store.release(meta.block_id)
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
        store.hold(meta, dataclasses.replace(key, **change))
    assert store.status() == []


def test_fingerprints_depend_on_salt_and_key(store, fill):
    fill(store, 1)
    fill(store, 2)
    one, other = store.fingerprints("bob", b"1"), store.fingerprints("bob", b"2")
    assert len(set(one.values()) | set(other.values())) == 16
    store.take("bob")
    assert len(store.fingerprints("bob", b"1")) == 7
    assert store.fingerprints("carol", b"1") == {}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["hold", "release", "discard", "take"]), st.integers(1, 3)),
        max_size=15,
    )
)
def test_any_history_keeps_the_books(tmp_path_factory, steps, block):
    states: dict[int, str] = {}
    n_delivered = 0
    with KeyStore.open(tmp_path_factory.mktemp("books") / "alice.db") as store:
        for verb, no in steps:
            block_id = block(no)[0].block_id
            state = states.get(no)
            try:
                if verb == "hold":
                    store.hold(*block(no, n_bits=512))
                    assert state is None
                    states[no] = "held"
                elif verb == "release":
                    store.release(block_id)
                    assert state in ("held", "available")
                    states[no] = "available"
                elif verb == "discard":
                    store.discard(block_id)
                    assert state in ("held", "discarded")
                    states[no] = "discarded"
                else:
                    store.take("bob")
                    n_delivered += 1
            except NoKeyError:
                assert 2 * list(states.values()).count("available") == n_delivered
            except KeyStoreError:
                assert (verb, state) in {
                    ("hold", "held"), ("hold", "available"), ("hold", "discarded"),
                    ("release", None), ("release", "discarded"),
                    ("discard", None), ("discard", "available"),
                }  # fmt: skip
            offered = list(states.values())
            for row in store.status():
                assert row.available + row.delivered == 2 * offered.count("available")
                assert row.held == 2 * offered.count("held")
                assert row.delivered == n_delivered
                assert row.bits == 256 * row.available
            assert len(store.keys()) == 2 * (offered.count("held") + offered.count("available"))


def test_twenty_thousand_keys_enter_at_once(store, block):
    meta, key = block(n_bits=256)
    bulk = dataclasses.replace(key, n_bits=20_000 * 256, value=SecretBuffer.random(20_000 * 32))
    assert store.hold(meta, bulk) == 20_000
