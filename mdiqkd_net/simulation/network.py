"""A star of real shells on a simulated world: one relay, and users who all make keys together."""

import hashlib
import itertools
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final, Literal
from zlib import crc32

import trio

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.params import Fiber, ReceiverParams, Security, Setting, Source
from mdiqkd_net.runtime.charles import Charles
from mdiqkd_net.runtime.config import (
    CharlesConfig,
    EndpointConfig,
    Peer,
    Remote,
    SimulatedDevice,
    Tls,
)
from mdiqkd_net.runtime.endpoint import EndpointNode
from mdiqkd_net.simulation.books import STORE
from mdiqkd_net.simulation.disk import Contents, Disk
from mdiqkd_net.simulation.faults import FAULTS, RESTORE, Wish
from mdiqkd_net.simulation.frames import pads_name
from mdiqkd_net.simulation.life import Life, SimulatedEntropy, Troubles
from mdiqkd_net.simulation.net import End, Net
from mdiqkd_net.simulation.watch import Watch
from mdiqkd_net.telemetry.events import Telemetry

RELAY: Final = "charles"
USERS: Final = ("alice", "bob", "carol")

SAFETY_S: Final = 8.0
"""How long faults are at work."""
LIVENESS_S: Final = 120.0
"""How long a network without faults may take for a key of every pair."""
COMPUTE_S: Final = 0.002
LIGHT_S: Final = 0.1
"""About how long work in a thread takes, at users and at the relay. Light is slow, so that harm
meets a block and not the pause between two."""
PATIENCE_S: Final = 4.0
RESTART_S: Final = 1.0
"""About how long it takes until a node that has ended is started again."""
ATTEND_S: Final = 2.0
"""About how long it takes until an operator looks after a node that has given up a peer."""
TAKE_S: Final = 1.0
"""About how often an application wants a key."""

N_PADS: Final = 256
N_PULSES: Final = 540_000
SEGMENT_PULSES: Final = 300_000

# A block so short that it takes a twentieth of a second, and a security parameter so large that
# it gives a key nevertheless: what is simulated is the network, and the keys are for nobody.
SOURCE: Final = Source(
    x=Setting(intensity=0.18, probability=0.37),
    y=Setting(intensity=0.71, probability=0.11),
    z=Setting(intensity=1.0, probability=0.475),
)
SECURITY: Final = Security(eps_sec=0.4, eps_cor=1e-6)
RECEIVER: Final = ReceiverParams(
    efficiency=1.0, dark_probability=0.0, misalignment=0.0001, mode_overlap=1.0
)
QBER_HINT: Final = 0.001
FIBER: Final = Fiber(length_km=0.0, attenuation_db_per_km=0.2)
Scheme = Literal["cascade", "cascade_low_rounds"]
NO_FILES: Final = Tls(authority="", certificate="", private_key="")


