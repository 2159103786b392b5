"""The tag level: clicks as a tagger's record, and events by the logic that reads a real one."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, Segment
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import MAX_CLOCK_PPM, TaggerParams
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.clicks import ClickDrawing
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.detectors import Detector, detectors_of
from mdiqkd_net.physics.gates import bins_of
from mdiqkd_net.physics.matching import Gates, Matcher
from mdiqkd_net.physics.sampling import Draw
from mdiqkd_net.physics.tag_tables import PS, check_times, tag_tables
from mdiqkd_net.physics.tags import TagMaker

CLOCK_STEPS: Final = 1024
"""Pieces of a segment in which a drifting clock stands still."""

_DARK_TOLERANCE: Final = 1e-3
_DARKS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Tagging:
    """Detectors with a tagger, and the logic behind it.

    Attributes:
        detectors: 0 and 1, with their darks in real time.
        period_ps: Of the pulses, by their own clock.
        bins_ps: Centers of the bins after the arrival of the pulse.
        gates: Where the logic looks for clicks.
        tagger: The tagger's flaws, and what the logic knows of them.
    """

    detectors: tuple[Detector, Detector]
    period_ps: float
    bins_ps: tuple[float, float]
    gates: Gates
    tagger: TaggerParams

    def clock(self, n_pulses: int) -> PulseClock:
        """When the pulses of a segment arrive, by the tagger.

        Raises:
            DeviceError: On a clock that drifts away from any that works.
        """
        tagger = self.tagger
        if tagger.clock_drift_ppm_per_s == 0.0:
            return PulseClock.drifting(self.period_ps, [(0, 1e-6 * tagger.clock_offset_ppm)])
        step = -(-n_pulses // CLOCK_STEPS)
        firsts = range(0, n_pulses, step)
        middles_s = [(first + step / 2.0) * self.period_ps / PS for first in firsts]
        ppm = [tagger.clock_offset_ppm + tagger.clock_drift_ppm_per_s * t for t in middles_s]
        if max(map(abs, ppm)) > MAX_CLOCK_PPM:
            raise DeviceError(
                f"clock_drift_ppm_per_s: found an offset of {max(ppm, key=abs):.4g} ppm within a "
                f"segment; allowed: at most {MAX_CLOCK_PPM:g}"
            )
        return PulseClock.drifting(
            self.period_ps,
            [(first, 1e-6 * offset) for first, offset in zip(firsts, ppm, strict=True)],
        )

    def assumed_clock(self, n_pulses: int) -> PulseClock:
        """Likewise, as the logic takes it."""
        if self.tagger.calibrated:
            return self.clock(n_pulses)
        return PulseClock(((0, self.period_ps),))

    def matcher(self) -> Matcher:
        """The logic behind the tagger."""
        if not self.tagger.veto:
            return Matcher(self.gates)
        dead_0, dead_1 = (round(PS * detector.dead_time_s) for detector in self.detectors)
        return Matcher(self.gates, dead_times_ps=(dead_0, dead_1))


def tagging_of(receiver: ReceiverParams, pulse_rate_hz: float) -> Tagging:
    """Detectors, tagger and logic of a receiver.

    Bins lie symmetrically in the period. Gates that are not given are as wide as the distance of
    the bins, within a pulse and across its end, and as skews and the clock leave room for. Darks
    come at the rate that gives a gate its `dark_probability`.

    Raises:
        DeviceError: On gates that do not fit, on darks that contradict each other, and on times
            that whole picoseconds cannot count.
    """
    _, separation_s = bins_of(receiver, pulse_rate_hz)
    period_ps, separation_ps = PS / pulse_rate_hz, PS * separation_s
    tagger = receiver.tagger
    early_ps = (period_ps - separation_ps) / 2.0
    bins_ps = early_ps, early_ps + separation_ps
    room_ps = period_ps - separation_ps - abs(tagger.skew_ps[1] - tagger.skew_ps[0])
    if tagger.clock_offset_ppm != 0.0 or tagger.clock_drift_ppm_per_s != 0.0:
        room_ps -= 1e-6 * MAX_CLOCK_PPM * period_ps  # a fast transmitter has shorter periods
    width_ps = min(separation_ps, room_ps) if tagger.gate_width_ps is None else tagger.gate_width_ps
    if not 0.0 < width_ps <= min(separation_ps, room_ps):
        raise DeviceError(
            f"gate_width_ps: found {width_ps:.6g}; allowed: above 0, and at most "
            f"{min(separation_ps, room_ps):.6g}, which bins, skews and clock leave room for"
        )
    rate_hz = _dark_rate_hz(receiver, width_ps / PS)
    detectors = tuple(replace(d, dark_rate_hz=rate_hz) for d in detectors_of(receiver))
    for detector in detectors:
        check_times(detector)
    tagging = Tagging(
        detectors=(detectors[0], detectors[1]),
        period_ps=period_ps,
        bins_ps=bins_ps,
        gates=Gates.at(bins_ps, width_ps, tagger.skew_ps if tagger.calibrated else (0.0, 0.0)),
        tagger=tagger,
    )
    tagging.matcher().begin(Segment(0, 0, 1), tagging.assumed_clock(1))  # refuses odd periods
    return tagging


def _dark_rate_hz(receiver: ReceiverParams, gate_s: float) -> float:
    """Of the receiver's own words, or the Poisson rate of its dark probability per gate."""
    dark = receiver.dark_probability
    if not 0.0 <= dark < 1.0:
        raise DeviceError(f"dark_probability: found {dark}; allowed at the level tag: 0 to below 1")
    derived_hz = -math.log1p(-dark) / gate_s
    own_hz = receiver.dark_rate_hz
    if own_hz is None:
        return derived_hz
    if not math.isclose(own_hz, derived_hz, rel_tol=_DARK_TOLERANCE):
        raise DeviceError(
            f"dark_rate_hz: found {own_hz:g}, with a dark_probability of {dark:g} in a gate of "
            f"{PS * gate_s:.6g} ps; allowed: none, or {derived_hz:.6g}, which is the same"
        )
    return own_hz


