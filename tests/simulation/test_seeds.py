"""Whole networks from seeds: nothing is left to chance, nothing goes wrong, and bugs are found."""

import os
import subprocess
import sys
import threading
import time

import pytest
import trio

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.devices.entropy import SystemEntropy
from mdiqkd_net.keys import contents, handouts, pads
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.handing import Handouts
from mdiqkd_net.protocol.leases import WINDOW
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.runtime.journal import Journal
from mdiqkd_net.secret import SecretBuffer
from mdiqkd_net.simulation import network, scheduling, seeds
from mdiqkd_net.simulation.faults import FAULTS, drawn
from mdiqkd_net.simulation.seeds import Outcome, run_seed, run_seeds, simulate
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
    for hash_seed in ("1",):
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


def test_some_seeds():
    outcomes = list(run_seeds(range(1, 41), tuple(FAULTS)))
    assert [(o.seed, o.violations) for o in outcomes if o.violations] == []
    assert len({o.trace for o in outcomes}) == len(outcomes)
    assert sum(o.aborted for o in outcomes) > 0 < sum(o.keys for o in outcomes)
    again = ["every node is started again" in "".join(o.history) for o in outcomes]
    assert 10 < sum(again) < len(outcomes)


@pytest.mark.campaign
def test_many_seeds():
    failed = [o.seed for o in run_seeds(range(20_000), tuple(FAULTS), jobs=2) if o.violations]
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
    monkeypatch.setattr(Journal, "_hold", lambda *_: None)
    find({"K8"})


def test_pads_that_are_not_burnt(monkeypatch):
    monkeypatch.setattr(PadFile, "_burn", lambda *_: None)
    find({"K8"})


def test_pads_that_are_neither_burnt_nor_leased(monkeypatch):
    monkeypatch.setattr(PadFile, "_burn", lambda *_: None)
    monkeypatch.setattr(pads, "next_lease", lambda _granted, mark, _n_pads: (mark, WINDOW))
    find({"K8", "K5"}, ("crash",), range(4, 5))


def test_keys_that_are_delivered_and_stay(monkeypatch):
    def show(connection, sealer, block, which, *parameters):
        return contents.unseal(connection, sealer, block, which, *parameters)

    monkeypatch.setattr(contents, "deliver", show)
    find({"K1"})


def test_keys_that_the_other_user_has_not_set_aside(monkeypatch):
    monkeypatch.setitem(handouts._STEPS, HandStep.ASSIGN, lambda *_: None)
    find({"K12"})


def test_requests_that_have_no_end(monkeypatch, impatient):
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


def test_words_that_are_not_those_on_the_disk(monkeypatch, impatient):
    whole = KeyStore.settle

    def mishear(store, block_id, phase, said):
        whole(store, block_id, phase, said and said + b"!")

    monkeypatch.setattr(KeyStore, "settle", mishear)
    find({"K8"})


def test_pads_that_are_granted_by_the_word_of_one_side(monkeypatch):
    monkeypatch.setattr(pads, "next_lease", lambda _granted, mark, _n_pads: (mark, WINDOW))
    find({"K5"}, ("restore",), range(1, 2))


def test_parities_that_are_not_counted(monkeypatch, impatient):
    monkeypatch.setattr(KeyReconciliation, "leak_bits", 0)
    find({"K6"})


def test_a_failing_seed_keeps_only_the_faults_that_it_needs(monkeypatch):
    def pretend(seed, faults):
        bad = ("K1: planted",) if {"cut", "torn"} <= set(faults) else ()
        return Outcome(seed, tuple(faults), bad, (), "", 0, 0, 0, 0.0)

    monkeypatch.setattr(seeds, "simulate", pretend)
    assert seeds.shrink(pretend(1, tuple(FAULTS))).faults == ("torn", "cut")


@pytest.mark.parametrize("seed", [270, 691, 1227, 2323, 3959])
def test_seeds_that_have_failed(seed):
    """Pads that were put back (two), a pair that was forgotten, light waited for in vain (two).

    A change of the code makes another run of a seed; what went wrong has tests of its own.
    """
    assert run_seed(seed, tuple(FAULTS)).violations == ()
