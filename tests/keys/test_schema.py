"""Stores of older releases open here, whole or not at all."""

import sqlite3
from contextlib import closing

import pytest
from commits import agree
from old_stores import VERSION_1

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys import contents, schema
from mdiqkd_net.keys.sealing import create_store_key, load_sealer
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import OFFERED, Phase
from mdiqkd_net.protocol.states import Role

STATES = ("available", "held", "discarded", "available")
TAKEN = {0: (0, 2), 3: (1,)}
"""Numbers of the keys that were delivered, by the index of their block."""


@pytest.fixture(params=["alice", "bob"])
def owner(request):
    return request.param


@pytest.fixture
def old_store(path, block, owner):
    """A file as version 1 wrote it, with a block in every state; and the blocks."""
    key_path = path.with_name(path.name + ".key")
    create_store_key(key_path)
    sealer = load_sealer(key_path)
    path.touch(0o600)
    blocks = [block(no, owner=owner, n_bits=1100) for no in range(1, 5)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in VERSION_1:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO store VALUES (1, ?)", (sealer.seal(b"mdiqkd1 key store", b""),)
        )
        for i, ((meta, key), state) in enumerate(zip(blocks, STATES, strict=True)):
            taken = TAKEN.get(i, ())
            n_left = 0 if state == "discarded" else 4 - len(taken)
            cursor = connection.execute(
                "INSERT INTO blocks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 256, 4, ?, 76, ?)",
                (
                    meta.block_id,
                    *meta.pair,
                    meta.owner,
                    meta.peer,
                    meta.block_no,
                    meta.origin,
                    meta.eps,
                    meta.leak_model,
                    meta.created_utc,
                    n_left,
                    state,
                ),
            )
            if state == "discarded":
                continue
            for number, key_id, sealed in contents.cut(meta, key, 256, sealer):
                gone = number in taken
                connection.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, ?, ?)",
                    (
                        cursor.lastrowid,
                        number,
                        key_id,
                        None if gone else sealed,
                        "2026-01-02T03:04:05+00:00" if gone else None,
                    ),
                )
    return blocks


def contents_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump()), connection.execute("PRAGMA user_version").fetchone()


def test_a_store_of_version_1_opens_with_all_it_had(path, old_store, owner):
    role = Role.COORDINATOR if owner == "alice" else Role.PARTICIPANT
    peer = "bob" if owner == "alice" else "alice"
    with KeyStore.open(path, create=False) as store:
        records = [store.record(meta.block_id) for meta, _ in old_store]
        assert [record.phase for record in records] == [
            OFFERED[role],
            Phase.PREPARED,
            Phase.ABORTED,
            OFFERED[role],
        ]
        assert {(record.role, record.bits, record.said) for record in records} == {
            (role, 1100, b"")
        }
        assert store.unsettled(peer) == [records[1]]
        assert store.next_block(peer) == 5
        (row,) = store.ledger()
        assert row.balances
        assert (row.made, row.prepared, row.available) == (4400, 1024, 5 * 256)
        assert (row.delivered, row.discarded, row.surplus) == (3 * 256, 1100, 3 * 76)
        rows = store.keys()
        states = [key.state for key in rows]
        assert states == [
            *("delivered", "available", "delivered", "available"),
            *4 * ["prepared"],
            *("available", "delivered", "available", "available"),
        ]
        assert rows[0].delivered_utc == "2026-01-02T03:04:05+00:00"
        agree(store, peer)
        free = [key.key_id for key in store.keys(state="assigned")]
        values = [store.take(peer, key_id=key_id).value for key_id in free]
        cut = [[key.value.view[i : i + 32] for i in range(0, 128, 32)] for _, key in old_store]
        assert values == [cut[0][1], cut[0][3], cut[3][0], cut[3][2], cut[3][3]]
        store.settle(old_store[1][0].block_id, Phase.COMMITTED, b"late")
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert not {name for name in names if "old" in name or "left" in name}
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)


def test_a_migrated_store_has_the_schema_of_a_new_one(path, tmp_path, old_store, owner):
    KeyStore.open(path).close()
    KeyStore.open(tmp_path / "new.db").close()

    def tables(file):
        with closing(sqlite3.connect(file)) as connection:
            rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
            return {row for row in rows if not row[1].startswith("sqlite_autoindex")}

    assert tables(path) == tables(tmp_path / "new.db")


@pytest.mark.parametrize("n_done", range(0, 18, 3))
def test_a_migration_that_dies_leaves_the_old_store(path, old_store, owner, monkeypatch, n_done):
    before = contents_of(path)
    dying = [*schema._FROM_1[:n_done], "SELECT nonsense"]
    with monkeypatch.context() as dies:
        dies.setattr(schema, "_FROM_1", tuple(dying))
        with pytest.raises(KeyStoreError, match="no such column: nonsense"):
            KeyStore.open(path)
    assert contents_of(path) == before
    with KeyStore.open(path) as store:
        assert store.status()[0].available == 5


def test_offered_in_the_tables_is_offered_in_the_protocol(path):
    KeyStore.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        for role in Role:
            for phase in Phase:
                connection.execute("DELETE FROM blocks")
                connection.execute(
                    """INSERT INTO blocks (block_id, user_low, user_high, owner, peer, block_no,
                        origin, eps, leak_model, created_utc, bits, key_size_bits, n_keys,
                        surplus_bits, n_free, role, phase, said)
                    VALUES (x'', 'a', 'b', 'a', 'b', 1, '', 0, '', '', 0, 256, 0, 0, 0,
                        ?, ?, x'')""",
                    (role.value, phase.value),
                )
                (offered,) = connection.execute("SELECT offered FROM blocks").fetchone()
                assert bool(offered) == (OFFERED[role] is phase)
