"""What the key stores of a simulated network hold, read by the store's own code.

A store is opened once in a node's life and read again only where a step may have changed it: most
of the time of a campaign would be spent on opening stores otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mdiqkd_net.keys.records import KeyInfo
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord
from mdiqkd_net.protocol.handout import OwnedRequest

SALT: Final = b"simulation"
STORE: Final = "keys.db"


@dataclass(frozen=True, slots=True)
class Books:
    """What a node's store holds of its keys with one peer.

    Attributes:
        keys: All of them, without values, by id.
        prints: Fingerprints of those that an application could take, by id.
        records: Of the commits, by block id.
        requests: For keys that the node owns, as long as they are open.
        next_block: The least number of the next block.
        balances: Whether every bit is accounted for.
    """

    keys: Mapping[str, KeyInfo]
    prints: Mapping[str, str]
    records: Mapping[bytes, CommitRecord]
    requests: Sequence[OwnedRequest]
    next_block: int
    balances: bool


NOTHING: Final = Books({}, {}, {}, (), 1, balances=True)


class Shelf:
    """The stores of all nodes.

    Args:
        files: A node's directory in its present life.
    """

    def __init__(self, files: Callable[[str], Path]) -> None:
        self._files = files
        self._stores: dict[str, tuple[Path, KeyStore]] = {}
        self._books: dict[tuple[str, str], Books] = {}

    def books(self, node: str, peer: str) -> Books:
        """What the disk holds, or held when nothing had changed since.

        Raises:
            KeyStoreError: The store does not open.
        """
        store = self._store(node)
        if store is None:
            return NOTHING
        known = self._books.get((node, peer))
        if known is None:
            known = self._books[node, peer] = _read(store, peer)
        return known

    def changed(self, node: str) -> None:
        """A step of this node may have changed its store."""
        for pair in [pair for pair in self._books if pair[0] == node]:
            del self._books[pair]

    def release(self, node: str) -> None:
        """A life has ended: be the last to have its store open no longer than need be."""
        self.changed(node)
        if node in self._stores:
            self._stores.pop(node)[1].close()

    def _store(self, node: str) -> KeyStore | None:
        path = self._files(node) / STORE
        if node in self._stores and self._stores[node][0] != path:
            self.release(node)
        if node not in self._stores:
            if not path.exists() or not path.stat().st_size:
                return None
            self._stores[node] = path, KeyStore.open(path, create=False)
        return self._stores[node][1]


def _read(store: KeyStore, peer: str) -> Books:
    return Books(
        keys={key.key_id: key for key in store.keys(peer)},
        prints=store.fingerprints(peer, SALT),
        records={record.block_id: record for record in store.records(peer)},
        requests=store.open_requests(peer),
        next_block=store.next_block(peer),
        balances=all(row.balances for row in store.ledger(peer)),
    )
