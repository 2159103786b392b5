"""The SQLite file beneath the key store: opening, transactions, and what went wrong."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys import schema
from mdiqkd_net.keys.files import PRIVATE, sync_directory
from mdiqkd_net.keys.records import MissingStoreError

PATIENCE_S: Final = 5.0
"""How long another process may keep the store locked before we give up."""


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
            if not self.is_empty:
                self._migrate()
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
        """A consistent view of the store. An error raised within gets the name of the file.

        Raises:
            KeyStoreError: If the file cannot be read.
        """
        with self._within("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The only writer of the store. All is durable at the end, or nothing has changed.

        An error raised within gets the name of the file.

        Raises:
            KeyStoreError: If the file cannot be written.
        """
        with self._within("BEGIN IMMEDIATE") as connection:
            yield connection

    def create_schema(self, probe: bytes) -> None:
        """Make the tables, unless another process was faster."""
        with self.writing() as connection:
            if self._check_ours():
                schema.create(connection, probe)
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
            except KeyStoreError as error:
                raise type(error)(f"{self.path}: {error}") from None

    def _pragma(self, name: str) -> int | str:
        value: int | str = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _check_ours(self) -> bool:
        """Whether the file has no tables yet; raises KeyStoreError if it is not ours."""
        n_tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if n_tables == 0:
            return True
        if self._pragma("application_id") != schema.APPLICATION_ID:
            raise KeyStoreError(f"{self.path}: no key store, but a database of another program")
        version = self._pragma("user_version")
        if version not in range(1, schema.SCHEMA_VERSION + 1):
            raise KeyStoreError(
                f"{self.path}: found schema version {version}; "
                f"allowed: 1 to {schema.SCHEMA_VERSION}; "
                "use the release of mdiqkd-net that wrote it, or a newer one"
            )
        return False

    def _migrate(self) -> None:
        """Bring a store of an older release to this one's schema: all of it, or nothing."""
        if self._pragma("user_version") == schema.SCHEMA_VERSION:
            return
        with self.writing() as connection:
            if self._pragma("user_version") != schema.SCHEMA_VERSION:  # nobody was faster
                schema.migrate(connection)

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
