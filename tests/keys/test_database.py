import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from commits import agree, offer, prepare

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys import sealing
from mdiqkd_net.keys.schema import SCHEMA_VERSION
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import Phase


def sealed_records(path: Path) -> list[bytes]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT sealed FROM keys WHERE sealed IS NOT NULL").fetchall()
    connection.close()
    return [row[0] for row in rows]


def test_everything_survives_reopening(path, fill):
    with KeyStore.open(path) as store:
        value = fill(store, agreed=True)
        store.take("bob")
        before = store.keys()
    with KeyStore.open(path, create=False) as store:
        assert store.keys() == before
        assert store.take("bob").value == value[64:96]


def test_two_openers_of_a_new_store_agree_on_its_key(path, fill):
    barrier, failures = threading.Barrier(4), []

    def work(no):
        try:
            barrier.wait()
            with KeyStore.open(path) as store:
                fill(store, no)
        except Exception as error:  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(no,)) for no in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with KeyStore.open(path) as store:
        assert len(store.fingerprints("bob", b"")) == 16
    assert sorted(file.name for file in path.parent.iterdir()) == ["alice.db", "alice.db.key"]


@pytest.mark.parametrize("how", ["take", "abort"])
def test_the_file_forgets_what_has_gone(path, how, block):
    with KeyStore.open(path) as store:
        meta, key = block(n_bits=40 * 256)
        prepare(store, meta, key)
        if how == "take":
            offer(store, meta.block_id)
            agree(store, "bob")
    records = sealed_records(path)
    assert len(records) == 40
    assert all(record in path.read_bytes() for record in records)
    with KeyStore.open(path) as store:
        if how == "take":
            for key in store.keys("bob"):
                store.take("bob", key_id=key.key_id)
        else:
            store.settle(meta.block_id, Phase.ABORTED, b"")
    assert not any(record in path.read_bytes() for record in records)
    # The tail of a record must not linger either, nor the log.
    assert not any(record[-16:] in path.read_bytes() for record in records)
    assert sorted(file.name for file in path.parent.iterdir()) == ["alice.db", "alice.db.key"]


def test_files_are_private_whatever_the_umask(path, fill):
    before = os.umask(0)
    try:
        with KeyStore.open(path) as store:
            fill(store)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ["alice.db", "alice.db-shm", "alice.db-wal", "alice.db.key"], 0o600
    )


def test_a_missing_store_is_not_made_unless_wanted(path):
    with pytest.raises(KeyStoreError, match=r"alice\.db: no such key store"):
        KeyStore.open(path, create=False)
    assert list(path.parent.iterdir()) == []


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(KeyStoreError, match=r"nowhere/alice\.db: No such file or directory"):
        KeyStore.open(tmp_path / "nowhere" / "alice.db")


def test_a_directory_is_no_store(tmp_path):
    with pytest.raises(KeyStoreError, match="cannot be opened"):
        KeyStore.open(tmp_path, create=False)


def test_a_text_file_is_no_store_and_gets_no_key(path):
    path.write_text("not a database, but long enough for a header " * 10)
    with pytest.raises(KeyStoreError, match="not an SQLite database"):
        KeyStore.open(path)
    assert [file.name for file in path.parent.iterdir()] == ["alice.db"]


def test_a_database_of_another_program_is_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(KeyStoreError, match="a database of another program"):
        KeyStore.open(path)
    assert [file.name for file in path.parent.iterdir()] == ["alice.db"]


def test_a_newer_schema_is_refused(path):
    KeyStore.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(KeyStoreError, match=f"found schema version {SCHEMA_VERSION + 1}; allowed"):
        KeyStore.open(path)


def test_a_damaged_database_is_refused(path, fill):
    with KeyStore.open(path) as store:
        fill(store, n_bits=1000 * 256)
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(KeyStoreError, match=r"alice\.db: damaged: the database is malformed"):
        KeyStore.open(path)


def test_one_damaged_page_loses_nothing_silently(path, fill):
    """Whichever it is: the store does not open, or does not give its keys, or gives them all."""
    with KeyStore.open(path) as store:
        fill(store, n_bits=100 * 256)
        whole = store.fingerprints("bob", b"salt")
    data = path.read_bytes()
    found = {"refused": 0, "not given": 0, "given": 0}
    for start in range(0, len(data), 4096):
        path.write_bytes(data[:start] + os.urandom(4096) + data[start + 4096 :])
        try:
            store = KeyStore.open(path)
        except KeyStoreError:
            found["refused"] += 1
            continue
        with store:
            try:
                prints = store.fingerprints("bob", b"salt")
            except KeyStoreError:
                found["not given"] += 1
            else:
                assert prints == whole
                found["given"] += 1
    assert all(found.values()), found


def test_a_crash_before_the_schema_is_made_up_for(path, fill):
    """What a process leaves that dies right after it has made both files."""
    path.touch(0o600)
    sealing.create_store_key(path.with_name("alice.db.key"))
    with KeyStore.open(path) as store:
        fill(store)
        assert store.status()[0].available == 4


def test_a_locked_store_says_so(path, store, block, fill):
    fill(store, agreed=True)
    with KeyStore.open(path, patience_s=0.01) as impatient:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(KeyStoreError, match=r"alice\.db: locked by another process"):
            impatient.take("bob")
        with pytest.raises(KeyStoreError, match="locked by another process"):
            prepare(impatient, *block(2))
        assert len(impatient.keys()) == 4  # reading does not wait for a writer
        blocker.execute("ROLLBACK")
        blocker.close()
        impatient.take("bob")


def test_a_full_disk_leaves_no_half_block(path, store, block, fill):
    fill(store)
    connection = store._database._connection
    n_pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {n_pages + 4}")
    with pytest.raises(KeyStoreError, match=r"alice\.db: the disk is full; nothing was changed"):
        prepare(store, *block(2, n_bits=2000 * 256))
    rows = store.keys()
    assert [row.block_no for row in rows] == 4 * [1]
    connection.execute("PRAGMA max_page_count = 100000")
    assert prepare(store, *block(2, n_bits=2000 * 256)) == 2000


def test_an_interrupted_block_leaves_nothing(store, monkeypatch, block):
    meta, key = block()

    def interrupt(connection, block_id):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr("mdiqkd_net.keys.commits.find", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(store, meta, key)
    assert store.keys() == []
    prepare(store, meta, key)


def test_a_file_system_without_shared_memory_is_refused(path, monkeypatch):
    monkeypatch.setattr(
        "mdiqkd_net.keys.database.Database._pragma",
        lambda self, name: "delete" if name.startswith("journal") else 0,
    )
    with pytest.raises(KeyStoreError, match="does not support the log"):
        KeyStore.open(path)


def test_commits_wait_for_the_disk(store):
    connection = store._database._connection
    pragmas = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
    }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
    }


def test_a_closed_store_gives_nothing(path):
    store = KeyStore.open(path)
    store.close()
    store.close()
    with pytest.raises(KeyStoreError, match=r"alice\.db: .*closed"):
        store.take("bob")
