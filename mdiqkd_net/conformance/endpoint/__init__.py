"""Cases for an endpoint: the harness is the relay that it dials."""

from typing import Final

from mdiqkd_net.conformance.cases import Case
from mdiqkd_net.conformance.endpoint import encoding, framing, greeting
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness

AREAS: Final = (framing.AREA, encoding.AREA, greeting.AREA)
ENDPOINT_CASES: Final[tuple[Case[EndpointHarness], ...]] = tuple(
    case for area in AREAS for case in area.cases
)
