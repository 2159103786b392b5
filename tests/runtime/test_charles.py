"""The relay's shell: connections of one user that follow each other while its core is at work.

All of it runs in virtual time: a sleep here keeps nobody waiting, and says when something happens.
"""

from contextlib import asynccontextmanager
from random import Random

import trio

from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime import charles
from mdiqkd_net.runtime.charles import Charles
from mdiqkd_net.runtime.config import CharlesConfig, SimulatedDevice
from mdiqkd_net.runtime.link import secure
from mdiqkd_net.simulation import scheduling
from mdiqkd_net.simulation.disk import Disk
from mdiqkd_net.simulation.life import Life, SimulatedCredentials
from mdiqkd_net.simulation.net import Net
from mdiqkd_net.simulation.network import FIBER, NO_FILES, RECEIVER
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import PairReady, PairRequest

CONFIG = CharlesConfig(
    node="charles",
    listen="charles:1",
    tls=NO_FILES,
    device=SimulatedDevice(
        light_listen="charles:2",
        receiver=RECEIVER,
        fibers={"alice": FIBER, "bob": FIBER},
    ),
)


class Nobody:
    """Observes nothing, but bugs."""

    def heard(self, node, event, fields):
        pass

    def passed(self, life, point):
        pass

    def bug(self, node, error):
        raise error


class Users:
    """Connects users to a relay whose core takes two seconds, more or less, for every message."""

    def __init__(self, net, nursery):
        self._net = net
        self._nursery = nursery

    async def connect(self, user, correspondence=None):
        own = correspondence or Correspondence(Random().randbytes)
        link = await secure(
            await self._net.connect(user, "charles:1"),
            SimulatedCredentials(),
            node=user,
            role="endpoint",
            expected=Expected("relay", ["charles"]),
            entropy=Random(user).randbytes,
            correspond=lambda _: own,
            server_side=False,
        )
        link.take_up()
        self._nursery.start_soon(link.write)
        return link


@asynccontextmanager
async def relay(path):
    net = Net(Random(1), lambda _end, _data: None)
    disk = Disk(path / "charles", Random(1))
    life = Life("charles", 1, seed="1", net=net, disk=disk, observer=Nobody(), compute_s=2.0)

    async def shell(life, base, telemetry):
        await Charles(CONFIG, base, telemetry, life).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, shell)
        await trio.testing.wait_all_tasks_blocked()
        yield Users(net, nursery)
        nursery.cancel_scope.cancel()


def ask(link, peer, number):
    link.tell(PairRequest(n_pulses=1000, peer=peer, request=number))


async def ready(link, seconds):
    """Whether the relay begins a session within some time."""
    with trio.move_on_after(seconds):
        return isinstance(decode(await link.next_frame()), PairReady)
    return False


def test_a_request_that_waited_while_its_user_came_back_is_not_heard(tmp_path):
    async def main():
        async with relay(tmp_path) as users:
            before, bob = await users.connect("alice"), await users.connect("bob")
            await trio.sleep(1.0)
            ask(bob, "carol", 1)  # keeps the relay busy
            await trio.sleep(0.1)
            ask(before, "bob", 1)
            ask(before, "bob", 2)
            now = await users.connect("alice")
            ask(bob, "alice", 1)
            assert not await ready(now, 20.0)
            ask(now, "bob", 1)
            assert await ready(now, 20.0)

    scheduling.run(1, main)


def test_a_user_that_comes_back_before_its_old_connection_ends_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(charles, "RETURN_S", 5.0)

    async def main():
        async with relay(tmp_path) as users:
            before, bob = await users.connect("alice"), await users.connect("bob")
            await trio.sleep(1.0)
            ask(bob, "alice", 1)  # keeps the relay busy
            await trio.sleep(0.1)
            now = await users.connect("alice")
            await trio.sleep(0.1)
            await before.close()
            await trio.sleep(20.0)
            ask(now, "bob", 1)
            assert await ready(now, 20.0)

    scheduling.run(1, main)


def test_what_an_old_connection_broke_costs_the_new_one_nothing(tmp_path):
    """Out of sequence, read in one piece with a request that waited while its user came back."""

    async def main():
        async with relay(tmp_path) as users:
            own = Correspondence(Random("alice").randbytes)
            before, bob = await users.connect("alice", own), await users.connect("bob")
            await trio.sleep(1.0)
            ask(bob, "carol", 1)  # keeps the relay busy
            await trio.sleep(0.1)
            request = PairRequest(n_pulses=1000, peer="bob", request=1)
            heard = before.sequencer.seal(request.TYPE, encode(request))
            before.send(heard.raw + Sequencer().seal(request.TYPE, encode(request)).raw)
            await trio.sleep(0.1)
            await users.connect("alice", own)
            epoch = own.seen
            await trio.sleep(20.0)
            await users.connect("alice", own)
            assert own.seen == epoch

    scheduling.run(1, main)
