"""First words of an endpoint to its relay (spec 4.1)."""

from typing import Final

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.protocol.handshake import PROTOCOL_VERSION, RoleName
from mdiqkd_net.wire.messages import PairAborted

BAD_VERSION: Final = 0x0201
BAD_IDENTITY: Final = 0x0202
WRONG_STATE: Final = 0x0301
AREA: Final = Area[EndpointHarness]("CT-EP-H", "Hello", "L1")


@AREA.case(1, "its Hello names the node of its certificate, the role endpoint, version 1", "4.1")
async def _(h: EndpointHarness) -> None:
    node = await h.greeted()
    said = node.hello
    assert said is not None  # noqa: S101  # `greeted` has it
    if said.node != node.certified:
        raise Broken(f"it says that it is {said.node!r}; its certificate says {node.certified!r}")
    if said.role != "endpoint":
        raise Broken(f"it says that it is a {said.role}")
    if PROTOCOL_VERSION not in said.versions:
        raise Broken(f"it offers the versions {said.versions}")


@AREA.case(2, "every Hello has a nonce of its own", "4.1")
async def _(h: EndpointHarness) -> None:
    nonces = set()
    for _ in range(3):
        node = await h.greeted()
        assert node.hello is not None  # noqa: S101  # `greeted` has it
        nonces.add(node.hello.nonce)
        await node.leave()
    if len(nonces) < 3:
        raise Broken(f"3 links, {len(nonces)} nonces")


async def _unwelcome(
    h: EndpointHarness, *codes: int, role: RoleName = "relay", **hello: object
) -> Ending:
    node = await h.dialed()
    await node.greet(h.identity.node, role, **hello)
    return await node.refused(*codes)


@AREA.case(3, "a relay without a version that it speaks is refused", "4.1")
async def _(h: EndpointHarness) -> Ending:
    return await _unwelcome(h, BAD_VERSION, versions=[PROTOCOL_VERSION + 1, 99])


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
