"""The books of a store balance, and an edited file shows."""

import sqlite3
from contextlib import closing

import pytest

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.store import KeyStore

EDITS = [
    "DELETE FROM keys WHERE number = 1",
    "INSERT INTO keys (block, number, key_id, sealed) VALUES (1, 99, 'twin', x'00')",
    "UPDATE keys SET state = 'reserved' WHERE number = 1",
    "UPDATE keys SET state = 'burned', sealed = NULL WHERE number = 1",
    "UPDATE blocks SET n_free = n_free - 1",
    "UPDATE blocks SET bits = bits + 256",
    "UPDATE blocks SET surplus_bits = surplus_bits + 1",
    "UPDATE blocks SET phase = 'aborted'",
]


def edit(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


@pytest.mark.parametrize("statement", EDITS)
def test_a_store_whose_books_do_not_balance_is_refused(path, fill, statement):
    with KeyStore.open(path) as store:
        fill(store, n_bits=1100)
    edit(path, statement)
    with pytest.raises(KeyStoreError, match=r"keys with bob does not balance; see `mdiqkd keys le"):
        KeyStore.open(path)
    with KeyStore.open(path, audit=False) as store:
        assert [row.balances for row in store.ledger("bob")] == [False]


def test_opposite_errors_do_not_cancel(path, fill):
    with KeyStore.open(path) as store:
        fill(store, 1)
        fill(store, 2)
    edit(path, "UPDATE keys SET block = 2, number = 9 WHERE block = 1 AND number = 3")
    with KeyStore.open(path, audit=False) as store:
        (row,) = store.ledger()
        assert row.made == row.available == 2048
        assert not row.balances


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keys SET state = 'delivered'",
        "UPDATE keys SET sealed = NULL",
        "UPDATE blocks SET bits = 1",
        "UPDATE blocks SET phase = 'held'",
        "UPDATE blocks SET role = 'relay'",
    ],
)
def test_the_tables_refuse_rows_that_cannot_be(path, fill, statement):
    with KeyStore.open(path) as store:
        fill(store)
    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"),
    ):
        connection.execute(statement)


def test_books_are_kept_per_peer_and_origin(path, fill, block):
    with KeyStore.open(path) as store:
        fill(store, 1)
        fill(store, 2, origin="simulated", n_bits=300)
        assert [(row.peer, row.origin, row.made, row.surplus) for row in store.ledger()] == [
            ("bob", "measured", 1024, 0),
            ("bob", "simulated", 300, 44),
        ]
        assert store.ledger("carol") == []
