"""Cases for a relay: the harness is its users and, where it simulates light, their transmitters."""

from typing import Final

from mdiqkd_net.conformance.cases import Case
from mdiqkd_net.conformance.relay import (
    announcements,
    encoding,
    framing,
    greeting,
    robustness,
    sessions,
)
from mdiqkd_net.conformance.relay.harness import RelayHarness

AREAS: Final = (
    framing.AREA,
    encoding.AREA,
    greeting.AREA,
    sessions.AREA,
    announcements.AREA,
    robustness.AREA,
)
RELAY_CASES: Final[tuple[Case[RelayHarness], ...]] = tuple(c for a in AREAS for c in a.cases)
