"""Framing at an endpoint, on its relay link (spec 2)."""

from functools import partial
from typing import Final

from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.conformance.headers import BAD_FRAMES, BadFrame, noise
from mdiqkd_net.wire.frames import BAD_HEADER, BAD_SEQUENCE
from mdiqkd_net.wire.messages import Announcement, Hello, PairRequest

WRONG_STATE: Final = 0x0301
UNKNOWN_SESSION: Final = 0x0302
AREA: Final = Area[EndpointHarness]("CT-EP-F", "Framing", "L1")


async def _refuses(bad: BadFrame, h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.send(bad.build(node, h.ready(node.certified)))
    return await node.refused(*bad.codes)


for _bad in BAD_FRAMES:
    AREA.add(_bad.number, _bad.text, (_bad.clause,), partial(_refuses, _bad))


@AREA.case(14, "the first frame of a link with SEQ 1 is refused", "2.2", "2.4")
async def _(h: EndpointHarness) -> Ending:
    node = await h.dialed()
    node.sequencer.seal(Hello.TYPE, b"")  # number 0, which is never sent
    await node.greet(h.identity.node, "relay")
    return await node.refused(BAD_SEQUENCE)


@AREA.case(15, "random bytes in place of a header are refused", "2.3")
async def _(h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.send(noise(h.rng))
    return await node.refused(BAD_HEADER, *range(0x0102, 0x0107))


@AREA.case(16, "a known type that has no place on this link is refused", "6")
async def _(h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.tell(PairRequest(n_pulses=1000, peer="nobody", request=1))
    return await node.refused(WRONG_STATE)


@AREA.case(17, "a session that has not begun is refused", "5.2")
async def _(h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.send(node.seal(Announcement.TYPE, b"\x80", 77))
    return await node.refused(WRONG_STATE, UNKNOWN_SESSION, 0x0104)


@AREA.case(18, "a session of two other users is refused", "5.2")
async def _(h: EndpointHarness) -> Ending:
    node = await h.greeted()
    await node.tell(h.ready(node.certified), 1)
    return await node.refused(WRONG_STATE)
