"""Post-processing on workers: the same bits, and a clean end when a worker fails."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from dask_here import cluster_at, local_cluster
from triangle import Triangle

from mdiqkd_net import __version__
from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError, WorkerError
from mdiqkd_net.postprocessing.processor import HERE
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol.context import LOCAL_REASON
from mdiqkd_net.runtime import cluster as clusters
from mdiqkd_net.runtime.workbench import Workbench
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import BlockAborted, Reconcile

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")

QBER = 0.02
N_BITS = 3001
SEED = bytes(range(32))


@dataclass
class Site:
    """A scheduler in this process, and workers that are processes of their own."""

    running: object
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def address(self):
        return self.running.scheduler_address

    @property
    def scheduler(self):
        return self.running.scheduler

    def start_worker(self):
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, *options]
        log = subprocess.DEVNULL
        self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))

    def pid_at(self, address):
        """Process of a worker: the one that listens where it says."""
        with distributed.Client(self.address, set_as_default=False) as client:
            return client.run(os.getpid, workers=[address])[address]

    def cluster(self, deadline_s=20.0):
        return cluster_at(self.address, deadline_s=deadline_s)


@pytest.fixture(scope="module")
def site():
    with local_cluster(n_workers=0) as running:
        made = Site(running)
        made.start_worker()
        made.start_worker()
        with distributed.Client(made.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield made
        for worker in made.workers:
            worker.kill()
            worker.wait()


@pytest.fixture(scope="module")
def cluster(site):
    made = site.cluster()
    made.open()
    yield made
    made.close()


@pytest.fixture
def in_threads():
    """A scheduler and one worker, in threads of this process."""
    with local_cluster() as running:
        yield running


def until(holds, limit_s=20.0):
    """Wait for Dask's thread, which tells nobody what it has cleared away or who has joined."""
    deadline_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline_s, "it never came to hold"
        time.sleep(0.01)


def sifted():
    rng = np.random.default_rng(4)
    alice = rng.integers(0, 2, N_BITS, dtype=np.uint8)
    return alice, alice ^ (rng.random(N_BITS) < QBER).astype(np.uint8)


def numbers(user):
    return user.leak_bits, user.peer_leak_bits, user.n_corrected, user.rounds, user.done


@pytest.mark.parametrize("scheme", sorted(set(RECONCILERS) - {"cascade"}))  # one class for two
def test_a_cluster_sends_the_same_bytes_and_keeps_the_same_key(cluster, scheme):
    """Both users at the cluster, and both here, side by side, round by round."""
    pairs = []
    for bits, corrects in zip(sifted(), (False, True), strict=True):
        pairs.append(
            [
                where.reconciler(scheme, bits, corrects=corrects, qber=QBER, seed=SEED)
                for where in (HERE, cluster)
            ]
        )
    payloads = []
    for here, there in pairs:
        payloads.append(here.start())
        assert there.start() == payloads[-1]
    while payloads[0] is not None:
        answers = []
        for (here, there), payload in zip(pairs, reversed(payloads), strict=True):
            answers.append(here.receive(payload))
            assert there.receive(payload) == answers[-1]
            assert numbers(here) == numbers(there)
        payloads = answers
    for here, there in pairs:
        assert np.array_equal(here.bits, there.bits)
        there.wipe()
        there.wipe()  # harmless
    assert np.array_equal(pairs[0][0].bits, pairs[1][0].bits)


