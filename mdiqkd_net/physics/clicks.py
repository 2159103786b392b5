"""The click level: every click of every detector, with its memory, event by event.

Dead time and afterpulses are exact. With `Detector.recovery_s`, a gate that opens t after the last
click of its detector clicks with r(t) times its chance at rest, whatever the cause; given the phase
of the light and the last clicks, gates do so independently of each other. That law is sampled
exactly. It is the law of an efficiency that recovers as r(t) to first order in the light: where a
rested detector detects a mean of μ photons, one of r times its efficiency clicks a little more
often than r times as often, by at most r (1 - r) μ²/2, which is (1 - r) μ/2 of its clicks for
small μ. Darks and carriers out of traps recover like light.

Pulses without a raw click are stepped over; all others are looked at. The patterns that come out
include clicks in one bin alone, which is what a counter of singles would see.
"""

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics import _click_kernels
from mdiqkd_net.physics.gates import Gates, first_gates
from mdiqkd_net.physics.sampling import Draw, alias_tables, gap_scale, generator_state, thinned


class ClickLevel:
    """Sampling tables of one pair of users, made of public numbers alone.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16).
        gates: Of the detectors.
        n_bob: Rows of Bob's light; row n_bob a + b of the patterns is the pair (a, b).

    Attributes:
        bound: The largest chance of any raw click, over all pairs of states.
        chances: (n_pairs, 16) of the raw patterns at a candidate.
    """

    def __init__(self, patterns: NDArray[np.float64], gates: Gates, n_bob: int = N_STATES) -> None:
        self.n_bob = n_bob
        self.bound, self.chances = thinned(patterns)
        self.tables = alias_tables(self.chances)
        self.gates = gates
        self.memory = gates.memory

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> "ClickDrawing":
        """Start to draw the candidates of a segment of at most 2^53 pulses."""
        return ClickDrawing(self.bound, seed, n_pulses)

    def detection(
        self,
        seed: np.random.SeedSequence,
        n_pulses: int,  # noqa: ARG002  # only a level with times cares
    ) -> "ClickDetection":
        """Start to detect a segment, with detectors that have rested and empty traps."""
        return ClickDetection(self, seed)


class ClickDrawing:
    """Candidates of one segment: each pulse with chance `bound`, decided by the seed alone."""

    def __init__(self, bound: float, seed: np.random.SeedSequence, n_pulses: int) -> None:
        self._state = generator_state(seed)
        self._scale = gap_scale(bound)
        self._n_pulses = n_pulses
        self._position = 0 if bound > 0.0 else n_pulses

    def next(self, max_candidates: int) -> Draw:
        """The next candidates, in increasing order, at most `max_candidates`."""
        pulses = np.empty(max_candidates, dtype=np.int64)
        n = 0
        if self._position < self._n_pulses:
            n, self._position = _click_kernels.draw_candidates(
                self._state,
                self._scale,
                self._position,
                self._n_pulses,
                np.empty(max_candidates),
                pulses,
            )
        if n < max_candidates:
            pulses = pulses[:n].copy()
        return Draw(pulses=pulses, kinds=np.zeros(n, dtype=np.uint8), n_covered=self._position)


class ClickDetection:
    """What the light of the candidates of one segment does, batch after batch."""

    def __init__(self, level: ClickLevel, seed: np.random.SeedSequence) -> None:
        self._level = level
        self._state = generator_state(seed)
        self._live_from = np.zeros(4, dtype=np.int64)
        self._last = np.full(2, -1, dtype=np.int64)
        self._first = first_gates(level.gates.reach)
        self._afterpulses = np.empty(64, dtype=np.int64)
        self._n_afterpulses = 0
        self.n_decided = 0

    def clicks(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Every pulse of the batch with a registered click, and its pattern.

        Shapes: rows of light (n,) at the n candidates; (k,) and (k,) out, k more than n if many
        afterpulses fall into the batch.
        """
        gates = self._level.gates
        n, clicks, self._n_afterpulses, self._afterpulses = _click_kernels.make_clicks(
            self._state,
            *self._level.tables,
            gates.reach,
            self._first,
            self._live_from,
            gates.dead_pulses,
            gates.recovery_pulses,
            self._last,
            gates.afterpulse_probability,
            gates.afterpulse_cuts,
            gates.afterpulse_scales,
            self._afterpulses,
            self._n_afterpulses,
            draw.n_covered,
            draw.pulses,
            self._level.n_bob,
            states_alice,
            states_bob,
            np.empty(max(64, draw.pulses.size), dtype=np.int64),
        )
        return clicks[:n] >> 4, (clicks[:n] & 15).astype(np.uint8)

    def detect(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Of these, the pulses with clicks in both bins, and their patterns."""
        pulses, patterns = self.clicks(draw, states_alice, states_bob)
        self.n_decided = draw.n_covered
        both = ((patterns & 3) > 0) & ((patterns & 12) > 0)
        return pulses[both], patterns[both]
