"""A run whose users have their blocks ripen on a Dask cluster."""

import json

import pytest
from dask_here import local_cluster

from mdiqkd_net.cli import main
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.scenario.config import read


def test_a_pair_on_a_cluster_makes_a_key(write_scenario, tmp_path):
    target, keep = tmp_path / "report.json", tmp_path / "kept"
    with local_cluster(n_workers=2) as running:
        path = write_scenario(more=f'scheduler = "{running.scheduler_address}"')
        options = ["--quiet", "--json", str(target), "--keep", str(keep), "--n-pulses", "4e8"]
        assert main(["run", str(path), *options]) == 0
        for worker in running.workers.values():
            assert not worker.state.actors  # they have been used, and cleared away
            assert not worker.data
    (pair,) = json.loads(target.read_text())["pairs"]
    assert pair["keys_match"] is True
    assert pair["n_keys"] > 0
    for user in ("alice", "bob"):
        events = (keep / "nodes" / user / "events.jsonl").read_text().splitlines()
        (ready,) = (e for line in events if (e := json.loads(line))["event"] == "ready")
        assert ready["scheduler"] == running.scheduler_address


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:8786", "tls://127.0.0.1:8786", "127.0.0.1"])
def test_only_a_cluster_on_this_machine_serves_a_run(write_scenario, address):
    path = write_scenario(more=f'scheduler = "{address}"')
    with pytest.raises(ConfigError, match=rf"scheduler: found '{address}'; allowed: tcp://"):
        read(path)
