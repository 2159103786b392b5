"""What the protocol costs in time on the disk, in memory and in file descriptors.

Run with -s for the figures: pytest -s tests/bench/test_protocol_costs.py
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from listening import strangers

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.pads import PadFile, create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.runtime.link import secure
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.secret import SecretBuffer

# --- the journal --------------------------------------------------------------------------------

N_BLOCKS = 20
KEY_BITS = 256
MANY_KEYS = 3787  # of a block of scenarios/pair.toml
JOURNAL_S = 0.050
SYNCS_OF_A_BLOCK = 12
"""Durable steps of the coordinator, the busier of the two, leases and the digest included."""


def journal(store, pads, block, frozen, n_keys=1):
    """The durable steps of one block at the coordinator, in their order; in seconds.

    The digest of a design is stored first; two tags are made and two accepted.
    """
    if pads.lease_left < 2:  # as the peer grants it
        pads.accept_lease(pads.high_water, 16)
        pads.grant(pads.high_water)
    block_id = secrets.token_bytes(16)
    meta = BlockMeta(
        block_id=block_id,
        pair=("alice", "bob"),
        owner="alice",
        peer="bob",
        block_no=block,
        origin="simulated",
        eps=1e-10,
        leak_model="none",
    )
    value = SecretBuffer.copy_of(secrets.token_bytes(n_keys * KEY_BITS // 8))
    key = SecretKey(block_id=block_id, n_bits=n_keys * KEY_BITS, origin="simulated", value=value)
    said = bytes(120)
    began_s = time.perf_counter()
    store.begin_block("bob", block)
    with frozen.open("ab") as file:
        file.write(bytes(200))
        file.flush()
        os.fsync(file.fileno())
    pads.take_send()
    record = CommitRecord(block_id, Role.COORDINATOR, Phase.PREPARED, key.n_bits, said)
    store.prepare(meta, key, record)
    pads.take_send()
    store.settle(block_id, Phase.COMMITTED, said)
    pads.burn_receive(2 * block)
    store.settle(block_id, Phase.CONFIRMED, said)
    pads.burn_receive(2 * block + 1)
    return time.perf_counter() - began_s


def synced_writes(path, n):
    """So many small writes, each synced; in seconds."""
    with path.open("ab") as file:
        began_s = time.perf_counter()
        for _ in range(n):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - began_s


def test_the_journal_of_a_block_costs_little_more_than_its_syncs(tmp_path):
    create_pads(tmp_path, "alice", "bob", 256)
    with (
        KeyStore.open(tmp_path / "alice.sqlite") as store,
        PadFile.open(tmp_path / "alice--bob.alice.pads", "alice", "bob") as pads,
    ):
        pads.grant(2 * N_BLOCKS + 10)
        took_s, plain_s = [], []
        for block in range(1, N_BLOCKS + 1):
            took_s.append(journal(store, pads, block, tmp_path / "frozen.jsonl"))
            plain_s.append(synced_writes(tmp_path / "plain", SYNCS_OF_A_BLOCK))
        many_s = min(
            journal(store, pads, N_BLOCKS + n, tmp_path / "frozen.jsonl", MANY_KEYS)
            for n in (1, 2, 3)
        )
    block_s, plain = statistics.median(took_s), statistics.median(plain_s)
    sys.stdout.write(
        f"\njournal of a block: {1e3 * block_s:.1f} ms in the middle of {N_BLOCKS}, at most "
        f"{1e3 * max(took_s):.1f} ms; {SYNCS_OF_A_BLOCK} synced writes of 4 KiB on the same disk: "
        f"{1e3 * plain:.1f} ms; with {MANY_KEYS} keys to cut and seal {1e3 * many_s:.0f} ms\n"
    )
    assert block_s < max(JOURNAL_S, 2 * plain)  # a slow disk is no fault of the journal


# --- a relay and its users ------------------------------------------------------------------------

N_USERS = 32
RELAY_MIB = 300
LINK_MIB = 1.0
N_STRANGERS = 300

CONFIG = """
node = "charles"
listen = "127.0.0.1:0"

[tls]
authority = "authority.pem"
certificate = "charles.pem"
private_key = "charles.key"

[device]
type = "simulated"
light_listen = "127.0.0.1:0"
receiver = { efficiency = 0.4, dark_probability = 1e-7, misalignment = 0.0, mode_overlap = 1.0 }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Certificates of a relay and its users, and the relay's configuration."""
    base = tmp_path_factory.mktemp("relay")
    create_authority(base)
    users = [f"user{n}" for n in range(N_USERS)]
    for node in ("charles", *users):
        issue(base, node)
    fibers = [f"[device.fibers.{user}]\nlength_km = 25.0\n" for user in users]
    fibers = [fiber + "attenuation_db_per_km = 0.2\n" for fiber in fibers]
    (base / "charles.toml").write_text(CONFIG + "".join(fibers))
    return base, users


