import pytest
from commits import offer, prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.scenario.stores import compare, compared
from mdiqkd_net.secret import SecretBuffer

PAIR = ("alice", "bob")


def fill(path, owner, peer, value):
    block_id = bytes(16)
    with KeyStore.open(path) as store:
        if value:
            meta = BlockMeta(
                block_id=block_id,
                pair=PAIR,
                owner=owner,
                peer=peer,
                block_no=0,
                origin="simulated",
                eps=1e-10,
                leak_model="none",
            )
            key = SecretKey(
                block_id=block_id,
                n_bits=8 * len(value),
                origin="simulated",
                value=SecretBuffer.copy_of(value),
            )
            prepare(store, meta, key)
            offer(store, block_id)


@pytest.mark.parametrize(
    ("alice", "bob", "n_keys", "match", "equal"),
    [
        (b"k" * 64, b"k" * 64, 2, True, True),
        (b"k" * 64, b"k" * 32 + b"q" * 32, 2, False, False),
        (b"k" * 64, b"k" * 32, 1, False, False),
        (b"", b"", 0, False, True),
        (b"k" * 64, b"", 0, False, False),
    ],
)
def test_stores_match_only_with_the_same_keys_and_at_least_one(
    tmp_path, alice, bob, n_keys, match, equal
):
    paths = (tmp_path / "alice.db", tmp_path / "bob.db")
    fill(paths[0], "alice", "bob", alice)
    fill(paths[1], "bob", "alice", bob)
    found = compare({PAIR: paths})[PAIR]
    assert (found.n_keys, found.match, found.equal) == (n_keys, match, equal)


def test_a_missing_store_is_a_fault(tmp_path):
    with pytest.raises(KeyStoreError):
        compare({PAIR: (tmp_path / "a.db", tmp_path / "b.db")})


def test_fingerprints_are_compared_by_key_id():
    assert not compared({"a": "1"}, {"b": "1"}).match
    assert compared({"a": "1", "b": "2"}, {"b": "2", "a": "1"}).match
