"""The key store of one node: keys of all its pairs, sealed, each delivered at most once.

A block enters by two-phase commit (`mdiqkd_net.protocol.commit`): `prepare` makes its keys durable
together with the record of the commit, `settle` takes the record further, and the keys are offered
in the phase that `OFFERED` names for the role. A key is delivered after both users have set it
aside for one request (`mdiqkd_net.protocol.handout`): `choose` and `hand` do that for a node.
`take` erases a key durably before it returns the value, so a crash can lose a key but never deliver
it twice. If an older copy of one store is put back, its node must run before a key is taken: it
burns what it had agreed upon, and the peer refuses what it would hand out again. Two stores put
back together are not protected, and neither is `take_unagreed`.

Every call is one transaction: it is durable when the call returns, or nothing has changed.

Erasing overwrites the record within the database (SQLite's `secure_delete`). The write-ahead log
keeps the sealed record until it is folded in, and flash media may keep stale sectors; neither is of
use without the store key.
"""

import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys import commits, contents, delivery, handouts, ledger
from mdiqkd_net.keys.database import PATIENCE_S, Database
from mdiqkd_net.keys.records import (
    KEY_SIZE_BITS,
    BlockInfo,
    BlockMeta,
    DeliveredKey,
    KeyInfo,
    KeyState,
    LedgerRow,
    PeerStatus,
)
from mdiqkd_net.keys.sealing import Sealer, create_store_key, load_sealer
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.protocol.handout import Keys, OwnedRequest

_PROBE: Final = b"mdiqkd1 key store"


