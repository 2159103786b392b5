"""What ties a pulse to others: the setting before it, and a phase that they share."""

import math

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, setting_of
from mdiqkd_net.physics.pair_optics import PHASE_CELLS, Light, PairOptics

_WALK, _PHASE_LEVEL = range(2)


class PulseDraws:
    """Draws for the candidates of one segment, in the order of the pulses.

    Every kind of draw has its own generator, which takes one number per candidate: results do not
    depend on how the candidates are cut into batches.

    Args:
        optics: Of the segment.
        seed: Of the segment.
        first_pulse: Of the segment in its block; the phase of detuned lasers counts from there.
    """

    def __init__(self, optics: PairOptics, seed: np.random.SeedSequence, first_pulse: int) -> None:
        self._light = optics.light
        self._law = optics.phase
        self._rngs = [np.random.default_rng(child) for child in seed.spawn(2)]
        self._first_pulse = first_pulse
        self._walked_to = 0
        # A phase that walks is stationary, hence uniform wherever one begins to look.
        walks = self._law.variance > 0.0
        self._walked = 2.0 * math.pi * self._rngs[_WALK].random() if walks else 0.0

    def asked(self, pulses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pulses whose states must be known at candidates (n,): (m,), strictly increasing.

        The candidates, and the pulse before each of them if a transmitter remembers it.
        """
        if not any(light.remembers for light in self._light):
            return pulses
        alone = np.diff(pulses, prepend=-1) > 1  # the pulse before exists and is no candidate
        copies = 1 + alone.astype(np.int64)
        asked = np.repeat(pulses, copies)
        asked[(np.cumsum(copies) - copies)[alone]] -= 1
        return asked

    def rows(
        self,
        pulses: NDArray[np.int64],
        asked: NDArray[np.int64],
        states: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Rows of both users' light at the next candidates, (n,) each, as in `optics`.

        Args:
            pulses: The candidates, (n,).
            asked: As `asked` gives them, (m,).
            states: Of Alice and of Bob at the pulses asked for, 0 to 6, (m,) each.

        Returns:
            Alice's rows, with the cell of the phase as in `optics.raw_patterns`, and Bob's.
        """
        if asked is pulses and not self._law.shared:
            return states
        at = np.searchsorted(asked, pulses)
        alice, bob = (
            self._rows(light, of_user, pulses, at)
            for light, of_user in zip(self._light, states, strict=True)
        )
        if self._law.shared:
            cells = np.rint(self.phases(pulses) * (PHASE_CELLS / (2.0 * math.pi)))
            alice += (cells.astype(np.int64) % PHASE_CELLS) * self._light[0].n_rows
        return alice, bob

    def phases(self, pulses: NDArray[np.int64]) -> NDArray[np.float64]:
        """Relative phases at the next candidates, in radians, (n,), if pulses share them.

        A walking phase is a Wiener process, seen at the candidates alone: its increments are
        independent Gaussians however far apart those are.
        """
        law = self._law
        phases = np.zeros(pulses.size)
        if law.variance > 0.0:
            gaps = np.diff(pulses, prepend=self._walked_to)
            steps = self._rngs[_WALK].standard_normal(pulses.size) * np.sqrt(law.variance * gaps)
            phases += np.cumsum(np.concatenate([[self._walked], steps]))[1:]
            if pulses.size:
                self._walked, self._walked_to = float(phases[-1]), int(pulses[-1])
        if law.advance != 0.0:
            cycles = (self._first_pulse + pulses) * (law.advance % 1.0)
            phases += 2.0 * math.pi * (cycles % 1.0)
        if law.levels > 1:
            levels = np.floor(self._rngs[_PHASE_LEVEL].random(pulses.size) * law.levels)
            phases += 2.0 * math.pi / law.levels * levels
        return phases

    @staticmethod
    def _rows(
        light: Light,
        states: NDArray[np.uint8],
        pulses: NDArray[np.int64],
        at: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        rows = states[at].astype(np.int64)
        if light.remembers:
            # A transmitter is at rest before the first pulse of a segment, as after a vacuum.
            previous = np.where(pulses > 0, states[at - 1], np.uint8(0))
            rows += N_STATES * setting_of(previous).astype(np.int64)
        return rows
