import sys

import pytest
import trio
from fault_proxy import FaultProxy
from live_site import RECOVERY_S, Site, listening


@pytest.fixture
async def open_site(tmp_path, nursery):
    """Make a site; every process of it is gone at the end of the test."""
    sites = []
    with listening() as sockets:

        def make(**fields):
            sites.append(Site(tmp_path, nursery, sockets, **fields))
            return sites[-1]

        yield make
        with trio.CancelScope(shield=True):
            for site in sites:
                await site.kill(*(name for name in site.nodes if site.nodes[name].alive))


@pytest.fixture
async def through(open_site, nursery):
    """A running site with a proxy on each of the lines (dialer, node), and a first key."""

    async def make(*lines, **fields):
        site, proxies = open_site(**fields), []
        for line in lines:
            host, port = site.address(line[1]).split(":")
            proxies.append(await nursery.start(FaultProxy((host, int(port))).run))
            site.routes[line] = proxies[-1].address
        await site.start(*site.nodes)
        await site.new_key()
        return site, *proxies

    return make


@pytest.fixture
def report(capsys):
    """Show how long keys took to come back, whatever else is captured, and check it."""

    def show(rows, what, times):
        took = f"{min(times):.1f} to {max(times):.1f} s" if len(times) > 1 else f"{times[0]:.1f} s"
        with capsys.disabled():
            sys.stdout.write(f"\n{rows} | {what} | {len(times)} | {took}\n")
        assert max(times) <= RECOVERY_S

    return show
