"""Whole nodes on real sockets in one process: a key, and what happens when somebody is missing."""

import contextlib
import secrets
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from listening import open_descriptors
from node_site import Site

from mdiqkd_net.errors import ConfigError, RemoteProtocolError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.keys.asking import KeyWish, ask_node, take_new
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.protocol.states import Role, State
from mdiqkd_net.runtime import endpoint, sockets
from mdiqkd_net.runtime.endpoint import RelayLink
from mdiqkd_net.runtime.link import secure
from mdiqkd_net.runtime.optical import Transmitter
from mdiqkd_net.runtime.pair import Pair
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Gate

LONGER_THAN_LIGHT_S = 6.0
"""What the first light takes on a busy machine, kernels to be loaded, is two seconds."""


@pytest.fixture
def site(tmp_path, tls, pads):
    made = Site(tmp_path, tls, pads)
    yield made
    made.close()


def fingerprints(site, name, peer):
    with KeyStore.open(site.base / f"{name}.sqlite", create=False) as store:
        return store.fingerprints(peer, b"salt")


async def test_three_nodes_make_a_key(site, nursery):
    for name in ("charles", "bob", "alice"):
        nursery.start_soon(site.node(name).run)
    for name in ("alice", "bob"):
        ended = await site.lines[name].wait_for("block.key", "block.aborted")
        assert ended["event"] == "block.key", ended
        assert ended["secret_bits"] > 1000
        assert ended["n_keys"] == ended["secret_bits"] // 256
        assert min(ended["bytes_relay"], ended["bytes_peer"], ended["bytes_light"]) > 1000
        assert set(ended["seconds"]) >= {"light", "gate", "sift", "reconcile", "amplify", "commit"}
    chosen = [site.lines[name].named("block.reconciled")[0] for name in ("alice", "bob")]
    assert chosen[0]["scheme"] == chosen[1]["scheme"] in RECONCILERS
    assert 0.0 < chosen[0]["round_trip_s"] < 60.0
    assert fingerprints(site, "alice", "bob") == fingerprints(site, "bob", "alice") != {}
    assert site.lines["charles"].named("pair.finished")[0]["light_s"] > 0
    assert site.lines["charles"].events[0]["event"] == "ready"
    kinds = site.lines["alice"].named("ready")[0]["secret_memory"]
    assert kinds
    assert set(kinds) <= {"memfd_secret", "locked", "unlocked"}
    for name, peer in (("alice", "bob"), ("bob", "alice")):
        await trio.to_thread.run_sync(have_a_key_handed_out, site, name, peer)
    await trio.to_thread.run_sync(ask_for_what_there_is_not, site)
    nursery.cancel_scope.cancel()


def have_a_key_handed_out(site, name, peer):
    """By programs of both users, through the running nodes."""
    ours, theirs = (site.base / f"{user}.sqlite" for user in (name, peer))
    with KeyStore.open(ours, create=False) as mine, KeyStore.open(theirs, create=False) as twin:
        keys = take_new(mine, ours, peer, 2, allow_simulated=True)
        assert [key.index % 2 for key in keys] == 2 * [name == "bob"]
        states = {key.key_id: key.state for key in twin.keys(name)}
        for key in keys:
            assert states[key.key_id] == "assigned"
            assert twin.take(name, key_id=key.key_id, allow_simulated=True).value == key.value
        assert mine.open_requests(peer) == twin.open_requests(name) == []


def ask_for_what_there_is_not(site):
    path = site.base / "alice.sqlite"
    with pytest.raises(NoKeyError, match="asked for 100"):
        ask_node(path, KeyWish(peer="bob", n_keys=100, allow_simulated=True))
    with pytest.raises(SimulatedKeyError):
        ask_node(path, KeyWish(peer="bob", n_keys=1, allow_simulated=False))
    with pytest.raises(NoKeyError, match="allowed: bob"):
        ask_node(path, KeyWish(peer="carol", n_keys=1, allow_simulated=True))


async def test_pads_that_do_not_fit_discard_the_block(site, nursery):
    path = site.users["bob"].peers[0].pads
    with open(path, "r+b") as file:  # noqa: PTH123  # a test may block
        data = bytearray(file.read())
        data[4096:] = bytes(b ^ 1 for b in data[4096:])
        file.seek(0)
        file.write(data)
    for name in ("charles", "bob", "alice"):
        nursery.start_soon(site.node(name).run)
    for name in ("alice", "bob"):
        ended = await site.lines[name].wait_for("block.key", "block.aborted")
        assert ended["event"] == "block.aborted"
    assert site.lines["bob"].named("block.aborted")[0]["tag_failures"] == 1
    assert fingerprints(site, "alice", "bob") == fingerprints(site, "bob", "alice") == {}
    nursery.cancel_scope.cancel()


