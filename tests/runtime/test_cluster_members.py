"""Which schedulers and workers a node accepts, and what it does where there is none."""

import numpy as np
import pytest
from dask_here import cluster_at, local_cluster

from mdiqkd_net import __version__
from mdiqkd_net.errors import ConfigError, WorkerError
from mdiqkd_net.postprocessing.processor import HERE
from mdiqkd_net.runtime import cluster as clusters

pytest.importorskip("distributed", reason="the extra `dask` is not installed")

BITS = np.random.default_rng(4).integers(0, 2, 3001, dtype=np.uint8)


def test_a_worker_of_another_version_is_refused(monkeypatch):
    # The worker is in this process, so it is the node that is made another.
    monkeypatch.setattr(clusters, "__version__", "0.0.0")
    words = rf"worker tcp://\S+: found a worker of version {__version__}; allowed: 0\.0\.0"
    with local_cluster() as running:
        cluster = cluster_at(running.scheduler_address)
        with pytest.raises(WorkerError, match=words):
            cluster.open()
        with pytest.raises(WorkerError, match=words):
            cluster.amplify(BITS, bytes(400), 1000)
        cluster.close()


def test_a_worker_elsewhere_is_refused():
    """It says that it is at 192.0.2.1; plain TCP to there would show the key."""
    with local_cluster(contact_address="tcp://192.0.2.1:4321") as running:
        cluster = cluster_at(running.scheduler_address)
        words = r"worker: found 'tcp://192\.0\.2\.1:4321'; allowed: tcp://, like the scheduler's"
        with pytest.raises(ConfigError, match=words):
            cluster.open()
        with pytest.raises(WorkerError, match=words):
            cluster.bench()
        cluster.close()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://localhost:1"])
def test_a_scheduler_that_is_not_there(address, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    cluster = cluster_at(address)
    words = rf"postprocessing\.scheduler: found '{address}', where none answers"
    with pytest.raises(ConfigError, match=words):
        cluster.open()
    with pytest.raises(WorkerError, match=words):  # the block ends, and not the node
        cluster.amplify(BITS, bytes(400), 1000)
    cluster.close()


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_S", 3.0)
    with local_cluster(n_workers=0) as running:
        cluster = cluster_at(running.scheduler_address)
        with pytest.raises(WorkerError, match=r"found no worker at tcp://127\.0\.0\.1:\d+ within"):
            cluster.open()
        cluster.close()


def test_a_scheduler_that_comes_back_is_found_again(monkeypatch):
    with local_cluster() as running:
        cluster = cluster_at(running.scheduler_address)
        cluster.open()
        user = cluster.reconciler("cascade", BITS, corrects=False, qber=0.02, seed=bytes(32))
        port = running.scheduler.port
    with pytest.raises(WorkerError, match=r"worker tcp://127\.0\.0\.1:\d+ is lost"):
        user.receive(user.start())
    user.wipe()  # never fails
    with monkeypatch.context() as impatient:
        impatient.setattr(clusters, "CONNECT_S", 0.5)
        with pytest.raises(WorkerError, match="where none answers"):
            cluster.bench()
    with local_cluster(scheduler_port=port):
        assert cluster.amplify(BITS, bytes(375), 1000) == HERE.amplify(BITS, bytes(375), 1000)
        cluster.close()
