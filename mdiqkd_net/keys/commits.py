"""The commit of blocks in the key store: rows that only go where the protocol's table leads.

These functions work within the caller's transaction.
"""

import sqlite3
from typing import Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys import contents
from mdiqkd_net.keys.records import BlockInfo, BlockMeta, NoKeyError
from mdiqkd_net.protocol.commit import COMMIT_MOVES, UNSETTLED, CommitRecord, Phase
from mdiqkd_net.protocol.states import Role

_STEPS: Final = frozenset(
    (role, before, move.phase)
    for role, moves in COMMIT_MOVES.items()
    for (before, _), move in moves.items()
    if before is not move.phase
)
"""Every change of phase that some move makes."""


def prepare(
    connection: sqlite3.Connection,
    block: BlockMeta,
    record: CommitRecord,
    key_size_bits: int,
    rows: list[contents.SealedRow],
) -> None:
    """Write a new block, its keys and the record of its commit; see `KeyStore.prepare`."""
    owner = connection.execute("SELECT owner FROM blocks LIMIT 1").fetchone()
    if owner is not None and owner[0] != block.owner:
        raise KeyStoreError(f"found the store of {owner[0]!r}; allowed: that of {block.owner!r}")
    if find(connection, block.block_id) is not None:
        raise KeyStoreError(
            f"block {block.block_id.hex()} is known already; a block is prepared once"
        )
    values = {
        "block_id": block.block_id,
        "user_low": block.pair[0],
        "user_high": block.pair[1],
        "owner": block.owner,
        "peer": block.peer,
        "block_no": block.block_no,
        "origin": block.origin,
        "eps": block.eps,
        "leak_model": block.leak_model,
        "created_utc": block.created_utc,
        "bits": record.bits,
        "key_size_bits": key_size_bits,
        "n_keys": len(rows),
        "surplus_bits": record.bits - len(rows) * key_size_bits,
        "n_free": len(rows),
        "role": record.role.value,
        "phase": record.phase.value,
        "said": record.said,
    }
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(
        f"INSERT INTO blocks ({', '.join(values)}) VALUES ({marks})",  # noqa: S608
        tuple(values.values()),
    )
    connection.executemany(
        "INSERT INTO keys (block, number, key_id, sealed) VALUES (?, ?, ?, ?)",
        [(cursor.lastrowid, *row) for row in rows],
    )


def settle(connection: sqlite3.Connection, block_id: bytes, phase: Phase, said: bytes) -> None:
    """Take a commit to `phase`; see `KeyStore.settle`."""
    record = find(connection, block_id)
    name = f"block {block_id.hex()}"
    if record is None:
        raise KeyStoreError(f"{name} is unknown; only a prepared block can be settled")
    if record.phase is phase:
        if said == record.said:
            return
        if record.said:
            raise KeyStoreError(
                f"{name} is {phase.value} and has said something else; what was said is repeated"
            )
    elif (record.role, record.phase, phase) not in _STEPS:
        raise KeyStoreError(
            f"{name}: found {record.phase.value} at the {record.role.value}; "
            f"no move leads from there to {phase.value}"
        )
    connection.execute(
        "UPDATE blocks SET phase = ?, said = ? WHERE block_id = ?", (phase.value, said, block_id)
    )
    if phase is Phase.ABORTED:
        connection.execute(
            "DELETE FROM keys WHERE block = (SELECT id FROM blocks WHERE block_id = ?)",
            (block_id,),
        )
        connection.execute("UPDATE blocks SET n_free = 0 WHERE block_id = ?", (block_id,))


def forget_words(connection: sqlite3.Connection, peer: str) -> None:
    """Forget what was said of all blocks with a peer; see `KeyStore.forget_words`."""
    connection.execute("UPDATE blocks SET said = x'' WHERE peer = ? AND said <> x''", (peer,))


def find(connection: sqlite3.Connection, block_id: bytes) -> CommitRecord | None:
    """What is kept of a block's commit; None if the block is unknown."""
    row = connection.execute(
        "SELECT block_id, role, phase, bits, said FROM blocks WHERE block_id = ?", (block_id,)
    ).fetchone()
    return None if row is None else _record(row)


def listing(connection: sqlite3.Connection, peer: str) -> list[CommitRecord]:
    """What is kept of every commit with a peer, oldest first."""
    rows = connection.execute(
        "SELECT block_id, role, phase, bits, said FROM blocks WHERE peer = ? ORDER BY id", (peer,)
    )
    return [_record(row) for row in rows]


def unsettled(connection: sqlite3.Connection, peer: str) -> list[CommitRecord]:
    """The blocks with a peer that wait for its word, oldest first."""
    rows = connection.execute(
        """SELECT block_id, role, phase, bits, said FROM blocks
        WHERE peer = ? AND phase IN ('prepared', 'committed') AND NOT offered ORDER BY id""",
        (peer,),
    )
    return [record for record in map(_record, rows) if record.phase in UNSETTLED[record.role]]


def blocks(connection: sqlite3.Connection) -> list[BlockInfo]:
    """All blocks, oldest first; see `KeyStore.blocks`."""
    rows = connection.execute(
        """SELECT block_id, peer, block_no, origin, role, phase, n_free, key_size_bits, created_utc
        FROM blocks ORDER BY id"""
    )
    return [
        BlockInfo(
            block_id=row["block_id"].hex(),
            peer=row["peer"],
            block_no=row["block_no"],
            origin=row["origin"],
            role=row["role"],
            phase=row["phase"],
            in_doubt=Phase(row["phase"]) in UNSETTLED[Role(row["role"])],
            free=row["n_free"],
            free_bits=row["n_free"] * row["key_size_bits"],
            created_utc=row["created_utc"],
        )
        for row in rows
    ]


def burn(connection: sqlite3.Connection, block_id: bytes) -> int:
    """Erase the free keys of a block; see `KeyStore.burn`."""
    row = connection.execute("SELECT id FROM blocks WHERE block_id = ?", (block_id,)).fetchone()
    if row is None:
        raise NoKeyError(f"block {block_id.hex()} is unknown; `mdiqkd keys doubts` names blocks")
    n_burned = connection.execute(
        "UPDATE keys SET state = 'burned', sealed = NULL WHERE block = ? AND state IS NULL",
        (row["id"],),
    ).rowcount
    connection.execute("UPDATE blocks SET n_free = 0 WHERE id = ?", (row["id"],))
    return n_burned


def next_block(connection: sqlite3.Connection, peer: str) -> int:
    """The number that the next block with a peer must have at least."""
    row = connection.execute("SELECT next_block FROM pairs WHERE peer = ?", (peer,)).fetchone()
    return 1 if row is None else int(row[0])


def begin_block(connection: sqlite3.Connection, peer: str, block_no: int) -> None:
    """Use up a block number, and all before it; see `KeyStore.begin_block`."""
    allowed = next_block(connection, peer)
    if not allowed <= block_no < 2**63 - 1:
        raise KeyStoreError(
            f"block number with {peer!r}: found {block_no}; allowed: {allowed} and more"
        )
    connection.execute(
        "INSERT OR REPLACE INTO pairs (peer, next_block) VALUES (?, ?)", (peer, block_no + 1)
    )


def _record(row: sqlite3.Row) -> CommitRecord:
    return CommitRecord(
        block_id=row["block_id"],
        role=Role(row["role"]),
        phase=Phase(row["phase"]),
        bits=row["bits"],
        said=row["said"],
    )