async def test_a_peer_that_falls_silent_is_given_up(site, nursery, monkeypatch):
    answer = Endpoint.receive_peer

    def mute(core, frame):
        sifts = core.block is not None and core.block.state is State.SIFTING
        return [] if sifts and core.role is Role.PARTICIPANT else answer(core, frame)

    monkeypatch.setattr(Endpoint, "receive_peer", mute)
    site.change("alice", patience_s=LONGER_THAN_LIGHT_S)
    nursery.start_soon(site.node("charles").run)
    nursery.start_soon(_forgive, site.node("bob"))
    with pytest.RaisesGroup(
        pytest.RaisesExc(RemoteProtocolError, match=r"bob has been silent for 6 s in state"),
        flatten_subgroups=True,
    ):
        await site.node("alice").run()
    assert "silent" in site.lines["alice"].named("block.aborted")[0]["reason"]
    nursery.cancel_scope.cancel()


async def _forgive(node):
    """Run a node that may find its peer gone."""
    try:
        await node.run()
    except* RemoteProtocolError:
        pass


async def test_a_stranger_with_a_good_certificate_disturbs_nobody(site, nursery, tls):
    """Bob waits for nobody: every peer of his has a lesser id, and he dials it."""
    for name in ("charles", "bob"):
        nursery.start_soon(site.node(name).run)
    await site.lines["bob"].wait_for("ready")
    credentials = RealWorld().credentials(tls("charles"), site.base)
    stream = await sockets.dial(site.address("bob"), "test", 5.0)
    link = await secure(
        stream,
        credentials,
        node="charles",
        role="endpoint",
        expected=Expected("endpoint", ["bob"]),
        entropy=secrets.token_bytes,
        correspond=lambda _: Correspondence(secrets.token_bytes),
        server_side=False,
    )
    with trio.fail_after(5), contextlib.suppress(RemoteProtocolError):
        await link.next_frame()
    await link.close()
    refused = await site.lines["bob"].wait_for("link.refused")
    assert "found 'charles'; allowed: nobody" in refused["reason"]
    nursery.start_soon(site.node("alice").run)
    ended = await site.lines["bob"].wait_for("block.key", "block.aborted")
    assert ended["event"] == "block.key"
    nursery.cancel_scope.cancel()


async def test_a_pair_that_has_failed_holds_up_nobody(site):
    with KeyStore.open(site.base / "alice.sqlite") as store:
        peer = site.users["alice"].peers[0]
        with PadFile.open(Path(peer.pads), "alice", "bob") as pads:
            relay = RelayLink({}, secrets.token_bytes, lambda *_args, **_fields: None)
            pair = Pair(
                config=site.users["alice"],
                peer=peer,
                pads=pads,
                store=store,
                relay=relay,
                transmitter=Transmitter(RealWorld()),
                entropy=secrets.token_bytes,
                emit=lambda *_args, **_fields: None,
                analysis=Analysis(),
                frozen=site.base / "frozen.jsonl",
                world=RealWorld(),
                when_troubled=lambda: None,
            )
            pair.fail("bob is gone for good")
            with trio.fail_after(5):
                await pair.run()
                for _ in range(200):  # more than an inbox holds
                    await pair.from_relay(Frame(Gate.TYPE, 1, 0, 0, b""))
    assert pair.done.is_set()
    assert pair.trouble == "bob is gone for good"


async def test_a_peer_that_never_comes_is_named(site, nursery):
    site.change("alice", patience_s=0.5)
    nursery.start_soon(site.node("charles").run)
    with pytest.RaisesGroup(
        pytest.RaisesExc(RemoteProtocolError, match=r"bob did not connect within 0\.5 s"),
        flatten_subgroups=True,
    ):
        await site.node("alice").run()
    assert "bob did not connect" in site.lines["alice"].named("pair.lost")[0]["reason"]
    nursery.cancel_scope.cancel()


async def test_a_relay_that_never_comes_is_named(site):
    site.close("charles")
    site.change("alice", patience_s=0.5)
    with pytest.RaisesGroup(
        pytest.RaisesExc(RemoteProtocolError, match=r"relay: cannot reach .* within 0\.5 s"),
        flatten_subgroups=True,
    ):
        await site.node("alice").run()


