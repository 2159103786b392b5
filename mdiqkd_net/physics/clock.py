"""When each pulse arrives, in the ticks of a time tagger."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError

END_OF_TIME_PS: Final = 2**61
"""Times stay below: 26 days of picoseconds, with room for the arithmetic of the kernels."""

_NEVER: Final = 2**62


class ClockTable(NamedTuple):
    """A `PulseClock` as the kernels read it.

    Pulse k of piece i arrives at times[i] + fractions[i] + (k - first[i]) periods[i]. The product
    is taken of the whole and of the broken picoseconds apart, so that it errs by less than 0.2 ps
    even at the 10^15th pulse.

    Attributes:
        first: First pulse of each piece, and one that never comes, (n + 1,) int64.
        times: Whole picoseconds of its arrival, (n,) int64.
        fractions: The rest, (n,) float64 in [0, 1).
        periods: In picoseconds, (n,) float64.
    """

    first: NDArray[np.int64]
    times: NDArray[np.int64]
    fractions: NDArray[np.float64]
    periods: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PulseClock:
    """Arrival of the pulses of a segment by the tagger's clock: linear, or linear in pieces.

    Attributes:
        pieces: Pairs (first pulse, period in ps), pulses rising from 0. Each piece starts where
            the one before it ends, so that the phase never jumps.
        start_ps: When pulse 0 arrives. Bins are counted from the arrival of their pulse.

    Raises:
        DeviceError: On pieces out of order, and on a period that is not a positive number.
    """

    pieces: tuple[tuple[int, float], ...]
    start_ps: float = 0.0
    _arrivals: tuple[Fraction, ...] = field(init=False, repr=False, compare=False)
    """Of the first pulse of each piece."""

    def __post_init__(self) -> None:
        firsts = [first for first, _ in self.pieces]
        if firsts[:1] != [0] or any(b <= a for a, b in pairwise(firsts)):
            raise DeviceError(
                f"pieces of a clock: found pulses {firsts}; allowed: strictly rising from 0"
            )
        for first, period_ps in self.pieces:
            if not (math.isfinite(period_ps) and period_ps >= 1.0):
                raise DeviceError(
                    f"period from pulse {first}: found {period_ps} ps; allowed: 1 ps or longer"
                )
        if not abs(self.start_ps) < END_OF_TIME_PS:
            raise DeviceError(
                f"start of a clock: found {self.start_ps} ps; allowed: within 2^61 ps of 0"
            )
        arrivals = [Fraction(self.start_ps)]
        for (first, period_ps), (then, _) in pairwise(self.pieces):
            arrivals.append(arrivals[-1] + (then - first) * Fraction(period_ps))
        object.__setattr__(self, "_arrivals", tuple(arrivals))

    @classmethod
    def drifting(
        cls,
        period_ps: float,
        offsets: Sequence[tuple[int, float]] = ((0, 0.0),),
        start_ps: float = 0.0,
    ) -> "PulseClock":
        """A clock of a nominal period, seen by a tagger that runs fast or slow.

        Args:
            period_ps: By a perfect clock.
            offsets: Pairs (first pulse, relative offset): from this pulse on the tagger counts
                1 + offset seconds for each that passes.
            start_ps: When pulse 0 arrives.
        """
        pieces = tuple((first, period_ps * (1.0 + offset)) for first, offset in offsets)
        return cls(pieces, start_ps)

    def extended(self, first_pulse: int, period_ps: float) -> "PulseClock":
        """The same clock with another period from a later pulse on, as a tracking loop finds it.

        Raises:
            DeviceError: If `first_pulse` is not beyond the first of every piece.
        """
        return PulseClock((*self.pieces, (first_pulse, period_ps)), self.start_ps)

    def arrival_ps(self, pulse: int) -> Fraction:
        """When a pulse arrives, exactly."""
        i = max(0, bisect_right(self.pieces, pulse, key=itemgetter(0)) - 1)
        first, period_ps = self.pieces[i]
        return self._arrivals[i] + (pulse - first) * Fraction(period_ps)

    def table(self, n_pulses: int) -> ClockTable:
        """The clock for the kernels, as far as `n_pulses` need it.

        Raises:
            DeviceError: If that many pulses take longer than 2^61 ps.
        """
        end = self.arrival_ps(n_pulses)
        if not abs(end) < END_OF_TIME_PS:
            raise DeviceError(
                f"{n_pulses} pulses: found {float(end):.4g} ps; allowed: below 2^61 ps, "
                f"{END_OF_TIME_PS / 8.64e16:.1f} days"
            )
        pieces = [piece for piece in self.pieces if piece[0] <= n_pulses]
        arrivals = self._arrivals[: len(pieces)]
        return ClockTable(
            first=np.array([first for first, _ in pieces] + [_NEVER], dtype=np.int64),
            times=np.array([math.floor(at) for at in arrivals], dtype=np.int64),
            fractions=np.array([float(at - math.floor(at)) for at in arrivals]),
            periods=np.array([period_ps for _, period_ps in pieces]),
        )
