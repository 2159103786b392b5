"""A site of real processes: a relay and two users, started, killed and looked at by a test.

Blocks are so small that they take a tenth of a second, and the security parameter is so large that
they give keys nevertheless. The listening sockets are the test's, so a node comes back where it
was, as under a service manager. What the two key stores and pad files say is checked at any time,
while nodes are running (`live_books`).
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import msgspec
import tomli_w
import trio
from live_books import USERS, Books, other

from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.params import Fiber, ReceiverParams, Security, Setting, Source
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
SECURITY = Security(eps_sec=0.1, eps_cor=1e-6)
FIBER = Fiber(length_km=0.0, attenuation_db_per_km=0.2)
N_PULSES = 1_200_000
N_PADS = 1 << 14


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
    """Configurations, sockets and processes; use `open_site`.

    Attributes:
        relay_fields: What is special in the relay's configuration; for its next start.
    """

    def __init__(self, directory, nursery, sockets, *, relay=(), peer=(), n_pads=N_PADS, **user):
        self.base = directory
        self.nodes = {name: Node(name) for name in NODES}
        self.books = Books(self)
        self.routes = {}
        self._nursery = nursery
        self._sockets = sockets
        self.relay_fields = dict(relay)
        self._user_fields = user
        self._peer_fields = dict(peer)
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

    async def start(self, *names, crash_at=None, limit_bytes=None, strange=()):
        """Start nodes that are not running.

        Args:
            names: Of the nodes.
            crash_at: A crash point of all of them.
            limit_bytes: Of any file that they write.
            strange: What is strange in the world of users (`strange_node`).
        """
        for name in names:
            node = self.nodes[name]
            assert not node.alive
            path = self.base / f"{name}.toml"
            path.write_text(tomli_w.dumps(_without_none(msgspec.to_builtins(self._config(name)))))
            role = "charles" if name == "charles" else "endpoint"
            command = [sys.executable, "-m", "mdiqkd_net", "node", role, "--config", str(path)]
            if strange:
                command = [sys.executable, "-m", "tests.strange_node", str(path), *strange]
            if limit_bytes is not None:  # like a disk that is full
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

    async def stop(self, *names):
        """Ask them to leave, as a service manager does; their files are whole then."""
        self.send_signal(signal.SIGTERM, *names)
        for name in names:
            assert await self.nodes[name].ended() == 0

    async def accept(self, name):
        """Wait for a connection to a node that is not running, in its place."""
        here = trio.socket.from_stdlib_socket(self._sockets[name].dup())
        async with trio.SocketListener(here) as listener:
            return await listener.accept()

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
            return CharlesConfig(**fields | self.relay_fields)
        peer = other(name)
        fields = {
            "node": name,
            "listen": listen,
            "tls": self._tls(name),
            "relay": Remote(node="charles", address=self.route(name, "charles")),
            "light": self.route(name, "light"),
            "source": SOURCE,
            "security": SECURITY,
            "store": str(self.store_path(name)),
            "qber_hint": 0.001,
            "peers": [
                Peer(
                    node=peer,
                    pads=str(self.pad_path(name)),
                    n_pulses=N_PULSES,
                    address=self.route(name, peer) if peer < name else None,
                    blocks=0,
                    **self._peer_fields,
                )
            ],
        }
        return EndpointConfig(**fields | self._user_fields)


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
