"""Turn a scenario into nodes that can start: sockets, certificates, pads and configurations.

All listening sockets are bound here, before any node runs, and inherited by the nodes. So every
address is known when the configurations are written, no port can be lost to somebody else, and
all nodes may start at once: a dialer that comes early waits in the backlog.
"""

import math
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import tomli_w

from mdiqkd_net.blocks import BELL_STATES, SETTINGS
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.keys import pads, pki
from mdiqkd_net.keys.files import make_directory
from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.levels import check_level
from mdiqkd_net.physics.link_clicks import left_out
from mdiqkd_net.planning.prediction import design_of
from mdiqkd_net.runtime.config import (
    CharlesConfig,
    EndpointConfig,
    Peer,
    Postprocessing,
    Remote,
    SimulatedDevice,
    Tls,
)
from mdiqkd_net.scenario.config import RELAY, Scenario
from mdiqkd_net.scenario.topology import UserPair

SEGMENT_EVENTS: Final = 1e6
"""Announcements that one segment of light should bring: what a node holds in memory at a time."""

MIN_SEGMENT_PULSES: Final = 10**6
MAX_SEGMENT_PULSES: Final = 2**40

MIN_QBER_HINT: Final = 0.001
MAX_QBER_HINT: Final = 0.2

PADS_PER_BLOCK: Final = 64
BACKLOG: Final = 64


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is ready to start.

    Attributes:
        name: Its id.
        role: What `mdiqkd node` is told.
        directory: Its files: configuration, key store, and what it says.
        config: Its configuration, TOML.
        sockets: Listening sockets that it inherits under the same descriptors.
    """

    name: str
    role: Literal["charles", "endpoint"]
    directory: Path
    config: Path
    sockets: tuple[socket.socket, ...]

    @property
    def stderr(self) -> Path:
        """Where its talk goes."""
        return self.directory / "stderr.log"

    @property
    def events(self) -> Path:
        """Where its events are kept, one per line."""
        return self.directory / "events.jsonl"


class Network:
    """The nodes of a scenario, in a directory. Use as a context: leaving closes the sockets."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        """Write certificates, pads and configurations under `directory` and bind the sockets.

        Raises:
            ConfigError, KeyStoreError: The directory holds a network already, or no design of the
                certificate can be made for a pair.
            OSError: The directory cannot be written, or no socket can be had.
        """
        self.scenario = scenario
        self.directory = directory
        with ExitStack() as sockets:
            self._listeners = {
                user: sockets.enter_context(_listener()) for user in (*scenario.users, RELAY)
            }
            self._light = sockets.enter_context(_listener())
            self._write_secrets()
            self._write_designs()
            self.nodes = (self._charles(), *(self._endpoint(user) for user in scenario.users))
            self._sockets = sockets.pop_all()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's copies of the sockets; the nodes have their own."""
        self._sockets.close()

    def store(self, user: str) -> Path:
        """A user's key store."""
        return self._node_directory(user) / "keys.db"

    def _node_directory(self, name: str) -> Path:
        return self.directory / "nodes" / name

    def _write_secrets(self) -> None:
        pki.create_authority(self.directory / "pki")
        for node in (RELAY, *self.scenario.users):
            pki.issue(self.directory / "pki", node)
        n_pads = min(PADS_PER_BLOCK * self.scenario.blocks, pads.MAX_PADS)
        for low, high in self.scenario.pairs:
            pads.create_pads(self.directory / "pads", low, high, n_pads=n_pads)

    def _write_designs(self) -> None:
        if not self.scenario.analysis.rules.frozen:
            return
        make_directory(self.directory / "designs")
        for pair in self.scenario.pairs:
            design = design_of(self.scenario.link(pair))
            self._design_path(pair).write_bytes(design.canonical())

    def _design_path(self, pair: UserPair) -> Path:
        return self.directory / "designs" / f"{pair[0]}--{pair[1]}.json"

    def _charles(self) -> Node:
        scenario = self.scenario
        config = CharlesConfig(
            node=RELAY,
            listen=_inherited(self._listeners[RELAY]),
            tls=self._tls(RELAY),
            device=SimulatedDevice(
                light_listen=_inherited(self._light),
                receiver=scenario.receiver,
                fibers={user: link.fiber for user, link in scenario.users.items()},
                transmitters={
                    user: link.transmitter
                    for user, link in scenario.users.items()
                    if link.transmitter != TransmitterParams()
                },
                seed=scenario.seed,
            ),
            pulse_rate_hz=scenario.pulse_rate_hz,
            segment_pulses=segment_pulses(scenario),
            relay=scenario.relay,
            byzantine=scenario.byzantine,
        )
        return self._node(RELAY, "charles", config, (self._listeners[RELAY], self._light))

    def _endpoint(self, user: str) -> Node:
        scenario = self.scenario
        pairs = [pair for pair in scenario.pairs if user in pair]
        config = EndpointConfig(
            node=user,
            listen=_inherited(self._listeners[user]),
            tls=self._tls(user),
            relay=Remote(node=RELAY, address=_address(self._listeners[RELAY])),
            source=scenario.users[user].source,
            security=scenario.security,
            store=str(self.store(user)),
            peers=[self._peer(user, pair) for pair in pairs],
            light=_address(self._light),
            bell_states=scenario.bell_states,
            estimation=scenario.estimation,
            reconciler=scenario.reconciler,
            qber_hint=max(_expected_qber(scenario, pair) for pair in pairs),
            postprocessing=(
                None if scenario.scheduler is None else Postprocessing(scheduler=scenario.scheduler)
            ),
        )
        return self._node(user, "endpoint", config, (self._listeners[user],))

    def _peer(self, user: str, pair: UserPair) -> Peer:
        other = pair[0] if pair[1] == user else pair[1]
        return Peer(
            node=other,
            pads=str(pads.pad_path(self.directory / "pads", *pair, user)),
            n_pulses=self.scenario.n_pulses,
            blocks=self.scenario.blocks,
            # Of two users, the greater id dials.
            address=_address(self._listeners[other]) if user > other else None,
            design=str(self._design_path(pair)) if self.scenario.analysis.rules.frozen else None,
            commissioned=commissioned(self.scenario, pair),
        )

    def _tls(self, node: str) -> Tls:
        directory = self.directory / "pki"
        return Tls(
            authority=str(directory / "authority.pem"),
            certificate=str(directory / f"{node}.pem"),
            private_key=str(directory / f"{node}.key"),
        )

    def _node(
        self,
        name: str,
        role: Literal["charles", "endpoint"],
        config: CharlesConfig | EndpointConfig,
        sockets: tuple[socket.socket, ...],
    ) -> Node:
        directory = self._node_directory(name)
        make_directory(directory)
        path = directory / "config.toml"
        path.write_text(tomli_w.dumps(_table(config)), encoding="utf-8")
        return Node(name=name, role=role, directory=directory, config=path, sockets=sockets)


