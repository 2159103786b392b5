"""What a hostile relay does with the light, by name, in the place of the honest receiver.

An attack turns a `Scene` into the chance of every click pattern that it pretends to have seen, for
every pair of states, in the form of `optics.raw_patterns`: from there on it is announced like real
clicks. None of them knows a setting or a bit; what they learn they learn from the light, as far as
physics permits. Each says what the users will find.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.physics.attacks import (
    blinding,
    dark_relay,
    efficiency_mismatch,
    intercept_resend,
    photon_number,
    time_selection,
    z_only,
)
from mdiqkd_net.physics.attacks.scene import Scene

Patterns = Callable[[Scene], NDArray[np.float64]]
Announces = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Attack:
    """A relay that does not do what it should.

    Attributes:
        patterns: Chance of each click pattern that it pretends to have seen, (49, 16), rows
            summing to 1.
        announces: Which pulses of a segment it speaks of, (n,) in and out; None: of all.
    """

    patterns: Patterns
    announces: Announces | None = None


ATTACKS: Final[Mapping[str, Attack]] = MappingProxyType(
    {
        "z_only": Attack(z_only.patterns),
        "intercept_resend": Attack(intercept_resend.patterns),
        "photon_number": Attack(photon_number.patterns),
        "blinding": Attack(blinding.patterns),
        "efficiency_mismatch": Attack(efficiency_mismatch.patterns),
        "time_selection": Attack(time_selection.patterns, time_selection.announces),
        "dark_relay": Attack(dark_relay.patterns),
    }
)
"""Whoever adds one writes a file here and a line in this table."""
