"""Trio without chance: virtual time, and an order of tasks that a seed decides.

Trio runs the tasks that are ready in a random order and has no public way to choose it (its issues
2675 and 3089). The switch used here is the one that it has for Hypothesis, and it is private: with
another version of trio the same seed may give another run, or the switch may be gone. `CHECKED`
names the versions that the guard test has been run with.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import trio
from trio.testing import MockClock

T = TypeVar("T")

CHECKED: Final = ("0.35",)
"""Versions of trio for which equal seeds gave equal traces in different processes."""

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` on a clock that jumps to the next deadline whenever nothing else can happen."""
    internals: Any = trio._core._run
    order: Random = internals._r
    before, state = getattr(internals, _SWITCH), order.getstate()
    setattr(internals, _SWITCH, True)
    order.seed(seed)
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        setattr(internals, _SWITCH, before)
        order.setstate(state)
