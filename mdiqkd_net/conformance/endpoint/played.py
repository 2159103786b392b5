"""The peer that the harness plays: a sound user, whose words a case may change on their way."""

from collections.abc import Callable
from dataclasses import replace

import trio

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.records import KEY_SIZE_BITS
from mdiqkd_net.protocol.commit import OFFERED, UNSETTLED, CommitRecord
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.effects import Hold, Settle
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.handout import OWNED_PARITY, Keys, OwnedRequest
from mdiqkd_net.protocol.tags import Pads
from mdiqkd_net.wire.messages import BlockKeys


class MemoryRecords:
    """What a key store keeps of commits, for as long as the harness lives; no keys."""

    def __init__(self) -> None:
        self._records: dict[bytes, CommitRecord] = {}
        self._next = 1

    def record(self, block_id: bytes) -> CommitRecord | None:
        """Of one block."""
        return self._records.get(block_id)

    def unsettled(self) -> list[CommitRecord]:
        """Of all blocks that wait for the node's word."""
        return [r for r in self._records.values() if r.phase in UNSETTLED[r.role]]

    def next_block(self) -> int:
        """The least number that no block has had."""
        return self._next

    def begin(self, block: int) -> None:
        """A block of this number begins."""
        self._next = max(self._next, block + 1)

    def hold(self, effect: Hold) -> None:
        """A block is prepared."""
        self._records[effect.record.block_id] = effect.record

    def settle(self, effect: Settle) -> None:
        """A commit goes on."""
        before = self._records[effect.block_id]
        self._records[effect.block_id] = replace(before, phase=effect.phase, said=effect.said)

    def offered(self) -> list[CommitRecord]:
        """Of all blocks whose keys would be handed out, oldest first."""
        return [r for r in self._records.values() if r.phase is OFFERED[r.role]]

    def offers(self, block_id: bytes) -> bool:
        """Whether keys of a block would be handed out."""
        return any(record.block_id == block_id for record in self.offered())


class EmptyShelf:
    """What a store without keys knows of them: every request is refused."""

    def choose(self, n_keys: int, *, allow_simulated: bool) -> Keys:
        """Raises KeyStoreError."""
        del allow_simulated
        raise KeyStoreError(f"found no keys; asked for {n_keys}")

    def owned(self, request: bytes) -> None:
        """None is known."""

    def open_requests(self) -> list[OwnedRequest]:
        """None waits."""
        return []

    def held(self, request: bytes) -> None:
        """None is set aside."""

    def fits(self, keys: Keys) -> bool:
        """No."""
        return not keys


class PlayedUser:
    """A core with its records and pads; `begin` is a process that starts.

    Attributes:
        core, correspondence: Of the process at hand.
    """

    def __init__(self, plan: PairPlan, pads: Pads, entropy: Callable[[int], bytes]) -> None:
        self.plan = plan
        self.pads = pads
        self.records = MemoryRecords()
        self._entropy = entropy
        self._named: set[tuple[bytes, int]] = set()
        self.begin()

    def begin(self) -> None:
        """Start anew: nothing but records and pads is left."""
        self.correspondence = Correspondence(self._entropy)
        self.core = Endpoint(
            self.plan,
            sequencer=self.correspondence.sequencer,
            pads=self.pads,
            records=self.records,
            shelf=EmptyShelf(),
            entropy=self._entropy,
            now_s=trio.current_time,
        )

    @property
    def parity(self) -> int:
        """Of the numbers of the keys that this user owns."""
        return OWNED_PARITY[self.core.role]

    def unnamed_keys(self, n: int) -> list[BlockKeys]:
        """Up to n keys that this user owns and has never been given here; no values."""
        keys: list[BlockKeys] = []
        for record in self.records.offered():
            for number in range(self.parity, record.bits // KEY_SIZE_BITS, 2):
                key = record.block_id, number
                if len(keys) < n and key not in self._named:
                    self._named.add(key)
                    keys.append(BlockKeys(block_id=record.block_id, numbers=[number]))
        return keys
