"""What a broken user of a pair is made of.

The harness plays its peer with the same core, so a defect is a subclass that the node alone uses,
or a patch of what the peer does not use in its own role.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mdiqkd_net.protocol.endpoint import Endpoint


@dataclass(frozen=True)
class BrokenUser:
    """One defect.

    Attributes:
        found_by: Cases that it must fail.
        spared: Cases near by that it must pass.
        endpoint: The core of the node.
        patches: What else is patched: object and name, and what takes its place.
    """

    found_by: frozenset[str]
    spared: frozenset[str]
    endpoint: type = Endpoint
    patches: Mapping[tuple[object, str], object] = field(default_factory=dict)


def ids(prefix, *numbers):
    return frozenset(f"CT-EP-{prefix}-{number:02}" for number in numbers)
