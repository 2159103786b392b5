"""The books of a key store: every bit that a block brought is somewhere, or was let go on purpose.

What came in is written down with the block; where it is now is counted anew from the rows of the
keys. So a lost, doubled or half-changed row shows.
"""

import sqlite3
from typing import Final

from mdiqkd_net.keys.records import LedgerRow, PeerStatus

_BOOKS: Final = """
    WITH rows_of AS (
        SELECT block, count(*) AS n_rows,
            count(*) FILTER (WHERE state IS NULL) AS n_null,
            count(*) FILTER (WHERE state = 'reserved') AS n_reserved,
            count(*) FILTER (WHERE state = 'assigned') AS n_assigned,
            count(*) FILTER (WHERE state = 'delivered') AS n_delivered,
            count(*) FILTER (WHERE state = 'burned') AS n_burned
        FROM keys INDEXED BY keys_state GROUP BY block),
    counted AS (
        SELECT peer, origin, bits, key_size_bits AS size, surplus_bits, offered, n_free, n_keys,
            phase = 'aborted' AS gone,
            coalesce(n_rows, 0) AS n_rows, coalesce(n_null, 0) AS n_null,
            coalesce(n_reserved, 0) AS n_reserved, coalesce(n_assigned, 0) AS n_assigned,
            coalesce(n_delivered, 0) AS n_delivered, coalesce(n_burned, 0) AS n_burned
        FROM blocks LEFT JOIN rows_of ON rows_of.block = blocks.id
        WHERE :peer IS NULL OR peer = :peer)
    SELECT peer, origin, sum(bits) AS made,
        sum(iif(offered, 0, n_null)) AS n_prepared,
        sum(iif(offered, 0, n_null * size)) AS prepared,
        sum(iif(offered, n_null, 0)) AS n_available,
        sum(iif(offered, n_null * size, 0)) AS available,
        sum(n_reserved * size) AS reserved,
        sum(n_assigned * size) AS assigned,
        sum(n_delivered) AS n_delivered,
        sum(n_delivered * size) AS delivered,
        sum(n_burned * size) AS burned,
        sum(iif(gone, bits, 0)) AS discarded,
        sum(iif(gone, 0, surplus_bits)) AS surplus,
        min(n_free = n_null AND n_rows = iif(gone, 0, n_keys)
            AND bits = n_keys * size + surplus_bits) AS balances
    FROM counted GROUP BY peer, origin ORDER BY peer, origin"""


def ledger(connection: sqlite3.Connection, peer: str | None) -> list[LedgerRow]:
    """The books per peer and origin, in that order."""
    return [
        LedgerRow(
            peer=row["peer"],
            origin=row["origin"],
            made=row["made"],
            prepared=row["prepared"],
            available=row["available"],
            reserved=row["reserved"],
            assigned=row["assigned"],
            delivered=row["delivered"],
            burned=row["burned"],
            discarded=row["discarded"],
            surplus=row["surplus"],
            balances=bool(row["balances"]),
        )
        for row in connection.execute(_BOOKS, {"peer": peer})
    ]


def status(connection: sqlite3.Connection) -> list[PeerStatus]:
    """The stock per peer and origin, in that order."""
    return [
        PeerStatus(
            peer=row["peer"],
            origin=row["origin"],
            available=row["n_available"],
            prepared=row["n_prepared"],
            delivered=row["n_delivered"],
            bits=row["available"],
            surplus_bits=row["surplus"],
        )
        for row in connection.execute(_BOOKS, {"peer": None})
    ]
