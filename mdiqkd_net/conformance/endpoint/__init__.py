"""Cases for an endpoint: the harness is the relay that it dials, and its peer."""

from typing import Final

from mdiqkd_net.conformance.cases import Case
from mdiqkd_net.conformance.endpoint import (
    committing,
    encoding,
    framing,
    gate,
    greeting,
    handing,
    leasing,
    opening,
    order,
    participating,
    resuming,
    voting,
)
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness

AREAS: Final = (
    framing.AREA,
    encoding.AREA,
    greeting.AREA,
    order.AREA,
    opening.AREA,
    participating.AREA,
    gate.GATE,
    gate.RELAYED,
    committing.AREA,
    voting.AREA,
    leasing.AREA,
    resuming.AREA,
    handing.AREA,
)
ENDPOINT_CASES: Final[tuple[Case[EndpointHarness], ...]] = tuple(
    case for area in AREAS for case in area.cases
)
