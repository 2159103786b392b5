"""Blocks and keys taken through commit and hand-out in a key store, without a peer."""

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import KEY_SIZE_BITS, BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import OFFERED, CommitRecord, Phase
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.protocol.handout import OWNED_PARITY, Keys, Numbers


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


def free_keys(store: KeyStore, peer: str, *, ours: bool) -> Keys:
    """The free keys with a peer that this user owns, or that the peer owns."""
    found: dict[bytes, list[int]] = {}
    for key in store.keys(peer, "available"):
        record = store.record(key.block_id)
        if (key.index % 2 == OWNED_PARITY[record.role]) == ours:
            found.setdefault(key.block_id, []).append(key.index)
    return tuple(Numbers(block_id, tuple(n)) for block_id, n in sorted(found.items()))


def agree(store: KeyStore, peer: str) -> None:
    """Set all free keys aside, as if both users had asked for theirs and the peer had agreed."""
    request = len(store.keys()).to_bytes(16, "big")
    if ours := free_keys(store, peer, ours=True):
        store.hand(peer, HandStep.RESERVE, request, ours)
        store.hand(peer, HandStep.AGREE, request, ours)
    if theirs := free_keys(store, peer, ours=False):
        store.hand(peer, HandStep.ASSIGN, bytes(reversed(request)), theirs)
