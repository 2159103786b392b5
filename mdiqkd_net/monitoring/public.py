"""What is public about a block once it has ended: all that a monitor may look at."""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import CATEGORIES

End = Literal["key", "no key", "equivocation", "relay", "other"]
"""How a block ended: with a key; without enough data; at the gate; by the relay's word, breach or
silence; else."""

XX: Final = CATEGORIES.index("xx")
YY: Final = CATEGORIES.index("yy")


@dataclass(frozen=True, eq=False, slots=True)
class Announced:
    """The events of a block whose gate was proven, and what both users revealed of them.

    Attributes:
        pulses: Numbers in the block, rising, (n,) int64.
        outcomes: Bell states, (n,) uint8.
        settings: Alice's and Bob's, 0 to 3, each (n,) uint8.
        test_category: Of the events whose bits were revealed, (k,) uint8.
        test_outcome: Their Bell states, (k,) uint8.
        test_wrong: Whether the bits differ after the flip rule, (k,) bool; None if the block ended
            before both users had told them.
    """

    pulses: NDArray[np.int64] = field(repr=False)
    outcomes: NDArray[np.uint8] = field(repr=False)
    settings: tuple[NDArray[np.uint8], NDArray[np.uint8]] = field(repr=False)
    test_category: NDArray[np.uint8] = field(repr=False)
    test_outcome: NDArray[np.uint8] = field(repr=False)
    test_wrong: NDArray[np.bool_] | None = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class PublicBlock:
    """One ended block.

    Attributes:
        users: Lower id first: Alice of the formulas.
        block: Its number.
        end: How it ended.
        n_pulses: Pulse pairs.
        pulse_rate_hz: Of the sources, as the relay told.
        bell_states: Which count.
        intensities: Mean photon numbers of o, x, y, z at Alice and at Bob.
        probabilities: Likewise.
        covered: Pulses that the batches so far speak for, after each batch, (batches,) int64.
        announced: None if the gate was not proven, or nothing was revealed.
        n_key: z-z events.
        m_key: Errors among them; None before the key is reconciled.
        y11_lower: Bound on the yield of single-photon pairs; None if there is none.
        e11_upper: Bound on their phase-error rate; None if there is none.
    """

    users: tuple[str, str]
    block: int
    end: End
    n_pulses: int
    pulse_rate_hz: int
    bell_states: tuple[str, ...]
    intensities: tuple[tuple[float, ...], tuple[float, ...]]
    probabilities: tuple[tuple[float, ...], tuple[float, ...]]
    covered: NDArray[np.int64] = field(repr=False)
    announced: Announced | None
    n_key: int
    m_key: int | None
    y11_lower: float | None
    e11_upper: float | None
