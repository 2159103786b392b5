"""A parser as a target: hostile input for it, one call, and the errors that say no."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from mdiqkd_net.errors import RemoteProtocolError, WireError

WIRE = (WireError,)
PEER = (WireError, RemoteProtocolError)


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        make: Hostile input from a generator of random numbers.
        run: The parser; whatever it raises but `allowed` is a defect.
        allowed: Errors that say no.
        weight: Time of a call against that of one frame, about.
    """

    make: Callable[[Random], bytes]
    run: Callable[[bytes], object]
    allowed: Collection[type[Exception]]
    weight: int = 1

    def survives(self, data: bytes) -> bool:
        """Whether the parser accepts the data; raises what it must not."""
        try:
            self.run(data)
        except tuple(self.allowed):
            return False
        return True
