"""The key store as the core of one pair asks it."""

from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord
from mdiqkd_net.protocol.handout import Keys, OwnedRequest


class PeerRecords:
    """What the store knows of the blocks with one peer: `Records` and `Shelf` of the core."""

    def __init__(self, store: KeyStore, peer: str) -> None:
        self._store = store
        self._peer = peer

    def record(self, block_id: bytes) -> CommitRecord | None:
        """Of one block."""
        return self._store.record(block_id)

    def unsettled(self) -> list[CommitRecord]:
        """Of all blocks that wait for the peer."""
        return self._store.unsettled(self._peer)

    def next_block(self) -> int:
        """The least number that no block has had."""
        return self._store.next_block(self._peer)

    def choose(self, n_keys: int, *, allow_simulated: bool) -> Keys:
        """The oldest free keys of ours."""
        return self._store.choose(self._peer, n_keys, allow_simulated=allow_simulated)

    def owned(self, request: bytes) -> OwnedRequest | None:
        """A request of ours."""
        return self._store.owned(self._peer, request)

    def open_requests(self) -> list[OwnedRequest]:
        """All of them that are not done."""
        return self._store.open_requests(self._peer)

    def held(self, request: bytes) -> Keys | None:
        """What is set aside for a request of the peer."""
        return self._store.held(self._peer, request)

    def fits(self, keys: Keys) -> bool:
        """Whether these are free."""
        return self._store.fits(self._peer, keys)
