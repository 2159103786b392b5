"""What disks do to real nodes, and what becomes of files while nodes are down (`test_campaign`)."""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing

import pytest
import trio
from live_books import USERS, other
from live_faults import (
    FEW_PADS,
    POINTS,
    damaged,
    disk_error,
    disk_full,
    hand_out,
    refused_to_start,
)
from live_site import N_PULSES, NODES, RECEIVER, ROOT, SECURITY, SOURCE, WAIT_S
from msgspec import structs

from mdiqkd_net.cli import EXIT_USAGE
from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys import pad_layout
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.params import Link, UserLink
from mdiqkd_net.planning.prediction import design_of
from mdiqkd_net.runtime.config import Estimation
from mdiqkd_net.runtime.designs import frozen_path
from mdiqkd_net.runtime.node import EXIT_DEVICE, EXIT_SOFTWARE

pytestmark = pytest.mark.campaign

PATIENT = {"patience_s": 600.0}
"""Of a user whose peer is away for one damage after the other."""


@pytest.mark.parametrize("user", USERS)
async def test_a_disk_that_is_full_at_any_step(through, report, user):
    (site,) = await through(n_pads=FEW_PADS)
    times = [await disk_full(site, user, n_pages) for n_pages in (1, 2, 4, 7, 11)]
    report("11", f"{user}'s disk full", times)


@pytest.mark.parametrize("user", USERS)
async def test_a_disk_that_reports_errors_at_any_step(through, report, user):
    """`fsync` at every step; writing and reading where the store and the pads do it."""
    (site,) = await through()
    steps = [point for point in POINTS[user] if point.endswith(".before")]
    faults = [("sync", point) for point in steps]
    faults += [("write", "hold.before"), ("write", "tag.before"), ("read", "tag.before")]
    times = [await disk_error(site, user, call, point) for call, point in faults]
    report("12", f"EIO at each durable step of {user}", times)


def flipped(data, *places):
    """The data with a bit of each of these bytes turned."""
    data = bytearray(data)
    for place in places:
        data[place] ^= 0x10
    return bytes(data)


def noise(data, start, end):
    """The data, with noise in place of these bytes."""
    return data[:start] + os.urandom(end - start) + data[end:]


PAD_DAMAGES = {
    "magic": (lambda data: flipped(data, 0), "no pad file"),
    "hash keys": (lambda data: flipped(data, 160), "the checksum of its header"),
    "grants": (lambda data: flipped(data, 1025, 2049), "the checksum of what was granted"),
    "cut short": (lambda data: data[:-100], "damaged: found"),
    "cut in its header": (lambda data: data[:100], "no pad file"),
    "gone": (lambda data: None, "No such file"),
}

