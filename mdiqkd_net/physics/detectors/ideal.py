"""The detector of the theory: a threshold, an efficiency and darks, and no memory."""

from typing import Final

from mdiqkd_net.physics.detectors.detector import Detector

IDEAL: Final = Detector(efficiency=1.0)
"""Every gate is independent of every other, even the two of one pulse."""
