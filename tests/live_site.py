"""A site of real processes: a relay and two users, started, killed and looked at by a test.

Blocks are so small that they take a tenth of a second, and the security parameter is so large that
they give keys nevertheless. The listening sockets are the test's, so a node comes back where it
was, as under a service manager. What the two key stores and pad files say is checked at any time,
while nodes are running: `Books` remembers what it has seen, for what must never change.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import tomli_w
import trio

from mdiqkd_net.keys import pad_layout
from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.params import Fiber, ReceiverParams, Security, Setting, Source
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.runtime.config import (
    CharlesConfig,
    EndpointConfig,
    Peer,
    Remote,
    SimulatedDevice,
    Tls,
)
from mdiqkd_net.scenario.processes import LineReader

ROOT = Path(__file__).parents[1]
USERS = ("alice", "bob")
NODES = ("charles", *USERS)
WAIT_S = 180.0
"""How long a test waits for a key: what is tested then is that it comes, and is right."""

RECOVERY_S = float(os.environ.get("MDIQKD_RECOVERY_S", "10"))
"""From the end of a fault to a new key at both users, on a machine that does nothing else. A
campaign measures it; on a machine that is busy it needs more."""

SOURCE = Source(
    x=Setting(intensity=0.18, probability=0.37),
    y=Setting(intensity=0.71, probability=0.11),
    z=Setting(intensity=1.0, probability=0.475),
)
RECEIVER = ReceiverParams(
    efficiency=1.0, dark_probability=0.0, misalignment=0.0005, mode_overlap=1.0
)
FIBER = Fiber(length_km=0.0, attenuation_db_per_km=0.2)
N_PULSES = 1_200_000
N_PADS = 1 << 14


def other(user):
    return USERS[1 - USERS.index(user)]


class Node:
    """A process, or the place where there will be one."""

    def __init__(self, name):
        self.name = name
        self.events = []
        self.process = None
        self.started_s = 0.0
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def alive(self):
        return self.process is not None and self.process.returncode is None

    def named(self, *names, since=0):
        return [event for event in self.events[since:] if event["event"] in names]

    async def read(self):
        reader = LineReader()
        process = self.process
        async with process.stdout:
            async for chunk in process.stdout:
                self.events += [json.loads(line) for line in reader.receive_data(chunk)]
                self._arrived.unpark_all()
        await process.wait()
        self._arrived.unpark_all()

    async def until(self, condition):
        while not condition():
            await self._arrived.park()

    async def wait_for(self, *names, since=0, timeout_s=60.0):
        """The first event of that name after the first `since` ones."""
        with trio.fail_after(timeout_s):
            await self.until(lambda: self.named(*names, since=since))
        return self.named(*names, since=since)[0]

    async def ended(self, timeout_s=60.0):
        """Its exit code."""
        with trio.fail_after(timeout_s):
            return await self.process.wait()


class Site:
    """Configurations, sockets and processes; use `open_site`."""

    def __init__(self, directory, nursery, sockets, *, relay=(), n_pads=N_PADS, **user):
        self.base = directory
        self.nodes = {name: Node(name) for name in NODES}
        self.books = Books(self)
        self.routes = {}
        self._nursery = nursery
        self._sockets = sockets
        self._relay_fields = dict(relay)
        self._user_fields = user
        (directory / "pki").mkdir()
        create_authority(directory / "pki")
        for name in NODES:
            issue(directory / "pki", name)
        create_pads(directory, *USERS, n_pads)

    def address(self, name):
        """Where a node listens; "light" is the relay's, too."""
        return "{}:{}".format(*self._sockets[name].getsockname())

    def store_path(self, user):
        return self.base / f"{user}.db"

    def pad_path(self, user):
        return self.base / f"alice--bob.{user}.pads"

    def route(self, dialer, name):
        """Where `dialer` finds a node: through a proxy, if a test has put one in between."""
        return self.routes.get((dialer, name), self.address(name))

    async def start(self, *names, crash_at=None, limit_bytes=None):
        """Start nodes that are not running; `crash_at` is a crash point of all of them."""
        for name in names:
            node = self.nodes[name]
            assert not node.alive
            path = self.base / f"{name}.toml"
            path.write_text(tomli_w.dumps(_without_none(msgspec.to_builtins(self._config(name)))))
            role = "charles" if name == "charles" else "endpoint"
            command = [sys.executable, "-m", "mdiqkd_net", "node", role, "--config", str(path)]
            if limit_bytes is not None:  # of any file that it writes; like a disk that is full
                command = ["prlimit", f"--fsize={limit_bytes}:", *command]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("MDIQKD_")}
            if crash_at is not None:
                environment |= {"MDIQKD_TEST_HOOKS": "1", "MDIQKD_CRASH_AT": crash_at}
            node.started_s = trio.current_time()
            with (self.base / f"{name}.stderr").open("ab") as talk:
                node.process = await trio.lowlevel.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=talk,
                    env=environment,
                    cwd=ROOT,
                    pass_fds=[s.fileno() for s in self._sockets_of(name)],
                )
            self._nursery.start_soon(node.read)

    def send_signal(self, signum, *names):
        for name in names:
            if self.nodes[name].alive:
                self.nodes[name].process.send_signal(signum)

    async def kill(self, *names):
        """SIGKILL, to all before any is waited for."""
        self.send_signal(signal.SIGKILL, *names)
        for name in names:
            await self.nodes[name].ended()

    async def new_key(self, timeout_s=WAIT_S):
        """Wait for a key of a block that neither store knows now; return how long it took."""
        known = self.books.known_blocks()
        began = trio.current_time()

        def fresh(user):
            keys = self.nodes[user].named("block.key")
            return {event["block_id"] for event in keys} - known

        with trio.move_on_after(timeout_s) as scope:
            while not fresh("alice") & fresh("bob"):
                async with trio.open_nursery() as either:
                    for user in USERS:
                        either.start_soon(self._next_event, user, either.cancel_scope)
        assert not scope.cancelled_caught, self.story()
        self.books.check()
        return trio.current_time() - began

    async def _next_event(self, user, scope):
        n_events = len(self.nodes[user].events)
        await self.nodes[user].until(lambda: len(self.nodes[user].events) > n_events)
        scope.cancel()

    def story(self):
        """The last that was heard of everybody, for a failing test."""
        lines = [f"no new key; blocks: {self.books.phases()}"]
        for name, node in self.nodes.items():
            code = None if node.process is None else node.process.returncode
            lines.append(f"{name}: exit code {code}")
            for event in node.events[-12:]:
                shown = ("event", "t_s", "stage", "reason", "message", "block", "block_id", "peer")
                lines.append("  " + " ".join(f"{k}={event[k]}" for k in shown if k in event))
            talk = self.base / f"{name}.stderr"
            if talk.exists():
                lines += ["  | " + line for line in talk.read_text().splitlines()[-8:]]
        return "\n".join(lines)

    def _sockets_of(self, name):
        return [self._sockets[key] for key in ((name, "light") if name == "charles" else (name,))]

    def _tls(self, name):
        directory = self.base / "pki"
        return Tls(
            authority=str(directory / "authority.pem"),
            certificate=str(directory / f"{name}.pem"),
            private_key=str(directory / f"{name}.key"),
        )

    def _config(self, name):
        listen = f"fd://{self._sockets[name].fileno()}"
        if name == "charles":
            fields = {
                "node": name,
                "listen": listen,
                "tls": self._tls(name),
                "device": SimulatedDevice(
                    light_listen=f"fd://{self._sockets['light'].fileno()}",
                    receiver=RECEIVER,
                    fibers=dict.fromkeys(USERS, FIBER),
                ),
                "segment_pulses": 500_000,
            }
            return CharlesConfig(**fields | self._relay_fields)
        peer = other(name)
        fields = {
            "node": name,
            "listen": listen,
            "tls": self._tls(name),
            "relay": Remote(node="charles", address=self.route(name, "charles")),
            "light": self.route(name, "light"),
            "source": SOURCE,
            "security": Security(eps_sec=0.1, eps_cor=1e-6),
            "store": str(self.store_path(name)),
            "qber_hint": 0.001,
            "peers": [
                Peer(
                    node=peer,
                    pads=str(self.pad_path(name)),
                    n_pulses=N_PULSES,
                    address=self.route(name, peer) if peer < name else None,
                    blocks=0,
                )
            ],
        }
        return EndpointConfig(**fields | self._user_fields)


