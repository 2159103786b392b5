"""Keys that leave the store: found, erased, handed over.

These functions work within the caller's transaction; only its commit lets keys leave.
"""

import hmac
import sqlite3

from mdiqkd_net.keys import contents
from mdiqkd_net.keys.records import DeliveredKey, KeyInfo, KeyState, NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.sealing import Sealer
from mdiqkd_net.protocol.handout import Keys


def listing(
    connection: sqlite3.Connection, peer: str | None, state: KeyState | None
) -> list[KeyInfo]:
    """All keys without their values; see `KeyStore.keys`."""
    rows = connection.execute(
        """SELECT * FROM (
            SELECT key_id, peer, origin,
                coalesce(state, iif(offered, 'available', 'prepared')) AS state,
                key_size_bits AS size_bits, block_id, block_no, number AS "index", eps,
                leak_model, created_utc, delivered_utc
            FROM keys JOIN blocks ON blocks.id = keys.block
            ORDER BY block, number)
        WHERE (:peer IS NULL OR peer = :peer) AND (:state IS NULL OR state = :state)""",
        {"peer": peer, "state": state},
    )
    return [KeyInfo(**dict(row)) for row in rows]


def take_named(
    connection: sqlite3.Connection,
    sealer: Sealer,
    peer: str,
    key_id: str,
    *,
    allow_simulated: bool,
) -> DeliveredKey:
    """The key of that name; see `KeyStore.take`."""
    row = connection.execute(
        """SELECT block, number, origin, state, offered, number & 1 = (role = 'participant')
        FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE key_id = ? AND peer = ?""",
        (key_id, peer),
    ).fetchone()
    if row is None:
        raise NoKeyError(f"no key {key_id} with {peer!r}")
    block, number, origin, state, offered, is_ours = row
    if not offered or state not in (None, "assigned"):
        raise NoKeyError(f"key {key_id} is {state or 'not offered yet'}")
    if is_ours and state is None:
        raise NoKeyError(f"key {key_id} is ours to hand out: it is taken without its name")
    if origin == "simulated" and not allow_simulated:
        raise simulated_only(peer)
    return _deliver(connection, sealer, block, number)


def take_oldest(
    connection: sqlite3.Connection,
    sealer: Sealer,
    peer: str,
    n_keys: int,
    *,
    allow_simulated: bool,
) -> list[DeliveredKey]:
    """That many of our keys that the peer has assigned; see `KeyStore.take_many`."""
    rows = connection.execute(
        """SELECT block, number, origin FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE state = 'assigned' AND peer = ? AND offered
            AND number & 1 = (role = 'participant')
        ORDER BY block, number""",
        (peer,),
    ).fetchall()
    allowed = [row for row in rows if allow_simulated or row["origin"] != "simulated"]
    if len(allowed) < n_keys:
        if len(allowed) < len(rows):
            raise simulated_only(peer)
        raise NoKeyError(
            f"{len(allowed)} keys are agreed upon with {peer!r}; asked for {n_keys}; the running "
            "node agrees upon more (`mdiqkd keys take`)"
        )
    return [_deliver(connection, sealer, row["block"], row["number"]) for row in allowed[:n_keys]]


def take_free(connection: sqlite3.Connection, sealer: Sealer, keys: Keys) -> list[DeliveredKey]:
    """These free keys of ours; see `KeyStore.take_unagreed`."""
    taken = []
    for chosen in keys:
        (block,) = connection.execute(
            "SELECT id FROM blocks WHERE block_id = ?", (chosen.block_id,)
        ).fetchone()
        taken += [_deliver(connection, sealer, block, number) for number in chosen.numbers]
    return taken


def _deliver(
    connection: sqlite3.Connection, sealer: Sealer, block: int, number: int
) -> DeliveredKey:
    connection.execute(
        """UPDATE blocks SET n_free = n_free - 1 WHERE id = ? AND EXISTS
        (SELECT 1 FROM keys WHERE block = ? AND number = ? AND state IS NULL)""",
        (block, block, number),
    )
    return contents.deliver(connection, sealer, block, "number = ?", number)[0]


def fingerprints(
    connection: sqlite3.Connection, sealer: Sealer, peer: str, salt: bytes
) -> dict[str, str]:
    """Keyed digests of the offered keys that have not left; see `KeyStore.fingerprints`."""
    blocks = connection.execute(
        "SELECT id FROM blocks WHERE peer = ? AND offered ORDER BY id",
        (peer,),
    ).fetchall()
    return {
        key.key_id: hmac.digest(salt, key.value.view, "sha256").hex()
        for (block,) in blocks
        for key in contents.unseal(connection, sealer, block, "sealed IS NOT NULL ORDER BY number")
    }


def simulated_only(peer: str) -> SimulatedKeyError:
    """There are keys, but nobody asked for such."""
    return SimulatedKeyError(
        f"the keys left with {peer!r} are simulated: they come from light in software, which "
        "anyone could copy, and protect nothing; to take them for a trial, allow simulated keys "
        "(--allow-simulated, allow_simulated=True)"
    )
