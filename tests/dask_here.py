"""A Dask cluster on the loopback interface of this machine."""

import pytest

from mdiqkd_net.runtime.cluster import Cluster
from mdiqkd_net.runtime.config import Postprocessing


def local_cluster(**options):
    """A scheduler and one worker, in threads of this process unless `options` say otherwise."""
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    usual = {
        "n_workers": 1,
        "threads_per_worker": 1,
        "processes": False,
        "protocol": "tcp",
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
    }
    return distributed.LocalCluster(**usual | options)


def cluster_at(address, **table):
    """The processor of a node that uses the scheduler at an address; not yet open."""
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    config = Postprocessing(scheduler=address, **table)
    return Cluster(config, distributed.Security(require_encryption=False))
