"""Two users who hand out keys: real cores on real stores, with everything else in memory."""

import random
import shutil
import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path

from commits import offer, prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta, DeliveredKey
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.handing import Handouts
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.runtime.shelves import PeerRecords
from mdiqkd_net.secret import SecretBuffer
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import FrameReader, Sequencer
from mdiqkd_net.wire.messages import Message

USERS = ("alice", "bob")
ROLES = {"alice": Role.COORDINATOR, "bob": Role.PARTICIPANT}
PEER = {"alice": "bob", "bob": "alice"}


class User:
    """A store that lasts, and a process that may not."""

    def __init__(self, name: str, directory: Path, rng: random.Random) -> None:
        self.name, self.peer = name, PEER[name]
        self.path = directory / f"{name}.db"
        self.rng = rng
        self.reports: list[str] = []
        self.asked: list[bytes] = []
        self.agreed: dict[bytes, bool] = {}
        self.taken: list[DeliveredKey] = []
        self.store = KeyStore.open(self.path)

    def start(self) -> list[fx.Effect]:
        shelf = PeerRecords(self.store, self.peer)
        self.core = Handouts(USERS, ROLES[self.name], shelf, self.rng.randbytes)
        return self.core.start()

    def take(self) -> DeliveredKey:
        self.taken.append(self.store.take(self.peer))
        return self.taken[-1]

    def take_named(self, key_id: str) -> DeliveredKey:
        self.taken.append(self.store.take(self.peer, key_id=key_id))
        return self.taken[-1]

    def state(self, number: int, block: int = 1) -> str:
        """Of a key."""
        return next(
            k.state for k in self.store.keys(self.peer) if (k.block_no, k.index) == (block, number)
        )


class Handing:
    """Alice and Bob, the keys they made, and the connection between them."""

    def __init__(self, directory: Path, *, n_keys: int = 6, seed: int = 1) -> None:
        self.directory = directory
        self.rng = random.Random(seed)
        self.users = {name: User(name, directory, self.rng) for name in USERS}
        self.linked = False
        self.flight: deque[tuple[str, Message]] = deque()
        self.n_blocks = 0
        self.add_block(n_keys)
        for user in self.users.values():
            self.perform(user, user.start())
        self.link()

    @property
    def alice(self) -> User:
        return self.users["alice"]

    @property
    def bob(self) -> User:
        return self.users["bob"]

    @property
    def alarms(self) -> list[str]:
        return [report for user in self.users.values() for report in user.reports]

    def add_block(self, n_keys: int) -> None:
        """A block that both users offer."""
        self.n_blocks += 1
        block_id, value = self.rng.randbytes(16), self.rng.randbytes(32 * n_keys)
        for user in self.users.values():
            meta = BlockMeta(
                block_id=block_id,
                pair=USERS,
                owner=user.name,
                peer=user.peer,
                block_no=self.n_blocks,
                origin="measured",
                eps=1e-10,
                leak_model="none",
            )
            key = SecretKey(block_id, 8 * len(value), "measured", SecretBuffer.copy_of(value))
            prepare(user.store, meta, key)
            offer(user.store, block_id)

    def perform(self, user: User, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.HandOut():
                    user.store.hand(user.peer, effect.step, effect.request, effect.keys)
                case fx.Say(message=message):
                    self.say(user.peer, message)
                case fx.Agreed():
                    user.agreed[effect.request] = effect.agreed
                case fx.Report(event=event):
                    user.reports.append(event)
                case _:
                    raise AssertionError(effect)

    def say(self, to: str, message: Message) -> None:
        if self.linked:
            frame = Sequencer().seal(message.TYPE, encode(message), 0)
            (read,) = FrameReader(CAPS).receive_data(frame.raw)
            self.flight.append((to, decode(read)))

    def ask(self, user: User, n_keys: int = 1) -> bytes:
        request, effects = user.core.ask(n_keys, allow_simulated=False)
        user.asked.append(request)
        self.perform(user, effects)
        return request

    def deliver(self) -> None:
        """One message arrives."""
        to, message = self.flight.popleft()
        user = self.users[to]
        self.perform(user, user.core.receive(message))

    def pump(self) -> "Handing":
        while self.flight:
            self.deliver()
        return self

    def cut(self) -> None:
        self.linked = False
        self.flight.clear()

    def link(self) -> None:
        self.cut()
        self.linked = True
        for user in self.users.values():
            self.perform(user, user.core.linked())

    def restart(self, user: User, copy: Path | None = None) -> None:
        """The process ends and begins; on an older copy of its store, if one is given."""
        self.cut()
        user.store.close()
        if copy is not None:
            shutil.copy(copy, user.path)
        user.store = KeyStore.open(user.path)
        self.perform(user, user.start())
        self.link()

    def copy(self, user: User) -> Path:
        """A copy of a store as it is now."""
        copy = self.directory / f"{user.name} {self.rng.random()}.db"
        with closing(sqlite3.connect(user.path)) as now, closing(sqlite3.connect(copy)) as then:
            now.backup(then)
        return copy
