"""What one user keeps of a pair: each durable step is on disk before anything that follows it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.protocol.effects import (
    Begin,
    BurnReceived,
    DurableEffect,
    Freeze,
    HandOut,
    Hold,
    Settle,
)
from mdiqkd_net.runtime.crashing import Step
from mdiqkd_net.runtime.designs import store_digest
from mdiqkd_net.runtime.world import World, durably

_SETTLE_STEPS: Final[Mapping[Phase, Step]] = {
    Phase.PREPARED: "hold",  # it votes once more
    Phase.COMMITTED: "commit",
    Phase.CONFIRMED: "confirm",
    Phase.ABORTED: "abort",
}


class Journal:
    """Key store, pad file and frozen designs of one pair.

    Attributes:
        n_keys: Keys that the last block was cut into.
    """

    def __init__(
        self, node: str, peer: str, *, store: KeyStore, pads: PadFile, frozen: Path, world: World
    ) -> None:
        self._node = node
        self._peer = peer
        self._store = store
        self._pads = pads
        self._frozen = frozen
        self._world = world
        self.n_keys = 0

    async def write(self, effect: DurableEffect) -> None:
        """Do what a core asks for, in a thread; it is on disk when this returns.

        Raises:
            KeyStoreError: It cannot be written; nothing has changed.
        """
        store, peer = self._store, self._peer
        match effect:
            case Begin(block=block):
                await self._do("begin", store.begin_block, peer, block)
            case Hold():
                await self._do("hold", self._hold, effect)
            case Settle(block_id=block_id, phase=phase, said=said):
                await self._do(_SETTLE_STEPS[phase], store.settle, block_id, phase, said)
            case HandOut(step=step, request=request, keys=keys):
                await self._do("hand", store.hand, peer, step, request, keys)
            case BurnReceived(pad=pad):
                await self._do("burn", self._pads.burn_receive, pad)
            case Freeze():
                await self._do("freeze", store_digest, self._frozen, effect)

    async def _do(self, step: Step, work: Callable[..., object], *args: object) -> None:
        await durably(self._world, step, work, *args)

    def _hold(self, effect: Hold) -> None:
        meta = BlockMeta(
            block_id=effect.key.block_id,
            pair=effect.users,
            owner=self._node,
            peer=self._peer,
            block_no=effect.block,
            origin=effect.key.origin,
            eps=effect.eps,
            leak_model=effect.leak_model,
            created_utc=self._world.utc_now().isoformat(timespec="seconds"),
        )
        with effect.key.value:
            self.n_keys = self._store.prepare(meta, effect.key, effect.record)
