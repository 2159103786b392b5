"""Units are converted once, at the edge: dB and km stop at the configuration."""

from typing import Final

NANO: Final = 1_000_000_000
"""Intensities and probabilities travel as integers of 1e-9 (the wire carries no floats)."""


def transmittance(loss_db: float) -> float:
    """Fraction of light that survives a loss in dB."""
    return float(10.0 ** (-loss_db / 10.0))


def to_nano(value: float) -> int:
    """Round a dimensionless number to an integer of 1e-9."""
    return round(value * NANO)


def to_nano_up(value: float) -> int:
    """The least integer of 1e-9 that stands for no less than `value`."""
    nearest = to_nano(value)
    return nearest if from_nano(nearest) >= value else nearest + 1


def from_nano(value: int) -> float:
    """Undo `to_nano`."""
    return value / NANO
