"""Blocks taken through their commit in a key store, without a peer."""

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import KEY_SIZE_BITS, BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import OFFERED, CommitRecord, Phase


def prepare(
    store: KeyStore,
    meta: BlockMeta,
    key: SecretKey,
    *,
    said: bytes = b"",
    key_size_bits: int = KEY_SIZE_BITS,
) -> int:
    """Enter a block; returns the number of its keys."""
    record = CommitRecord(meta.block_id, meta.role, Phase.PREPARED, key.n_bits, said)
    return store.prepare(meta, key, record, key_size_bits)


def offer(store: KeyStore, block_id: bytes) -> None:
    """Settle a prepared block so that its keys are offered."""
    store.settle(block_id, Phase.COMMITTED, b"decided")
    record = store.record(block_id)
    if record.phase is not OFFERED[record.role]:
        store.settle(block_id, OFFERED[record.role], b"decided")
