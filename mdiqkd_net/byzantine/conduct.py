"""What a hostile relay does, what comes of it, and who shows it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdiqkd_net.byzantine.behaviour import Behaviour, Extent

Outcome = Literal["violation", "abort", "rate"]
"""The relay's link is refused; the block is aborted; only the rate suffers."""

Make = Callable[[Extent, float, Ed25519PrivateKey, np.random.Generator], Behaviour]


@dataclass(frozen=True, slots=True)
class Conduct:
    """One way to be hostile.

    Attributes:
        case: Its id, BZ-01 to BZ-25.
        does: What the relay does.
        found: What the users find.
        outcome: What it comes to; at worst, where it depends on the share.
        make: Makes the behaviour.
        test: Holds real users against it, in tests/byzantine/test_outcomes.py.
        monitors: That show it, to a user with honest blocks before, or after a few blocks.
        attack: On the light, in `physics.attacks`; the words stay honest.
        share: Of the events touched, unless the configuration says another; None: not by share.
        code: With which the users refuse or abort; None if they do neither.
    """

    case: str
    does: str
    found: str
    outcome: Outcome
    make: Make = Behaviour
    attack: str | None = None
    share: float | None = None
    code: int | None = None
    test: str = field(kw_only=True)
    monitors: tuple[str, ...] = ()

    def behaviour(
        self, extent: Extent, key: Ed25519PrivateKey, rng: np.random.Generator
    ) -> Behaviour:
        """One that is ready to lie."""
        share = extent.share if extent.share is not None else self.share
        return self.make(extent, 1.0 if share is None else share, key, rng)
