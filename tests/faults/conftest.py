import sys

import pytest
import trio
from live_site import Site, listening


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
def report(capsys):
    """Show a line of a campaign's result, whatever else is captured."""

    def show(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return show
