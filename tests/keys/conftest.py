import pytest
from commits import agree, offer, prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.secret import SecretBuffer


def _block(no: int = 1, *, origin: str = "measured", owner: str = "alice", n_bits: int = 1024):
    """A block of known bytes, and what the store is told of it."""
    block_id = no.to_bytes(16, "big")
    pair = ("alice", "bob")
    meta = BlockMeta(
        block_id=block_id,
        pair=pair,
        owner=owner,
        peer=pair[1 - pair.index(owner)],
        block_no=no,
        origin=origin,
        eps=1e-10,
        leak_model="none",
    )
    stream = bytes((no * 31 + i * 7 + (i >> 8)) & 0xFF for i in range((n_bits + 7) // 8))
    value = SecretBuffer.copy_of(stream)
    return meta, SecretKey(block_id=block_id, n_bits=n_bits, origin=origin, value=value)


def _fill(store: KeyStore, *args, agreed: bool = False, **kwargs) -> bytes:
    """Enter a block and offer its keys; with `agreed` both users have set all of them aside."""
    meta, key = _block(*args, **kwargs)
    prepare(store, meta, key)
    offer(store, meta.block_id)
    if agreed:
        agree(store, meta.peer)
    return bytes(key.value.view)


@pytest.fixture(scope="session")
def block():
    return _block


@pytest.fixture(scope="session")
def fill():
    return _fill


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alice.db"


@pytest.fixture
def store(path):
    with KeyStore.open(path) as opened:
        yield opened