class KeyStore:
    """An open store. May be used from any thread, and by several processes at once."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    @classmethod
    def open(
        cls, path: Path, *, create: bool = True, patience_s: float = PATIENCE_S, audit: bool = True
    ) -> Self:
        """Open a store; `<path>.key` holds the key that seals it.

        A store of an older release is brought to this one's schema first.

        Args:
            path: The database file.
            create: Make the store, both files with mode 0600, if it does not exist.
            patience_s: How long to wait while another process writes.
            audit: Refuse a store whose ledger does not balance.

        Raises:
            KeyStoreError: If a file is missing, damaged, newer than this release, or not ours.
        """
        key_path = path.with_name(path.name + ".key")
        database = Database(path, create=create, patience_s=patience_s)
        try:
            if database.is_empty:
                create_store_key(key_path)
            sealer = load_sealer(key_path)
            if database.is_empty:
                database.create_schema(sealer.seal(_PROBE, b""))
            with database.reading() as connection:
                (probe,) = connection.execute("SELECT probe FROM store").fetchone()
                books = ledger.ledger(connection, None) if audit else []
            try:
                sealer.unseal(probe, b"")
            except KeyStoreError:
                raise KeyStoreError(f"{key_path}: not the store key of {path}") from None
            wrong = sorted({row.peer for row in books if not row.balances})
            if wrong:
                raise KeyStoreError(
                    f"{path}: damaged: the ledger of keys with {', '.join(wrong)} does not "
                    "balance; see `mdiqkd keys ledger`"
                )
        except BaseException:
            database.close()
            raise
        return cls(database, sealer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store and wipe its key; closing twice does nothing."""
        self._sealer.wipe()
        self._database.close()

    def prepare(
        self,
        block: BlockMeta,
        key: SecretKey,
        record: CommitRecord,
        key_size_bits: int = KEY_SIZE_BITS,
    ) -> int:
        """Cut a block into keys and make them durable with the record of its commit.

        Bits that do not fill a key are dropped and counted.

        Returns:
            The number of keys.

        Raises:
            KeyStoreError: If the block is known, the arguments do not fit each other, or the disk
                refuses.
        """
        contents.check_fits(block, key, record, key_size_bits)
        rows = contents.cut(block, key, key_size_bits, self._sealer)
        with self._database.writing() as connection:
            commits.prepare(connection, block, record, key_size_bits, rows)
        return len(rows)

    def settle(self, block_id: bytes, phase: Phase, said: bytes) -> None:
        """Take a block's commit to `phase`, and keep what is said about it; erase aborted keys.

        The same phase again does nothing if it says the same. It may add what it says if nothing
        was known of it.

        Raises:
            KeyStoreError: If the block is unknown, no legal move leads there, something else was
                said in that phase, or the disk refuses.
        """
        with self._database.writing() as connection:
            commits.settle(connection, block_id, phase, said)

    def forget_words(self, peer: str) -> None:
        """Forget what was said of the commits with a peer: the pads of its tags were replaced.

        What the peer asks for once more is then tagged anew. No commit moves by that.

        Raises:
            KeyStoreError: If the disk refuses.
        """
        with self._database.writing() as connection:
            commits.forget_words(connection, peer)

    def record(self, block_id: bytes) -> CommitRecord | None:
        """What is kept of a block's commit; None if the block is unknown."""
        with self._database.reading() as connection:
            return commits.find(connection, block_id)

    def records(self, peer: str) -> list[CommitRecord]:
        """What is kept of every commit with a peer, oldest first."""
        with self._database.reading() as connection:
            return commits.listing(connection, peer)

    def unsettled(self, peer: str) -> list[CommitRecord]:
        """The blocks with a peer that wait for its word, oldest first."""
        with self._database.reading() as connection:
            return commits.unsettled(connection, peer)

    def blocks(self) -> list[BlockInfo]:
        """All blocks and where their commits stand, oldest first."""
        with self._database.reading() as connection:
            return commits.blocks(connection)

    def burn(self, block_id: bytes) -> int:
        """Erase the free keys of a block for good, whatever becomes of its commit.

        The record of the commit stays, for the peer may ask for it. If the peer hands out keys of
        the block, this store refuses them, and the peer burns them, too.

        Returns:
            How many keys there were.

        Raises:
            NoKeyError: If the block is unknown.
            KeyStoreError: If the disk refuses.
        """
        with self._database.writing() as connection:
            return commits.burn(connection, block_id)

    def next_block(self, peer: str) -> int:
        """The number that the next block with a peer must have at least; 1 at first."""
        with self._database.reading() as connection:
            return commits.next_block(connection, peer)

    def begin_block(self, peer: str, block_no: int) -> None:
        """Use up a block number, and all before it. Numbers of a pair only rise.

        Raises:
            KeyStoreError: If it was used up before, or the disk refuses.
        """
        with self._database.writing() as connection:
            commits.begin_block(connection, peer, block_no)

    def choose(self, peer: str, n_keys: int, *, allow_simulated: bool = False) -> Keys:
        """The oldest free keys with a peer that are this user's to hand out.

        Raises:
            NoKeyError: There are not so many.
            SimulatedKeyError: There are, with simulated ones, which are not allowed.
        """
        with self._database.reading() as connection:
            return handouts.choose(connection, peer, n_keys, allow_simulated=allow_simulated)

    def owned(self, peer: str, request: bytes) -> OwnedRequest | None:
        """A request of this user to a peer; None if it is unknown or forgotten."""
        with self._database.reading() as connection:
            return handouts.owned(connection, peer, request)

    def open_requests(self, peer: str) -> list[OwnedRequest]:
        """This user's requests to a peer with keys that are neither delivered nor forgotten."""
        with self._database.reading() as connection:
            return handouts.open_requests(connection, peer)

    def held(self, peer: str, request: bytes) -> Keys | None:
        """The keys that are set aside for a request of a peer; None if there are none."""
        with self._database.reading() as connection:
            return handouts.held(connection, peer, request)

    def fits(self, peer: str, keys: Keys) -> bool:
        """Whether all of these keys are free, in blocks that will never be aborted."""
        with self._database.reading() as connection:
            return handouts.fits(connection, peer, keys)

    def hand(self, peer: str, step: HandStep, request: bytes, keys: Keys) -> None:
        """Make a step of a key hand-out durable, for all of the keys or for none.

        Keys that are delivered stay delivered, whatever is burned.

        Raises:
            KeyStoreError: A key that is to be set aside is not free, or the disk refuses.
        """
        with self._database.writing() as connection:
            handouts.hand(connection, peer, step, request, keys)

    def status(self) -> list[PeerStatus]:
        """The stock per peer and origin, in that order."""
        with self._database.reading() as connection:
            return ledger.status(connection)

    def ledger(self, peer: str | None = None) -> list[LedgerRow]:
        """Where every bit of key has gone, per peer and origin; of one peer if given."""
        with self._database.reading() as connection:
            return ledger.ledger(connection, peer)

    def keys(self, peer: str | None = None, state: KeyState | None = None) -> list[KeyInfo]:
        """All keys without their values, oldest block first; of one peer or state if given."""
        with self._database.reading() as connection:
            return delivery.listing(connection, peer, state)

    def take(
        self, peer: str, *, key_id: str | None = None, allow_simulated: bool = False
    ) -> DeliveredKey:
        """Deliver one key for good.

        Args:
            peer: The user who holds the same key.
            key_id: A UUID, as the peer got it with its copy. Without it, the oldest key of this
                user that the node has agreed upon with the peer.
            allow_simulated: Also deliver keys from simulated light, which protect nothing.

        Raises:
            NoKeyError: If there is no such key, it has gone, or, without a name, nothing is agreed
                upon.
            SimulatedKeyError: If only simulated keys are left and they are not allowed.
            ConfigError: If `key_id` is no UUID.
            KeyStoreError: If the store is locked or damaged, or the disk refuses.
        """
        if key_id is None:
            return self.take_many(peer, 1, allow_simulated=allow_simulated)[0]
        try:
            name = str(uuid.UUID(key_id))
        except ValueError:
            raise ConfigError(f"key id: found {key_id!r}; allowed: a UUID") from None
        with self._database.writing() as connection:
            return delivery.take_named(
                connection, self._sealer, peer, name, allow_simulated=allow_simulated
            )

    def take_many(
        self, peer: str, n_keys: int, *, allow_simulated: bool = False
    ) -> list[DeliveredKey]:
        """Deliver `n_keys` keys of this user that are agreed upon, oldest first, or none.

        `mdiqkd_net.keys.asking.take_new` has the node agree upon them first. Raises as `take` does.
        """
        _check_number(n_keys)
        with self._database.writing() as connection:
            return delivery.take_oldest(
                connection, self._sealer, peer, n_keys, allow_simulated=allow_simulated
            )

    def take_unagreed(
        self, peer: str, n_keys: int, *, allow_simulated: bool = False
    ) -> list[DeliveredKey]:
        """Deliver free keys of this user without the peer's word, oldest first: all, or none.

        For when no node runs. The peer delivers its copies to whoever names them, and hands none
        of them out by itself, so no key is delivered twice - as long as no store is put back to an
        older state, for then nobody remembers. Raises as `take` does.
        """
        _check_number(n_keys)
        with self._database.writing() as connection:
            keys = handouts.choose(connection, peer, n_keys, allow_simulated=allow_simulated)
            return delivery.take_free(connection, self._sealer, keys)

    def fingerprints(self, peer: str, salt: bytes) -> dict[str, str]:
        """HMAC-SHA-256 under `salt` of every key that a peer's applications could take, hex, by id.

        For comparing two stores without showing keys. The secrecy of the keys becomes
        computational where fingerprints are published, so they are for tests and simulations.
        """
        with self._database.reading() as connection:
            return delivery.fingerprints(connection, self._sealer, peer, salt)


def _check_number(n_keys: int) -> None:
    if n_keys < 1:
        raise ConfigError(f"number of keys: found {n_keys}; allowed: 1 and more")