def segment_pulses(scenario: Scenario) -> int:
    """Pulses of a segment, so that the busiest pair announces about `SEGMENT_EVENTS` in each."""
    rates = [announcement_rate(scenario, pair) for pair in scenario.pairs]
    wanted = math.ceil(min(SEGMENT_EVENTS / max(*rates, 1e-300), MAX_SEGMENT_PULSES))
    return min(max(wanted, MIN_SEGMENT_PULSES), MAX_SEGMENT_PULSES, scenario.n_pulses)


def announcement_rate(scenario: Scenario, pair: UserPair) -> float:
    """Expected announcements per pulse pair, of both Bell states whether or not users want them."""
    link = msgspec.structs.replace(scenario.link(pair), bell_states=BELL_STATES)
    return sum(expected.expected_counts(link).values()) / link.n_pulses


def commissioned(scenario: Scenario, pair: UserPair) -> Commissioned:
    """What the closed form says of a pair's link, as far as it knows the link."""
    link = scenario.link(pair)
    unknown = left_out(link)
    if unknown:
        return Commissioned(steady=not {"drift", "fading"} & set(unknown))
    gains, error_gains = expected.gains_and_errors(link)
    x_tests = ("xx", "yy")
    share = {
        c: link.alice.probabilities[SETTINGS.index(c[0])]
        * link.bob.probabilities[SETTINGS.index(c[1])]
        for c in x_tests
    }
    events = sum(share[c] * gains[c] for c in x_tests)
    errors = sum(share[c] * error_gains[c] for c in x_tests)
    return Commissioned(
        gains=dict(gains),
        visibility=1.0 - 2.0 * errors / events if events > 0.0 else None,
        dead_pulses=check_level(scenario.receiver, scenario.pulse_rate_hz).memory,
    )


def _table(config: CharlesConfig | EndpointConfig) -> dict[str, object]:
    table = _without_none(msgspec.to_builtins(config))
    assert isinstance(table, dict)  # noqa: S101  # structs become dicts
    return table


def _without_none(value: object) -> object:
    """Leave out absent options, at any depth: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def _expected_qber(scenario: Scenario, pair: UserPair) -> float:
    link = scenario.link(pair)
    gain, error_gain = (of["zz"] for of in expected.gains_and_errors(link))
    qber = error_gain / gain if gain > 0.0 else 0.5
    return min(max(qber, MIN_QBER_HINT), MAX_QBER_HINT)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


def _inherited(listener: socket.socket) -> str:
    return f"fd://{listener.fileno()}"
