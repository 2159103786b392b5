"""Keys as rows of the store: cut from a block and sealed, unsealed, erased."""

import sqlite3
from typing import Final

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.records import BlockMeta, DeliveredKey, key_id_of, utc_now
from mdiqkd_net.keys.sealing import Sealer, bound_prefix
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.states import Role

MAX_KEY_SIZE_BITS: Final = 65536

SealedRow = tuple[int, str, bytes]
"""Number, key id, sealed bytes."""


def cut(block: BlockMeta, key: SecretKey, key_size_bits: int, sealer: Sealer) -> list[SealedRow]:
    """Cut a block into keys and seal them; the last bits may not fill one."""
    size_bytes = key_size_bits // 8
    prefix = bound_prefix(block, key_size_bits)
    rows = []
    for number in range(key.n_bits // key_size_bits):
        key_id = key_id_of(block.block_id, number, key_size_bits)
        value = key.value.view[number * size_bytes : (number + 1) * size_bytes]
        rows.append((number, key_id, sealer.seal(value, _bound(prefix, key_id, number))))
    return rows


def unseal(
    connection: sqlite3.Connection, sealer: Sealer, block: int, which: str, *parameters: object
) -> list[DeliveredKey]:
    """The keys of a block that the condition `which` finds, in order.

    Raises:
        KeyStoreError: A record does not open.
    """
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
        f"SELECT number, key_id, sealed FROM keys WHERE block = ? AND {which}",  # noqa: S608
        (block, *parameters),
    )
    keys = []
    for number, key_id, sealed in rows:
        try:
            value = sealer.unseal(sealed, _bound(prefix, key_id, number))
        except KeyStoreError:
            raise KeyStoreError(f"damaged: the record of key {key_id} does not open") from None
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


def deliver(
    connection: sqlite3.Connection, sealer: Sealer, block: int, which: str, *parameters: object
) -> list[DeliveredKey]:
    """Erase keys of one block; only the commit of the transaction lets them leave."""
    keys = unseal(connection, sealer, block, which, *parameters)
    now = utc_now()
    connection.executemany(
        """UPDATE keys SET state = 'delivered', sealed = NULL, delivered_utc = ?
        WHERE block = ? AND number = ?""",
        [(now, block, key.index) for key in keys],
    )
    return keys


def check_fits(block: BlockMeta, key: SecretKey, record: CommitRecord, key_size_bits: int) -> None:
    """Return if block, key and record speak of the same thing; raise KeyStoreError otherwise."""
    if key.block_id != block.block_id or key.origin != block.origin:
        raise KeyStoreError(
            f"block: found id {block.block_id.hex()}, origin {block.origin}; "
            f"allowed: those of the key, {key.block_id.hex()}, {key.origin}"
        )
    if not 0 <= key.n_bits <= 8 * len(key.value):
        raise KeyStoreError(
            f"key: found {key.n_bits} bits; allowed: 0 to {8 * len(key.value)}, its bytes"
        )
    found = (record.block_id.hex(), record.role, record.phase, record.bits)
    allowed = (block.block_id.hex(), block.role, Phase.PREPARED, key.n_bits)
    if found != allowed:
        raise KeyStoreError(
            f"record: found {_words(found)}; allowed for this block: {_words(allowed)}"
        )
    if key_size_bits % 8 or not 64 <= key_size_bits <= MAX_KEY_SIZE_BITS:
        raise KeyStoreError(
            f"key size: found {key_size_bits} bits; "
            f"allowed: multiples of 8 from 64 to {MAX_KEY_SIZE_BITS}"
        )


def _words(record: tuple[str, Role, Phase, int]) -> str:
    block_id, role, phase, bits = record
    return f"block {block_id}, {role.value}, {phase.value}, {bits} bits"


def _bound(prefix: bytes, key_id: str, number: int) -> bytes:
    return prefix + key_id.encode() + number.to_bytes(4, "big")