STORE_DAMAGES = {
    "header": (lambda data: flipped(data, 0), "not an SQLite database"),
    "schema": (lambda data: noise(data, 100, 4096), "malformed"),
    "pages": (lambda data: noise(data, 4096, len(data)), "malformed"),
    "cut short": (lambda data: data[: len(data) // 2], "malformed"),
}


@pytest.mark.parametrize("user", USERS)
async def test_pad_files_that_are_damaged(through, report, user):
    """Each is named when the node starts; the backup is as good as the file was."""
    (site,) = await through(**PATIENT)
    await site.kill(user)
    path = site.pad_path(user)
    for damage, words in PAD_DAMAGES.values():
        with damaged(path, damage(path.read_bytes())):
            await refused_to_start(site, user, EXIT_DEVICE, str(path), words)
    await site.start(user)
    report("13", f"{user}'s pad file damaged in {len(PAD_DAMAGES)} ways", [await site.new_key()])


@pytest.mark.parametrize("user", USERS)
async def test_stores_that_are_damaged(through, report, user):
    """As above. Without its last process the store is one file, and has no log."""
    (site,) = await through(**PATIENT)
    await site.stop(user)
    path = site.store_path(user)
    for damage, words in STORE_DAMAGES.values():
        with damaged(path, damage(path.read_bytes())):
            await refused_to_start(site, user, EXIT_DEVICE, str(path), words)
    key = path.with_name(path.name + ".key")
    for data, words in ((flipped(key.read_bytes(), 20), "store key"), (None, "No such file")):
        with damaged(key, data):
            await refused_to_start(site, user, EXIT_DEVICE, str(key), words)
    await site.start(user)
    what = f"{user}'s store damaged in {len(STORE_DAMAGES) + 2} ways"
    report("13", what, [await site.new_key()])


@pytest.mark.parametrize(
    ("user", "offset"), list(zip(USERS, pad_layout.GRANT_OFFSETS, strict=True))
)
async def test_a_grant_that_is_damaged_loses_nothing(through, report, user, offset):
    """There are two records of it."""
    (site,) = await through()
    await site.kill(user)
    path = site.pad_path(user)
    path.write_bytes(flipped(path.read_bytes(), offset + 9))
    await site.start(user)
    times = [await site.new_key()]
    report("13", f"one of {user}'s two records of grants damaged", times)


def spoil_pads(path, owner):
    """Turn a bit of each pad that the file still has for the messages of one user."""
    data = bytearray(path.read_bytes())
    n_pads = (len(data) - pad_layout.PAGE_BYTES) // (2 * pad_layout.PAD_BYTES)
    first, end = (pad_layout.offset_of(n_pads, USERS.index(owner) + i, 0) for i in (0, 1))
    for start in range(first, end, pad_layout.PAD_BYTES):
        if any(data[start : start + pad_layout.PAD_BYTES]):
            data[start + 3] ^= 0x10
    path.write_bytes(data)


async def tags_that_fail(site):
    """No key comes any more, because tags do not hold: of a vote, or of what comes before it."""
    failed = {user: len(site.nodes[user].events) for user in USERS}
    async with trio.open_nursery() as either:

        async def watch(user):
            node = site.nodes[user]
            await node.until(
                lambda: (
                    node.named("tag.failed", since=failed[user])
                    or any(
                        e["tag_failures"] for e in node.named("block.aborted", since=failed[user])
                    )
                )
            )
            either.cancel_scope.cancel()

        with trio.fail_after(WAIT_S):
            for user in USERS:
                either.start_soon(watch, user)
            await trio.sleep_forever()


@pytest.mark.parametrize("user", USERS)
async def test_pads_that_are_damaged_where_they_check(through, report, user):
    """The peer's tags do not hold. A backup of the file is as good as an older copy: row 14."""
    (site,) = await through(patience_s=600.0)
    await site.kill(user)
    path, backup = site.pad_path(user), site.base / "backup.pads"
    shutil.copy(path, backup)
    spoil_pads(path, other(user))
    await site.start(user)
    await tags_that_fail(site)
    await site.kill(user)
    site.books.check()
    shutil.copy(backup, path)
    site.books.pads_put_back(user)
    await site.start(*(name for name in USERS if not site.nodes[name].alive))
    report("13", f"{user}'s pads for checking damaged", [await site.new_key()])


@pytest.mark.parametrize("user", USERS)
async def test_pads_that_are_damaged_where_they_tag(through, report, user):
    """What was said under them is on disk, and wrong for ever: only new pads help."""
    (site,) = await through()
    await site.kill(user)
    spoil_pads(site.pad_path(user), user)
    await site.start(user)
    await tags_that_fail(site)
    await site.kill(*USERS)
    site.books.check()
    await new_pads(site, FEW_PADS)
    await site.start(*USERS)
    times = [await site.new_key()]
    await site.kill(*USERS)
    site.books.check(settled=True)
    report("13", f"{user}'s pads for tags damaged", times)


@pytest.mark.parametrize("user", USERS)
async def test_a_key_that_is_damaged_is_not_served(through, report, user):
    """The others are, once the node has started anew and burned what nobody has taken."""
    (site,) = await through()
    await site.stop(user)
    path = site.store_path(user)
    with closing(sqlite3.connect(path)) as connection:
        (sealed,) = connection.execute(
            """SELECT sealed FROM keys JOIN blocks ON blocks.id = keys.block
            WHERE offered AND number & 1 = ? ORDER BY block, number LIMIT 1""",
            (USERS.index(user),),
        ).fetchone()
    data = path.read_bytes()
    assert data.count(sealed) == 1
    path.write_bytes(flipped(data, data.index(sealed) + len(sealed) // 2))
    since = len(site.nodes[user].events)
    await site.start(user)
    await site.nodes[user].wait_for("block.key", since=since)
    with pytest.raises(KeyStoreError, match="damaged"):
        await hand_out(site, user)
    await site.kill(user)
    await site.start(user)
    times = [await site.new_key()]
    await hand_out(site, user)
    report("13", f"the oldest key of {user} damaged", times)


async def test_designs_that_are_damaged(open_site, report):
    """A node leaves before it does anything; the notes of what was judged by one are not read."""
    user = UserLink(**structs.asdict(SOURCE), length_km=0.0, attenuation_db_per_km=0.2)
    design = design_of(
        Link(
            n_pulses=N_PULSES,
            alice=user,
            bob=user,
            receiver=RECEIVER,
            eps_sec=SECURITY.eps_sec,
            eps_cor=SECURITY.eps_cor,
            f_ec=SECURITY.f_ec,
            bell_states=("psi_minus", "psi_plus"),
        )
    )
    estimation = Estimation(method="certificate")
    site = open_site(peer={"design": "design.json"}, estimation=estimation, **PATIENT)
    path = site.base / "design.json"
    path.write_bytes(design.canonical())
    await site.start(*NODES)
    await site.new_key()
    times = []
    for user in USERS:
        await site.kill(user)
        data = path.read_bytes()
        places = range(10, len(data), len(data) // 4)
        for wrong in (*(flipped(data, place) for place in places), data[:-1], None):
            with damaged(path, wrong):
                await refused_to_start(site, user, EXIT_USAGE, "design.json")
        notes = frozen_path(site.store_path(user))
        os.truncate(notes, notes.stat().st_size - 10)
        await site.start(user)
        times.append(await site.new_key())
    report("13", "designs of both users damaged in 6 ways", times)


@pytest.mark.parametrize("user", USERS)
async def test_a_log_that_is_cut_short(through, report, user):
    """The store is then an older one. What it has forgotten is handed out by nobody."""
    (site,) = await through()
    await site.new_key()
    await site.kill(user)
    before = site.books.phases()
    log = site.store_path(user).with_name(site.store_path(user).name + "-wal")
    os.truncate(log, log.stat().st_size // 2)
    side = USERS.index(user)
    after = site.books.phases()
    forgotten = {block for block in before if after[block][side] is not before[block][side]}
    assert forgotten
    site.books.forgotten(forgotten)
    await site.start(user)
    times = [await site.new_key()]
    await hand_out(site, user)
    peer = other(user)
    with KeyStore.open(site.store_path(peer), create=False) as store:
        keys = [key for key in store.keys(user, "available") if key.block_id in before]
    n_old = sum(key.index % 2 == USERS.index(peer) for key in keys)
    with pytest.raises(KeyStoreError, match="does not have all of these keys free"):
        await hand_out(site, peer, n_old)
    await site.nodes[user].wait_for("handout.alarm")
    await hand_out(site, peer)
    site.books.check()
    report("13", f"{user}'s log cut to half, {len(forgotten)} blocks forgotten", times)


@pytest.mark.parametrize("user", USERS)
async def test_pads_that_are_put_back(through, report, user):
    """An older copy takes the place of the file; no pad is used again."""
    (site,) = await through()
    await site.kill(user)
    shutil.copy(site.pad_path(user), site.base / "older.pads")
    times = []
    for _ in range(2):
        await site.start(user)
        await site.new_key()
        await site.kill(user)
        shutil.copy(site.base / "older.pads", site.pad_path(user))
        site.books.pads_put_back(user)
        await site.start(user)
        times.append(await site.new_key())
        await site.kill(user)
    report("14", f"{user}'s pads put back", times)


async def new_pads(site, n_pads):
    """As the manual says: nodes down, old files away, new ones for both."""
    made = site.base / f"pads-{n_pads}"
    command = ["-m", "mdiqkd_net", "pki", "new-pads", *USERS, "--dir", str(made)]
    await trio.run_process([sys.executable, *command, "--count", str(n_pads)], cwd=ROOT)
    for user in USERS:
        (made / site.pad_path(user).name).replace(site.pad_path(user))
    site.books.new_pads()


async def taken(site, user, *options):
    """Name and value of a key, as `mdiqkd keys take` prints them."""
    command = ["-m", "mdiqkd_net", "keys", "take", "--store", str(site.store_path(user))]
    done = await trio.run_process(
        [sys.executable, *command, "--allow-simulated", *options],
        cwd=ROOT,
        capture_stdout=True,
        capture_stderr=True,
    )
    key_id, origin, value = done.stdout.decode().split()
    assert origin == "simulated"
    return key_id, value


async def test_pads_that_are_used_up(open_site, report):
    """The pair stops, settled and whole; its keys are served; with new pads it goes on."""
    site = open_site(n_pads=48, patience_s=30.0)
    await site.start(*NODES)
    with trio.fail_after(WAIT_S):
        codes = [await site.nodes[user].process.wait() for user in USERS]
    assert codes == 2 * [EXIT_SOFTWARE]
    reasons = [site.nodes[user].named("pair.failed")[-1]["reason"] for user in USERS]
    assert any("are used up; `mdiqkd pki` makes new ones" in reason for reason in reasons), reasons
    site.books.check(settled=True)
    for user in USERS:
        key = await taken(site, user)
        assert await taken(site, other(user), "--id", key[0]) == key
    await new_pads(site, FEW_PADS)
    await site.start(*USERS)
    times = [await site.new_key()]
    for user in USERS:
        await hand_out(site, user)
    report("22", "new pads after all were used up", times)


DOUBTS = [
    *(("alice", point) for point in ("hold.after", "commit.after", "confirm.before")),
    *(("bob", point) for point in ("hold.after", "commit.after")),
]


@pytest.mark.parametrize(("user", "point"), DOUBTS)
async def test_new_pads_while_a_block_is_in_doubt(through, report, user, point):
    """What was said under old pads is said again under new ones."""
    (site,) = await through()
    await site.kill(user)
    await site.start(user, crash_at=f"{point}:2")
    assert await site.nodes[user].ended() == -signal.SIGKILL
    await site.kill(other(user))
    await new_pads(site, FEW_PADS)
    await site.start(*USERS)
    times = [await site.new_key()]
    await site.kill(*USERS)
    site.books.check(settled=True)
    report("22", f"new pads after {user} was killed at {point}", times)
