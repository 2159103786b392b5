"""Options of verbs that compute many things, and lines on stderr while they do."""

import argparse
import time
from typing import Final, TextIO

from mdiqkd_net.errors import ConfigError

QUIET_S: Final = 2.0
_BETWEEN_LINES_S: Final = 1.0


def configure(group: "argparse._ActionsContainer") -> None:
    """Declare the options."""
    group.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="local processes to compute in (1)"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask scheduler to compute on, e.g. tcp://host:8786",
    )


def require_consistent(args: argparse.Namespace) -> None:
    """Return if the options make sense.

    Raises:
        ConfigError: Naming the one that does not.
    """
    if args.jobs < 1:
        raise ConfigError(f"--jobs: found {args.jobs}; allowed: 1 or more")
    if args.scheduler is not None and args.jobs > 1:
        raise ConfigError("--jobs: found with --scheduler; allowed: one of the two")


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} seconds"


class Progress:
    """Lines on stderr, once a computation has been silent for two seconds."""

    def __init__(self, n_items: int, what: str, stream: TextIO) -> None:
        self._n_items = n_items
        self._what = what
        self._stream = stream
        self._n_done = 0
        self._start = time.monotonic()
        self._last = self._start + QUIET_S - _BETWEEN_LINES_S

    def done(self, name: str) -> None:
        """One more is done."""
        self._n_done += 1
        now = time.monotonic()
        if now - self._last < _BETWEEN_LINES_S:
            return
        self._last = now
        left = (now - self._start) / self._n_done * (self._n_items - self._n_done)
        self._stream.write(
            f"{self._n_done} of {self._n_items} {self._what} ({name}), "
            f"about {duration(left)} left\n"
        )
        self._stream.flush()
