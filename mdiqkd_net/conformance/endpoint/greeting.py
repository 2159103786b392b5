"""First words of an endpoint to its relay (spec 4.1)."""

from typing import Final

from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.conformance.greetings import (
    BAD_IDENTITY,
    BAD_VERSION,
    OTHER_VERSIONS,
    WRONG_STATE,
    check_introduction,
    check_nonces,
)
from mdiqkd_net.protocol.handshake import RoleName
from mdiqkd_net.wire.messages import PairAborted

AREA: Final = Area[EndpointHarness]("CT-EP-H", "Hello", "L1")


@AREA.case(1, "its Hello names the node of its certificate, the role endpoint, version 1", "4.1")
async def _(h: EndpointHarness) -> None:
    check_introduction(await h.greeted(), "endpoint")


@AREA.case(2, "every Hello has a nonce of its own", "4.1")
async def _(h: EndpointHarness) -> None:
    await check_nonces(h.greeted)


async def _unwelcome(
    h: EndpointHarness, *codes: int, role: RoleName = "relay", **hello: object
) -> Ending:
    node = await h.dialed()
    await node.greet(h.identity.node, role, **hello)
    return await node.refused(*codes)


@AREA.case(3, "a relay without a version that it speaks is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    return await _unwelcome(h, BAD_VERSION, versions=OTHER_VERSIONS)


@AREA.case(4, "a relay with a name other than its certificate's is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    return await _unwelcome(h, BAD_IDENTITY, node="somebody-else")


@AREA.case(5, "another user in the relay's place is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    return await _unwelcome(h, BAD_IDENTITY, role="endpoint")


@AREA.case(6, "a first message other than Hello is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    node = await h.dialed()
    await node.tell(PairAborted(code=0x0503, session=bytes(16)))
    return await node.refused(WRONG_STATE)


@AREA.case(7, "a second Hello is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.greet(h.identity.node, "relay")
    return await node.refused(WRONG_STATE)
