"""The experiments, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdiqkd_net.laboratory.experiments import (
    afterpulses,
    dead_time,
    drift,
    gains,
    hom_dip,
    overlap,
    polarization,
    recovery,
)
from mdiqkd_net.laboratory.finding import Finding
from mdiqkd_net.laboratory.light import Seed
from mdiqkd_net.physics.levels import AVAILABLE

Run = Callable[[Seed, int, str], list[Finding]]
"""Seed, events per case, level; one finding for each case."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One effect whose outcome is known.

    Attributes:
        run: The experiment itself.
        levels: At which it can be run; the first is the cheapest.
    """

    run: Run
    levels: tuple[str, ...] = AVAILABLE


EXPERIMENTS: Final[Mapping[str, Experiment]] = MappingProxyType(
    {
        "gains": Experiment(gains.run),
        "hom_dip": Experiment(hom_dip.run),
        "overlap": Experiment(overlap.run),
        "polarization": Experiment(polarization.run),
        "dead_time": Experiment(dead_time.run, ("click",)),
        "recovery": Experiment(recovery.run, ("click",)),
        "afterpulses": Experiment(afterpulses.run, ("click",)),
        "drift": Experiment(drift.run),
    }
)
"""Whoever adds one writes a file here and a line in this table."""