def memory_mib(process):
    """Resident memory, and not the part that is shared with other processes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def n_descriptors(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


async def link_of(base, user, address, role, peer_role):
    files = (f"{user}.pem", f"{user}.key")
    tls = Tls(authority="authority.pem", certificate=files[0], private_key=files[1])
    return await secure(
        await sockets.dial(address, "relay", 10.0),
        RealWorld().credentials(tls, base),
        node=user,
        role=role,
        expected=Expected(peer_role, ["charles"]),
        entropy=secrets.token_bytes,
        correspond=strangers,
        server_side=False,
    )


async def all_links(base, users, ready):
    """A relay link and a light link of every user."""
    links = []
    for user in users:
        links.append(await link_of(base, user, ready["listen"], "endpoint", "relay"))
        links.append(await link_of(base, user, ready["light_listen"], "transmitter", "receiver"))
    return links


async def close_all(links):
    for link in links:
        await link.close()


async def back_to(process, most):
    """Wait until the process has no more descriptors than that."""
    with trio.fail_after(30):
        while n_descriptors(process) > most:
            await trio.sleep(0.05)  # another process: nothing of it can be awaited


async def test_a_relay_with_many_users_is_small_and_strangers_leave_nothing(site):
    """32 users at one relay, before, during and after a storm of connections."""
    base, users = site
    command = [sys.executable, "-m", "mdiqkd_net", "node", "charles"]
    start = partial(
        trio.run_process,
        [*command, "--config", str(base / "charles.toml")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        relay = await nursery.start(start)
        ready = json.loads((await relay.stdout.receive_some()).splitlines()[0])
        nursery.start_soon(_drain, relay.stdout)
        alone_mib, at_first = memory_mib(relay), n_descriptors(relay)
        async with AsyncExitStack() as stack:
            links = await all_links(base, users, ready)
            stack.push_async_callback(close_all, links)
            idle_mib, with_links = memory_mib(relay), n_descriptors(relay)
            for _ in range(N_STRANGERS):
                with suppress(OSError, trio.BrokenResourceError):
                    async with await _stranger(ready["listen"]) as stream:
                        await stream.send_all(secrets.token_bytes(64))
            for _ in range(3):  # every user comes again, and again
                again = await all_links(base, users, ready)
                await close_all(links)
                links[:] = again
            await back_to(relay, with_links)
            stormy_mib = memory_mib(relay)
        await back_to(relay, at_first)
        nursery.cancel_scope.cancel()
    link_mib = (idle_mib - alone_mib) / (2 * N_USERS)
    sys.stdout.write(
        f"\nrelay: {alone_mib:.0f} MiB alone, {idle_mib:.0f} MiB with {2 * N_USERS} links of "
        f"{N_USERS} users ({1024 * link_mib:.0f} KiB each), {stormy_mib:.0f} MiB after "
        f"{N_STRANGERS} strangers and {6 * N_USERS} reconnects; descriptors {at_first}, "
        f"{with_links}, and back to both\n"
    )
    assert stormy_mib < RELAY_MIB
    assert link_mib < LINK_MIB


async def _stranger(address):
    """A connection from another address than the users'; theirs stay welcome."""
    host, port = address.split(":")
    return await trio.open_tcp_stream(host, int(port), local_address="127.0.0.2")


async def _drain(stream):
    while await stream.receive_some():
        pass


# --- memory of a user ---------------------------------------------------------------------------

EVENT_BYTES = 75
"""A bound for a machine that is busy, whose memory comes and goes otherwise; found: 38 to 46."""

PEAK_OF_CHILDREN = (
    "import resource, subprocess, sys;"
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def peak_of_a_user(n_pulses, report):
    """Announced events, and the largest resident memory of any process of the run, in bytes."""
    scenario = Path(__file__).parents[2] / "scenarios" / "pair.toml"
    run = [sys.executable, "-m", "mdiqkd_net", "run", str(scenario), "--quiet"]
    options = ["--n-pulses", f"{n_pulses:.0f}", "--json", str(report)]
    found = subprocess.run(
        [sys.executable, "-c", PEAK_OF_CHILDREN, *run, *options],
        check=True,
        capture_output=True,
        text=True,
    )
    pair = json.loads(report.read_text())["pairs"][0]
    assert pair["keys_match"]
    return pair["announced"], 1024 * int(found.stdout)


def test_a_user_holds_some_tens_of_bytes_of_an_event(tmp_path):
    """From the light to the last look of the monitors; users are the largest processes of a run."""
    few, some = (peak_of_a_user(n, tmp_path / f"{n:.0f}.json") for n in (2e9, 1e10))
    event_bytes = (some[1] - few[1]) / (some[0] - few[0])
    sys.stdout.write(
        f"\n{few[0]} and {some[0]} events: {few[1] >> 20} and {some[1] >> 20} MiB at most, "
        f"{event_bytes:.0f} bytes an event\n"
    )
    assert event_bytes < EVENT_BYTES
