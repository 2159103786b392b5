"""The profile of MessagePack at an endpoint, on its relay link (spec 3)."""

from functools import partial
from typing import Final

from mdiqkd_net.conformance.bodies import BAD_BODIES, BadBody, Subject
from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.wire.messages import PairReady

AREA: Final = Area[EndpointHarness]("CT-EP-M", "Encoding", "L1")


async def _refuses(bad: BadBody, h: EndpointHarness) -> Ending:
    node = await h.greeted()
    subject = Subject(h.ready(node.certified), number="pulse_rate_hz", name="")
    await node.send(node.seal(PairReady.TYPE, bad.build(subject), 1))
    return await node.refused(*bad.codes)


for _bad in BAD_BODIES:
    if not _bad.needs_name:
        AREA.add(_bad.number, f"refused: {_bad.text}", ("3.1", "3.2"), partial(_refuses, _bad))
