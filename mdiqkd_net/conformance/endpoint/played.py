"""The peer that the harness plays: a sound user, whose words a case may change on their way."""

from collections.abc import Callable
from dataclasses import replace

import trio

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.protocol.commit import OFFERED, UNSETTLED, CommitRecord
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.effects import Hold, Settle
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.handout import Keys, OwnedRequest
from mdiqkd_net.protocol.tags import Pads


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

    def offers(self, block_id: bytes) -> bool:
        """Whether keys of a block would be handed out."""
        record = self._records.get(block_id)
        return record is not None and record.phase is OFFERED[record.role]


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
    """A core with its records and pads; `begin` is a process that starts."""

    def __init__(self, plan: PairPlan, pads: Pads, entropy: Callable[[int], bytes]) -> None:
        self.plan = plan
        self.pads = pads
        self.records = MemoryRecords()
        self._entropy = entropy
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
