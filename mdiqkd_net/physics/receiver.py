"""The relay's receiver at one of its levels, with the tables of a pair of users."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.attacks.attacked import AttackedLevel
from mdiqkd_net.physics.clicks import ClickLevel
from mdiqkd_net.physics.coincidences import CoincidenceLevel
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.levels import check_level
from mdiqkd_net.physics.optics import raw_patterns
from mdiqkd_net.physics.pair_optics import UNIFORM, Light, PhaseLaw
from mdiqkd_net.physics.sampling import Draw
from mdiqkd_net.physics.tagging import TagLevel, tagging_of


class Drawing(Protocol):
    """The half of a level that says which pulses must be seen."""

    def next(self, max_candidates: int) -> Draw:
        """The next candidates; the last draw covers the segment to its end."""
        ...


class Detection(Protocol):
    """The half of a level that sees their light."""

    @property
    def n_decided(self) -> int:
        """Pulses of the segment whose events are out."""
        ...

    def detect(
        self, draw: Draw, states_alice: NDArray[np.integer], states_bob: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulses with clicks in both bins, and their patterns; draws come in their order.

        A level may keep back the last events of a draw until the next one.
        """
        ...


class Level(Protocol):
    """How much of a pulse's fate is simulated.

    The candidates of a segment are a function of the seed and of public numbers; given them, the
    clicks are one of another seed and the states. Both come out the same however the segment is cut
    into draws, and the halves share nothing that changes.
    """

    bound: float
    memory: int

    def drawing(self, seed: np.random.SeedSequence, n_pulses: int) -> Drawing:
        """Start to draw the candidates of a segment."""
        ...

    def detection(self, seed: np.random.SeedSequence, n_pulses: int) -> Detection:
        """Start to detect a segment."""
        ...


LEVELS: Final[Mapping[str, Callable[[NDArray[np.float64], ReceiverParams, float, int], Level]]] = {
    "coincidence": lambda patterns, receiver, pulse_rate_hz, n_bob: CoincidenceLevel(
        patterns, gates_of(receiver, pulse_rate_hz), n_bob
    ),
    "click": lambda patterns, receiver, pulse_rate_hz, n_bob: ClickLevel(
        patterns, gates_of(receiver, pulse_rate_hz), n_bob
    ),
    "tag": lambda patterns, receiver, pulse_rate_hz, n_bob: TagLevel(
        patterns, tagging_of(receiver, pulse_rate_hz), n_bob
    ),
}
"""By the names of `levels.AVAILABLE`: of raw patterns, the receiver, the pulse rate and `n_bob`."""


def level_of(
    *,
    receiver: ReceiverParams,
    pulse_rate_hz: float,
    transmittances: tuple[float, float],
    light: tuple[NDArray[np.complex128] | Light, NDArray[np.complex128] | Light],
    phase: PhaseLaw = UNIFORM,
) -> Level:
    """The level that a receiver asks for, with the tables of one pair of users.

    Args:
        receiver: Splitter, detectors and level.
        pulse_rate_hz: Clock of the transmitters.
        transmittances: Of both arms, Alice's first, without the detector.
        light: Amplitudes of both users' states at their transmitters, (7, 2) each, or `Light`.
        phase: Of the users, relative to each other.

    Raises:
        DeviceError: On numbers that no receiver has, and on what the level cannot represent.
    """
    gates = check_level(receiver, pulse_rate_hz)
    if receiver.attack is not None:
        return AttackedLevel(receiver, gates, transmittances, light, phase)
    # Where there are times, darks come in their own.
    dark = 0.0 if receiver.level == "tag" else receiver.dark_probability
    patterns = raw_patterns(
        receiver=msgspec.structs.replace(receiver, dark_probability=dark),
        transmittances=transmittances,
        light=light,
        phase=phase,
    )
    _check_latching(receiver, patterns, pulse_rate_hz)
    n_bob = light[1].n_rows if isinstance(light[1], Light) else N_STATES
    return LEVELS[receiver.level](patterns, receiver, pulse_rate_hz, n_bob)


def _check_latching(
    receiver: ReceiverParams, patterns: NDArray[np.float64], pulse_rate_hz: float
) -> None:
    """Refuse light that may switch a detector off for good, were the brightest states sent on."""
    latching_hz = detector_of(receiver).latching_rate_hz
    of_gate = [
        patterns[:, [p for p in range(patterns.shape[1]) if p >> gate & 1]].sum(axis=1)
        for gate in range(4)
    ]
    for d in range(2):
        rate_hz = float((of_gate[d] + of_gate[2 + d]).max()) * pulse_rate_hz
        if rate_hz > latching_hz:
            raise DeviceError(
                f"detector {d}: found up to {rate_hz:.3g} photons/s that would click; "
                f"allowed: {latching_hz:.3g}, above which {receiver.detector} latches"
            )
