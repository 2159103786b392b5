import os
import sqlite3

import pytest

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.store import KeyStore


def test_no_key_is_ever_in_the_clear_on_disk(path, fill):
    with KeyStore.open(path) as store:
        value = fill(store, agreed=True)
        on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert value[:16] not in on_disk
    assert (path.parent / "alice.db.key").read_bytes() not in path.read_bytes()


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE blocks SET origin = 'measured'",
        "UPDATE blocks SET eps = 1e-30",
        "UPDATE blocks SET leak_model = 'perfect'",
        "UPDATE blocks SET block_no = 9",
        "UPDATE blocks SET created_utc = ''",
        "UPDATE blocks SET user_high = 'carol', peer = 'carol'",
        "UPDATE keys SET key_id = '00000000-0000-8000-8000-000000000000' WHERE number = 0",
        "UPDATE keys SET sealed = zeroblob(60) WHERE number = 0",
        "UPDATE keys SET sealed = x'00' WHERE number = 0",
        "UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE number = 1) WHERE number = 0",
    ],
)
def test_an_edited_record_does_not_open(path, edit, fill):
    with KeyStore.open(path) as store:
        fill(store, agreed=True, origin="simulated")
    with sqlite3.connect(path) as connection:
        connection.execute(edit)
    connection.close()
    with KeyStore.open(path) as store:
        peer = store.status()[0].peer
        with pytest.raises(KeyStoreError, match=r"alice\.db: damaged: the record of key"):
            store.take(peer, allow_simulated=True)
        assert store.status()[0].delivered == 0


def test_a_lost_store_key_is_not_replaced(path):
    KeyStore.open(path).close()
    key_path = path.with_name("alice.db.key")
    key_path.unlink()
    with pytest.raises(KeyStoreError, match=r"alice\.db\.key: No such file.*without this file"):
        KeyStore.open(path)
    assert not key_path.exists()


@pytest.mark.parametrize("n_bytes", [0, 31, 33])
def test_a_store_key_of_the_wrong_size_is_refused(path, n_bytes):
    KeyStore.open(path).close()
    path.with_name("alice.db.key").write_bytes(bytes(n_bytes))
    with pytest.raises(KeyStoreError, match="exactly 32 bytes"):
        KeyStore.open(path)


def test_another_store_key_is_refused(path):
    KeyStore.open(path).close()
    path.with_name("alice.db.key").write_bytes(bytes(32))
    with pytest.raises(KeyStoreError, match=r"alice\.db\.key: not the store key"):
        KeyStore.open(path)


def test_a_readable_store_key_is_refused(path):
    KeyStore.open(path).close()
    path.with_name("alice.db.key").chmod(0o640)
    with pytest.raises(KeyStoreError, match="found mode 0640"):
        KeyStore.open(path)


def test_a_disk_that_refuses_the_store_key_is_named(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    KeyStore.open(path.with_name("other.db")).close()
    path.touch(0o600)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyStoreError, match=r"alice\.db\.key: No space left"):
        KeyStore.open(path)
    assert not list(path.parent.glob("alice.db.key*"))
