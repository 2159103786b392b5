"""The key store of one node: keys of all its pairs, sealed, each delivered at most once.

A block enters in two phases. `hold` makes its keys durable; `release` offers them once the peer is
known to have done the same, or `discard` erases them. `take` erases a key durably before it
returns the value, so a crash can lose a key but never deliver it twice. This assumes that nobody
puts an older copy of the file back: a restored store would deliver again what it delivered before.

Erasing overwrites the record within the database (SQLite's `secure_delete`). The write-ahead log
keeps the sealed record until it is folded in, and flash media may keep stale sectors; neither is of
use without the store key.
"""

import hmac
import sqlite3
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.database import PATIENCE_S, Database
from mdiqkd_net.keys.records import (
    KEY_SIZE_BITS,
    BlockMeta,
    DeliveredKey,
    KeyInfo,
    KeyState,
    NoKeyError,
    PeerStatus,
    SimulatedKeyError,
    key_id_of,
    utc_now,
)
from mdiqkd_net.keys.sealing import Sealer, bound_prefix, create_store_key, load_sealer

MAX_KEY_SIZE_BITS: Final = 65536
_PROBE: Final = b"mdiqkd1 key store"


class KeyStore:
    """An open store. May be used from any thread, and by several processes at once."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    @classmethod
    def open(cls, path: Path, *, create: bool = True, patience_s: float = PATIENCE_S) -> Self:
        """Open a store; `<path>.key` holds the key that seals it.

        Args:
            path: The database file.
            create: Make the store, both files with mode 0600, if it does not exist.
            patience_s: How long to wait while another process writes.

        Raises:
            KeyStoreError: If a file is missing, damaged, newer than this release, or not ours.
        """
        key_path = path.with_name(path.name + ".key")
        database = Database(path, create=create, patience_s=patience_s)
        try:
            if database.is_empty:
                create_store_key(key_path)
            sealer = load_sealer(key_path)
            if database.is_empty:
                database.create_schema(sealer.seal(_PROBE, b""))
            with database.reading() as connection:
                (probe,) = connection.execute("SELECT probe FROM store").fetchone()
            try:
                sealer.unseal(probe, b"")
            except KeyStoreError:
                raise KeyStoreError(f"{key_path}: not the store key of {path}") from None
        except BaseException:
            database.close()
            raise
        return cls(database, sealer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store and wipe its key; closing twice does nothing."""
        self._sealer.wipe()
        self._database.close()

    def hold(self, block: BlockMeta, key: SecretKey, key_size_bits: int = KEY_SIZE_BITS) -> int:
        """Cut a block into keys and make them durable, but do not offer them yet.

        Bits that do not fill a key are dropped and counted.

        Returns:
            The number of keys.

        Raises:
            KeyStoreError: If the block was held before, does not fit `block`, or the disk refuses.
        """
        _check_fits(block, key, key_size_bits)
        size_bytes = key_size_bits // 8
        n_keys, surplus_bits = divmod(key.n_bits, key_size_bits)
        prefix = bound_prefix(block, key_size_bits)
        rows = []
        for number in range(n_keys):
            key_id = key_id_of(block.block_id, number, key_size_bits)
            value = key.value.view[number * size_bytes : (number + 1) * size_bytes]
            rows.append((number, key_id, self._sealer.seal(value, _bound(prefix, key_id, number))))
        with self._database.writing() as connection:
            owner = connection.execute("SELECT owner FROM blocks LIMIT 1").fetchone()
            if owner is not None and owner[0] != block.owner:
                raise KeyStoreError(
                    f"{self._database.path}: found the store of {owner[0]!r}; "
                    f"allowed: that of {block.owner!r}"
                )
            if self._block_state(connection, block.block_id) is not None:
                raise KeyStoreError(
                    f"{self._database.path}: block {block.block_id.hex()} is known already; "
                    "a block is held once"
                )
            cursor = connection.execute(
                """INSERT INTO blocks (block_id, user_low, user_high, owner, peer, block_no, origin,
                    eps, leak_model, created_utc, key_size_bits, n_keys, n_left, surplus_bits,
                    state)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'held')""",
                (
                    block.block_id,
                    *block.pair,
                    block.owner,
                    block.peer,
                    block.block_no,
                    block.origin,
                    block.eps,
                    block.leak_model,
                    block.created_utc,
                    key_size_bits,
                    n_keys,
                    n_keys,
                    surplus_bits,
                ),
            )
            connection.executemany(
                "INSERT INTO keys (block, number, key_id, sealed) VALUES (?, ?, ?, ?)",
                [(cursor.lastrowid, *row) for row in rows],
            )
        return n_keys

    def release(self, block_id: bytes) -> None:
        """Offer the keys of a held block. Releasing again does nothing.

        Raises:
            KeyStoreError: If the block is unknown or was discarded, or the disk refuses.
        """
        with self._database.writing() as connection:
            self._require(connection, block_id, ("held", "available"))
            connection.execute(
                "UPDATE blocks SET state = 'available' WHERE block_id = ?", (block_id,)
            )

    def discard(self, block_id: bytes) -> None:
        """Erase a held block for good; its id stays refused. Discarding again does nothing.

        Raises:
            KeyStoreError: If the block is unknown or was released, or the disk refuses.
        """
        with self._database.writing() as connection:
            self._require(connection, block_id, ("held", "discarded"))
            connection.execute(
                "DELETE FROM keys WHERE block = (SELECT id FROM blocks WHERE block_id = ?)",
                (block_id,),
            )
            connection.execute(
                "UPDATE blocks SET state = 'discarded', n_left = 0 WHERE block_id = ?", (block_id,)
            )

    def status(self) -> list[PeerStatus]:
        """The stock per peer and origin, in that order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT peer, origin,
                    sum(iif(state = 'available', n_left, 0)) AS available,
                    sum(iif(state = 'held', n_left, 0)) AS held,
                    sum(iif(state = 'available', n_keys - n_left, 0)) AS delivered,
                    sum(iif(state = 'available', n_left * key_size_bits, 0)) AS bits,
                    sum(surplus_bits) AS surplus_bits
                FROM blocks GROUP BY peer, origin ORDER BY peer, origin"""
            ).fetchall()
        return [PeerStatus(**dict(row)) for row in rows]

    def keys(self, peer: str | None = None, state: KeyState | None = None) -> list[KeyInfo]:
        """All keys without their values, oldest block first; of one peer or state if given."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT * FROM (
                    SELECT key_id, peer, origin, iif(sealed IS NULL, 'delivered', state) AS state,
                        key_size_bits AS size_bits, block_id, block_no, number AS "index", eps,
                        leak_model, created_utc, delivered_utc
                    FROM keys JOIN blocks ON blocks.id = keys.block
                    ORDER BY block, number)
                WHERE (:peer IS NULL OR peer = :peer) AND (:state IS NULL OR state = :state)""",
                {"peer": peer, "state": state},
            ).fetchall()
        return [KeyInfo(**dict(row)) for row in rows]

    def take(
        self, peer: str, *, key_id: str | None = None, allow_simulated: bool = False
    ) -> DeliveredKey:
        """Deliver one key for good: the oldest one, or the one that is named.

        Args:
            peer: The user who holds the same key.
            key_id: A UUID, as the peer got it with its copy.
            allow_simulated: Also deliver keys from simulated light, which protect nothing.

        Raises:
            NoKeyError: If there is no such key, it is not released yet, or it was taken.
            SimulatedKeyError: If only simulated keys are left and they are not allowed.
            ConfigError: If `key_id` is no UUID.
            KeyStoreError: If the store is locked or damaged, or the disk refuses.
        """
        if key_id is None:
            return self.take_many(peer, 1, allow_simulated=allow_simulated)[0]
        try:
            name = str(uuid.UUID(key_id))
        except ValueError:
            raise ConfigError(f"key id: found {key_id!r}; allowed: a UUID") from None
        with self._database.writing() as connection:
            row = connection.execute(
                """SELECT block, number, origin, iif(sealed IS NULL, 'delivered', state)
                FROM keys JOIN blocks ON blocks.id = keys.block
                WHERE key_id = ? AND peer = ?""",
                (name, peer),
            ).fetchone()
            if row is None:
                raise NoKeyError(f"{self._database.path}: no key {name} with {peer!r}")
            block, number, origin, state = row
            if state != "available":
                why = "delivered before" if state == "delivered" else "not released yet"
                raise NoKeyError(f"{self._database.path}: key {name} was {why}")
            if origin == "simulated" and not allow_simulated:
                raise self._simulated(peer)
            return self._deliver(connection, block, first=number, n_keys=1)[0]

    def take_many(
        self, peer: str, n_keys: int, *, allow_simulated: bool = False
    ) -> list[DeliveredKey]:
        """Deliver `n_keys` keys for good, oldest first: all of them, or none.

        Raises as `take` does.
        """
        if n_keys < 1:
            raise ConfigError(f"number of keys: found {n_keys}; allowed: 1 and more")
        delivered: list[DeliveredKey] = []
        with self._database.writing() as connection:
            blocks = connection.execute(
                """SELECT id, origin, n_left FROM blocks
                WHERE peer = ? AND state = 'available' AND n_left > 0 ORDER BY id""",
                (peer,),
            ).fetchall()
            allowed = [row for row in blocks if allow_simulated or row[1] != "simulated"]
            n_allowed = sum(n_left for _, _, n_left in allowed)
            if n_allowed < n_keys:
                if len(allowed) < len(blocks):
                    raise self._simulated(peer)
                raise NoKeyError(
                    f"{self._database.path}: {n_allowed} keys with {peer!r} are available; "
                    f"asked for {n_keys}"
                )
            for block, _, _ in allowed:
                wanted = n_keys - len(delivered)
                if wanted == 0:
                    break
                delivered += self._deliver(connection, block, first=0, n_keys=wanted)
        return delivered

    def fingerprints(self, peer: str, salt: bytes) -> dict[str, str]:
        """HMAC-SHA-256 under `salt` of every key that a peer's applications could take, hex, by id.

        For comparing two stores without showing keys. The secrecy of the keys becomes
        computational where fingerprints are published, so they are for tests and simulations.
        """
        with self._database.reading() as connection:
            blocks = connection.execute(
                "SELECT id FROM blocks WHERE peer = ? AND n_left > 0 AND state = 'available'"
                " ORDER BY id",
                (peer,),
            ).fetchall()
            return {
                key.key_id: hmac.digest(salt, key.value.view, "sha256").hex()
                for (block,) in blocks
                for key in self._unseal(connection, block, first=0, n_keys=-1)
            }

    def _deliver(
        self, connection: sqlite3.Connection, block: int, *, first: int, n_keys: int
    ) -> list[DeliveredKey]:
        """Erase keys of one block, within a transaction; only its commit lets them leave."""
        keys = self._unseal(connection, block, first=first, n_keys=n_keys)
        now = utc_now()
        connection.executemany(
            "UPDATE keys SET sealed = NULL, delivered_utc = ? WHERE block = ? AND number = ?",
            [(now, block, key.index) for key in keys],
        )
        connection.execute("UPDATE blocks SET n_left = n_left - ? WHERE id = ?", (len(keys), block))
        return keys

    def _unseal(
        self, connection: sqlite3.Connection, block: int, *, first: int, n_keys: int
    ) -> list[DeliveredKey]:
        """The undelivered keys of a block from number `first` on, at most `n_keys`; -1 is all."""
        row = connection.execute("SELECT * FROM blocks WHERE id = ?", (block,)).fetchone()
        meta = BlockMeta(
            block_id=row["block_id"],
            pair=(row["user_low"], row["user_high"]),
            owner=row["owner"],
            peer=row["peer"],
            block_no=row["block_no"],
            origin=row["origin"],
            eps=row["eps"],
            leak_model=row["leak_model"],
            created_utc=row["created_utc"],
        )
        size_bits = row["key_size_bits"]
        prefix = bound_prefix(meta, size_bits)
        rows = connection.execute(
            """SELECT number, key_id, sealed FROM keys INDEXED BY keys_left
            WHERE block = ? AND number >= ? AND sealed IS NOT NULL ORDER BY number LIMIT ?""",
            (block, first, n_keys),
        )
        keys = []
        for number, key_id, sealed in rows:
            try:
                value = self._sealer.unseal(sealed, _bound(prefix, key_id, number))
            except KeyStoreError:
                raise KeyStoreError(
                    f"{self._database.path}: damaged: the record of key {key_id} does not open"
                ) from None
            keys.append(
                DeliveredKey(
                    key_id=key_id,
                    peer=meta.peer,
                    origin=meta.origin,
                    size_bits=size_bits,
                    block_no=meta.block_no,
                    index=number,
                    eps=meta.eps,
                    value=value,
                )
            )
        return keys

    def _simulated(self, peer: str) -> SimulatedKeyError:
        return SimulatedKeyError(
            f"{self._database.path}: the keys left with {peer!r} are simulated: they come from "
            "light in software, which anyone could copy, and protect nothing; to take them for a "
            "trial, allow simulated keys (--allow-simulated, allow_simulated=True)"
        )

    def _block_state(self, connection: sqlite3.Connection, block_id: bytes) -> str | None:
        row = connection.execute(
            "SELECT state FROM blocks WHERE block_id = ?", (block_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _require(
        self, connection: sqlite3.Connection, block_id: bytes, allowed: tuple[str, str]
    ) -> None:
        state = self._block_state(connection, block_id)
        if state not in allowed:
            raise KeyStoreError(
                f"{self._database.path}: block {block_id.hex()}: found state "
                f"{state or 'unknown'}; allowed: {' or '.join(allowed)}"
            )


def _bound(prefix: bytes, key_id: str, number: int) -> bytes:
    return prefix + key_id.encode() + number.to_bytes(4, "big")


def _check_fits(block: BlockMeta, key: SecretKey, key_size_bits: int) -> None:
    if key.block_id != block.block_id or key.origin != block.origin:
        raise KeyStoreError(
            f"block: found id {block.block_id.hex()}, origin {block.origin}; "
            f"allowed: those of the key, {key.block_id.hex()}, {key.origin}"
        )
    if not 0 <= key.n_bits <= 8 * len(key.value):
        raise KeyStoreError(
            f"key: found {key.n_bits} bits; allowed: 0 to {8 * len(key.value)}, its bytes"
        )
    if key_size_bits % 8 or not 64 <= key_size_bits <= MAX_KEY_SIZE_BITS:
        raise KeyStoreError(
            f"key size: found {key_size_bits} bits; "
            f"allowed: multiples of 8 from 64 to {MAX_KEY_SIZE_BITS}"
        )
