"""Detector models: how an intensity turns into the chance of a click."""

from collections.abc import Callable, Mapping
from typing import Final

from mdiqkd_net.physics.detectors.threshold import ThresholdDetector

DETECTORS: Final[Mapping[str, Callable[[float, float], ThresholdDetector]]] = {
    "threshold": ThresholdDetector,
}
"""By name: a function of efficiency and dark probability per gate.

The receiver skips over pulses exactly because the chance that two equal detectors both stay silent
depends on their total light alone, not on how interference shares it out. A model joins this table
if that holds for it: independent gates, and a silence that falls exponentially with the light.
"""
