"""Real nodes under one fault after another; the campaign beside this file has all of them."""

from live_faults import FEW_PADS, cut, disk_error, disk_full, killed_at
from live_site import USERS


async def test_keys_come_back_after_every_fault(through):
    """After each of them both stores are checked (`Books`), and both users get a new key."""
    site, line = await through(("bob", "alice"), n_pads=FEW_PADS)
    await cut(site, line, [(9, False, False), (31, True, True)])
    await killed_at(site, "alice", "commit.after", 2)
    await disk_full(site, "bob", 8)
    await disk_error(site, "alice", "sync", "commit.before")
    await site.kill(*USERS)
    site.books.check()