class TagLevel:
    """Tables of one pair of users and their receiver, made of public numbers alone.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16), without darks.
        tagging: Detectors, tagger and logic.
        n_bob: Rows of Bob's light; row n_bob a + b of the patterns is the pair (a, b).

    Attributes:
        bound: The largest chance that the light of a pulse would click, over all pairs of states.
    """

    def __init__(
        self, patterns: NDArray[np.float64], tagging: Tagging, n_bob: int = N_STATES
    ) -> None:
        self.tagging = tagging
        self.tables = tag_tables(
            patterns,
            detectors=tagging.detectors,
            bins_ps=tagging.bins_ps,
            skews_ps=tagging.tagger.skew_ps,
            n_bob=n_bob,
        )
        self.bound = self.tables.bound
        dead_ps = PS * max(detector.dead_time_s for detector in tagging.detectors)
        self.memory = math.floor(dead_ps / tagging.period_ps)

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> ClickDrawing:
        """Start to draw the candidates of a segment of at most 2^53 pulses."""
        return ClickDrawing(self.bound, seed, n_pulses)

    def detection(self, seed: np.random.SeedSequence, n_pulses: int) -> "TagDetection":
        """Start to detect a segment, with detectors that have rested and empty traps.

        Raises:
            DeviceError: On a segment that is too long to count in picoseconds.
        """
        return TagDetection(self, seed, n_pulses)


class TagDetection:
    """From the light of a segment to tags, and from these to events, batch after batch.

    The last events of a batch may stay open until the next one: their late clicks may still come.

    Attributes:
        matcher: What reads the tags; its `counts` tell what became of them.
        n_decided: Pulses of the segment whose events are out.
    """

    def __init__(self, level: TagLevel, seed: np.random.SeedSequence, n_pulses: int) -> None:
        tagging = level.tagging
        self._n_pulses = n_pulses
        self._maker = TagMaker(
            level.tables, clock=tagging.clock(n_pulses), n_pulses=n_pulses, seed=seed
        )
        self._assumed = tagging.assumed_clock(n_pulses)
        self._early_ps = tagging.bins_ps[0]
        self._beyond_ps = math.ceil(self._assumed.arrival_ps(n_pulses)) + math.ceil(
            2.0 * tagging.period_ps
        )
        self.matcher = tagging.matcher()
        self.matcher.begin(Segment(0, 0, n_pulses), self._assumed)
        darks_per_pulse = sum(d.dark_rate_hz for d in tagging.detectors) * tagging.period_ps / PS
        self._stride = max(1, int(min(n_pulses, _DARKS_AT_ONCE / max(darks_per_pulse, 1e-9))))
        self._n_made = 0
        self._times = np.empty(0, dtype=np.int64)
        self._channels = np.empty(0, dtype=np.uint8)
        self.n_decided = 0

    def detect(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulses with clicks in both bins, and their patterns.

        Shapes: rows of light (n,) at the n candidates; (k,) and (k,) out.
        """
        pulses, patterns, begin = [], [], 0
        while True:
            # A long stretch without light has darks, which need not be in memory all at once.
            n_covered = min(draw.n_covered, self._n_made + self._stride)
            end = int(np.searchsorted(draw.pulses, n_covered))
            part = slice(begin, end)
            found = self._match(draw.pulses[part], states_alice[part], states_bob[part], n_covered)
            pulses.append(found[0])
            patterns.append(found[1])
            begin, self._n_made = end, n_covered
            if n_covered == draw.n_covered:
                break
        return np.concatenate(pulses), np.concatenate(patterns)

    def _match(
        self,
        pulses: NDArray[np.int64],
        rows_alice: NDArray[np.integer],
        rows_bob: NDArray[np.integer],
        n_covered: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        tags = self._maker.detect(pulses, rows_alice, rows_bob, n_covered)
        times = np.concatenate([self._times, tags.times_ps])
        channels = np.concatenate([self._channels, tags.channels])
        if n_covered == self._n_pulses:
            n, watermark = times.size, max(tags.watermark_ps, self._beyond_ps)
        else:
            # A clock that is taken for another may place tags in pulses that are still to come.
            ahead = math.floor(self._assumed.arrival_ps(n_covered)) + math.floor(self._early_ps)
            watermark = min(tags.watermark_ps, ahead)
            n = int(np.searchsorted(times, watermark))
        block = self.matcher.feed(times[:n], channels[:n], watermark)
        self._times, self._channels = times[n:].copy(), channels[n:].copy()
        self.n_decided = block.n_elapsed
        return block.pulses, block.patterns
