"""A key that we plant in a process must be nowhere in its memory after it was delivered.

Each test has a control: the same process keeps one copy on purpose, and the scan finds it.
"""

import base64
import secrets
import sys

import pytest
from memory_scan import STAND_STILL, ask, copies

from mdiqkd_net.keys.pads import create_pads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scans /proc/PID/mem")

DELIVER = (
    STAND_STILL
    + """
import base64
from pathlib import Path
from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.cli import main
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord, Phase

path, keep, arguments = Path(sys.argv[2]), sys.argv[3] == "keep", sys.argv[4:]
block_id = bytes(range(16))
meta = BlockMeta(block_id=block_id, pair=("alice", "bob"), owner="alice", peer="bob", block_no=1,
    origin="measured", eps=1e-10, leak_model="none")
secret, value = planted(64), SecretBuffer(128)
value.view[:32], value.view[64:96] = secret.view[:32], secret.view[32:]  # those that alice owns
secret.wipe()
if keep:
    first = value.view[:32]
    kept = [bytes(first), first.hex(), base64.b64encode(first)]
with KeyStore.open(path) as store, value:
    record = CommitRecord(block_id, meta.role, Phase.PREPARED, 1024)
    store.prepare(meta, SecretKey(block_id, 1024, "measured", value), record)
    store.settle(block_id, Phase.COMMITTED, b"")
    store.settle(block_id, Phase.CONFIRMED, b"")
assert main(["keys", "take", "--store", str(path), *arguments]) == 0
stand_still()
"""
)

TAGS = (
    STAND_STILL
    + """
from pathlib import Path
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.protocol.tags import Transcript
from mdiqkd_net.wire.frames import Sequencer

keep = sys.argv[3] == "keep"
with PadFile.open(Path(sys.argv[2]), "alice", "bob", leased=False) as pads:
    transcript = Transcript()
    transcript.add_sent(Sequencer().seal(0x8301, b"a message"))
    if keep:
        kept = [bytes(key) for key in pads.send_keys]
        taken = pads.take_send

        def take_send():
            index, pad = taken()
            kept.append(bytes(pad))
            return index, pad

        pads.take_send = take_send
    index, tag = transcript.seal(pads, b"context")
    try:
        transcript.check(pads, b"context", 0, tag)
    except Exception:
        pass  # a forged tag; its pad is spent all the same
stand_still()
"""
)


def forms(secret):
    """A key as whoever is careless leaves it, and its halves: part of a copy is one, too."""
    texts = [base64.b64encode(secret), secret.hex().encode()]
    found = {"raw": [secret[:16], secret[16:]]}
    for name, text in zip(("base64", "hex"), texts, strict=True):
        found[name] = [text[: len(text) // 2], text[len(text) // 2 : -1]]
    return found


def deliver(path, *arguments, memory="seen", keep="nothing"):
    """Plant two keys, take both; the number of copies of the first and the second by form."""
    secret = secrets.token_bytes(64)
    process, lines = ask(DELIVER, memory, path, keep, "--count", 2, *arguments, secret=secret)
    with process:
        found = [
            {name: sum(copies(process.pid, parts)) for name, parts in forms(key).items()}
            for key in (secret[:32], secret[32:])
        ]
        store_key = path.with_name(path.name + ".key").read_bytes()
        found.append({"store key": sum(copies(process.pid, [store_key[:16], store_key[16:]]))})
        process.stdin.write(b"\n")
        process.stdin.close()
    assert process.returncode == 0
    return secret, "".join(lines), found


@pytest.mark.parametrize(
    ("memory", "arguments"),
    [("best", []), ("seen", ["--encoding", "base64", "--json"]), ("seen", ["--out"])],
)
def test_no_copy_of_a_delivered_key_is_left(tmp_path, memory, arguments):
    target = tmp_path / "keys.txt"
    arguments = [*arguments, *([str(target)] if "--out" in arguments else [])]
    secret, output, found = deliver(tmp_path / "a.db", *arguments, memory=memory)
    if target.exists():
        output += target.read_text()
    name = "base64" if "base64" in arguments else "hex"
    for key in (secret[:32], secret[32:]):
        assert all(part.decode() in output for part in forms(key)[name])
    assert "dumpable 0\n" in output
    nothing = {"raw": 0, "base64": 0, "hex": 0}
    assert found == [nothing, nothing, {"store key": 0}]


def test_copies_that_are_kept_are_found(tmp_path):
    _, _, (first, second, _) = deliver(tmp_path / "a.db", keep="keep")
    assert min(first.values()) >= 2  # both halves of each form
    assert not any(second.values())


@pytest.mark.parametrize("keep", ["nothing", "keep"])
def test_no_pad_and_no_hash_key_is_left_after_a_tag(tmp_path, keep):
    path, _ = create_pads(tmp_path, "alice", "bob", 4)
    whole = path.read_bytes()
    hash_keys = [whole[128 + 16 * i : 144 + 16 * i] for i in range(4)]
    pads = [whole[4096 + 64 * side : 4112 + 64 * side] for side in range(2)]
    process, _ = ask(TAGS, "seen", path, keep)
    with process:
        found = copies(process.pid, [*hash_keys, *pads])
        process.stdin.close()
    if keep == "nothing":
        assert found == [0] * 6
    else:
        assert [count > 0 for count in found] == [True, True, False, False, True, False]
