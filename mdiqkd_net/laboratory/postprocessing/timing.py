"""CPU time and memory of a task."""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_ENOUGH_S: Final = 0.3
_MOST_RUNS: Final = 25


def cpu_s(task: Callable[[], T]) -> tuple[T, float]:
    """What the task returns, and the CPU time that it took."""
    started = time.process_time()
    result = task()
    return result, time.process_time() - started


def median_cpu_s(task: Callable[[], object]) -> float:
    """Median CPU time of 1 to 25 runs, 0.3 s of them if that many do, after one more before."""
    task()
    times: list[float] = []
    while not times or (sum(times) < _ENOUGH_S and len(times) < _MOST_RUNS):
        times.append(cpu_s(task)[1])
    return statistics.median(times)


def peak_bytes(task: Callable[[], object]) -> int:
    """The most memory that a run holds at a time beyond what was there before.

    Counted is what Python and numpy allocate, by tracemalloc, and not what a library takes behind
    their backs. The run is slowed down; do not time it.
    """
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def per_s(n_bits: int, seconds: float) -> float | None:
    """Bits per second; None if nothing was measured."""
    return n_bits / seconds if seconds else None