class Books:
    """What the stores and pad files of both users must agree on, now and ever."""

    def __init__(self, site):
        self._site = site
        self._said = {}
        self._marks = {}
        self._lost = {}

    def phases(self):
        """Of every block, at both users: None where there is no record."""
        of = {user: self._rows(user) for user in USERS}
        ids = list(dict.fromkeys([*of["alice"], *of["bob"]]))
        return {
            block_id: tuple(of[u][block_id][0] if block_id in of[u] else None for u in USERS)
            for block_id in ids
        }

    def pads_put_back(self, user):
        """A user's pad file was replaced by an older one: what it says of the past is no longer."""
        self._marks = {key: mark for key, mark in self._marks.items() if key[1] != user}

    def known_blocks(self):
        return {block_id.hex() for block_id in self.phases()}

    def check(self, *, settled=False):
        """Nothing lost, doubled, or different; with `settled`, no block waits for anything."""
        self._check_pads()
        # Bob first: what the coordinator offers, the participant has committed before.
        rows = {user: self._rows(user) for user in ("alice", "bob")}
        rows["bob"] |= self._rows("bob")
        for block_id, (phase, bits, _) in rows["alice"].items():
            theirs, their_bits, _ = rows["bob"].get(block_id, (None, bits, b""))
            assert bits == their_bits
            if phase is Phase.CONFIRMED:
                assert theirs is Phase.COMMITTED
            if phase is Phase.ABORTED:
                assert theirs in (None, Phase.PREPARED, Phase.ABORTED)
            if settled:
                assert (phase, theirs) != (Phase.PREPARED, Phase.PREPARED)
                assert phase is not Phase.COMMITTED
        for user in USERS:
            for block_id, (_, _, said) in rows[user].items():
                self._check_said(user, block_id, said)
        prints = {}
        for user in USERS:
            if not self._site.store_path(user).exists():
                return
            with KeyStore.open(self._site.store_path(user), create=False) as store:
                assert all(row.balances for row in store.ledger())
                prints[user] = store.fingerprints(other(user), b"salt")
        both = set(prints["alice"]) & set(prints["bob"])
        assert all(prints["alice"][key] == prints["bob"][key] for key in both)
        if settled:
            assert prints["alice"] == prints["bob"]

    def _rows(self, user):
        path = self._site.store_path(user)
        if not path.exists():
            return {}
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return {}  # its process is just making it
            rows = connection.execute("SELECT block_id, phase, bits, said FROM blocks")
            return {block_id: (Phase(phase), *rest) for block_id, phase, *rest in rows}

    def _check_said(self, user, block_id, said):
        """A pad never speaks for two messages."""
        if said:
            pad = msgspec.msgpack.decode(said)["pad"]
            assert self._said.setdefault((user, pad), (block_id, said)) == (block_id, said)

    def _check_pads(self):
        """Burnt pads stay burnt, and none is burnt for sending beyond what the peer granted."""
        marks = {}
        for side, user in enumerate(USERS):
            path = self._site.pad_path(user)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                header = pad_layout.read_header(descriptor, path)
                unused = pad_layout.find_unused(descriptor, path, header.n_pads, side)
                marks["sent", user] = pad_layout.first_unused(unused)
                received = pad_layout.find_unused(descriptor, path, header.n_pads, 1 - side)
                marks["received", user] = pad_layout.first_unused(received)
                marks["granted", user] = pad_layout.read_granted(descriptor, path, header)
            finally:
                os.close(descriptor)
            assert not unused[: marks["sent", user]].any()
        for key, mark in marks.items():
            assert mark >= self._marks.get(key, 0), key
        self._marks = marks
        for user in USERS:
            # Read one after the other while nodes run: the second one may be ahead.
            if not any(self._site.nodes[name].alive for name in USERS):
                assert marks["sent", user] <= marks["granted", other(user)]
                assert marks["received", other(user)] <= marks["sent", user]


@contextmanager
def listening():
    """The sockets of a site."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in (*NODES, "light")}
    try:
        yield sockets
    finally:
        for listener in sockets.values():
            listener.close()


def _without_none(value):
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
