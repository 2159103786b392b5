"""All experiments under one seed, in any number of processes, with the same outcome."""

import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from mdiqkd_net.laboratory.experiments import EXPERIMENTS
from mdiqkd_net.laboratory.finding import Finding

LEAST_P: Final = 1e-4
"""A p value below it is a failure; with a fixed seed a pass stays a pass."""


def check(
    names: Sequence[str],
    *,
    seed: int,
    n_events: int,
    level: str | None = None,
    repeats: int = 1,
    jobs: int = 1,
) -> Iterator[list[Finding]]:
    """Findings of each experiment and repeat, in order, as they come.

    Every repeat of every experiment has a seed of its own, derived from `seed`, its name and its
    number: what else is run or added, and where it runs, changes nothing.

    Args:
        names: Of `EXPERIMENTS`.
        seed: Non-negative.
        n_events: To count in each case, about.
        level: At which to run all of them; None: each at its cheapest.
        repeats: How often each experiment is run.
        jobs: Processes.
    """
    tasks = [
        (name, (seed, _number(name), repeat), n_events, level or EXPERIMENTS[name].levels[0])
        for name in names
        for repeat in range(repeats)
    ]
    if jobs == 1:
        yield from map(_one, tasks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=spawn) as pool:
        yield from pool.map(_one, tasks)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def _one(task: tuple[str, tuple[int, ...], int, str]) -> list[Finding]:
    name, seed, n_events, level = task
    return EXPERIMENTS[name].run(seed, n_events, level)