async def test_a_relay_that_dies_in_the_middle_and_stays_away_is_named(site, nursery):
    """Who gives up first says so to its peer, which may then have nothing left to wait for."""
    for name in ("alice", "bob"):
        site.change(name, patience_s=LONGER_THAN_LIGHT_S)
        nursery.start_soon(_forgive, site.node(name))
    async with trio.open_nursery() as relay:
        relay.start_soon(site.node("charles").run)
        await site.lines["charles"].wait_for("light.progress")
        relay.cancel_scope.cancel()
    for name in ("alice", "bob"):
        await site.lines[name].wait_for("block.aborted")
    async with trio.open_nursery() as first:

        async def gives_up(name):
            await site.lines[name].wait_for("pair.lost")
            first.cancel_scope.cancel()

        for name in ("alice", "bob"):
            first.start_soon(gives_up, name)
    lost = [site.lines[name].named("pair.lost") for name in ("alice", "bob")]
    assert "the relay has been away for 6 s" in {e["reason"] for ended in lost for e in ended}
    assert fingerprints(site, "alice", "bob") == fingerprints(site, "bob", "alice") == {}
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("victim", ["alice", "bob", "charles"])
async def test_a_node_that_comes_back_makes_the_next_key(site, nursery, victim):
    """Killed in the middle of the light: that block ends, and the next one gives a key."""
    for name in ("alice", "bob"):
        site.change_peer(name, blocks=0)
        site.change(name, patience_s=30.0)
    scopes, ended = {}, {}

    async def run(name):
        ended[name] = trio.Event()
        with trio.CancelScope() as scopes[name]:
            await site.node(name).run()
        ended[name].set()

    for name in ("charles", "alice", "bob"):
        nursery.start_soon(run, name)
    await site.lines["charles"].wait_for("light.progress")
    scopes[victim].cancel()
    await ended[victim].wait()
    nursery.start_soon(run, victim)
    with trio.fail_after(60):
        while not all(site.lines[name].named("block.key") for name in ("alice", "bob")):
            await site.lines["alice"].next_line()
    keys = [fingerprints(site, *names) for names in (("alice", "bob"), ("bob", "alice"))]
    assert set(keys[0]) & set(keys[1])
    nursery.cancel_scope.cancel()


def pads_spent(nodes):
    """Pads that were used or given up for sending, and those that the peer granted."""
    files = [next(iter(node._pairs.values()))._journal._pads for node in nodes]
    return [(pads.high_water, pads.lease_left, pads.remaining_receive) for pads in files]


@pytest.mark.parametrize("n_times", [30, pytest.param(1000, marks=pytest.mark.campaign)])
async def test_reconnects_spend_no_pad_and_leave_no_descriptor(site, nursery, monkeypatch, n_times):
    """Real TLS connections between the users, lost again and again after a key was made."""
    for bound in ("RECONNECT_S", "MAX_RECONNECT_S"):
        monkeypatch.setattr(endpoint, bound, 1e-3)  # a storm, and not a second between two
    alice, bob = (site.node(name) for name in ("alice", "bob"))
    for node in (site.node("charles"), alice, bob):
        nursery.start_soon(node.run)
    for name in ("alice", "bob"):
        await site.lines[name].wait_for("block.key")
    with trio.fail_after(5):  # the last of four tags is burnt after the key is offered
        while pads_spent((alice, bob)) != 2 * [(2, 14, 62)]:
            await trio.testing.wait_all_tasks_blocked(0.01)
    pads, descriptors = pads_spent((alice, bob)), open_descriptors()
    for _ in range(n_times):
        link = alice._pairs["bob"]._link
        await link.close()
        with trio.fail_after(20):
            while alice._pairs["bob"]._link in (None, link):
                await trio.testing.wait_all_tasks_blocked(0.001)
    up = [event for event in site.lines["alice"].named("link.up") if event["peer"] == "bob"]
    assert len(up) == n_times + 1
    assert pads_spent((alice, bob)) == pads
    with trio.fail_after(5):
        while len(open_descriptors()) > len(descriptors):
            await trio.testing.wait_all_tasks_blocked(0.01)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peers": []}, "peers: found none"),
        ({"light": "nonsense"}, "light: found 'nonsense'; allowed: HOST:PORT"),
    ],
)
def test_configurations_that_cannot_work(site, changes, words):
    site.change("alice", **changes)
    with pytest.raises(ConfigError, match=words):
        site.node("alice")


def test_peers_are_others(site):
    for node in ("alice", "charles"):
        peer = msgspec.structs.replace(site.users["alice"].peers[0], node=node)
        site.change("alice", peers=[peer])
        with pytest.raises(ConfigError, match="neither alice itself nor the relay"):
            site.node("alice")
    site.change("bob", peers=[msgspec.structs.replace(site.users["bob"].peers[0], address=None)])
    with pytest.raises(ConfigError, match="key `address` is missing; bob dials alice"):
        site.node("bob")
