"""Keys that leave the store: found, erased, handed over.

These functions work within the caller's transaction; only its commit lets keys leave.
"""

import hmac
import sqlite3

from mdiqkd_net.keys import contents
from mdiqkd_net.keys.records import DeliveredKey, KeyInfo, KeyState, NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.sealing import Sealer


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
        """SELECT block, number, origin, state, offered
        FROM keys JOIN blocks ON blocks.id = keys.block
        WHERE key_id = ? AND peer = ?""",
        (key_id, peer),
    ).fetchone()
    if row is None:
        raise NoKeyError(f"no key {key_id} with {peer!r}")
    block, number, origin, state, offered = row
    if state is not None or not offered:
        why = f"{state} before" if state else "not offered yet"
        raise NoKeyError(f"key {key_id} was {why}")
    if origin == "simulated" and not allow_simulated:
        raise _simulated(peer)
    return contents.deliver(connection, sealer, block, "number = ?", number)[0]


def take_oldest(
    connection: sqlite3.Connection,
    sealer: Sealer,
    peer: str,
    n_keys: int,
    *,
    allow_simulated: bool,
) -> list[DeliveredKey]:
    """That many keys, oldest first; see `KeyStore.take_many`."""
    blocks = connection.execute(
        """SELECT id, origin, n_free FROM blocks
        WHERE peer = ? AND n_free > 0 AND offered ORDER BY id""",
        (peer,),
    ).fetchall()
    allowed = [row for row in blocks if allow_simulated or row["origin"] != "simulated"]
    n_allowed = sum(row["n_free"] for row in allowed)
    if n_allowed < n_keys:
        if len(allowed) < len(blocks):
            raise _simulated(peer)
        raise NoKeyError(f"{n_allowed} keys with {peer!r} are available; asked for {n_keys}")
    taken: list[DeliveredKey] = []
    for row in allowed:
        wanted = n_keys - len(taken)
        if wanted == 0:
            break
        oldest = "state IS NULL ORDER BY number LIMIT ?"
        taken += contents.deliver(connection, sealer, row["id"], oldest, wanted)
    return taken


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


def _simulated(peer: str) -> SimulatedKeyError:
    return SimulatedKeyError(
        f"the keys left with {peer!r} are simulated: they come from light in software, which "
        "anyone could copy, and protect nothing; to take them for a trial, allow simulated keys "
        "(--allow-simulated, allow_simulated=True)"
    )
