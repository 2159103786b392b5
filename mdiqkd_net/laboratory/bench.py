"""How fast the simulated light is on this machine."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.experiments.gains import LOSSES_DB, link_at
from mdiqkd_net.params import Link


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one level at one loss.

    Attributes:
        level: Of the simulation.
        loss_db: Of both arms together.
        n_pulses: Pulse pairs of each process.
        n_events: Events of each process, on average.
        n_processes: That ran at the same time.
        cpu_s: CPU time of all of them.
        wall_s: From the first start to the last end.
    """

    level: str
    loss_db: float
    n_pulses: int
    n_events: float
    n_processes: int
    cpu_s: float
    wall_s: float

    @property
    def pulses_per_cpu_s(self) -> float:
        """Of one core."""
        return self.n_pulses * self.n_processes / self.cpu_s

    @property
    def pulses_per_s(self) -> float:
        """Of all processes together, by the clock on the wall."""
        return self.n_pulses * self.n_processes / self.wall_s

    @property
    def ns_per_event(self) -> float:
        """CPU time."""
        return 1e9 * self.cpu_s / (self.n_events * self.n_processes)


def bench(
    levels: Sequence[str],
    *,
    n_events: int,
    n_processes: int = 1,
    losses_db: Sequence[float] = LOSSES_DB,
) -> list[Speed]:
    """Everything a block costs, both users' settings included; kernels are compiled before."""
    links = []
    for level in levels:
        for loss_db in losses_db:
            link = light.at_level(link_at(loss_db), level)
            n_pulses = light.pulses_for(link, n_events)
            links.append((level, loss_db, msgspec.structs.replace(link, n_pulses=n_pulses)))
    if n_processes == 1:
        return [_measured(*case, 1, map) for case in links]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=spawn) as pool:
        return [_measured(*case, n_processes, pool.map) for case in links]


def _measured(
    level: str, loss_db: float, link: Link, n_processes: int, mapped: Callable[..., Any]
) -> Speed:
    seeds = range(n_processes)
    warm = msgspec.structs.replace(link, n_pulses=1000)
    list(mapped(_timed, [warm] * n_processes, seeds))
    started = time.perf_counter()
    runs = list(mapped(_timed, [link] * n_processes, seeds))
    wall_s = time.perf_counter() - started
    return Speed(
        level=level,
        loss_db=loss_db,
        n_pulses=link.n_pulses,
        n_events=sum(events for events, _ in runs) / n_processes,
        n_processes=n_processes,
        cpu_s=sum(cpu_s for _, cpu_s in runs),
        wall_s=wall_s,
    )


def _timed(link: Link, seed: int) -> tuple[int, float]:
    started = time.process_time()
    counts = light.run(link, (seed,)).counts
    return int(counts.sum()), time.process_time() - started
