"""How fast the simulated light is on this machine."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

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
    *, n_events: int, n_processes: int = 1, losses_db: Sequence[float] = LOSSES_DB
) -> list[Speed]:
    """Everything a block costs, both users' settings included; kernels are compiled before."""
    found = []
    for loss_db in losses_db:
        link = link_at(loss_db)
        link = msgspec.structs.replace(link, n_pulses=light.pulses_for(link, n_events))
        if n_processes == 1:
            _timed(msgspec.structs.replace(link, n_pulses=1000), 0)
            started = time.perf_counter()
            runs = [_timed(link, 0)]
            wall_s = time.perf_counter() - started
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(n_processes, mp_context=spawn) as pool:
                warm = [msgspec.structs.replace(link, n_pulses=1000)] * n_processes
                list(pool.map(_timed, warm, range(n_processes)))
                started = time.perf_counter()
                runs = list(pool.map(_timed, [link] * n_processes, range(n_processes)))
                wall_s = time.perf_counter() - started
        found.append(
            Speed(
                level="coincidence",
                loss_db=loss_db,
                n_pulses=link.n_pulses,
                n_events=sum(events for events, _ in runs) / n_processes,
                n_processes=n_processes,
                cpu_s=sum(cpu_s for _, cpu_s in runs),
                wall_s=wall_s,
            )
        )
    return found


def _timed(link: Link, seed: int) -> tuple[int, float]:
    started = time.process_time()
    counts = light.run(link, (seed,)).counts
    return int(counts.sum()), time.process_time() - started
