"""The coincidence level: only pulses with clicks in both bins, dead time included, exactly.

Most pulses are never looked at. `CoincidenceDrawing` steps over them to the few that may become an
event and to those before them whose clicks may have made a detector blind; `CoincidenceDetection`
decides what they do. Neither needs the other: the light of the users comes in between.
"""

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.physics import _click_kernels
from mdiqkd_net.physics.gates import Gates
from mdiqkd_net.physics.sampling import Draw, alias_tables, gap_scale, generator_state

EVENT, CLICK = range(2)
"""Kinds of candidates: pulses that may become an event, and pulses that may click."""


class CoincidenceLevel:
    """Sampling tables of one pair of users, made of public numbers alone.

    A raw pattern is *promising* if live detectors register clicks in both bins. Every pulse tosses
    two coins, independent of each other and of everything else: heads with probability `bound`
    makes it an event candidate, otherwise heads with `bound_click` makes it a click candidate. With
    p(P) the chance of the raw pattern P for the states of the pulse and p_e its sum over promising
    patterns, an event candidate shows P with chance p(P) / bound if P is promising, and with
    (1 - p_e / bound) p(P) / (1 - p_e) if it is another click. A click candidate shows one of those
    with chance p(P) / (1 - p_e) / bound_click. Together that is p(P) for every P.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16).
        gates: Of the detectors; afterpulses are not for this level.
        n_bob: Rows of Bob's light; row n_bob a + b of the patterns is the pair (a, b).

    Attributes:
        bound: The largest chance of a promising pattern, over all pairs of states.
        bound_click: The largest chance of another click given that no pattern is promising.
        chances: (2, n_pairs, 16) of the raw patterns, by kind of candidate.
    """

    def __init__(self, patterns: NDArray[np.float64], gates: Gates, n_bob: int = N_STATES) -> None:
        self.n_bob = n_bob
        promising, others = _promising(gates)
        event = patterns[:, promising].sum(axis=1)
        self.bound = min(1.0, float(event.max()))
        click = np.zeros((patterns.shape[0], others.size))
        np.divide(patterns[:, others], 1.0 - event[:, None], out=click, where=event[:, None] < 1.0)
        self.bound_click = min(1.0, float(click.sum(axis=1).max()))
        chances = np.zeros((2, *patterns.shape))
        if self.bound > 0.0:
            accept = np.minimum(event / self.bound, 1.0)
            chances[EVENT][:, promising] = patterns[:, promising] / self.bound
            chances[EVENT][:, others] = (1.0 - accept)[:, None] * click
        if self.bound_click > 0.0:
            chances[CLICK][:, others] = click / self.bound_click
        chances[..., 0] = np.maximum(1.0 - chances.sum(axis=-1), 0.0)
        self.chances = chances
        self.tables = alias_tables(chances.reshape(-1, 16))
        self.reach = gates.reach
        self.memory = gates.memory if self.bound_click > 0.0 else 0

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> "CoincidenceDrawing":
        """Start to draw the candidates of a segment of at most 2^53 pulses."""
        return CoincidenceDrawing(self, seed, n_pulses)

    def detection(
        self,
        seed: np.random.SeedSequence,
        n_pulses: int,  # noqa: ARG002  # only a level with times cares
    ) -> "CoincidenceDetection":
        """Start to detect a segment, with detectors that have rested."""
        return CoincidenceDetection(self, seed)


class CoincidenceDrawing:
    """Candidates of one segment; decided by the bounds, the memory and the seed alone."""

    def __init__(
        self, level: CoincidenceLevel, seed: np.random.SeedSequence, n_pulses: int
    ) -> None:
        self._level = level
        self._state = generator_state(seed)
        self._scales = gap_scale(level.bound), gap_scale(level.bound_click)
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
        self.n_decided = 0

    def detect(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulses with registered clicks in both bins, and their patterns.

        Shapes: rows of light (n,) at the n candidates; (k,) and (k,) out.
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
            self._level.n_bob,
            states_alice,
            states_bob,
            clicked,
            registered,
        )
        self.n_decided = draw.n_covered
        return clicked[:n].copy(), registered[:n].copy()


def _promising(gates: Gates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Raw patterns that live detectors register in both bins, and all other clicks.

    Dead detectors register less; clicks in both bins of one detector whose dead time spans the bins
    leave one bin in any case.
    """
    patterns = np.arange(1, 16)
    early, late = patterns & 3, patterns >> 2
    if gates.reach[0, 1] > 0:  # the late click must come from the other detector
        crossed = (((early & 1) & (late >> 1)) | ((early >> 1) & (late & 1))) > 0
    else:
        crossed = (early > 0) & (late > 0)
    return patterns[crossed], patterns[~crossed]
