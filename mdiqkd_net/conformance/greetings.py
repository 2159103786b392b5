"""What every node must say of itself first, whatever its role (spec 4.1)."""

from collections.abc import Awaitable, Callable
from typing import Final

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.protocol.handshake import PROTOCOL_VERSION, RoleName

BAD_VERSION: Final = 0x0201
BAD_IDENTITY: Final = 0x0202
WRONG_STATE: Final = 0x0301
OTHER_VERSIONS: Final = [PROTOCOL_VERSION + 1, 99]

_LINKS: Final = 3


def check_introduction(node: Peer, role: RoleName) -> None:
    """Its Hello names the node of its certificate, its role, and a version that we speak.

    Raises:
        Broken: It does not.
    """
    said = node.greeting
    if said.node != node.certified:
        raise Broken(f"it says that it is {said.node!r}; its certificate says {node.certified!r}")
    if said.role != role:
        raise Broken(f"it says that it is a {said.role}")
    if PROTOCOL_VERSION not in said.versions:
        raise Broken(f"it offers the versions {said.versions}")


async def check_nonces(greeted: Callable[[], Awaitable[Peer]]) -> None:
    """Every Hello has a nonce of its own.

    Raises:
        Broken: One comes twice.
    """
    nonces = set()
    for _ in range(_LINKS):
        node = await greeted()
        nonces.add(node.greeting.nonce)
        await node.leave()
    if len(nonces) < _LINKS:
        raise Broken(f"{_LINKS} links, {len(nonces)} nonces")
