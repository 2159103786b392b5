"""What tests do to a `live_site.Site`; each returns how long a new key took."""

import signal
from pathlib import Path

import trio
from live_site import WAIT_S

from mdiqkd_net.runtime.node import EXIT_DEVICE

PAGE_BYTES = 4096
FEW_PADS = 512
"""So few that their file is smaller than a key store, which is what fills up."""


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
