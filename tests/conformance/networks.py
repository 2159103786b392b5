"""A relay in this process, sound or broken, and a harness that speaks to it over TLS."""

import io
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from triangle import RECEIVER

from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.conformance.identity import load
from mdiqkd_net.conformance.relay import RELAY_CASES
from mdiqkd_net.conformance.relay.harness import RelayHarness
from mdiqkd_net.errors import MdiqkdError
from mdiqkd_net.keys.pads import pad_path
from mdiqkd_net.params import Fiber
from mdiqkd_net.runtime import charles
from mdiqkd_net.runtime import endpoint as runtime_endpoint
from mdiqkd_net.runtime.config import (
    CharlesConfig,
    EndpointConfig,
    Peer,
    Remote,
    SimulatedDevice,
    Tls,
)
from mdiqkd_net.runtime.endpoint import EndpointNode
from mdiqkd_net.runtime.limits import Limits
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.simulation.network import QBER_HINT, SECURITY, SOURCE
from mdiqkd_net.telemetry.events import Telemetry

SCALE = 0.3
HANDSHAKE_S = 6 * SCALE
FIBER = Fiber(length_km=0.0, attenuation_db_per_km=0.2, insertion_loss_db=1.55)
N_PULSES = 60_000
KEY_PULSES = 1_000_000
"""Of a session that gives a key with next to certainty, and several of them."""
MAX_PULSES = 1_200_000
"""Of a session: long enough to hold more announcements than a relay has credit for."""
LIMITS = Limits()
"""Of relays in virtual time."""
WAIT = ("CT-RL-S-10", "CT-RL-S-11", "CT-RL-X-01", "CT-RL-X-03", "CT-RL-X-04")
"""Cases that wait for a deadline of the node to pass; played in virtual time (`quick`)."""
OVER_TLS = [case for case in RELAY_CASES if case.id not in WAIT]


class Sink(io.StringIO):
    """Events that nobody reads."""

    def write(self, text):
        return len(text)


def tls_of(directory, node):
    return Tls(
        authority=str(directory / "authority.pem"),
        certificate=str(directory / f"{node}.pem"),
        private_key=str(directory / f"{node}.key"),
    )


def relay_config(listen, light_listen, tls, limits=None):
    return CharlesConfig(
        limits=limits or LIMITS,
        node="charles",
        listen=listen,
        tls=tls,
        device=SimulatedDevice(
            light_listen=light_listen,
            receiver=RECEIVER,
            fibers={"alice": FIBER, "bob": FIBER},
            seed=3,
        ),
        segment_pulses=25_000,
    )


@asynccontextmanager
async def relay(directory, monkeypatch, make=charles.Charles):
    """A running relay; the harness for it."""
    monkeypatch.setattr(charles, "ARMING_S", 25 * SCALE)
    monkeypatch.setattr(charles, "RETURN_S", 25 * SCALE)
    users, light = (socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2))
    places = users.getsockname(), light.getsockname()
    config = relay_config(
        f"fd://{users.detach()}",
        f"fd://{light.detach()}",
        tls_of(directory, "charles"),
        Limits(handshake_s=HANDSHAKE_S),
    )
    harness = RelayHarness(
        places[0],
        [load(directory / "alice.pem"), load(directory / "bob.pem")],
        directory / "alice.pem",
        light=places[1],
        n_pulses=N_PULSES,
        deadlines=Deadlines(SCALE),
    )

    async def run():
        with suppress(CrashError), suppress_group(CrashError):
            await make(config, directory, Telemetry("charles", Sink()), RealWorld()).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield harness
        nursery.cancel_scope.cancel()


def endpoint_config(node, peer, *, listen, peer_listens, relay, light, tls):
    return EndpointConfig(
        node=node,
        listen=listen,
        tls=tls,
        relay=Remote(node="charles", address=relay),
        light=light,
        source=SOURCE,
        security=SECURITY,
        store=f"{node}.sqlite",
        reconciler="cascade",
        qber_hint=QBER_HINT,
        patience_s=3600.0,  # between two cases nobody is its peer
        peers=[
            Peer(
                node=peer,
                pads=pad_path(Path(), node, peer, node).name,
                n_pulses=MAX_PULSES,
                address=peer_listens,
                blocks=0,
            )
        ],
    )


def quick_redial(monkeypatch):
    """Users come back at once after a connection is lost."""
    monkeypatch.setattr(runtime_endpoint, "MAX_RECONNECT_S", 0.02)
    monkeypatch.setattr(runtime_endpoint, "RECONNECT_S", 0.02)


async def keep_running(config, directory, world):
    """Start the node again whenever it gives up."""
    while True:
        with suppress_group((MdiqkdError, OSError)):
            await EndpointNode(config, directory, Telemetry(config.node, Sink()), world).run()


@asynccontextmanager
async def endpoint(directory, monkeypatch):
    """Alice, started again whenever she gives up; the harness that is her relay."""
    quick_redial(monkeypatch)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    unlit = socket.socket()  # bound, and never listens: the light is not up yet
    unlit.bind(("127.0.0.1", 0))
    host, port = listening.getsockname()
    config = endpoint_config(
        "alice",
        "bob",
        listen="127.0.0.1:0",
        peer_listens="127.0.0.1:1",
        relay=f"{host}:{port}",
        light=f"127.0.0.1:{unlit.getsockname()[1]}",
        tls=tls_of(directory, "alice"),
    )
    harness = EndpointHarness(
        f"fd://{listening.detach()}",
        load(directory / "charles.pem"),
        deadlines=Deadlines(SCALE),
    )

    with unlit:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_running, config, directory, RealWorld())
            yield harness
            nursery.cancel_scope.cancel()


class CrashError(Exception):
    """What a node dies of that was built to die."""


class suppress_group:  # noqa: N801  # reads like contextlib.suppress
    """Swallow what is of `kind` in a group; the rest, such as a cancellation, goes on."""

    def __init__(self, kind):
        self._kind = kind

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace):
        if isinstance(error, BaseExceptionGroup):
            _, rest = error.split(self._kind)
            if rest is not None:
                raise rest from None
            return True
        return False
