"""The relay's optics as a time tagger sees them: every click, in picoseconds.

Light, dark counts, dead time, jitter and afterpulses in real time, for the two detectors of a
Bell-state receiver. What comes out is what a real tagger puts out; `matching` reads either.

Empty pulses cost nothing: candidates are drawn as at the click level, and `TagMaker.detect` takes
their light. How and why that is exact is told in docs/explanation/light.md.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics import _tag_kernels
from mdiqkd_net.physics._tag_kernels import NEVER
from mdiqkd_net.physics.clock import END_OF_TIME_PS, PulseClock
from mdiqkd_net.physics.sampling import generator_state
from mdiqkd_net.physics.tag_tables import PS, TagTables, tag_tables

__all__ = ["TagBatch", "TagMaker", "TagTables", "tag_tables"]

_ROOM: Final = 1024
"""Tags of darks and afterpulses that a pass has room for, besides one for each click of light."""


@dataclass(frozen=True, slots=True, eq=False)
class TagBatch:
    """A stretch of a tagger's record.

    Attributes:
        times_ps: By the tagger's clock, rising or equal, (n,) int64.
        channels: The detector of each, 0 or 1, (n,) uint8.
        watermark_ps: All tags before it are out; no later batch holds an earlier one.
    """

    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]
    watermark_ps: int


class TagMaker:
    """The detectors over one segment: light in, tags out, in the order of time.

    The record begins one period before the first pulse, with both detectors at rest, and ends one
    period after the last of its light. Tags are a function of the seed, the tables, the clock and
    the light, bit for bit, however the candidates are cut into batches.

    Approximations: a bin makes at most one click per detector, whose time does not depend on how
    bright the bin was; jitter is cut off at 10 standard deviations and 40 times the mean of the
    tail, which happens with chances of 2e-23 and 4e-18; time passes in whole picoseconds.

    Args:
        tables: Of the pair of users.
        clock: When pulses arrive, by the tagger.
        n_pulses: Of the segment.
        seed: Of the physics.

    Raises:
        DeviceError: On a segment that is too long to count, or shorter than a dead time.
    """

    def __init__(
        self, tables: TagTables, *, clock: PulseClock, n_pulses: int, seed: np.random.SeedSequence
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._n_pulses = n_pulses
        self._clock_table = clock.table(n_pulses)
        self._reach = early, late = tables.reach_ps
        margin = math.ceil(max(period_ps for _, period_ps in clock.pieces))
        begin = math.floor(clock.arrival_ps(0)) + min(0, early) - margin
        self._end = math.ceil(clock.arrival_ps(n_pulses)) + max(0, late) + margin
        if max(-begin, self._end) >= END_OF_TIME_PS:
            raise DeviceError(f"record: found {self._end} ps; allowed: below 2^61 ps")
        for s, detector in enumerate(tables.detectors):
            if PS * detector.dead_time_s > self._end - begin:
                raise DeviceError(
                    f"dead time of detector {s}: found {detector.dead_time_s} s; "
                    f"allowed: at most the segment, {(self._end - begin) / PS:.3g} s"
                )
        traps_of = [detector.afterpulses for detector in tables.detectors]
        self._trap_chance, self._trap_mean = np.zeros((2, 2, max(len(t.decays) for t in traps_of)))
        for s, afterpulses in enumerate(traps_of):
            for j, (share, decay_s) in enumerate(afterpulses.decays):
                self._trap_chance[s, j] = share * afterpulses.probability
                self._trap_mean[s, j] = PS * decay_s
        self._trap_chance = np.cumsum(self._trap_chance, axis=1)
        light, jitter, tail, traps, *darks = seed.spawn(4 + len(tables.detectors))
        self._light_state = generator_state(light)
        self._jitter_state = generator_state(jitter)
        self._tail_state = generator_state(tail)
        self._trap_state = generator_state(traps)
        self._dark_states = np.array([generator_state(dark) for dark in darks])
        self._dead = _whole_ps(detector.dead_time_s for detector in tables.detectors)
        self._dead_until = np.full(2, -NEVER, dtype=np.int64)
        self._dark_mean = np.array([_mean_gap_ps(d.dark_rate_hz) for d in tables.detectors])
        self._next_dark = np.array(
            [
                _tag_kernels.dark_after(state, begin - 1, mean)
                for state, mean in zip(self._dark_states, self._dark_mean, strict=True)
            ],
            dtype=np.int64,
        )
        self._jitter = np.array([PS * detector.jitter_sigma_s for detector in tables.detectors])
        self._tail = np.array(
            [[d.jitter_tail_share * d.has_tail, PS * d.jitter_tail_s] for d in tables.detectors]
        )
        self._drawn = np.empty(0)
        self._lit_candidates = np.empty(0, dtype=np.int64)
        self._lit_gates = np.empty(0, dtype=np.uint8)
        self._keys = np.empty(0, dtype=np.int64)
        self._n_keys = 0
        self._traps = np.empty(0, dtype=np.int64)
        self._n_traps = 0
        self._piece = 0
        self._n_detected = 0

    def detect(
        self,
        pulses: NDArray[np.int64],
        rows_alice: NDArray[np.integer],
        rows_bob: NDArray[np.integer],
        n_covered: int,
    ) -> TagBatch:
        """Let the light of the next candidates fall on the detectors.

        Args:
            pulses: (n,) int64, candidates beyond the last batch and below `n_covered`, strictly
                increasing.
            rows_alice: (n,) rows of Alice's light there; the states 0 to 6, unless there are more.
            rows_bob: (n,) Bob's.
            n_covered: Pulses of the segment decided with this batch; the last batch covers all.
                Where light is rare, a stretch between candidates may be covered in several calls,
                lest one holds all of its dark counts.

        Raises:
            DeviceError: On a batch that goes back, or beyond the segment, or has rows of none.
        """
        if not self._n_detected <= n_covered <= self._n_pulses:
            raise DeviceError(
                f"batch: found {n_covered} pulses covered; "
                f"allowed: {self._n_detected} to {self._n_pulses}"
            )
        if pulses.size and not self._n_detected <= pulses[0] <= pulses[-1] < n_covered:
            raise DeviceError(
                f"candidates: found {pulses[0]} to {pulses[-1]}; "
                f"allowed: {self._n_detected} to {n_covered - 1}"
            )
        n_bob = self._tables.n_bob
        for user, rows, n_rows in (
            ("alice", rows_alice, self._tables.keep.shape[0] // n_bob),
            ("bob", rows_bob, n_bob),
        ):
            if rows.shape != pulses.shape or (
                rows.size and not 0 <= rows.min() <= rows.max() < n_rows
            ):
                raise DeviceError(
                    f"rows of {user}: found shape {rows.shape}, up to "
                    f"{rows.max(initial=0)}; allowed: {pulses.shape}, 0 to {n_rows - 1}"
                )
        self._absorb(pulses, rows_alice, rows_bob)
        self._n_detected = n_covered
        if n_covered == self._n_pulses:
            watermark = self._end
        else:
            watermark = math.floor(self._clock.arrival_ps(n_covered)) + self._reach[0]
        times, channels = self._release(watermark)
        return TagBatch(times_ps=times, channels=channels, watermark_ps=watermark)

    def _absorb(
        self,
        pulses: NDArray[np.int64],
        rows_alice: NDArray[np.integer],
        rows_bob: NDArray[np.integer],
    ) -> None:
        tables = self._tables
        room = self._n_keys + 4 * pulses.size
        if self._keys.size < room:
            self._keys = np.resize(self._keys[: self._n_keys], room + _ROOM)
        if self._drawn.size < 4 * pulses.size:
            self._drawn = np.empty(4 * pulses.size)
            # A candidate that lights no gate is written and not counted, hence one more.
            self._lit_candidates = np.empty(4 * pulses.size + 1, dtype=np.int64)
            self._lit_gates = np.empty(4 * pulses.size + 1, dtype=np.uint8)
        n_lit = _tag_kernels.light_gates(
            self._light_state,
            tables.keep,
            tables.other,
            tables.n_bob,
            rows_alice,
            rows_bob,
            self._drawn[: pulses.size],
            self._lit_candidates,
            self._lit_gates,
        )
        self._n_keys, self._piece = _tag_kernels.time_clicks(
            self._jitter_state,
            self._tail_state,
            tables.centers_ps,
            self._jitter,
            self._tail,
            *self._clock_table,
            self._piece,
            pulses,
            self._lit_candidates[:n_lit],
            self._lit_gates[:n_lit],
            self._drawn[:n_lit],
            self._keys,
            self._n_keys,
        )

    def _release(self, watermark: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        start, parts, room = 0, [], self._n_keys + _ROOM
        while True:
            if self._trap_chance.any() and self._traps.size < self._n_traps + room:
                self._traps = np.resize(self._traps, self._n_traps + room)
            times, channels = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.uint8)
            start, self._n_traps, n = _tag_kernels.release(
                2 * watermark,
                self._keys,
                start,
                self._n_keys,
                self._dead,
                self._dead_until,
                self._dark_states,
                self._dark_mean,
                self._next_dark,
                self._trap_state,
                self._trap_chance,
                self._trap_mean,
                self._traps,
                self._n_traps,
                times,
                channels,
            )
            parts.append((times[:n], channels[:n]))
            if n < room:
                break
            room *= 2
        left = self._n_keys - start
        self._keys[:left] = self._keys[start : self._n_keys]
        self._n_keys = left
        if len(parts) == 1:
            return parts[0]
        all_times, all_channels = zip(*parts, strict=True)
        return np.concatenate(all_times), np.concatenate(all_channels)


def _mean_gap_ps(rate_hz: float) -> float:
    return PS / rate_hz if rate_hz > 0.0 else math.inf


def _whole_ps(seconds: Iterable[float]) -> NDArray[np.int64]:
    return np.array([round(PS * value) for value in seconds], dtype=np.int64)
