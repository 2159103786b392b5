"""The coincidence level: only pulses with clicks in both bins, dead time included, exactly.

Most pulses are never looked at. `CoincidenceDrawing` steps over them to the few that may become an
event and to those before them whose clicks may have made a detector blind; `CoincidenceDetection`
decides what they do. Neither needs the other: the light of the users comes in between.
"""

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.physics import _click_kernels
from mdiqkd_net.physics._kernels import generator_state
from mdiqkd_net.physics.gates import Gates
from mdiqkd_net.physics.sampling import BOTH_BINS, ONE_BIN, Draw, alias_tables, gap_scale

COINCIDENCE, SINGLE = range(2)
"""Kinds of candidates."""


class CoincidenceLevel:
    """Sampling tables of one pair of users, made of public numbers alone.

    Every pulse tosses two coins, independent of each other and of everything else: heads with
    probability `bound` makes it a coincidence candidate, otherwise heads with `bound_single` makes
    it a single candidate. With p(P) the chance of the raw pattern P for the states of the pulse and
    p_c its sum over patterns in both bins, a coincidence candidate shows P with chance p(P) / bound
    if P is in both bins, and (1 - p_c / bound) p(P) / (1 - p_c) if it is in one. A single candidate
    shows a P in one bin with chance p(P) / (1 - p_c) / bound_single. Together that is p(P).

    Args:
        patterns: Of `optics.raw_patterns`, (49, 16).
        gates: Of the detectors; afterpulses are not for this level.

    Attributes:
        bound: The largest chance of raw clicks in both bins, over all pairs of states.
        bound_single: The largest chance of a raw click given that not both bins have one.
        chances: (2, 49, 16) of the raw patterns, by kind of candidate.
    """

    def __init__(self, patterns: NDArray[np.float64], gates: Gates) -> None:
        both = patterns[:, BOTH_BINS].sum(axis=1)
        self.bound = min(1.0, float(both.max()))
        one_bin = np.zeros((patterns.shape[0], len(ONE_BIN)))
        np.divide(patterns[:, ONE_BIN], 1.0 - both[:, None], out=one_bin, where=both[:, None] < 1.0)
        self.bound_single = min(1.0, float(one_bin.sum(axis=1).max()))
        chances = np.zeros((2, *patterns.shape))
        if self.bound > 0.0:
            accept = np.minimum(both / self.bound, 1.0)
            chances[COINCIDENCE][:, BOTH_BINS] = patterns[:, BOTH_BINS] / self.bound
            chances[COINCIDENCE][:, ONE_BIN] = (1.0 - accept)[:, None] * one_bin
        if self.bound_single > 0.0:
            chances[SINGLE][:, ONE_BIN] = one_bin / self.bound_single
        chances[..., 0] = np.maximum(1.0 - chances.sum(axis=-1), 0.0)
        self.chances = chances
        self.tables = alias_tables(chances.reshape(-1, 16))
        self.reach = gates.reach
        self.memory = gates.memory if self.bound_single > 0.0 else 0

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> "CoincidenceDrawing":
        """Start to draw the candidates of a segment of at most 2^53 pulses."""
        return CoincidenceDrawing(self, seed, n_pulses)

    def detection(self, seed: np.random.SeedSequence) -> "CoincidenceDetection":
        """Start to detect a segment, with detectors that have rested."""
        return CoincidenceDetection(self, seed)


class CoincidenceDrawing:
    """Candidates of one segment; decided by the bounds, the memory and the seed alone."""

    def __init__(
        self, level: CoincidenceLevel, seed: np.random.SeedSequence, n_pulses: int
    ) -> None:
        self._level = level
        self._state = generator_state(seed)
        self._scales = gap_scale(level.bound), gap_scale(level.bound_single)
        self._n_pulses = n_pulses
        self._progress = np.array([0 if level.bound > 0.0 else n_pulses, 0, 0, 0], dtype=np.int64)
        self._waiting = np.empty(64, dtype=np.int64)

    def next(self, max_candidates: int) -> Draw:
        """The next candidates, in increasing order, at most `max_candidates`."""
        pulses = np.empty(max_candidates, dtype=np.int64)
        kinds = np.empty(max_candidates, dtype=np.uint8)
        n = 0
        while True:
            n += _click_kernels.draw_clusters(
                self._state,
                *self._scales,
                self._level.memory,
                self._n_pulses,
                self._progress,
                self._waiting,
                pulses[n:],
                kinds[n:],
            )
            position, _, n_waiting, walking = self._progress.tolist()
            if not walking:
                break
            self._waiting = np.concatenate([self._waiting, np.empty_like(self._waiting)])
        # Of a cluster that is cut by the batch, what lies beyond the cut is still to be decided.
        n_covered = int(pulses[n - 1]) + 1 if n_waiting else position
        if n < max_candidates:
            pulses, kinds = pulses[:n].copy(), kinds[:n].copy()
        return Draw(pulses=pulses, kinds=kinds, n_covered=n_covered)


class CoincidenceDetection:
    """What the light of the candidates of one segment does, batch after batch."""

    def __init__(self, level: CoincidenceLevel, seed: np.random.SeedSequence) -> None:
        self._level = level
        self._state = generator_state(seed)
        self._live_from = np.zeros(4, dtype=np.int64)

    def detect(
        self, draw: Draw, states_alice: NDArray[np.uint8], states_bob: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulses with registered clicks in both bins, and their patterns.

        Shapes: states (n,) at the n candidates; (k,) and (k,) out.
        """
        clicked = np.empty(draw.pulses.size, dtype=np.int64)
        registered = np.empty(draw.pulses.size, dtype=np.uint8)
        n = _click_kernels.detect(
            self._state,
            *self._level.tables,
            self._level.reach,
            self._live_from,
            draw.pulses,
            draw.kinds,
            states_alice,
            states_bob,
            clicked,
            registered,
        )
        return clicked[:n].copy(), registered[:n].copy()
