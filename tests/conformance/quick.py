"""Nodes and harness on the simulated network, in virtual time: hundreds of cases in seconds.

What TLS does is not there; the network vouches for names. Cases about TLS itself are left out here
and played over TLS once (`networks`).
"""

from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from random import Random

import trio
import trio.testing
from conformance import networks
from conformance.networks import (
    CrashError,
    Sink,
    keep_running,
    relay_config,
    suppress_group,
)

from mdiqkd_net.conformance.connection import GONE
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness, PairSettings
from mdiqkd_net.conformance.identity import Identity
from mdiqkd_net.conformance.relay import RELAY_CASES
from mdiqkd_net.conformance.relay.harness import RelayHarness
from mdiqkd_net.keys.pads import pad_path
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.endpoint import PairPlan
from mdiqkd_net.runtime import charles
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.simulation.life import SimulatedCredentials, SimulatedEntropy
from mdiqkd_net.simulation.net import Net
from mdiqkd_net.simulation.network import QBER_HINT, SECURITY, SOURCE
from mdiqkd_net.telemetry.events import Telemetry

NO_FILES = Tls(authority="", certificate="", private_key="")
ABOUT_TLS = ("CT-RL-H-10", "CT-RL-H-11", "CT-RL-H-12", "CT-RL-X-02")
LONG = ("CT-RL-S-06", "CT-RL-S-16", "CT-RL-M-")
"""Most of the time of all: thousands of messages, and bodies. Broken relays that pass them are
spared them."""
QUICK_RELAY_CASES = [case for case in RELAY_CASES if case.id not in ABOUT_TLS]
N_PULSES = 60_000
COMPUTE_S = 0.001
"""What a user needs for anything: longer than a flood of frames takes to arrive."""


class QuickWorld:
    """The `World` of one node: the simulated network, and no threads."""

    crash = None

    def __init__(self, net, node, compute_s=0.0):
        self._net = net
        self._node = node
        self._compute_s = compute_s
        self.entropy = SimulatedEntropy(Random(f"entropy of {node}"))

    def credentials(self, _tls, _base):
        return SimulatedCredentials()

    async def listen(self, address, key):
        await trio.lowlevel.checkpoint()
        return self._net.listen(self._node, address, key), address

    async def listen_local(self, _path):
        await trio.lowlevel.checkpoint()
        return self._net.listen(self._node, f"{self._node}:keys", "store")

    async def connect(self, address, _key):
        return await self._net.connect(self._node, address)

    async def in_thread(self, work, *args):
        await trio.sleep(self._compute_s)
        return work(*args)

    def utc_now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    def reach(self, _point):
        pass


class Plain:
    """A `Connection` over the simulated network."""

    def __init__(self, end):
        self._end = end

    @property
    def node(self):
        return self._end.peer

    async def send_all(self, data):
        await self._end.send_all(data)

    async def receive(self):
        return await self._end.receive()

    async def leave(self, within_s):
        self._end._outgoing.end()
        with trio.move_on_after(within_s), suppress(*GONE):
            while await self._end.receive():
                pass
        await self.drop()

    async def drop(self):
        await trio.aclose_forcefully(self._end)


def identity(node):
    return Identity(node, None, None)


async def dial(net, node, address):
    end = await net.connect(node, address)
    try:
        await SimulatedCredentials().secure(end, server_side=False)
    except BaseException:
        end.close()
        raise
    return Plain(end)


class QuickRelayHarness(RelayHarness):
    def __init__(self, net, **settings):
        super().__init__(("charles", 1), light=("charles", 2), n_pulses=N_PULSES, **settings)
        self._net = net

    async def connect(self, address, who, context):
        assert context is None, "this case is about TLS"
        return await dial(self._net, who.node, "{}:{}".format(*address))

    async def connect_bare(self, address):
        return await self._net.connect("nobody", "{}:{}".format(*address))


def new_net():
    return Net(Random("net"), lambda _end, _data: None)


def pair_settings(directory, node, peer):
    plan = PairPlan(
        node=peer,
        peer=node,
        n_pulses=networks.MAX_PULSES,
        blocks=0,
        agreement=Agreement(
            source=SOURCE,
            security=SECURITY,
            bell_states=("psi_minus", "psi_plus"),
            reconciler="cascade",
        ),
        qber_hint=QBER_HINT,
    )
    return PairSettings(
        identity(peer),
        f"{min(node, peer)}:1",
        "charles:2",
        plan,
        pad_path(directory, node, peer, peer),
        networks.KEY_PULSES,
    )


class QuickEndpointHarness(EndpointHarness):
    def __init__(self, net, pair=None):
        super().__init__("charles:1", identity("charles"), pair=pair)
        self._net = net

    async def listen(self, address, key):
        return self._net.listen(address.partition(":")[0], address, key)

    async def secured(self, tcp, _who):
        with trio.fail_after(self.deadlines.reaction_s):
            await SimulatedCredentials().secure(tcp, server_side=True)
        return Plain(tcp)

    async def connect(self, pair):
        return await dial(self._net, pair.identity.node, pair.address)


@asynccontextmanager
async def endpoint(directory, node="alice", peer="bob", *, paired=True):
    """A user, started again whenever it gives up; the harness that is its relay, and its peer."""
    net = new_net()
    config = networks.endpoint_config(
        node,
        peer,
        listen=f"{node}:1",
        peer_listens=f"{peer}:1",
        relay="charles:1",
        light="charles:2",
        tls=NO_FILES,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_running, config, directory, QuickWorld(net, node, COMPUTE_S))
        yield QuickEndpointHarness(net, pair_settings(directory, node, peer) if paired else None)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relay(make=charles.Charles):
    """A relay that runs; the harness for it."""
    net = new_net()
    config = relay_config("charles:1", "charles:2", NO_FILES)

    async def run():
        with suppress(CrashError), suppress_group(CrashError):
            await make(config, None, Telemetry("charles", Sink()), QuickWorld(net, "charles")).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        yield QuickRelayHarness(
            net, identities=[identity("alice"), identity("bob")], certificate=None
        )
        nursery.cancel_scope.cancel()