@pytest.mark.parametrize(("n_in", "n_out"), [(2, 1), (N_BITS, 1000), (200_001, 90_007)])
def test_a_cluster_makes_the_same_secret_key(cluster, n_in, n_out):
    rng = np.random.default_rng(5)
    bits, seed = rng.integers(0, 2, n_in, dtype=np.uint8), rng.bytes(-(-n_in // 8))
    assert cluster.amplify(bits, seed[: -(-(n_in - 1) // 8)], n_out) == HERE.amplify(
        bits, seed[: -(-(n_in - 1) // 8)], n_out
    )


def test_what_the_work_itself_refuses_is_said_in_its_words(cluster):
    alice, _ = sifted()
    with pytest.raises(LocalProtocolError, match="n_out: found 3001; allowed: 1 to n_in - 1"):
        cluster.amplify(alice, bytes(376), N_BITS)
    users = [
        where.reconciler("cascade", alice, corrects=False, qber=QBER, seed=SEED)
        for where in (HERE, cluster)
    ]
    payload = users[0].start()
    refusals = []
    for user in users:
        with pytest.raises(RemoteProtocolError) as refusal:
            user.receive(payload + b"?")
        refusals.append((str(refusal.value), refusal.value.abort_code))
    assert refusals[0] == refusals[1]
    assert users[0].receive(payload) == users[1].receive(payload)  # nothing had changed
    users[1].wipe()


def test_nothing_stays_at_scheduler_or_worker(in_threads):
    """Keys are never data of a task, which could be logged, kept or spilled."""
    cluster = cluster_at(in_threads.scheduler_address)
    cluster.open()
    (worker,) = in_threads.workers.values()
    until(lambda: not worker.state.actors)
    benches = []
    begin, end = Workbench.__init__, Workbench.wipe
    ended = threading.Event()

    def note(bench, version):
        begin(bench, version)
        benches.append(bench)

    def tell(bench):
        end(bench)
        ended.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workbench, "__init__", note)
        patch.setattr(Workbench, "wipe", tell)
        user = cluster.reconciler("ldpc", sifted()[0], corrects=False, qber=QBER, seed=SEED)
        user.receive(
            HERE.reconciler("ldpc", sifted()[1], corrects=True, qber=QBER, seed=SEED).start()
        )
        user.bits  # noqa: B018
        (bench,) = benches
        scheme, (packed,) = bench._reconciler, bench._handed_out
        assert packed.any()
        assert scheme.bits.any()
        assert len(worker.state.actors) == 1
        assert not worker.data
        user.wipe()
        assert ended.wait(20.0)
    assert not packed.any()
    assert not scheme.bits.any()
    until(lambda: not in_threads.scheduler.tasks and not worker.state.actors)
    # A node that goes without a word, too.
    lost = cluster.reconciler("ldpc", sifted()[0], corrects=False, qber=QBER, seed=SEED)
    (bench,) = worker.state.actors.values()
    scheme = bench._reconciler
    del bench
    cluster.close()
    until(lambda: not worker.state.actors)
    gc.collect()
    assert not scheme.bits.any()
    del lost


def test_a_bench_that_is_wiped_forgets(monkeypatch):
    monkeypatch.setattr("mdiqkd_net.runtime.workbench.forbid_dumps", lambda: None)
    bench = Workbench(__version__)
    alice, _ = sifted()
    packed = np.packbits(alice)
    bench.begin("cascade", packed, alice.size, corrects=False, qber=QBER, seed=SEED)
    assert not packed.any()
    bench.wipe()
    with pytest.raises(LocalProtocolError, match="found a round; allowed: after `begin`"):
        bench.receive(b"")


def test_two_pieces_of_work_are_on_two_workers(site, cluster):
    """... so that two pairs use two cores."""
    benches = [cluster.bench() for _ in range(2)]
    assert len({bench.address for bench in benches}) == len(site.workers) == 2
    for bench in benches:
        bench.dismiss()


def test_a_worker_that_hangs_costs_the_deadline_and_is_used_last(site):
    cluster = site.cluster(deadline_s=30.0)
    cluster.open()
    cluster.deadline_s = 0.5
    alice, _ = sifted()
    user = cluster.reconciler("cascade", alice, corrects=False, qber=QBER, seed=SEED)
    (bench,) = cluster._benches
    pid = site.pid_at(bench.address)
    payload = user.start()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(WorkerError, match=rf"worker {bench.address}: no answer within 0\.5 s"):
            user.receive(payload)
        user.wipe()  # waits for nobody
        cluster.deadline_s = 30.0
        others = [cluster.bench() for _ in range(2)]
        assert bench.address not in {other.address for other in others}
        for other in others:
            other.dismiss()
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.close()


class Assassin:
    """Kills all workers when a message first passes; others come when the block has ended."""

    def __init__(self, kind, site):
        self._kind = kind
        self._site = site
        self.left = {}

    def __call__(self, source, target, frame):
        if self._kind is not None and frame.kind == self._kind.TYPE:
            self._kind = None
            for worker in self._site.workers:
                worker.kill()
                worker.wait()
            self._site.workers.clear()
            until(lambda: not self._site.scheduler.workers)
        if frame.kind == BlockAborted.TYPE:
            if not self._site.workers:
                self._site.start_worker()
                until(lambda: self._site.scheduler.workers, 60.0)
            self.left[source] = decode(frame).code
        return frame


def test_a_worker_that_dies_in_the_middle_costs_the_block_and_nothing_else(site):
    """Both users compute at the cluster; all of its workers are killed, and others come."""
    cluster = site.cluster()
    cluster.open()
    assassin = Assassin(Reconcile, site)
    triangle = Triangle(
        20_000_000, blocks=2, tamper=assassin, processor=cluster, reconciler="cascade_low_rounds"
    ).run()
    cluster.close()
    for user in (triangle.alice, triangle.bob):
        assert user.ended == ["aborted", "key"], user.reports
        assert user.error is None
        assert len(user.keys) == 1
    assert triangle.alice.keys == triangle.bob.keys
    assert set(assassin.left.values()) == {LOCAL_REASON}
    for name in assassin.left:  # each user whose worker died before it heard of the other's
        (reason,) = (f["reason"] for e, f in triangle.users[name].reports if e == "block.aborted")
        assert re.match(
            r"post-processing: worker tcp://127\.0\.0\.1:\d+ is lost \((OSError|RuntimeError)\)",
            reason,
        )


@pytest.mark.parametrize("module", ["mdiqkd_elsewhere.runtime.workbench", "mdiqkd_net.no_such"])
def test_a_worker_without_the_package_is_refused(site, monkeypatch, module):
    """... or with one that is so old that it cannot be asked for its version."""
    monkeypatch.setattr(clusters, "MODULE", module)
    cluster = site.cluster()
    words = rf"found no module {module.partition('.no')[0]}.*; allowed: workers with mdiqkd-net"
    with pytest.raises(WorkerError, match=words.replace(".runtime.workbench", "")):
        cluster.open()
    with pytest.raises(WorkerError, match="found no module"):
        cluster.bench()
    cluster.close()