class Network:
    """One run of one seed.

    Attributes:
        history: What happened, a line each.
        keys: How many blocks gave a key; both users count.
        aborted: How many did not.
    """

    def __init__(self, seed: int, faults: tuple[str, ...], directory: Path) -> None:
        rng = Random(f"{seed} network")
        self._seed = seed
        self._faults = faults
        self._rng = rng
        self._trace = hashlib.sha256()
        self.users = USERS[: rng.choice((2, 2, 2, 2, 2, 3))]
        self.names = (RELAY, *self.users)
        self.pairs = tuple(itertools.combinations(self.users, 2))
        self.net = Net(Random(f"{seed} net"), self._sent)
        self.wishes: list[Wish] = []
        self.history: list[str] = []
        self.keys = 0
        self.aborted = 0
        # Who puts older files back has an operator start all nodes again.
        self.restarts = rng.random() < 0.5 or RESTORE in faults
        self._blocks = rng.choice((1, 2)) if self.restarts and len(self.users) == 2 else 1
        if not self.restarts:
            self._blocks = 0  # without end: there must be one to make in peace
        self._reconciler: Scheme = rng.choice(("cascade", "cascade_low_rounds"))
        self._lives: dict[str, Life] = {}
        self._starting: dict[str, EndpointNode] = {}
        self._shells: dict[str, EndpointNode] = {}
        self._n_lives = dict.fromkeys(self.names, 0)
        self._disks = {
            name: Disk(directory / name, Random(f"{seed} disk {name}")) for name in self.names
        }
        self.watch = Watch(self.pairs, lambda node: self._disks[node].path)
        self._due: set[tuple[str, str]] = set()
        self._doubtful: set[tuple[str, str]] = set()
        self._all_well = trio.Event()
        self._make_pads(directory)

    @property
    def trace(self) -> str:
        """SHA-256 of everything that was sent, reported and done, with its time."""
        return self._trace.hexdigest()

    async def run(self) -> None:
        """First harm, then peace; in peace every pair must make a key, and settle what it began."""
        async with trio.open_nursery() as nursery:
            self._start_all(nursery)
            await self._harm()
            self._heal()
            if self.restarts:
                self.note("all", "no more faults; every node is started again")
            else:
                self.note("all", "no more faults")
                await self._peace()
            nursery.cancel_scope.cancel()
        if self.restarts:
            self._blocks = 0
            async with trio.open_nursery() as nursery:
                self._start_all(nursery)
                await self._peace()
                nursery.cancel_scope.cancel()
        self.watch.check_stores()
        self.watch.close()

    def _start_all(self, nursery: trio.Nursery) -> None:
        for name in self.names:
            nursery.start_soon(self._keep, name)

    async def _harm(self) -> None:
        async with trio.open_nursery() as nursery:
            for pair in self.pairs:
                nursery.start_soon(self._use_keys, pair)
            for fault in self._faults:
                rng = Random(f"{self._seed} {fault}")
                nursery.start_soon(FAULTS[fault].act, self, rng)
            await trio.sleep(SAFETY_S)
            nursery.cancel_scope.cancel()
        self.watch.check_stores()

    async def _peace(self) -> None:
        self._due = {(u, v) for pair in self.pairs for u, v in (pair, pair[::-1])}
        self._doubtful = self.watch.unsettled()
        self._all_well = trio.Event()
        with trio.move_on_after(LIVENESS_S):
            await self._all_well.wait()
        within = f"within {LIVENESS_S:g} s without faults"
        for node, peer in sorted(self._due):
            self.watch.violations.append(f"K10: {node} made no key with {peer} {within}")
        for number, what in sorted(self._doubtful):
            self.watch.violations.append(f"{number}: {what} comes to no end {within}")

    def _heal(self) -> None:
        self.wishes.clear()
        for life in self._lives.values():
            life.troubles = Troubles()
        self.net.calm()

    async def _keep(self, node: str) -> None:
        """Start a node again whenever it has ended."""
        while True:
            self._n_lives[node] += 1
            life = Life(
                node,
                self._n_lives[node],
                seed=f"{self._seed}",
                net=self.net,
                disk=self._disks[node],
                observer=self,
                compute_s=LIGHT_S if node == RELAY else COMPUTE_S,
            )
            self._lives[node] = life
            self.note(node, f"starts, life {self._n_lives[node]}")
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._attend, life)
                    why = await life.run(self._relay if node == RELAY else self._user)
                    nursery.cancel_scope.cancel()
            finally:
                del self._lives[node]
                self.watch.ended(node)
            self.note(node, f"ended: {why}")
            await trio.sleep(self._rng.uniform(0.1, 2.0) * RESTART_S)

    async def _attend(self, life: Life) -> None:
        """An operator starts a node again that has given up one of its peers and lives on."""
        await life.has_given_up.wait()
        await trio.sleep(self._rng.uniform(0.5, 2.0) * ATTEND_S)
        self.crash(life.node, "ended by its operator")

    async def _use_keys(self, pair: tuple[str, str]) -> None:
        """Applications take keys, one the oldest, the other the same."""
        rng = Random(f"{self._seed} applications {pair}")
        while True:
            await trio.sleep(rng.expovariate(1.0 / TAKE_S))
            first, second = pair if rng.random() < 0.5 else pair[::-1]
            with suppress(KeyStoreError):
                shell = self._shells.get(first)
                if shell is None:
                    continue
                await shell.agree(second, 1, allow_simulated=True)
                key_id = self.watch.take(first, second, None)
                self.note(first, f"delivers {key_id}")
                await trio.sleep(rng.expovariate(1.0))
                self.watch.take(second, first, key_id)
                self.note(second, f"delivers {key_id}, too")

    async def _relay(self, life: Life, base: Path, telemetry: Telemetry) -> None:
        await Charles(self._relay_config(), base, telemetry, life).run()

    async def _user(self, life: Life, base: Path, telemetry: Telemetry) -> None:
        shell = EndpointNode(self._user_config(life.node), base, telemetry, life)
        self._starting[life.node] = shell
        try:
            await shell.run()
        finally:
            self._shells.pop(life.node, None)

    def _relay_config(self) -> CharlesConfig:
        return CharlesConfig(
            node=RELAY,
            listen=f"{RELAY}:1",
            tls=NO_FILES,
            device=SimulatedDevice(
                light_listen=f"{RELAY}:2",
                receiver=RECEIVER,
                fibers=dict.fromkeys(self.users, FIBER),
            ),
            segment_pulses=SEGMENT_PULSES,
        )

    def _user_config(self, node: str) -> EndpointConfig:
        return EndpointConfig(
            node=node,
            listen=f"{node}:1",
            tls=NO_FILES,
            relay=Remote(node=RELAY, address=f"{RELAY}:1"),
            light=f"{RELAY}:2",
            source=SOURCE,
            security=SECURITY,
            store=STORE,
            reconciler=self._reconciler,
            qber_hint=QBER_HINT,
            peers=[
                Peer(
                    node=peer,
                    pads=pads_name(peer),
                    n_pulses=N_PULSES,
                    address=f"{peer}:1",
                    blocks=self._blocks,
                )
                for peer in self.users
                if peer != node
            ],
            patience_s=PATIENCE_S,
        )

    def _make_pads(self, directory: Path) -> None:
        entropy = SimulatedEntropy(Random(f"{self._seed} pads"))
        for pair in self.pairs:
            files = create_pads(directory / "pads", *pair, N_PADS, entropy=entropy)
            for node, peer, file in zip(pair, pair[::-1], files, strict=True):
                file.rename(self._disks[node].path / pads_name(peer))

    # What follows, faults and lives call.

    def life_of(self, node: str) -> Life | None:
        """The present life of a node, if it lives."""
        life = self._lives.get(node)
        return None if life is None or life.dead else life

    def crash(self, node: str, why: str, *, torn: bool = False) -> None:
        """End a node's process, if it lives."""
        life = self.life_of(node)
        if life is not None:
            lost = life.crash(torn=torn)
            self.note(node, f"{why}; {lost}" if lost else why)

    def copy_of(self, node: str) -> Contents:
        """A node's files as they are."""
        return self._disks[node].contents()

    def put_back(self, node: str, older: Contents, *, pads: bool, store: bool) -> None:
        """End a node's process, and put back some of its files as they were."""
        what = " and ".join(["pads"] * pads + ["store"] * store)
        self.crash(node, f"ended, to get back its older {what}")
        self._disks[node].put_back(older, pads=pads, store=store)
        self.watch.put_back(node, pads=pads, store=store)

    def note(self, node: str, what: str) -> None:
        """Enter something into the history."""
        line = f"{trio.current_time():9.4f}  {node:<8} {what}"
        self.history.append(line)
        self._trace.update(line.encode() + b"\n")

    def heard(self, node: str, event: str, fields: dict[str, Any]) -> None:
        """A node reports an event."""
        self.watch.reported(node, event, fields)
        told = ("block", "stage", "peer", "reason", "secret_bits", "n_keys")
        detail = " ".join(f"{k}={fields[k]}" for k in told if fields.get(k) is not None)
        self.note(node, f"{event} {detail}")
        if event == "ready" and node != RELAY:
            self._shells[node] = self._starting[node]
        elif event == "pair.failed":
            self._lives[node].has_given_up.set()
        elif event == "block.key":
            self.keys += 1
            users = fields["users"]
            self._due.discard((node, users[users[0] == node]))
            self._look()
        elif event == "block.aborted":
            self.aborted += 1

    def passed(self, life: Life, point: str) -> None:
        """A node passes a crash point."""
        self.note(life.node, f"at {point}")
        for wish in [w for w in self.wishes if w.node == life.node]:
            if wish.torn and point == wish.point.replace(".after", ".before"):
                life.remember_disk()
            if point == wish.point:
                wish.visits -= 1
                if wish.visits == 0:
                    self.wishes.remove(wish)
                    how = "loses power within" if wish.torn else "killed at"
                    self.crash(life.node, f"{how} {point}", torn=wish.torn)
                    break
        if point.endswith(".after"):
            self.watch.check_stores(life.node)
            self._look()

    def _look(self) -> None:
        """Whether peace has brought all that it must."""
        if self._doubtful:
            self._doubtful &= self.watch.unsettled()
        if not (self._due or self._doubtful):
            self._all_well.set()

    def bug(self, node: str, error: BaseException) -> None:
        """A node ends in a way that no fault can excuse."""
        self.watch.violations.append(f"bug: {node} ends with {type(error).__name__}: {error}")

    def _sent(self, end: End, data: bytes) -> None:
        line = f"{trio.current_time():.6f} {end.own} {end.peer} {len(data)} {crc32(data)}\n"
        self._trace.update(line.encode())
        if RELAY not in (end.own, end.peer) and len(data) > 1:
            self.watch.sent(end.number, end.own, end.peer, data)
