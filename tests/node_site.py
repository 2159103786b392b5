"""A pair and its relay on real sockets in one process."""

import json
import socket

import msgspec
import trio
from triangle import RECEIVER, SECURITY, SOURCE

from mdiqkd_net.params import Fiber
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
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.telemetry.events import Telemetry

N_PULSES = 40_000_000
FIBER = Fiber(length_km=0.0, attenuation_db_per_km=0.2, insertion_loss_db=1.55)


def tls_of(directory, node):
    return Tls(
        authority=str(directory / "authority.pem"),
        certificate=str(directory / f"{node}.pem"),
        private_key=str(directory / f"{node}.key"),
    )


class Lines:
    """A text stream of JSON lines that can be waited for."""

    def __init__(self):
        self.events = []
        self._arrived = trio.lowlevel.ParkingLot()

    def write(self, text):
        self.events += [json.loads(line) for line in text.splitlines()]
        self._arrived.unpark_all()

    def flush(self):
        pass

    def named(self, name):
        return [event for event in self.events if event["event"] == name]

    async def next_line(self):
        await self._arrived.park()

    async def wait_for(self, *names):
        with trio.fail_after(60):
            while not any(self.named(name) for name in names):
                await self._arrived.park()
        return next(event for name in names for event in self.named(name))


class Site:
    """Configurations of a pair and its relay; listening sockets are bound in advance."""

    def __init__(self, tmp_path, tls, pads):
        self.base = tmp_path
        self.sockets = {
            name: socket.create_server(("127.0.0.1", 0))
            for name in ("alice", "bob", "charles", "light")
        }
        self.lines = {name: Lines() for name in ("alice", "bob", "charles")}
        self.charles = CharlesConfig(
            node="charles",
            listen="127.0.0.1:0",
            tls=tls("charles"),
            device=SimulatedDevice(
                light_listen="127.0.0.1:0",
                receiver=RECEIVER,
                fibers={"alice": FIBER, "bob": FIBER},
                seed=3,
            ),
            segment_pulses=15_000_000,
        )
        self.users = {
            name: EndpointConfig(
                node=name,
                listen="127.0.0.1:0",
                tls=tls(name),
                relay=Remote(node="charles", address=self.address("charles")),
                light=self.address("light"),
                source=SOURCE,
                security=SECURITY,
                store=f"{name}.sqlite",
                peers=[
                    Peer(
                        node=peer,
                        pads=str(pads[name]),
                        n_pulses=N_PULSES,
                        address=self.address(peer) if peer < name else None,
                    )
                ],
            )
            for name, peer in (("alice", "bob"), ("bob", "alice"))
        }

    def inherit(self, name):
        # A copy, which the node closes; connections wait in the original until it comes back.
        return f"fd://{self.sockets[name].dup().detach()}"

    def address(self, name):
        return f"127.0.0.1:{self.sockets[name].getsockname()[1]}"

    def close(self, *names):
        for name in names or list(self.sockets):
            self.sockets[name].close()

    def node(self, name):
        telemetry = Telemetry(name, self.lines[name])
        if name == "charles":
            device = msgspec.structs.replace(
                self.charles.device, light_listen=self.inherit("light")
            )
            charles = msgspec.structs.replace(
                self.charles, listen=self.inherit("charles"), device=device
            )
            return Charles(charles, self.base, telemetry, RealWorld())
        self.change(name, listen=self.inherit(name))
        return EndpointNode(self.users[name], self.base, telemetry, RealWorld())

    def change_peer(self, name, **fields):
        peer = msgspec.structs.replace(self.users[name].peers[0], **fields)
        self.change(name, peers=[peer])

    def change(self, name, **fields):
        self.users[name] = msgspec.structs.replace(self.users[name], **fields)
