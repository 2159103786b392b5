import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from mdiqkd_net.runtime.node import serve
from mdiqkd_net.telemetry.events import Telemetry

async def work():
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))

sys.exit(serve(Telemetry("alice", sys.stdout), work))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_node_leaves_no_core_dump_and_nobody_may_look_into_it():
    command = [sys.executable, "-c", PROGRAM]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout == b"(0, 0) 0\n"
