"""Both detectors in the dark, click by click: what their memory does by itself."""

import numpy as np

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.laboratory.light import PULSE_RATE_HZ, Seed
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.clicks import ClickLevel
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.optics import raw_patterns

_BATCH = 1 << 16
_N_CLICKS = np.array([pattern.bit_count() for pattern in range(16)])


def in_the_dark(dark_probability: float, **memory: float) -> ReceiverParams:
    """Two detectors at the click level, with keys of `ReceiverParams` for their memory."""
    return ReceiverParams(
        efficiency=0.5,
        dark_probability=dark_probability,
        misalignment=0.0,
        mode_overlap=1.0,
        level="click",
        **memory,  # type: ignore[arg-type]  # numbers, by the callers
    )


def count_clicks(receiver: ReceiverParams, n_pulses: int, seed: Seed) -> int:
    """Registered clicks of both detectors while nobody sends anything."""
    dark = np.zeros((N_STATES, 2), dtype=np.complex128)
    patterns = raw_patterns(receiver=receiver, transmittances=(1.0, 1.0), light=(dark, dark))
    level = ClickLevel(patterns, gates_of(receiver, PULSE_RATE_HZ), N_STATES)
    places, events = np.random.SeedSequence(seed).spawn(2)
    drawing, detection = level.drawing(places, n_pulses), level.detection(events, n_pulses)
    n_clicks = covered = 0
    while covered < n_pulses:
        draw = drawing.next(_BATCH)
        vacuum = np.zeros(draw.pulses.size, dtype=np.uint8)
        n_clicks += int(_N_CLICKS[detection.clicks(draw, vacuum, vacuum)[1]].sum())
        covered = draw.n_covered
    return n_clicks
