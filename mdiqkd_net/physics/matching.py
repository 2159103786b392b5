"""From the tags of a receiver to its Bell events: fold, gate, veto.

This is the logic between any time tagger and the relay, simulated or real; it knows nothing of how
tags are made. A tag belongs to the pulse in whose window it lies, by the clock; it counts if it
lies in the early or the late gate of its detector; a pulse with a click in both bins is an event.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import ClickBlock, Segment
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import _match_kernels as kernels
from mdiqkd_net.physics.clock import END_OF_TIME_PS, ClockTable, PulseClock

LONGEST_PERIOD_PS: Final = 2.0**30
"""About a millisecond; up to here a tag is placed to 2^-2 ps."""

_ROUNDING: Final = 1e-12
"""Gates that fill a period may come out longer by this share, as a sum of floats."""


@dataclass(frozen=True, slots=True)
class Gates:
    """When clicks count, in ps after the arrival of their pulse.

    Gates are half open: a tag at the beginning is inside, one at the end is not. The gates of one
    detector must not overlap. Those of both together set the window of a pulse, which must not be
    longer than a period; skews beyond that belong into the input delays of the tagger.

    Attributes:
        centers_ps: Of the early and the late gate of detector 0, then of detector 1.
        width_ps: Of every gate.

    Raises:
        DeviceError: On gates that overlap, or have no width.
    """

    centers_ps: tuple[tuple[float, float], tuple[float, float]]
    width_ps: float

    def __post_init__(self) -> None:
        if not 0.0 < self.width_ps < math.inf:
            raise DeviceError(f"width of the gates: found {self.width_ps} ps; allowed: above 0")
        for s, (early, late) in enumerate(self.centers_ps):
            if not (math.isfinite(early) and late - early >= self.width_ps):
                raise DeviceError(
                    f"gates of detector {s}: found centers {early} and {late} ps; allowed: late "
                    f"after early by the width of {self.width_ps} ps or more"
                )

    @classmethod
    def at(
        cls,
        bins_ps: tuple[float, float],
        width_ps: float,
        skews_ps: tuple[float, float] = (0.0, 0.0),
    ) -> "Gates":
        """Gates around the bins, later by the skew of each detector's channel."""
        early, late = bins_ps
        return cls(
            ((early + skews_ps[0], late + skews_ps[0]), (early + skews_ps[1], late + skews_ps[1])),
            width_ps,
        )

    @property
    def begin_ps(self) -> NDArray[np.float64]:
        """Where they begin; shape (2, 2): detector, then early and late."""
        begin: NDArray[np.float64] = np.array(self.centers_ps) - self.width_ps / 2.0
        return begin


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """What became of the tags of a segment so far.

    Attributes:
        n_tags: All that were fed.
        n_other: On a channel of neither detector.
        n_outside: Outside both gates of their detector, or of all pulses.
        n_gated: In a gate; n_tags = n_other + n_outside + n_gated.
        n_events: Pulses reported, with clicks in both bins.
        n_vetoed: Pulses with clicks in both bins that a dead detector spoiled.
    """

    n_tags: int = 0
    n_other: int = 0
    n_outside: int = 0
    n_gated: int = 0
    n_events: int = 0
    n_vetoed: int = 0


