"""Run seeds, and make the history of one that fails as short as can be."""

import gc
import os
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mdiqkd_net.runtime.spread import spread
from mdiqkd_net.simulation import scheduling
from mdiqkd_net.simulation.faults import FAULTS, drawn
from mdiqkd_net.simulation.network import Network

MEMORY: Final = Path("/dev/shm")  # noqa: S108  # files of a simulation need not outlive it

TWICE: Final = 100
"""Every so many seeds one is run twice: chance that has crept in would make failures useless."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed.

    Attributes:
        seed: It.
        faults: The kinds of harm that were done.
        violations: What should not have been; empty if all is well.
        history: What happened, a line each.
        trace: SHA-256 of everything that happened.
        keys: Blocks that gave a key, counted at both users.
        aborted: Blocks that did not.
        events: Lines of history.
        seconds: Of processor time.
    """

    seed: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]
    history: tuple[str, ...]
    trace: str
    keys: int
    aborted: int
    events: int
    seconds: float


def simulate(seed: int, faults: Sequence[str]) -> Outcome:
    """Run one seed with exactly these faults."""
    begun_s = time.process_time()
    root = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mdiqkd-", dir=root) as directory:

        async def main() -> Network:
            network = Network(seed, tuple(faults), Path(directory))
            await network.run()
            return network

        with _no_collection():
            network = scheduling.run(seed, main)
    violations = tuple(network.watch.violations)
    return Outcome(
        seed=seed,
        faults=tuple(faults),
        violations=violations,
        history=tuple(network.history),
        trace=network.trace,
        keys=network.keys,
        aborted=network.aborted,
        events=len(network.history),
        seconds=round(time.process_time() - begun_s, 3),
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """A run is short; looking for garbage can wait for its end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def shrink(failed: Outcome) -> Outcome:
    """Leave out one fault after another as long as the seed still fails."""
    for fault in failed.faults:
        fewer = simulate(failed.seed, [name for name in failed.faults if name != fault])
        if fewer.violations:
            failed = fewer
    return failed


def faults_of(seed: int, allowed: Sequence[str]) -> tuple[str, ...]:
    """The faults that a seed draws among those that are allowed."""
    return drawn(seed, tuple(name for name in FAULTS if name in allowed))


def run_seed(seed: int, allowed: Sequence[str]) -> Outcome:
    """Run one seed with the faults that it draws."""
    faults = faults_of(seed, allowed)
    outcome = simulate(seed, faults)
    if seed % TWICE == 0 and (again := simulate(seed, faults)).trace != outcome.trace:
        return replace(again, violations=(*again.violations, "the same seed gave another run"))
    return shrink(outcome) if outcome.violations else outcome


def run_seeds(
    seeds: Sequence[int], allowed: Sequence[str], *, jobs: int = 1
) -> Generator[Outcome, None, None]:
    """Run seeds, in several processes if asked; outcomes come as they are done."""
    for _, outcome in spread(run_seed, [(seed, tuple(allowed)) for seed in seeds], jobs=jobs):
        yield outcome
