"""What tests do to a `live_site.Site`; each returns how long a new key took."""

import signal
from contextlib import contextmanager
from pathlib import Path

import trio
from live_books import USERS, other
from live_site import WAIT_S

from mdiqkd_net.keys.asking import take_new
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.runtime.crashing import crash_points
from mdiqkd_net.runtime.node import EXIT_DEVICE

PAGE_BYTES = 4096
EIO_WORDS = ("Input/output error", "disk I/O error", "malformed")
"""What the system, SQLite, and SQLite that cannot read make of EIO."""

FEW_PADS = 512
"""So few that their file is smaller than a key store, which is what fills up."""

RARE = ("freeze", "abort", "hand")
"""No step of an undisturbed block that is not judged by a design."""

POINTS = {
    user: [
        point
        for point in crash_points()
        if point.split(".")[0] not in (*RARE, *(("confirm",) if user == "bob" else ()))
    ]
    for user in USERS
}
"""Every point that an undisturbed run passes; only a coordinator confirms."""


async def killed_at(site, user, point, visit):
    """A user kills itself at a visit of a crash point, and is started again.

    A lease lasts for seven blocks, so the third visit of a point that has to do with leases takes
    as long as twenty keys.
    """
    await site.kill(user)
    await site.start(user, crash_at=f"{point}:{visit}")
    assert await site.nodes[user].ended(WAIT_S) == -signal.SIGKILL
    site.books.check()
    await site.start(user)
    return await site.new_key()


async def killed(site, *names):
    """All at once, and started again."""
    await site.kill(*names)
    site.books.check()
    await site.start(*names)
    return await site.new_key()


async def cut(site, proxy, cuts):
    """Cuts, each (after, inside, reset), of one connection after the other."""
    for after, inside, reset in cuts:
        proxy.cut(after=after, inside=inside, reset=reset)
        proxy.cut_all(reset=reset)
        with trio.fail_after(60):
            await proxy.all_cuts_made()
        site.books.check()
    return await site.new_key()


async def disk_full(site, user, n_pages):
    """There is room for so many pages; the user says that it is used up, and leaves.

    A limit on the size of every file that a process writes (RLIMIT_FSIZE) is a disk that fills up:
    the write that would pass it fails, in whatever durable step it belongs to.
    """
    await site.kill(user)
    store, since = site.store_path(user), len(site.nodes[user].events)
    files = [f for f in (store, Path(f"{store}-wal"), site.pad_path(user)) if f.exists()]
    used_bytes = max(file.stat().st_size for file in files)
    await site.start(user, limit_bytes=used_bytes + n_pages * PAGE_BYTES)
    assert await site.nodes[user].ended(WAIT_S) == EXIT_DEVICE
    await site.nodes[user].wait_for("error", since=since)
    site.books.check()
    await site.start(user)
    return await site.new_key()


async def disk_error(site, user, call, point):
    """From a crash point on, the kernel answers a system call of the user with EIO."""
    await site.kill(user)
    since = len(site.nodes[user].events)
    await site.start(user, strange=("--fail", f"{call}@{point}"))
    assert await site.nodes[user].ended() == EXIT_DEVICE
    why = (await site.nodes[user].wait_for("error", since=since))["message"]
    assert why.startswith((f"{site.store_path(user)}: ", f"{site.pad_path(user)}: ")), why
    assert any(words in why for words in EIO_WORDS), why
    site.books.check()
    await site.start(user)
    return await site.new_key()


async def refused_to_start(site, name, code, *words):
    """A node leaves with that exit code; returns why, in which all these words are."""
    since = len(site.nodes[name].events)
    await site.start(name)
    assert await site.nodes[name].ended() == code, site.story()
    why = (await site.nodes[name].wait_for("error", since=since))["message"]
    assert all(word in why for word in words), why
    return why


@contextmanager
def damaged(path, data):
    """A file holds `data`, or is not there if that is None; a backup is put back at the end."""
    before, mode = path.read_bytes(), path.stat().st_mode
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    yield
    path.write_bytes(before)
    path.chmod(mode)


async def hand_out(site, owner, n_keys=1):
    """Both nodes agree on keys of `owner`, who takes them; the other takes the same."""
    peer = other(owner)

    def take():
        with KeyStore.open(site.store_path(owner), create=False) as store:
            return take_new(store, site.store_path(owner), peer, n_keys, allow_simulated=True)

    keys = await trio.to_thread.run_sync(take)
    with KeyStore.open(site.store_path(peer), create=False) as store:
        for key in keys:
            theirs = store.take(owner, key_id=key.key_id, allow_simulated=True)
            assert theirs.value == key.value
    assert len(keys) == n_keys
    return keys
