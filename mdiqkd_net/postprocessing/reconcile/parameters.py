"""Block sizes of Cascade, found by `python -m mdiqkd_net.postprocessing.reconcile.sweep`."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from mdiqkd_net.errors import LocalProtocolError

N_CHECKS: Final = 16
"""Parities of random halves of a frame that are compared at the end.

Each sees a pattern of errors that all passes have missed with probability 1/2.
"""

MAX_LOG_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Schedule:
    """How Cascade goes about a batch.

    Attributes:
        log_sizes: log2 of the block size of each pass.
        parallel: Most odd blocks of a frame that are searched in all passes at once. One pass at
            a time leaks less, for no error is sought twice, but takes more rounds.
        wide: If 1, a frame with a single odd block asks four levels of its tree in one round;
            if 2, one with two asks two levels as well. Both cost parities and save rounds.
    """

    log_sizes: tuple[int, ...]
    parallel: int
    wide: int

    def __post_init__(self) -> None:
        rising = sorted(self.log_sizes) == list(self.log_sizes)
        if len(self.log_sizes) < 2 or self.log_sizes[0] < 2 or not rising:
            raise LocalProtocolError(
                f"log_sizes: found {self.log_sizes}; allowed: two or more, none below 2, rising"
            )

    @property
    def widths(self) -> tuple[int, int, int]:
        """Up to how many odd blocks of a frame 2, 3 and 4 levels are asked in one round."""
        return (self.wide, min(self.wide, 1), min(self.wide, 1))


TABLE: Final = (
    (0.0005, Schedule((11, 13, 15), 0, 0)),
    (0.001, Schedule((10, 11, 15), 0, 0)),
    (0.002, Schedule((9, 10, 14), 0, 0)),
    (0.003, Schedule((8, 9, 13), 0, 0)),
    (0.004, Schedule((8, 9, 13), 0, 0)),
    (0.005, Schedule((7, 9, 13), 0, 1)),
    (0.006, Schedule((7, 8, 13), 0, 0)),
    (0.0075, Schedule((7, 8, 13), 0, 0)),
    (0.009, Schedule((6, 8, 13), 0, 0)),
    (0.011, Schedule((6, 8, 12), 0, 2)),
    (0.013, Schedule((6, 8, 13), 0, 2)),
    (0.016, Schedule((6, 7, 13), 0, 0)),
    (0.02, Schedule((5, 7, 13), 0, 0)),
    (0.024, Schedule((5, 7, 11), 0, 2)),
    (0.028, Schedule((5, 6, 10), 0, 2)),
    (0.034, Schedule((5, 6, 10), 0, 2)),
    (0.04, Schedule((5, 6, 10), 0, 2)),
    (0.048, Schedule((4, 6, 10), 0, 2)),
    (0.057, Schedule((4, 5, 9), 0, 2)),
    (0.068, Schedule((4, 5, 9), 0, 2)),
    (0.08, Schedule((4, 5, 9), 0, 2)),
    (0.095, Schedule((3, 5, 9), 0, 2)),
    (0.115, Schedule((3, 5, 7), 16, 2)),
    (0.14, Schedule((2, 5, 9), 0, 2)),
)
"""Schedules by the QBER for which they were found."""


def schedule_for(qber: float) -> Schedule:
    """The schedule of the nearest QBER of the table, on a logarithmic scale.

    Below the table blocks grow in inverse proportion to the QBER; above, the last row serves.
    Only products are compared, so that both users find the same row whatever their math library.
    """
    least, schedule = TABLE[0]
    if qber < least:
        doublings = 0
        while doublings < MAX_LOG_SIZE and 2.0 * (2.0**doublings * qber) ** 2 < least * least:
            doublings += 1
        sizes = tuple(min(s + doublings, MAX_LOG_SIZE) for s in schedule.log_sizes)
        return replace(schedule, log_sizes=sizes)
    for (low, schedule), (high, _) in pairwise(TABLE):
        if qber * qber < low * high:
            return schedule
    return TABLE[-1][1]
