"""A user's node that has made a block and delivered it keeps no copy of a key, nor of a used pad.

Alice is a process of her own: the node with its links, threads and files, and in the middle of it
`mdiqkd keys take`. We search her memory while she runs, and again when she has ended in good order.
"""

import base64
import secrets
import sys

import msgspec
import pytest
import trio
from commits import offer, prepare
from memory_scan import STAND_STILL, ask, copies, until_still
from node_site import Site

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.secret import SecretBuffer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scans /proc/PID/mem")

ALICE = (
    STAND_STILL
    + """
import json, signal, threading
from pathlib import Path
import msgspec
from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.cli import main
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.runtime.config import EndpointConfig
from mdiqkd_net.runtime.endpoint import EndpointNode
from mdiqkd_net.runtime.node import serve
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.telemetry.events import Telemetry

base, keep = Path(sys.argv[2]), sys.argv[3] == "keep"
config = msgspec.json.decode((base / "alice.json").read_bytes(), type=EndpointConfig)
store_path = base / config.store

def plant(value):
    block_id = bytes(16)
    meta = BlockMeta(block_id=block_id, pair=("alice", "bob"), owner="alice", peer="bob",
        block_no=1, origin="simulated", eps=1e-10, leak_model="none")
    with KeyStore.open(store_path) as store, value:
        record = CommitRecord(block_id, meta.role, Phase.PREPARED, 8 * len(value))
        store.prepare(meta, SecretKey(block_id, 8 * len(value), "simulated", value), record)
        store.settle(block_id, Phase.COMMITTED, b"")
        store.settle(block_id, Phase.CONFIRMED, b"")
        store.begin_block("bob", 1)

kept = []

def keeping(owner, name, chosen):
    whole = getattr(owner, name)
    def watched(self, *arguments):
        kept.extend(bytes(secret) for secret in chosen(self, *arguments))
        return whole(self, *arguments)
    setattr(owner, name, watched)

if keep:
    keeping(KeyStore, "prepare", lambda _store, _block, key, *_: [key.value.view])
    keeping(PadFile, "_burn", lambda _pads, _side, _index, pad: [pad])
    keeping(PadFile, "close", lambda pads: [*pads.send_keys, *pads.receive_keys])
    keeping(KeyStore, "close", lambda store: [store._sealer._store_key.view])
plant(planted(32))

class Lines:
    def __init__(self):
        self.ended, self.n_keys = threading.Event(), 0

    def write(self, line):
        fields = json.loads(line)
        if fields["event"] in ("block.key", "block.aborted", "error"):
            os.write(1, line.encode())
            self.n_keys = fields.get("n_keys", 0)
            self.ended.set()

    def flush(self):
        pass

lines = Lines()

def deliver():
    lines.ended.wait()
    count = str(1 + (lines.n_keys + 1) // 2)  # those that alice owns
    main(["keys", "take", "--store", str(store_path), "--allow-simulated", "--count", count,
        "--out", str(base / "keys.txt")])
    stand_still()
    os.kill(os.getpid(), signal.SIGTERM)

thread = threading.Thread(target=deliver)
thread.start()
telemetry = Telemetry("alice", lines)
code = serve(telemetry, EndpointNode(config, base, telemetry, RealWorld()).run)
thread.join()
os.write(1, b"exit code %d\\n" % code)
stand_still()
"""
)


@pytest.fixture
def site(tmp_path, tls, pads):
    """Bob and Charles in here, the configuration of Alice in a file."""
    made = Site(tmp_path, tls, pads)
    for name in ("alice", "bob"):
        # "auto" goes by round trips, and so by what else runs here
        made.change(name, reconciler="cascade")
    made.change("alice", listen=f"fd://{made.sockets['alice'].fileno()}")
    (tmp_path / "alice.json").write_bytes(msgspec.json.encode(made.users["alice"]))
    yield made
    made.close()


def forms(key):
    """Halves of a key, and of its usual texts."""
    for text in (key, key.hex().encode(), base64.b64encode(key)):
        yield from (text[: len(text) // 2], text[len(text) // 2 : 2 * (len(text) // 2)])


def plant_at_bob(site, planted):
    """He must have the key, too, or he refuses to set it aside."""
    block_id = bytes(16)
    meta = BlockMeta(
        block_id=block_id,
        pair=("alice", "bob"),
        owner="bob",
        peer="alice",
        block_no=1,
        origin="simulated",
        eps=1e-10,
        leak_model="none",
    )
    with KeyStore.open(site.base / "bob.sqlite") as store:
        prepare(store, meta, SecretKey(block_id, 256, "simulated", SecretBuffer.copy_of(planted)))
        offer(store, block_id)
        store.begin_block("alice", 1)


def look(site, pads, keep):
    """Run Alice; how many copies of each kind of secret she has, at work and when she has ended."""
    pads_before = pads.read_bytes()
    planted = secrets.token_bytes(32)
    plant_at_bob(site, planted)
    listener = site.sockets["alice"].fileno()
    process, lines = ask(ALICE, "seen", site.base, keep, secret=planted, pass_fds=[listener])
    with process:
        assert '"event":"block.key"' in "".join(lines), lines
        keys = [line.split()[2] for line in (site.base / "keys.txt").read_text().splitlines()]
        first, *others = map(bytes.fromhex, keys)
        assert first == planted
        assert len(others) > 4
        pads_after = pads.read_bytes()
        each = [pads_before[i : i + 16] for i in range(4096, len(pads_before), 16)]
        burnt = [pad for i, pad in enumerate(each) if not any(pads_after[4096 + 16 * i :][:16])]
        assert len(burnt) == 4  # of both users, of Prepare, Vote, Commit and Committed
        store_key = (site.base / "alice.sqlite.key").read_bytes()
        needles = {
            "planted": list(forms(planted)),
            "block": [*forms(others[0]), others[len(others) // 2], others[-1][16:]],
            "burnt": burnt,
            "unused": [each[15], each[-1]],
            "hash keys": [pads_before[128 + i :][:16] for i in range(0, 64, 16)],
            "store key": [store_key],
        }
        at_work = count(process.pid, needles)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert "exit code 0\n" in until_still(process)
        ended = count(process.pid, needles)
        process.stdin.close()
    return at_work, ended


def count(pid, needles):
    counts = iter(copies(pid, [needle for several in needles.values() for needle in several]))
    return {name: sum(next(counts) for _ in several) for name, several in needles.items()}


@pytest.mark.parametrize("keep", ["nothing", "keep"])
async def test_a_node_keeps_no_copy_of_what_it_delivered(site, nursery, pads, keep):
    for name in ("charles", "bob"):
        nursery.start_soon(site.node(name).run)
    at_work, ended = await trio.to_thread.run_sync(look, site, pads["alice"], keep)
    nursery.cancel_scope.cancel()
    if keep == "nothing":
        gone = dict.fromkeys(ended, 0)
        assert at_work == {**gone, "hash keys": 4, "store key": 1}  # in use, and nowhere else
        assert ended == gone
    else:
        assert at_work["block"] >= 3
        assert at_work["burnt"] >= 2
        assert ended["hash keys"] >= 4
        assert ended["store key"] >= 1
        assert at_work["planted"] >= 2
