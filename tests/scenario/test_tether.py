"""Whoever starts nodes may be killed without a word; the nodes go, too."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NODES = 3


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs process descriptors (Linux)")
def test_no_node_outlives_a_runner_that_is_killed(write_scenario, tmp_path):
    """Killed when the nodes are at work; they leave before anybody would have to kill them."""
    options = ["--no-live", "--n-pulses", "1e12", "--keep", str(tmp_path / "kept")]
    command = [sys.executable, "-m", "mdiqkd_net", "run", str(write_scenario()), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as runner:
        assert runner.stderr is not None
        said = []
        while not any("light" in line for line in said):
            said.append(runner.stderr.readline())
            assert said[-1], said
        nodes = [os.pidfd_open(child) for child in children(runner.pid)]
        runner.send_signal(signal.SIGKILL)
    try:
        assert len(nodes) == NODES
        for node in nodes:
            ended, _, _ = select.select([node], [], [], 10.0)
            assert ended
    finally:
        for node in nodes:
            if not select.select([node], [], [], 0)[0]:
                signal.pidfd_send_signal(node, signal.SIGKILL)
            os.close(node)
