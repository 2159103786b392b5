"""The nouns: what travels between the layers.

Prepared states are numbered alike everywhere: 0 is vacuum, then two per setting, bit 0 first:
`x0 x1 y0 y1 z0 z1` are 1 to 6. A *setting* is a source of the four-intensity protocol: o (vacuum),
x and y (basis X, two intensities), z (basis Z), numbered 0 to 3. A *category* is a pair of setting
letters, Alice's first: "xy" means that Alice sent x and Bob sent y.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.secret import SecretBuffer

SETTINGS: Final = ("o", "x", "y", "z")
SETTING_O, SETTING_X, SETTING_Y, SETTING_Z = range(4)
CATEGORIES: Final = tuple(a + b for a in SETTINGS for b in SETTINGS)
"""All pairs of settings, `oo ox oy oz xo ... zz`; category i is (i // 4, i % 4)."""

N_STATES: Final = 7

PSI_MINUS: Final = 0
PSI_PLUS: Final = 1
BELL_STATES: Final = ("psi_minus", "psi_plus")

EARLY_0: Final = 1
EARLY_1: Final = 2
LATE_0: Final = 4
LATE_1: Final = 8
"""Bits of a click pattern: time bin, then detector."""


def setting_of(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Setting index 0 to 3 of each state 0 to 6; shape (n,) in and out."""
    return (states + np.uint8(1)) >> np.uint8(1)


def bit_of(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bit that each state encodes; 0 for vacuum, which encodes none. Shape (n,) in and out."""
    return ((states + np.uint8(1)) & np.uint8(1)) & (states > 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of light: pulses `first_pulse` to `first_pulse + n_pulses - 1` of a block."""

    number: int
    first_pulse: int
    n_pulses: int


@dataclass(frozen=True, slots=True)
class ClickBlock:
    """What a receiver reports: the pulses with clicks in both bins.

    Attributes:
        segment: Number of the segment.
        pulses: Pulse numbers relative to the segment, strictly increasing, shape (n,), int64.
        patterns: Which detectors clicked, bits EARLY_0 | EARLY_1 | LATE_0 | LATE_1, shape (n,).
        n_elapsed: Pulses of the segment that this and all earlier blocks cover.
        last: Whether the segment is complete.
    """

    segment: int
    pulses: NDArray[np.int64]
    patterns: NDArray[np.uint8]
    n_elapsed: int
    last: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Successful events of a block by category.

    Attributes:
        n_pulses: Pulse pairs sent.
        n: Events per category; a category that was not recorded is absent.
        m: Errors among them, after the flip rule; absent where bits are not known.
    """

    n_pulses: int
    n: Mapping[str, int]
    m: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A finished key block.

    Attributes:
        block_id: 16 bytes that both users derive alike.
        value: The key, packed, first bit in the high bit; whoever holds it wipes it.
        n_bits: Its length.
        origin: "simulated" or "measured".
    """

    block_id: bytes
    n_bits: int
    origin: str
    value: SecretBuffer = field(repr=False)
