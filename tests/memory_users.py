"""A user in memory: its core, its fake pads, and a store that outlives a restart."""

from dataclasses import dataclass, field, replace

import numpy as np

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import AuthenticationError, RemoteProtocolError
from mdiqkd_net.keys.records import NoKeyError
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.commit import OFFERED, UNSETTLED, CommitRecord, Phase
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.endpoint import Endpoint, PairPlan
from mdiqkd_net.protocol.handout import Keys, OwnedRequest


class Random:
    """Reproducible `entropy` for tests."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, n: int) -> bytes:
        return self._rng.bytes(n)


class MemoryPads:
    """Pads of one user; two of them with the same seed fit together. `restart` ends the lease."""

    WINDOW = 8
    N_PADS = 64

    def __init__(self, seed: int, lower: bool) -> None:
        rng = np.random.default_rng(seed)
        keys = [bytearray(rng.bytes(16)) for _ in range(4)]
        pads = [[rng.bytes(16) for _ in range(self.N_PADS)] for _ in range(2)]
        mine, theirs = (0, 1) if lower else (1, 0)
        self.send_keys = (keys[2 * mine], keys[2 * mine + 1])
        self.receive_keys = (keys[2 * theirs], keys[2 * theirs + 1])
        self._send, self._receive = pads[mine], pads[theirs]
        self.high_water = 0
        self.granted = 0
        self._end = 0
        self.n_sent = 0
        self.received: set[int] = set()

    @property
    def lease_left(self) -> int:
        return self._end - self.high_water

    def restart(self) -> None:
        self._end = self.high_water

    def take_send(self) -> tuple[int, bytearray]:
        assert self.lease_left > 0
        self.high_water += 1
        self.n_sent += 1
        return self.high_water - 1, bytearray(self._send[self.high_water - 1])

    def read_receive(self, index: int) -> bytearray:
        if index in self.received or index >= self.granted:
            raise AuthenticationError("authentication failed")
        return bytearray(self._receive[index])

    def burn_receive(self, index: int) -> None:
        self.received.add(index)

    def grant(self, high_water: int) -> tuple[int, int]:
        base = max(self.granted, high_water)
        self.granted = base + self.WINDOW
        return base, self.WINDOW

    def accept_lease(self, base: int, count: int) -> None:
        if base < self.high_water:
            raise RemoteProtocolError("lease below the high-water mark")
        self.high_water, self._end = base, base + count


class MemoryStore:
    """What a key store keeps, for as long as the object lives."""

    def __init__(self) -> None:
        self.records: dict[bytes, CommitRecord] = {}
        self.values: dict[bytes, SecretKey] = {}
        self.models: list[str] = []
        self.first_free = 1

    def record(self, block_id: bytes) -> CommitRecord | None:
        return self.records.get(block_id)

    def unsettled(self) -> list[CommitRecord]:
        return [r for r in self.records.values() if r.phase in UNSETTLED[r.role]]

    def next_block(self) -> int:
        return self.first_free

    def choose(self, n_keys: int, *, allow_simulated: bool) -> Keys:
        raise NoKeyError("nothing is handed out from here")

    def owned(self, request: bytes) -> None:
        return None

    def open_requests(self) -> list[OwnedRequest]:
        return []

    def held(self, request: bytes) -> None:
        return None

    def fits(self, keys: Keys) -> bool:
        return False

    def hold(self, effect: fx.Hold) -> None:
        assert effect.key.block_id not in self.records, "a block is held once"
        self.records[effect.key.block_id] = effect.record
        self.values[effect.key.block_id] = effect.key
        self.models.append(effect.leak_model)

    def settle(self, effect: fx.Settle) -> None:
        record = self.records[effect.block_id]
        self.records[effect.block_id] = replace(record, phase=effect.phase, said=effect.said)
        if effect.phase is Phase.ABORTED:
            self.values.pop(effect.block_id, None)

    def forget_words(self) -> None:
        self.records = {name: replace(r, said=b"") for name, r in self.records.items()}

    @property
    def offered(self) -> dict[bytes, bytes]:
        return {
            block_id: bytes(self.values[block_id].value.view)
            for block_id, record in self.records.items()
            if record.phase is OFFERED[record.role]
        }


@dataclass
class User:
    name: str
    plan: PairPlan
    pads: MemoryPads
    entropy: Random
    processor: Processor = HERE
    store: MemoryStore = field(default_factory=MemoryStore)
    reports: list[tuple[str, dict]] = field(default_factory=list)
    light: dict[bytes, fx.SessionLight] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
    light_seen: list[bytes] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    latched: str = ""
    error: Exception | None = None
    blamed: str = ""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As a process that begins: nothing but the store and the pads is left."""
        self.peer = Correspondence(self.entropy)
        self.relay = Correspondence(self.entropy)
        self.pads.restart()
        self.light.clear()
        self.core = Endpoint(
            self.plan,
            sequencer=self.peer.sequencer,
            pads=self.pads,
            records=self.store,
            shelf=self.store,
            entropy=self.entropy,
            now_s=lambda: 0.0,
            processor=self.processor,
        )

    @property
    def keys(self) -> dict[bytes, bytes]:
        return self.store.offered

    @property
    def held(self) -> dict[bytes, SecretKey]:
        return self.store.values

    @property
    def models(self) -> list[str]:
        return self.store.models

    def report(self, event: str) -> dict:
        return next(fields for name, fields in reversed(self.reports) if name == event)
