"""The experiments, by name. Each is a function of a seed and of how many events to count."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from mdiqkd_net.laboratory.experiments import gains, overlap
from mdiqkd_net.laboratory.finding import Finding
from mdiqkd_net.laboratory.light import Seed

Experiment = Callable[[Seed, int], list[Finding]]
"""Seed, events per case; one finding for each case."""

EXPERIMENTS: Final[Mapping[str, Experiment]] = MappingProxyType(
    {
        "gains": gains.run,
        "overlap": overlap.run,
    }
)
"""Whoever adds one writes a file here and a line in this table."""
