"""Nodes killed for good (SIGKILL) at every durable step, and started again (CHAOS-01, 02, 10).

The kill happens inside the process, at the second visit of the point: by then a block has given a
key. After every restart both users must have a new key in time, and the books must be right.
"""

import signal

import pytest
from live_site import USERS

from mdiqkd_net.runtime.crashing import crash_points

RARE = ("freeze", "abort")
"""No step of an undisturbed block that is not judged by a design."""

POINTS = [
    (user, point)
    for point in crash_points()
    for user in USERS
    if point.split(".")[0] not in (*RARE, *(("confirm",) if user == "bob" else ()))
]
"""Every point that an undisturbed run passes; only a coordinator confirms."""

SAMPLE = [("alice", "commit.after"), ("bob", "hold.after"), ("alice", "tag.after")]
"""Between two steps of the commit each, where a key could be half."""


async def killed_at(site, user, point, visit=2):
    """Run a user until it kills itself there, start it again, and wait for a new key."""
    await site.start(user, crash_at=f"{point}:{visit}")
    assert await site.nodes[user].ended() == -signal.SIGKILL
    site.books.check()
    await site.start(user)
    return await site.new_key()


async def test_users_killed_between_steps_of_the_commit(open_site):
    site = open_site()
    await site.start("charles", *USERS)
    await site.new_key(60)
    for user, point in SAMPLE:
        await site.kill(user)
        await killed_at(site, user, point)
    await site.kill(*USERS)
    site.books.check()


@pytest.mark.campaign
@pytest.mark.parametrize(("user", "point"), POINTS)
async def test_users_killed_at_every_point(open_site, user, point, report):
    site = open_site()
    await site.start("charles", *USERS)
    await site.new_key(60)
    times = []
    for visit in range(1, 11):
        await site.kill(user)
        times.append(await killed_at(site, user, point, visit))
    report(f"{user} {point}: {len(times)} kills, recovery {min(times):.1f} to {max(times):.1f} s")
