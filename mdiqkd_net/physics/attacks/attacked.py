"""A hostile relay in the place of a level: the same halves, another law for the clicks."""

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.attacks import ATTACKS, Announces
from mdiqkd_net.physics.attacks.scene import Amplitudes, Scene
from mdiqkd_net.physics.coincidences import (
    CoincidenceDetection,
    CoincidenceDrawing,
    CoincidenceLevel,
)
from mdiqkd_net.physics.gates import Gates
from mdiqkd_net.physics.pair_optics import Light, PhaseLaw
from mdiqkd_net.physics.sampling import Draw


class AttackedLevel:
    """Coincidences as the relay of `receiver.attack` invents them; its detectors never rest.

    Args:
        receiver: Of the honest relay in whose place this one stands.
        gates: Of its detectors.
        transmittances: Of both arms, Alice's first.
        light: Of both users; ideal transmitters alone.
        phase: Of the users, relative to each other; uniform alone.

    Raises:
        DeviceError: On transmitters that are not ideal, and detectors with a memory.
    """

    def __init__(
        self,
        receiver: ReceiverParams,
        gates: Gates,
        transmittances: tuple[float, float],
        light: tuple[Amplitudes | Light, Amplitudes | Light],
        phase: PhaseLaw,
    ) -> None:
        assert receiver.attack is not None  # noqa: S101  # by the caller
        if receiver.level != "coincidence" or gates.memory:
            raise DeviceError(
                f"attack: found {receiver.attack!r} with level {receiver.level!r} and a dead time "
                f"of {gates.memory} pulses; allowed: level 'coincidence' without dead time"
            )
        attack = ATTACKS[receiver.attack]
        alice, bob = (_ideal(table, phase, receiver.attack) for table in light)
        patterns = attack.patterns(Scene(receiver, transmittances, (alice, bob)))
        self._honest = CoincidenceLevel(patterns, gates)
        self._announces = attack.announces
        self.bound = self._honest.bound
        self.memory = 0

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> CoincidenceDrawing:
        """Start to draw the candidates of a segment."""
        return self._honest.drawing(seed, n_pulses)

    def detection(self, seed: np.random.SeedSequence, n_pulses: int) -> "AttackedDetection":
        """Start to detect a segment."""
        return AttackedDetection(self._honest.detection(seed, n_pulses), self._announces)


class AttackedDetection:
    """Detection of one segment, less what the relay does not speak of."""

    def __init__(self, detection: CoincidenceDetection, announces: Announces | None) -> None:
        self._detection = detection
        self._announces = announces

    @property
    def n_decided(self) -> int:
        """Pulses of the segment whose events are out."""
        return self._detection.n_decided

    def detect(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulses of the batch that it announces, and the patterns that it pretends; (k,) each."""
        pulses, patterns = self._detection.detect(draw, states_alice, states_bob)
        if self._announces is None:
            return pulses, patterns
        kept = self._announces(pulses)
        return pulses[kept], patterns[kept]


def _ideal(light: Amplitudes | Light, phase: PhaseLaw, attack: str) -> Amplitudes:
    rows = light.amplitudes if isinstance(light, Light) else light
    if len(rows) != N_STATES or not phase.uniform:
        raise DeviceError(
            f"attack: found {attack!r} with transmitters that remember, fluctuate or do not "
            "randomize their phase; allowed: ideal ones"
        )
    return rows
