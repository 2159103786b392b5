"""Requests in the key store: keys set aside by both users, then delivered or erased.

These functions work within the caller's transaction. What a request is at its owner and at its
holder is in `mdiqkd_net.protocol.handout`.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.delivery import simulated_only
from mdiqkd_net.keys.records import NoKeyError
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.protocol.handout import OWNED_PARITY, Keys, Numbers, OwnedRequest, Owner
from mdiqkd_net.protocol.states import Role

_PHASES: Final[Mapping[str, Owner]] = {
    "reserved": Owner.RESERVED,
    "burned": Owner.BURNING,  # until the request is forgotten
    "assigned": Owner.ASSIGNED,
    "delivered": Owner.ASSIGNED,
}
"""Phase of a request by the state of its keys, the first one that a key is in."""


def choose(
    connection: sqlite3.Connection, peer: str, n_keys: int, *, allow_simulated: bool
) -> Keys:
    """The oldest free keys that the owner of the store owns; see `KeyStore.choose`."""
    blocks = connection.execute(
        """SELECT id, block_id, role, origin FROM blocks
        WHERE peer = ? AND n_free > 0 AND offered ORDER BY id""",
        (peer,),
    ).fetchall()
    allowed = [row for row in blocks if allow_simulated or row["origin"] != "simulated"]
    keys: list[Numbers] = []
    wanted = n_keys
    for row in allowed:
        numbers = connection.execute(
            """SELECT number FROM keys WHERE block = ? AND number & 1 = ? AND state IS NULL
            ORDER BY number LIMIT ?""",
            (row["id"], OWNED_PARITY[Role(row["role"])], wanted),
        ).fetchall()
        if numbers:
            keys.append(Numbers(row["block_id"], tuple(number for (number,) in numbers)))
            wanted -= len(numbers)
        if not wanted:
            return _in_order(keys)
    if len(allowed) < len(blocks):
        raise simulated_only(peer)
    raise NoKeyError(
        f"{n_keys - wanted} keys with {peer!r} are ours to hand out; asked for {n_keys}"
    )


def owned(connection: sqlite3.Connection, peer: str, request: bytes) -> OwnedRequest | None:
    """A request of ours; None if it is unknown or forgotten."""
    rows = _rows_of(connection, peer, request, ours=True)
    return _owned(request, rows) if rows else None


def open_requests(connection: sqlite3.Connection, peer: str) -> list[OwnedRequest]:
    """All requests of ours with keys that are neither delivered nor forgotten."""
    requests = connection.execute(
        """SELECT DISTINCT request FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE request IS NOT NULL AND state <> 'delivered' AND peer = ?
            AND number & 1 = (role = 'participant')
        ORDER BY request""",
        (peer,),
    ).fetchall()
    found = (owned(connection, peer, request) for (request,) in requests)
    return [one for one in found if one is not None]


def held(connection: sqlite3.Connection, peer: str, request: bytes) -> Keys | None:
    """The keys that are set aside for a request of the peer; None if there are none."""
    rows = _rows_of(connection, peer, request, ours=False)
    return _grouped(rows) if rows else None


def fits(connection: sqlite3.Connection, peer: str, keys: Keys) -> bool:
    """Whether all of these keys are free, in blocks that will never be aborted."""
    return all(_is_free(connection, peer, block.block_id, n) for block, n in _each(keys))


def hand(
    connection: sqlite3.Connection, peer: str, step: HandStep, request: bytes, keys: Keys
) -> None:
    """Make one step of a request; see `KeyStore.hand`."""
    _STEPS[step](connection, peer, request, keys)


def _set_aside(
    connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys, state: str
) -> None:
    for block, number in _each(keys):
        if not _is_free(connection, peer, block.block_id, number):
            raise KeyStoreError(
                f"key {number} of block {block.block_id.hex()} is not free; none was {state}"
            )
        connection.execute(
            """UPDATE keys SET state = ?, request = ?
            WHERE block = (SELECT id FROM blocks WHERE block_id = ?) AND number = ?""",
            (state, request, block.block_id, number),
        )
    for block in keys:
        connection.execute(
            "UPDATE blocks SET n_free = n_free - ? WHERE block_id = ?",
            (len(block.numbers), block.block_id),
        )


def _reserve(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    _set_aside(connection, peer, request, keys, "reserved")


def _assign(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    _set_aside(connection, peer, request, keys, "assigned")


def _agree(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    del peer, keys
    connection.execute(
        "UPDATE keys SET state = 'assigned' WHERE request = ? AND state = 'reserved'", (request,)
    )


def _burn(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    del peer, keys  # what was delivered in the meantime is not burned
    connection.execute(
        """UPDATE keys SET state = 'burned', sealed = NULL
        WHERE request = ? AND state IN ('reserved', 'assigned')""",
        (request,),
    )


def _forget(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    del peer, keys
    connection.execute(
        "UPDATE keys SET request = NULL WHERE request = ? AND state = 'burned'", (request,)
    )


def _drop(connection: sqlite3.Connection, peer: str, request: bytes, keys: Keys) -> None:
    del peer
    connection.executemany(
        """UPDATE keys SET state = 'burned', sealed = NULL, request = NULL
        WHERE block = (SELECT id FROM blocks WHERE block_id = ?) AND number = ?
            AND request = ? AND state = 'assigned'""",
        [(block.block_id, number, request) for block, number in _each(keys)],
    )


_STEPS: Final[Mapping[HandStep, Callable[[sqlite3.Connection, str, bytes, Keys], None]]] = {
    HandStep.RESERVE: _reserve,
    HandStep.AGREE: _agree,
    HandStep.BURN: _burn,
    HandStep.FORGET: _forget,
    HandStep.ASSIGN: _assign,
    HandStep.DROP: _drop,
}


def _each(keys: Keys) -> Iterable[tuple[Numbers, int]]:
    return ((block, number) for block in keys for number in block.numbers)


def _is_free(connection: sqlite3.Connection, peer: str, block_id: bytes, number: int) -> bool:
    row = connection.execute(
        """SELECT 1 FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE block_id = ? AND number = ? AND state IS NULL AND peer = ?
            AND phase IN ('committed', 'confirmed')""",
        (block_id, number, peer),
    ).fetchone()
    return row is not None


def _rows_of(
    connection: sqlite3.Connection, peer: str, request: bytes, *, ours: bool
) -> list[sqlite3.Row]:
    return connection.execute(
        """SELECT block_id, number, state FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE request = ? AND peer = ? AND (number & 1 = (role = 'participant')) = ?
        ORDER BY block_id, number""",
        (request, peer, ours),
    ).fetchall()


def _owned(request: bytes, rows: list[sqlite3.Row]) -> OwnedRequest:
    states = {row["state"] for row in rows}
    phase = next(phase for state, phase in _PHASES.items() if state in states)
    left = [row for row in rows if row["state"] != "delivered"]
    return OwnedRequest(request, phase, _grouped(left))


def _grouped(rows: Iterable[sqlite3.Row]) -> Keys:
    numbers: defaultdict[bytes, list[int]] = defaultdict(list)
    for row in rows:
        numbers[row["block_id"]].append(row["number"])
    return _in_order([Numbers(block_id, tuple(found)) for block_id, found in numbers.items()])


def _in_order(keys: list[Numbers]) -> Keys:
    return tuple(sorted(keys, key=lambda block: block.block_id))
