"""Key stores as version 1 of their schema had them."""

import sqlite3
from contextlib import closing

VERSION_1 = (
    "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), probe BLOB NOT NULL)",
    """CREATE TABLE blocks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        block_id BLOB NOT NULL UNIQUE,
        user_low TEXT NOT NULL,
        user_high TEXT NOT NULL,
        owner TEXT NOT NULL,
        peer TEXT NOT NULL,
        block_no INTEGER NOT NULL,
        origin TEXT NOT NULL,
        eps REAL NOT NULL,
        leak_model TEXT NOT NULL,
        created_utc TEXT NOT NULL,
        key_size_bits INTEGER NOT NULL,
        n_keys INTEGER NOT NULL,
        n_left INTEGER NOT NULL CHECK (n_left BETWEEN 0 AND n_keys),
        surplus_bits INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('held', 'available', 'discarded'))
    )""",
    "CREATE INDEX blocks_left ON blocks (peer, id) WHERE n_left > 0",
    """CREATE TABLE keys (
        block INTEGER NOT NULL REFERENCES blocks (id),
        number INTEGER NOT NULL,
        key_id TEXT NOT NULL UNIQUE,
        sealed BLOB,
        delivered_utc TEXT,
        PRIMARY KEY (block, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX keys_left ON keys (block, number) WHERE sealed IS NOT NULL",
    "PRAGMA application_id = 0x4D444951",
    "PRAGMA user_version = 1",
)


def make_old(path):
    """Turn a store that no process has open into one of version 1, with the same sealed keys."""
    old = path.with_suffix(".old")
    old.touch(0o600)
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(old)) as made, made:
        for statement in VERSION_1:
            made.execute(statement)
        made.executemany("INSERT INTO store VALUES (?, ?)", new.execute("SELECT * FROM store"))
        blocks = new.execute(
            """SELECT id, block_id, user_low, user_high, owner, peer, block_no, origin, eps,
                leak_model, created_utc, key_size_bits, n_keys, n_free, surplus_bits,
                CASE WHEN offered THEN 'available' WHEN phase = 'aborted' THEN 'discarded'
                ELSE 'held' END
            FROM blocks"""
        )
        made.executemany(f"INSERT INTO blocks VALUES ({', '.join('?' * 16)})", blocks)  # noqa: S608
        keys = new.execute("SELECT block, number, key_id, sealed, delivered_utc FROM keys")
        made.executemany("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", keys)
    old.replace(path)
