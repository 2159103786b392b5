"""Detector models: one file each, and the presets that a configuration may name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.detectors.detector import Afterpulses, Detector
from mdiqkd_net.physics.detectors.ideal import IDEAL
from mdiqkd_net.physics.detectors.snspd import FAST, RECOVERING
from mdiqkd_net.physics.detectors.spad import INGAAS, SILICON_3605H

__all__ = ["DETECTORS", "Afterpulses", "Detector", "detector_of", "detectors_of"]

DETECTORS: Final[Mapping[str, Detector]] = {
    "ideal": IDEAL,
    "snspd": FAST,
    "snspd_recovering": RECOVERING,
    "spad_ingaas": INGAAS,
    "spad_silicon": SILICON_3605H,
}
"""Presets by the name that `receiver.detector` gives."""


def detector_of(receiver: ReceiverParams) -> Detector:
    """Detector 0 of a receiver: its preset, with whatever the receiver says in its own words.

    Efficiency and darks are always the receiver's own, since the predictions need them.

    Raises:
        DeviceError: On a name that is not in `DETECTORS`, and on numbers that no detector has.
    """
    if receiver.detector not in DETECTORS:
        raise DeviceError(f"detector: found {receiver.detector!r}; allowed: {', '.join(DETECTORS)}")
    preset = DETECTORS[receiver.detector]
    afterpulses = preset.afterpulses
    if receiver.afterpulse_probability is not None:
        afterpulses = replace(afterpulses, probability=receiver.afterpulse_probability)
    if receiver.afterpulse_decay_s is not None:
        afterpulses = replace(afterpulses, decays=((1.0, receiver.afterpulse_decay_s),))
    return replace(
        preset,
        efficiency=receiver.efficiency,
        dead_time_s=_own(receiver.dead_time_s, preset.dead_time_s),
        recovery_s=_own(receiver.recovery_s, preset.recovery_s),
        jitter_s=_own(receiver.jitter_s, preset.jitter_s),
        jitter_tail_share=_own(receiver.jitter_tail_share, preset.jitter_tail_share),
        jitter_tail_s=_own(receiver.jitter_tail_s, preset.jitter_tail_s),
        afterpulses=afterpulses,
    )


def detectors_of(receiver: ReceiverParams) -> tuple[Detector, Detector]:
    """Both detectors of a receiver, which differ in efficiency at most.

    Raises:
        DeviceError: As `detector_of` does.
    """
    detector = detector_of(receiver)
    efficiency = detector.efficiency * receiver.efficiency_ratio
    return detector, replace(detector, efficiency=efficiency)


def _own(value: float | None, preset: float) -> float:
    return preset if value is None else value