class Matcher:
    """Coincidence logic over a stream of tags, in chunks of any size.

    For each segment: `begin`, then `feed` until it returns the block that is `last`. Events, and
    what is counted, do not depend on how the stream is cut. Memory is that of one chunk.

    **Dead-slot veto.** A pulse is spoiled if a gate of either detector begins while that detector
    is dead from a click that is not in a gate of the same pulse; its event is dropped and counted.
    Detectors are taken to be dead for `dead_times_ps` after every tag, also after one outside the
    gates. What is left are the events of pulses that met both detectors at rest: their patterns
    follow the same law as without any dead time, at a rate that is lower by a factor which does
    not depend on what the users sent in the pulse (as far as its light stays inside the gates).
    Without the veto, a detector that wakes up between the bins favors late clicks, and a dead one
    turns triple clicks into accepted pairs.
    If detectors are dead for longer than the pause between the gates, an early click may still
    hide a late one of the same detector; no veto helps, and psi_plus gets rare or impossible.
    Secrecy does not rest on any of this: the relay is untrusted, and may announce what it likes.
    Rate and error rate do.

    A segment starts with detectors at rest, whatever clicked before its first tag.

    Args:
        gates: When clicks count.
        channels: Of detectors 0 and 1; tags of all other channels are ignored.
        dead_times_ps: Of detectors 0 and 1; zeros for no veto.

    Raises:
        DeviceError: On channels that are equal or not 0 to 255, and on a negative dead time.
    """

    def __init__(
        self,
        gates: Gates,
        *,
        channels: tuple[int, int] = (0, 1),
        dead_times_ps: tuple[int, int] = (0, 0),
    ) -> None:
        if channels[0] == channels[1] or not all(0 <= channel <= 255 for channel in channels):
            raise DeviceError(f"channels: found {channels}; allowed: two different of 0 to 255")
        if not all(0 <= dead < END_OF_TIME_PS for dead in dead_times_ps):
            raise DeviceError(f"dead times: found {dead_times_ps} ps; allowed: 0 to 2^61")
        self._gates = gates
        self._detector_of = np.full(256, 2, dtype=np.uint8)
        self._detector_of[list(channels)] = 0, 1
        self._dead = np.array(dead_times_ps, dtype=np.int64)
        self._segment: Segment | None = None

    def begin(self, segment: Segment, clock: PulseClock) -> None:
        """Start a segment; what is left of an earlier one is dropped.

        Args:
            segment: Its number and length; tags are timed from its start.
            clock: When its pulses arrive.

        Raises:
            DeviceError: On a clock that does not fit the gates or the segment.
        """
        if segment.n_pulses < 1:
            raise DeviceError(f"segment: found {segment.n_pulses} pulses; allowed: 1 or more")
        begin = self._gates.begin_ps
        window = float(begin.max() - begin.min()) + self._gates.width_ps
        shortest = _check_periods(clock, window)
        table = clock.table(segment.n_pulses)
        # What a period has beyond the gates is shared between both sides of the window.
        self._origin = float(begin.min()) - max(0.0, shortest - window) / 2.0
        self._begin_ps = begin - self._origin
        self._shortest_ps = float(self._begin_ps.max()) + self._gates.width_ps
        self._segment = segment
        self._clock = clock
        self._table: ClockTable = table
        self._whole = np.zeros(8, dtype=np.int64)
        self._whole[kernels.CURRENT] = kernels.LONG_AGO
        self._whole[[kernels.DEAD_UNTIL_0, kernels.DEAD_UNTIL_1]] = kernels.LONG_AGO
        self._whole[kernels.ANCHOR_TIME] = table.times[0]
        # No span: the first tag looks for its anchor.
        self._broken = np.array([0.0, -math.inf, -math.inf, -math.inf])
        self._counters = np.zeros(3, dtype=np.int64)
        self._n_tags = 0
        self._n_events = 0
        self._n_elapsed = 0
        self._watermark = -END_OF_TIME_PS

    @property
    def counts(self) -> MatchCounts:
        """Of the segment so far."""
        self._begun()
        n_other, n_outside, n_vetoed = self._counters.tolist()
        return MatchCounts(
            n_tags=self._n_tags,
            n_other=n_other,
            n_outside=n_outside,
            n_gated=self._n_tags - n_other - n_outside,
            n_events=self._n_events,
            n_vetoed=n_vetoed,
        )

    def retune(self, clock: PulseClock) -> None:
        """Go on with a clock that differs from the one before in pulses to come only.

        Raises:
            DeviceError: If it changes the arrival of a pulse that has been looked at, or does not
                fit the gates.
        """
        segment = self._begun()
        seen = max(self._n_elapsed, int(self._whole[kernels.CURRENT]))
        _check_periods(clock, self._shortest_ps)
        old, new = (
            [piece for piece in pieces if piece[0] <= seen]
            for pieces in (self._clock.pieces, clock.pieces)
        )
        if old != new or clock.start_ps != self._clock.start_ps:
            raise DeviceError(
                f"clock: found another time for pulses before {seen + 1}; "
                "allowed: changes to later pulses only"
            )
        self._table = clock.table(segment.n_pulses)
        self._clock = clock
        self._broken[kernels.SPAN] = -math.inf

    def feed(
        self,
        times_ps: NDArray[np.int64],
        channels: NDArray[np.uint8],
        watermark_ps: int | None = None,
    ) -> ClickBlock:
        """Match the next tags; a refused call changes nothing.

        Args:
            times_ps: (n,) int64, from the start of the segment, never falling.
            channels: (n,) uint8.
            watermark_ps: No later tag is earlier than this; unless told, the last tag.

        Returns:
            The events that are certain now; `n_elapsed` counts pulses whose window has passed.

        Raises:
            DeviceError: If no segment has begun or this one is complete, on arrays of another kind,
                and on a tag that is earlier than the one before it or than a watermark.
        """
        segment = self._begun()
        if self._n_elapsed == segment.n_pulses:
            raise DeviceError(
                f"segment {segment.number}: found more tags; allowed: none, it is over"
            )
        watermark = self._check_tags(times_ps, channels, watermark_ps)
        room = times_ps.size // 2 + 2
        pulses, patterns = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.uint8)
        n = kernels.match(
            self._whole,
            self._broken,
            *self._table,
            self._origin,
            self._begin_ps,
            self._gates.width_ps,
            self._dead,
            self._detector_of,
            segment.n_pulses,
            times_ps,
            channels,
            pulses,
            patterns,
            self._counters,
        )
        reached = kernels.pulse_at(self._whole, self._broken, *self._table, self._origin, watermark)
        if self._whole[kernels.CURRENT] < reached:
            n = kernels.close(
                self._whole, self._broken, self._begin_ps, n, pulses, patterns, self._counters
            )
        self._n_elapsed = max(self._n_elapsed, min(int(reached), segment.n_pulses))
        self._watermark = watermark
        self._n_tags += times_ps.size
        self._n_events += n
        return ClickBlock(
            segment=segment.number,
            pulses=pulses[:n].copy(),
            patterns=patterns[:n].copy(),
            n_elapsed=self._n_elapsed,
            last=self._n_elapsed == segment.n_pulses,
        )

    def _begun(self) -> Segment:
        if self._segment is None:
            raise DeviceError("no segment has begun")
        return self._segment

    def _check_tags(
        self, times: NDArray[np.int64], channels: NDArray[np.uint8], watermark: int | None
    ) -> int:
        """The new watermark, if all is well."""
        for name, array, kind in (("times", times, np.int64), ("channels", channels, np.uint8)):
            if array.shape != (times.size,) or array.dtype != kind:
                raise DeviceError(
                    f"{name} of tags: found shape {array.shape} of {array.dtype}; "
                    f"allowed: ({times.size},) of {np.dtype(kind)}"
                )
        at = kernels.first_disorder(times, self._watermark)
        if at >= 0:
            before = self._watermark if at == 0 else int(times[at - 1])
            raise DeviceError(
                f"tag {self._n_tags + at}: found {times[at]} ps; allowed: {before} ps or later, "
                "tags must come in the order of time"
            )
        last = int(times[-1]) if times.size else self._watermark
        if last >= END_OF_TIME_PS:
            raise DeviceError(f"tags: found {last} ps; allowed: below 2^61 ps")
        if watermark is None:
            return last
        if not last <= watermark < END_OF_TIME_PS:
            raise DeviceError(
                f"watermark: found {watermark} ps; allowed: {last} ps, which is the last tag or "
                "watermark, to 2^61 ps"
            )
        return watermark


def _check_periods(clock: PulseClock, least: float) -> float:
    """The shortest period of the clock, if every one fits the gates."""
    periods = [period_ps for _, period_ps in clock.pieces]
    for period_ps in (min(periods), max(periods)):
        if not least * (1.0 - _ROUNDING) <= period_ps <= LONGEST_PERIOD_PS:
            raise DeviceError(
                f"period of the clock: found {period_ps} ps; allowed: {least:g}, which the gates "
                f"take, to {LONGEST_PERIOD_PS:.4g}"
            )
    return min(periods)
