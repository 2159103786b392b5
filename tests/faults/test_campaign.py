"""Real nodes that die, stop and cannot reach each other, and how long keys take to come back.

`python -m pytest -m campaign -s tests/faults` runs this and the campaigns beside it, and prints a
line for each fault: the rows of docs/explanation/faults.md, the fault, how often, and the seconds
to a new key at both users. After each fault the stores and pads of both users are checked
(`live_books.Books`). Most of the time is waiting.
"""

import signal
from random import Random

import pytest
import trio
from live_faults import POINTS, cut, killed, killed_at
from live_site import NODES, USERS

pytestmark = pytest.mark.campaign

LINES = {
    "users": (("bob", "alice"),),
    "relay and bob": (("bob", "charles"),),
    "relay and both users": (("alice", "charles"), ("bob", "charles")),
}
"""What may be apart: who dials whom."""


@pytest.mark.parametrize("user", USERS)
async def test_killed_at_every_durable_step(through, report, user):
    (site,) = await through()
    times = [await killed_at(site, user, point, 1 + n % 3) for n, point in enumerate(POINTS[user])]
    report("01 20", f"{user} killed at each of its crash points", times)


MOMENTS = {
    "pairs both users": "pair.started",
    "measures": "light.progress",
    "has announced all": "pair.finished",
}


@pytest.mark.parametrize("victims", [("charles",), USERS, NODES])
async def test_killed_with_the_relay_at_work(through, report, victims):
    (site,) = await through()
    relay, times = site.nodes["charles"], []
    for event in list(MOMENTS.values()) * 2:
        await relay.wait_for(event, since=len(relay.events))
        times.append(await killed(site, *victims))
    rows = {("charles",): "01 10", USERS: "02", NODES: "02 10"}[victims]
    report(rows, f"{', '.join(victims)} killed as the relay {' | '.join(MOMENTS)}", times)


async def test_killed_at_random(through, report):
    (site,) = await through()
    rng, times = Random(3), []
    for _ in range(10):
        await trio.sleep(rng.uniform(0.0, 5.0))  # this is the fault
        times.append(await killed(site, *rng.sample(NODES, rng.choice((1, 1, 2)))))
    report("03", "one or two of three, killed at random", times)


@pytest.mark.parametrize(("between", "apart_s"), [(n, 2.0) for n in LINES] + [("users", 30.0)])
async def test_partitions(through, report, between, apart_s):
    """Connections are cut and refused for a while."""
    site, *proxies = await through(*LINES[between])
    for proxy in proxies:
        proxy.refuse()
    await trio.sleep(apart_s)  # this is the fault
    site.books.check()
    for proxy in proxies:
        proxy.heal()
    rows = "04" if between == "users" else "05"
    report(rows, f"{between} apart for {apart_s:g} s", [await site.new_key()])


@pytest.mark.parametrize("between", ["users", "relay and bob"])
async def test_half_open_lines(through, report, between):
    """Nothing passes, and nobody is told; both ends find out by themselves."""
    site, proxy = await through(*LINES[between])
    marks = {name: len(node.events) for name, node in site.nodes.items()}
    proxy.stall()
    began = trio.current_time()
    for name in LINES[between][0]:
        await site.nodes[name].wait_for("link.down", since=marks[name], timeout_s=60)
    found_s = trio.current_time() - began
    assert found_s < 50
    proxy.cut_all(reset=True)
    proxy.heal()
    report("06", f"{between} half-open, found after {found_s:.0f} s", [await site.new_key()])


async def test_cuts_at_frames_and_inside(through, report):
    """A new process of Bob for every few cuts, so that he dials again without waiting long."""
    site, proxy = await through(*LINES["users"])
    await site.new_key()
    n_records = proxy.n_records
    cuts = [(k, k % 2 == half, half == 1) for half in (0, 1) for k in range(n_records)]
    chosen = cuts[:: max(1, len(cuts) // 40)]
    times = []
    for n in range(0, len(chosen), 5):
        times.append(await cut(site, proxy, chosen[n : n + 5]))
        await killed(site, "bob")
    what = f"{len(chosen)} cuts at and inside {n_records} records of the users' line, five a time"
    report("07", what, times)


@pytest.mark.parametrize("between", ["users", "relay and both users"])
async def test_slow_lines(through, report, between):
    site, *proxies = await through(*LINES[between])
    for proxy in proxies:
        proxy.delay_s, proxy.bytes_per_s = 0.5, 8000.0
    slow_s = await site.new_key(240)
    for proxy in proxies:
        proxy.heal()
    what = f"{between} at 64 kbit/s and 0 to 1 s late, where a key took {slow_s:.0f} s"
    report("08", what, [await site.new_key()])


@pytest.mark.parametrize(
    ("victims", "stopped_s"), [(("charles",), 5.0), (("alice",), 50.0), (USERS, 20.0)]
)
async def test_stopped(through, report, victims, stopped_s):
    """SIGSTOP; and SIGCONT before and after the others take the node for lost."""
    (site,) = await through()
    site.send_signal(signal.SIGSTOP, *victims)
    await trio.sleep(stopped_s)  # this is the fault
    site.books.check()
    site.send_signal(signal.SIGCONT, *victims)
    what = f"{', '.join(victims)} stopped for {stopped_s:g} s"
    report("09", what, [await site.new_key()])
