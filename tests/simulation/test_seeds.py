"""Whole networks from seeds: nothing is left to chance, nothing goes wrong, and bugs are found."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import trio
from commits import offer, prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.devices.entropy import SystemEntropy
from mdiqkd_net.keys import contents, handouts, pads
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.handing import Handouts
from mdiqkd_net.protocol.leases import WINDOW
from mdiqkd_net.runtime.pair import Pair
from mdiqkd_net.secret import SecretBuffer
from mdiqkd_net.simulation import network, scheduling, seeds
from mdiqkd_net.simulation.faults import FAULTS, drawn
from mdiqkd_net.simulation.seeds import Outcome, run_seeds, simulate
from mdiqkd_net.simulation.watch import STORE, Watch
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import KeyAssigned

HARSH = ("crash", "torn", "cut", "stall", "crumble")

TRACE = f"""
from mdiqkd_net.simulation.seeds import simulate
print(simulate(1, {HARSH!r}).trace)
"""


def test_the_version_of_trio_has_been_checked():
    version = ".".join(trio.__version__.split(".")[:2])
    assert version in scheduling.CHECKED, (
        f"trio {version}: the order of tasks is made deterministic by a private switch of trio; "
        "run the tests of simulation with this version, then name it in scheduling.CHECKED"
    )


def test_the_same_seed_is_the_same_run_in_every_process():
    traces = {simulate(1, HARSH).trace}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        ended = subprocess.run(
            [sys.executable, "-c", TRACE],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        traces.add(ended.stdout.strip())
    assert len(traces) == 1
    assert simulate(2, HARSH).trace not in traces


def test_faults_of_a_seed_are_some_of_those_that_are_allowed():
    assert drawn(5, tuple(FAULTS)) == drawn(5, tuple(FAULTS))
    assert len({drawn(seed, tuple(FAULTS)) for seed in range(20)}) > 10
    for seed in range(20):
        assert drawn(seed, HARSH) == tuple(n for n in HARSH if n in drawn(seed, tuple(FAULTS)))


def test_a_handful_of_seeds():
    outcomes = list(run_seeds(range(1, 13), tuple(FAULTS)))
    assert [o.seed for o in outcomes if o.violations] == []
    assert len({o.trace for o in outcomes}) == len(outcomes)
    assert sum(o.aborted for o in outcomes) > 0 < sum(o.keys for o in outcomes)


@pytest.mark.campaign
def test_many_seeds():
    failed = [o.seed for o in run_seeds(range(1000, 3000), tuple(FAULTS), jobs=2) if o.violations]
    assert failed == []


def test_a_node_uses_no_thread_and_no_generator_but_those_of_its_world(monkeypatch):
    def forbidden(*_args, **_more):
        raise AssertionError("not simulated")

    monkeypatch.setattr(trio.to_thread, "run_sync", forbidden)
    monkeypatch.setattr(SystemEntropy, "__call__", forbidden)
    monkeypatch.setattr(time, "sleep", forbidden)
    monkeypatch.setattr(threading.Thread, "start", forbidden)
    assert simulate(1, ()).violations == ()


# Planted bugs. Each must be found by the check that is there for it.


@pytest.fixture
def impatient(monkeypatch):
    """Networks that will not recover anyway."""
    monkeypatch.setattr(network, "LIVENESS_S", 10.0)


def find(numbers, faults=(), seed_range=range(1, 2)):
    found = [simulate(seed, faults) for seed in seed_range]
    told = {violation.split(":")[0] for outcome in found for violation in outcome.violations}
    assert numbers <= told, [outcome.violations for outcome in found]


def test_a_key_that_is_not_stored_before_it_is_spoken_of(monkeypatch, impatient):
    monkeypatch.setattr(Pair, "_hold", lambda *_: None)
    find({"K8"})


def test_pads_that_are_not_burnt(monkeypatch):
    monkeypatch.setattr(PadFile, "_burn", lambda *_: None)
    find({"K8"})


def test_pads_that_are_neither_burnt_nor_leased(monkeypatch):
    monkeypatch.setattr(PadFile, "_burn", lambda *_: None)
    monkeypatch.setattr(pads, "next_lease", lambda _granted, mark, _n_pads: (mark, WINDOW))
    find({"K8", "K5"}, ("crash",), range(1, 4))


def test_keys_that_are_delivered_and_stay(monkeypatch):
    def show(connection, sealer, block, which, *parameters):
        return contents.unseal(connection, sealer, block, which, *parameters)

    monkeypatch.setattr(contents, "deliver", show)
    find({"K1"})


def test_keys_that_the_other_user_has_not_set_aside(monkeypatch):
    monkeypatch.setitem(handouts._STEPS, HandStep.ASSIGN, lambda *_: None)
    find({"K12"})


def test_requests_that_have_no_end(monkeypatch):
    whole = Handouts.receive

    def deaf(core, message):
        return [] if isinstance(message, KeyAssigned) else whole(core, message)

    monkeypatch.setattr(Handouts, "receive", deaf)
    find({"K12"})


def test_keys_that_differ(monkeypatch):
    whole = KeyStore.prepare

    def prepare(store, block, key, *more):
        if block.owner == "bob":
            zeros = SecretBuffer(len(key.value))
            key = SecretKey(key.block_id, key.n_bits, key.origin, zeros)
        return whole(store, block, key, *more)

    monkeypatch.setattr(KeyStore, "prepare", prepare)
    find({"K2"})


def test_a_store_that_loses_blocks(monkeypatch, impatient):
    whole = KeyStore.settle

    def lose(store, block_id, phase, said):
        whole(store, block_id, phase, said)
        with store._database.writing() as connection:
            connection.execute("DELETE FROM keys")

    monkeypatch.setattr(KeyStore, "settle", lose)
    find({"K3"})


def test_a_network_that_does_not_recover(monkeypatch, impatient):
    monkeypatch.setattr(network.Network, "_heal", lambda _: None)

    async def refuse(site, _rng):
        site.net.refused.add("charles:1")
        await trio.sleep_forever()

    monkeypatch.setattr(seeds, "FAULTS", {})
    monkeypatch.setattr(
        network, "FAULTS", {"wall": type("Fault", (), {"act": staticmethod(refuse)})}
    )
    find({"K10"}, ("wall",))


def test_an_error_that_is_nobody_elses_fault(monkeypatch, impatient):
    def stumble(core, frame):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Endpoint, "receive_relay", stumble)
    find({"bug"})


def test_keys_of_an_aborted_block_that_are_offered(tmp_path):
    block_id = bytes(16)
    meta = BlockMeta(
        block_id=block_id,
        pair=("alice", "bob"),
        owner="alice",
        peer="bob",
        block_no=1,
        origin="simulated",
        eps=0.1,
        leak_model="none",
    )
    watch = Watch([("alice", "bob")], lambda node: tmp_path / node)
    (tmp_path / "alice").mkdir()
    with KeyStore.open(tmp_path / "alice" / STORE) as store:
        prepare(store, meta, SecretKey(block_id, 256, "simulated", SecretBuffer(32)))
        ended = {"users": ["alice", "bob"], "block_id": block_id.hex()}
        watch.reported("alice", "block.aborted", ended)
        watch.check_stores()
        assert watch.violations == []
        offer(store, block_id)
    watch.check_stores()
    assert [v for v in watch.violations if v.startswith("K11: alice offers")]


def test_settings_that_are_revealed_too_early(tmp_path):
    watch = Watch([("alice", "bob")], lambda _: tmp_path)
    sequencer = Sequencer()

    def send(sender, receiver, message):
        raw = sequencer.seal(message.TYPE, encode(message), 1).raw
        watch.sent(1, sender, receiver, raw)

    gate = m.Gate(batches=0, count=0, digest=bytes(16), hash_key=bytes(32))
    sift = m.Sift(chunk=0, settings=bulk.pack_ranked(np.array([], np.uint8)))
    send("alice", "bob", gate)
    send("alice", "bob", sift)
    assert watch.violations == ["K7: alice reveals settings before both gates are closed"]
    watch.violations.clear()
    send("bob", "alice", gate)
    send("bob", "alice", sift)
    assert watch.violations == []


def test_a_failing_seed_keeps_only_the_faults_that_it_needs(monkeypatch):
    def pretend(seed, faults):
        bad = ("K1: planted",) if {"cut", "torn"} <= set(faults) else ()
        return Outcome(seed, tuple(faults), bad, (), "", 0, 0, 0.0)

    monkeypatch.setattr(seeds, "simulate", pretend)
    assert seeds.shrink(pretend(1, tuple(FAULTS))).faults == ("torn", "cut")
