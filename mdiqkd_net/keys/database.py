"""The SQLite file beneath the key store: opening, schema, transactions, and what went wrong."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.files import PRIVATE, sync_directory
from mdiqkd_net.keys.records import MissingStoreError

PATIENCE_S: Final = 5.0
"""How long another process may keep the store locked before we give up."""

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x4D444951
"""Marks the file as ours; "MDIQ"."""

_SCHEMA: Final = (
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
    # A key is delivered when its sealed bytes are gone; before, it is in the state of its block.
    """CREATE TABLE keys (
        block INTEGER NOT NULL REFERENCES blocks (id),
        number INTEGER NOT NULL,
        key_id TEXT NOT NULL UNIQUE,
        sealed BLOB,
        delivered_utc TEXT,
        PRIMARY KEY (block, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX keys_left ON keys (block, number) WHERE sealed IS NOT NULL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Database:
    """One connection to a key store's file. May be used from any thread, one at a time."""

    def __init__(self, path: Path, *, create: bool, patience_s: float) -> None:
        self.path = path
        self._patience_s = patience_s
        self._lock = threading.RLock()
        if create:
            _create_empty(path)
        elif not path.exists():
            raise MissingStoreError(f"{path}: no such key store")
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=patience_s,
                isolation_level=None,  # transactions are begun by hand
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self.failure(error) from None
        self._connection.row_factory = sqlite3.Row
        try:
            self.is_empty = self._check_ours()
            self._configure()
        except sqlite3.Error as error:
            self._connection.close()
            raise self.failure(error) from None
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; the last one to close folds the log into the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of the store.

        Raises:
            KeyStoreError: If the file cannot be read.
        """
        with self._within("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The only writer of the store. All is durable at the end, or nothing has changed.

        Raises:
            KeyStoreError: If the file cannot be written.
        """
        with self._within("BEGIN IMMEDIATE") as connection:
            yield connection

    def create_schema(self, probe: bytes) -> None:
        """Make the tables, unless another process was faster."""
        with self.writing() as connection:
            if self._check_ours():
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO store (id, probe) VALUES (1, ?)", (probe,))
        self.is_empty = False

    def failure(self, error: sqlite3.Error) -> KeyStoreError:
        """What an error of SQLite means, with the name of the file."""
        # The low byte of an extended code is the primary one; errors of the module have none.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        causes = {
            sqlite3.SQLITE_BUSY: f"locked by another process for more than {self._patience_s:g} s",
            sqlite3.SQLITE_FULL: "the disk is full; nothing was changed",
            sqlite3.SQLITE_NOTADB: "no key store: not an SQLite database",
            sqlite3.SQLITE_CORRUPT: "damaged: the database is malformed",
            sqlite3.SQLITE_READONLY: "cannot be written",
            sqlite3.SQLITE_CANTOPEN: "cannot be opened",
        }
        return KeyStoreError(f"{self.path}: {causes.get(code, str(error))}")

    @contextmanager
    def _within(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute(begin)
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # SQLite has already rolled back by itself after some errors.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self.failure(error) from None

    def _pragma(self, name: str) -> int | str:
        value: int | str = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _check_ours(self) -> bool:
        """Whether the file has no tables yet; raises KeyStoreError if it is not ours."""
        n_tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if n_tables == 0:
            return True
        if self._pragma("application_id") != APPLICATION_ID:
            raise KeyStoreError(f"{self.path}: no key store, but a database of another program")
        version = self._pragma("user_version")
        if version != SCHEMA_VERSION:
            raise KeyStoreError(
                f"{self.path}: found schema version {version}; allowed: {SCHEMA_VERSION}; "
                "use the release of mdiqkd-net that wrote it, or a newer one"
            )
        return False

    def _configure(self) -> None:
        if self._pragma("journal_mode") != "wal" and self._pragma("journal_mode = WAL") != "wal":
            raise KeyStoreError(f"{self.path}: the file system does not support the log (WAL)")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute("PRAGMA foreign_keys = ON")


def _create_empty(path: Path) -> None:
    """Make the file with the right mode before SQLite makes it with a wider one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
        sync_directory(path.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None
