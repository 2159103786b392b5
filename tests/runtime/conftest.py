"""A throw-away network: certificates for three nodes and a stranger's authority, and listeners."""

from pathlib import Path

import pytest
from listening import SOON, Server
from node_site import tls_of

from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime.world import RealWorld


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    create_authority(directory)
    for node in ("alice", "bob", "charles"):
        issue(directory, node)
    return directory


@pytest.fixture(scope="session")
def foreign_pki(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("foreign")
    create_authority(directory)
    issue(directory, "bob")
    return directory


@pytest.fixture
def pads(tmp_path) -> dict[str, Path]:
    files = create_pads(tmp_path, "alice", "bob", 64)
    return dict(zip(("alice", "bob"), files, strict=True))


@pytest.fixture
def tls(pki):
    return lambda node: tls_of(pki, node)


@pytest.fixture
def foreign_tls(foreign_pki):
    return tls_of(foreign_pki, "bob")


@pytest.fixture
def credentials(tls):
    return lambda node: RealWorld().credentials(tls(node), Path())


@pytest.fixture
def listening(credentials, nursery):
    """Start a listener with limits, for any endpoint."""

    async def start(limits=SOON):
        server = Server(credentials("alice"), Expected("endpoint"), limits)
        await server.start(nursery)
        return server

    return start
