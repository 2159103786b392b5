"""After a whole block nothing secret of it is left in memory, at either user.

Both cores run in one process, and what they had is compared with all of its memory.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from memory_scan import STAND_STILL, ask, copies

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scans /proc/PID/mem")

BLOCK = (
    STAND_STILL
    + """
sys.path.insert(0, sys.argv[2])
import numpy as np
from triangle import Triangle
from mdiqkd_net.protocol.context import BlockContext

keep, directory = sys.argv[3] == "keep", sys.argv[4]
kept = []
wipe = BlockContext.wipe

def write(name, data):  # without a buffer of Python's
    descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT)
    assert os.write(descriptor, data) == len(data)
    os.close(descriptor)

def watched(context):
    write(f"raw.{context.role.name}", context.sifted.key_bits)
    write(f"reconciled.{context.role.name}", context.key_bits)
    if keep:
        kept.append(np.packbits(context.key_bits))
    wipe(context)

BlockContext.wipe = watched
triangle = Triangle(40_000_000, segment_pulses=15_000_000).run()
for user in triangle.users.values():
    (key,) = user.held.values()
    write(f"secret.{user.name}", key.value.view)
    if keep:
        kept.append(bytes(key.value.view))
    key.value.wipe()
stand_still()
"""
)
LENGTH = 256


def windows(data):
    """Pieces from the beginning, the middle and the end."""
    return [data[i : i + LENGTH] for i in (0, len(data) // 2, len(data) - LENGTH)]


def packed(bits, order):
    return np.packbits(bits, bitorder=order).tobytes()


@pytest.mark.parametrize("keep", ["nothing", "keep"])
def test_nothing_secret_outlives_a_block(tmp_path, keep):
    process, _ = ask(BLOCK, "seen", Path(__file__).parents[1], keep, tmp_path)
    with process:
        needles = {}
        for file in sorted(tmp_path.iterdir()):
            data = np.fromfile(file, np.uint8)
            if file.name.startswith("secret"):
                needles[file.name] = windows(data.tobytes())
                continue
            needles[f"{file.name} bytes"] = windows(data.tobytes())
            for order in ("big", "little"):
                needles[f"{file.name} {order}"] = windows(packed(data, order))
        flat = [needle for pieces in needles.values() for needle in pieces]
        counts = dict(zip(flat, copies(process.pid, flat), strict=True))
        found = {name for name, parts in needles.items() if any(counts[part] for part in parts)}
        process.stdin.close()
    assert len(needles) == 14
    if keep == "nothing":
        assert found == set()
    else:
        assert {"secret.alice", "secret.bob"} <= found
        assert any(name.startswith("reconciled") for name in found)
