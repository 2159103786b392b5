"""Crash points: named places around every durable step, where a test may end a node.

A node is at such a place in every run; only there it can be asked to stop existing. Real processes
are asked by two variables of the environment (`crash_at`), simulated ones by the simulation.
"""

import os
import signal
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final, Literal, get_args

from mdiqkd_net.errors import ConfigError

Step = Literal[
    "begin", "hold", "commit", "confirm", "abort", "burn", "freeze", "grant", "lease", "tag", "hand"
]
"""Durable steps of a node."""

CRASH_AT: Final = "MDIQKD_CRASH_AT"
TEST_HOOKS: Final = "MDIQKD_TEST_HOOKS"


def crash_points() -> tuple[str, ...]:
    """All names, such as "hold.before"."""
    return tuple(f"{step}.{when}" for step in get_args(Step) for when in ("before", "after"))


def crash_at(environment: Mapping[str, str]) -> Callable[[str], None] | None:
    """What to call at every crash point, or None if nobody asks for a crash.

    `MDIQKD_CRASH_AT=hold.after:2` kills this process (SIGKILL) at its second visit of "hold.after".

    Raises:
        ConfigError: There is no such point or number, or `MDIQKD_TEST_HOOKS` is not 1.
    """
    wish = environment.get(CRASH_AT)
    if wish is None:
        return None
    if environment.get(TEST_HOOKS) != "1":
        raise ConfigError(
            f"{CRASH_AT}: found {wish!r}; allowed: only with {TEST_HOOKS}=1, in tests"
        )
    point, _, number = wish.partition(":")
    if point not in crash_points() or not number.isdecimal() or int(number) < 1:
        raise ConfigError(
            f"{CRASH_AT}: found {wish!r}; allowed: POINT:N, N from 1 on and POINT one of "
            f"{', '.join(crash_points())}"
        )
    return _Visits(point, int(number)).count


class _Visits:
    """Kills this process at a visit; any thread may come by."""

    def __init__(self, point: str, number: int) -> None:
        self._point = point
        self._left = number
        self._lock = Lock()

    def count(self, point: str) -> None:
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
