"""What the tag level computes before the first pulse, from raw patterns and two detectors."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics._tag_kernels import WIDEST_EXPONENTIAL, WIDEST_NORMAL
from mdiqkd_net.physics.detectors import Detector
from mdiqkd_net.physics.sampling import alias_tables, thinned

PS: Final = 1e12
"""Picoseconds in a second."""

LONGEST_S: Final = 1.0
"""Dead time and jitter stay below, so that whole picoseconds fit into an integer."""

_LONGEST_DECAY_S: Final = 1e3
_MOST_DARKS_HZ: Final = 1e11


@dataclass(frozen=True, slots=True, eq=False)
class TagTables:
    """Tables of one pair of users, made of public numbers alone.

    Attributes:
        bound: The largest chance that the light of a pulse would click, over all pairs of states.
        keep: Of `sampling.alias_tables`, (n_pairs, 16), for the gates that a candidate lights.
        other: Likewise.
        n_bob: Rows of Bob's light; row n_bob a + b is the pair (a, b).
        centers_ps: (4,) average click after the arrival of its pulse; gate 2 m + s is bin m of
            detector s.
        detectors: Both.
    """

    bound: float
    keep: NDArray[np.float64]
    other: NDArray[np.uint8]
    n_bob: int
    centers_ps: NDArray[np.float64]
    detectors: tuple[Detector, Detector]

    @property
    def reach_ps(self) -> tuple[int, int]:
        """The earliest and the latest that a click of light can be, after its pulse arrives."""
        early, late = math.inf, -math.inf
        for gate, center in enumerate(self.centers_ps.tolist()):
            detector = self.detectors[gate & 1]
            width = PS * WIDEST_NORMAL * detector.jitter_sigma_s
            tail = PS * WIDEST_EXPONENTIAL * detector.jitter_tail_s if detector.has_tail else 0.0
            early, late = min(early, center - width), max(late, center + width + tail)
        return math.floor(early) - 1, math.ceil(late) + 1


def tag_tables(
    patterns: NDArray[np.float64],
    *,
    detectors: tuple[Detector, Detector],
    bins_ps: tuple[float, float],
    skews_ps: tuple[float, float] = (0.0, 0.0),
    n_bob: int = N_STATES,
) -> TagTables:
    """Tables for one pair of users.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16), without darks: these have their own
            times. They hold the efficiencies of the detectors.
        detectors: 0 and 1; they may differ.
        bins_ps: When the early and the late bin come, after the arrival of the pulse.
        skews_ps: Delays of the tagger's channels.
        n_bob: Rows of Bob's light; row n_bob a + b of the patterns is the pair (a, b).

    Raises:
        DeviceError: On bins out of order, and on what `check_times` refuses.
    """
    if not all(map(math.isfinite, bins_ps)) or not bins_ps[0] < bins_ps[1]:
        raise DeviceError(f"bins: found {bins_ps} ps; allowed: early before late")
    for detector in detectors:
        check_times(detector)
    for skew_ps in skews_ps:
        if not abs(skew_ps) <= PS * LONGEST_S:
            raise DeviceError(f"skew_ps: found {skew_ps:g}; allowed: at most 1 s")
    bound, chances = thinned(patterns)
    keep, other = alias_tables(chances)
    return TagTables(
        bound=bound,
        keep=keep,
        other=other,
        n_bob=n_bob,
        centers_ps=(np.array(bins_ps)[:, None] + np.array(skews_ps)).reshape(-1),
        detectors=detectors,
    )


def check_times(detector: Detector) -> None:
    """Refuse a detector that recovers, or whose times or rates picoseconds cannot count.

    Raises:
        DeviceError: With the key.
    """
    decays = [decay_s for _, decay_s in detector.afterpulses.decays]
    for name, value, top in (
        ("dark_rate_hz", detector.dark_rate_hz, _MOST_DARKS_HZ),
        ("dead_time_s", detector.dead_time_s, LONGEST_S),
        ("recovery_s", detector.recovery_s, 0.0),
        ("jitter_s", detector.jitter_s, LONGEST_S),
        ("jitter_tail_s", detector.jitter_tail_s, LONGEST_S),
        ("afterpulse_decay_s", max(decays), _LONGEST_DECAY_S),
    ):
        if not value <= top:
            raise DeviceError(f"{name}: found {value:g}; allowed at the level tag: at most {top:g}")
