"""The tables of a key store, and how a store of an older release becomes one of this.

A key is in the state of its block until it has one of its own. `offered` says what
`mdiqkd_net.protocol.commit.OFFERED` says. Its sealed bytes are gone once it
is delivered or burned; the table itself refuses a row for which that does not hold.
"""

import sqlite3
from typing import Final

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x4D444951
"""Marks the file as ours; "MDIQ"."""

_STORE: Final = "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), probe BLOB NOT NULL)"

_TABLES: Final = (
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
        bits INTEGER NOT NULL,
        key_size_bits INTEGER NOT NULL,
        n_keys INTEGER NOT NULL,
        surplus_bits INTEGER NOT NULL,
        n_free INTEGER NOT NULL CHECK (n_free BETWEEN 0 AND n_keys),
        role TEXT NOT NULL CHECK (role IN ('coordinator', 'participant')),
        phase TEXT NOT NULL CHECK (phase IN ('prepared', 'committed', 'confirmed', 'aborted')),
        said BLOB NOT NULL,
        offered INTEGER NOT NULL GENERATED ALWAYS AS (
            (role = 'coordinator' AND phase = 'confirmed')
            OR (role = 'participant' AND phase = 'committed')),
        CHECK (bits = n_keys * key_size_bits + surplus_bits)
    )""",
    "CREATE INDEX blocks_free ON blocks (peer, id) WHERE n_free > 0",
    "CREATE INDEX blocks_phase ON blocks (peer, phase, id)",
    """CREATE TABLE keys (
        block INTEGER NOT NULL REFERENCES blocks (id),
        number INTEGER NOT NULL,
        key_id TEXT NOT NULL UNIQUE,
        sealed BLOB,
        state TEXT CHECK (state IN ('reserved', 'assigned', 'delivered', 'burned')),
        request BLOB,
        delivered_utc TEXT,
        PRIMARY KEY (block, number),
        CHECK ((sealed IS NULL) = (coalesce(state, '') IN ('delivered', 'burned')))
    ) WITHOUT ROWID""",
    "CREATE INDEX keys_state ON keys (block, state)",
    "CREATE INDEX keys_free ON keys (block, number & 1, number) WHERE state IS NULL",
    "CREATE INDEX keys_assigned ON keys (block, number) WHERE state = 'assigned'",
    "CREATE INDEX keys_request ON keys (request) WHERE request IS NOT NULL",
    """CREATE INDEX keys_open ON keys (request)
        WHERE request IS NOT NULL AND state <> 'delivered'""",
    "CREATE TABLE pairs (peer TEXT PRIMARY KEY, next_block INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_FROM_1: Final = (
    "DROP INDEX blocks_left",
    "DROP INDEX keys_left",
    "ALTER TABLE blocks RENAME TO old_blocks",
    "ALTER TABLE keys RENAME TO old_keys",
    *_TABLES,
    # What was held becomes prepared. Its vote, if there was one, is not known any more.
    """INSERT INTO blocks (id, block_id, user_low, user_high, owner, peer, block_no, origin, eps,
        leak_model, created_utc, bits, key_size_bits, n_keys, surplus_bits, n_free, role, phase,
        said)
    SELECT id, block_id, user_low, user_high, owner, peer, block_no, origin, eps, leak_model,
        created_utc, n_keys * key_size_bits + surplus_bits, key_size_bits, n_keys, surplus_bits,
        n_left, iif(owner = user_low, 'coordinator', 'participant'),
        CASE state
            WHEN 'held' THEN 'prepared'
            WHEN 'discarded' THEN 'aborted'
            ELSE iif(owner = user_low, 'confirmed', 'committed')
        END,
        x''
    FROM old_blocks ORDER BY id""",
    """INSERT INTO keys (block, number, key_id, sealed, state, delivered_utc)
    SELECT block, number, key_id, sealed, iif(sealed IS NULL, 'delivered', NULL), delivered_utc
    FROM old_keys ORDER BY block, number""",
    "INSERT INTO pairs SELECT peer, max(block_no) + 1 FROM old_blocks GROUP BY peer",
    "DROP TABLE old_keys",
    "DROP TABLE old_blocks",
)


def create(connection: sqlite3.Connection, probe: bytes) -> None:
    """Make the tables of an empty store, within the caller's transaction."""
    connection.execute(_STORE)
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("INSERT INTO store (id, probe) VALUES (1, ?)", (probe,))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store of version 1 to this version, within the caller's transaction."""
    for statement in _FROM_1:
        connection.execute(statement)
