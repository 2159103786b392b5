"""Block sizes of Cascade, found by `python -m mdiqkd_net.postprocessing.reconcile.sweep`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from mdiqkd_net.errors import LocalProtocolError

Profile = Literal["low_leak", "low_rounds"]

N_CHECKS: Final = 16
"""Parities of random halves of a group of frames that are compared at the end.

Each sees a pattern of errors that all passes have missed with probability 1/2.
"""

LEAST_BLOCK_BITS: Final = 2
MOST_BLOCK_BITS: Final = 2**16


@dataclass(frozen=True, slots=True)
class Schedule:
    """How Cascade goes about a batch.

    Attributes:
        block_bits: Size of the blocks of each pass, rounded to what divides words, rows of 64
            words, or frames.
        budget: Odd blocks are cut in 4 or 8 instead of in 2 as long as a frame then has no more
            than so many pieces. It costs parities and saves rounds.
        hurry: The budget of a frame is this over the number of questions per frame that were open
            in the last round of the batch, if that is more: the last frames hurry up.
    """

    block_bits: tuple[int, ...]
    budget: int = 0
    hurry: int = 0

    def __post_init__(self) -> None:
        sizes = self.block_bits
        legal = all(LEAST_BLOCK_BITS <= size <= MOST_BLOCK_BITS for size in sizes)
        if len(sizes) < 2 or not legal or sorted(sizes) != list(sizes):
            raise LocalProtocolError(
                f"block_bits: found {sizes}; allowed: two or more, rising, "
                f"{LEAST_BLOCK_BITS} to {MOST_BLOCK_BITS}"
            )


def first_leaves(block_bits: int, n_rows: int) -> tuple[int, int, int]:
    """The blocks of a pass over a frame of `n_rows` rows of 64 words.

    Returns their level in the terms of `_leaves`, and START of each node of it; words with an odd
    number have another one, so that there are sizes between 64 and 32 bits, and 32 and 21.
    A block above level 0 has two units at least.
    """
    if block_bits <= 90:
        n_pair = min(64, max(2, round(128 / block_bits)))
        return 0, _starts(64, n_pair // 2), _starts(64, n_pair - n_pair // 2)
    if block_bits <= 5800 or n_rows == 1:
        starts = _starts(64, min(32, max(1, round(4096 / block_bits))))
        return 1, starts, starts
    starts = _starts(n_rows, max(1, min(n_rows // 2, round(4096 * n_rows / block_bits))))
    return 2, starts, starts


def _starts(n_units: int, n_blocks: int) -> int:
    return sum(1 << (i * n_units // n_blocks) for i in range(n_blocks))


TABLE: Final[tuple[tuple[float, Mapping[Profile, Schedule]], ...]] = (
    (
        0.0005,
        {
            "low_leak": Schedule((1365, 4096, 16384), 0, 0),
            "low_rounds": Schedule((1365, 4096, 16384), 0, 0),
        },
    ),
    (
        0.001,
        {
            "low_leak": Schedule((1024, 4096, 16384), 0, 0),
            "low_rounds": Schedule((683, 2048, 16384), 0, 0),
        },
    ),
    (
        0.002,
        {
            "low_leak": Schedule((683, 2048, 16384), 0, 0),
            "low_rounds": Schedule((315, 1365, 10923), 0, 0),
        },
    ),
    (
        0.003,
        {
            "low_leak": Schedule((256, 1365, 10923), 0, 0),
            "low_rounds": Schedule((256, 1024, 8192), 4, 2),
        },
    ),
    (
        0.004,
        {
            "low_leak": Schedule((256, 1024, 8192), 0, 0),
            "low_rounds": Schedule((158, 683, 10923), 0, 0),
        },
    ),
    (
        0.005,
        {
            "low_leak": Schedule((205, 1024, 8192), 0, 0),
            "low_rounds": Schedule((128, 512, 8192), 4, 2),
        },
    ),
    (
        0.006,
        {
            "low_leak": Schedule((108, 819, 5958), 4, 2),
            "low_rounds": Schedule((108, 410, 16384), 4, 2),
        },
    ),
    (
        0.0075,
        {
            "low_leak": Schedule((100, 410, 6554), 4, 2),
            "low_rounds": Schedule((100, 410, 6554), 4, 2),
        },
    ),
    (
        0.009,
        {
            "low_leak": Schedule((111, 455, 4096), 4, 2),
            "low_rounds": Schedule((64, 293, 9362), 4, 2),
        },
    ),
    (
        0.01,
        {
            "low_leak": Schedule((100, 410, 6554), 0, 0),
            "low_rounds": Schedule((64, 455, 4096), 0, 0),
        },
    ),
    (
        0.013,
        {
            "low_leak": Schedule((64, 455, 7282), 0, 0),
            "low_rounds": Schedule((64, 273, 4096), 4, 2),
        },
    ),
    (
        0.016,
        {
            "low_leak": Schedule((64, 256, 8192), 0, 0),
            "low_rounds": Schedule((64, 216, 4096), 4, 2),
        },
    ),
    (
        0.02,
        {
            "low_leak": Schedule((64, 293, 9362), 0, 0),
            "low_rounds": Schedule((32, 128, 4096), 4, 2),
        },
    ),
    (
        0.024,
        {
            "low_leak": Schedule((32, 256, 8192), 0, 0),
            "low_rounds": Schedule((32, 124, 4096), 4, 2),
        },
    ),
    (
        0.03,
        {
            "low_leak": Schedule((32, 205, 4096), 0, 0),
            "low_rounds": Schedule((32, 117, 2048), 0, 0),
        },
    ),
    (
        0.034,
        {
            "low_leak": Schedule((32, 158, 4096), 4, 2),
            "low_rounds": Schedule((26, 102, 1365), 4, 2),
        },
    ),
    (
        0.04,
        {
            "low_leak": Schedule((32, 128, 4096), 4, 2),
            "low_rounds": Schedule((16, 111, 2048), 8, 4),
        },
    ),
    (
        0.048,
        {
            "low_leak": Schedule((16, 108, 7282), 0, 0),
            "low_rounds": Schedule((16, 64, 1024), 8, 4),
        },
    ),
    (
        0.05,
        {
            "low_leak": Schedule((16, 91, 5958), 0, 0),
            "low_rounds": Schedule((16, 64, 1024), 8, 4),
        },
    ),
    (
        0.057,
        {
            "low_leak": Schedule((14, 108, 6554), 0, 0),
            "low_rounds": Schedule((14, 64, 1024), 8, 4),
        },
    ),
    (
        0.068,
        {
            "low_leak": Schedule((16, 117, 2048), 4, 2),
            "low_rounds": Schedule((16, 64, 512), 8, 4),
        },
    ),
    (
        0.08,
        {
            "low_leak": Schedule((16, 64, 4096), 0, 0),
            "low_rounds": Schedule((8, 43, 683), 8, 4),
        },
    ),
    (
        0.095,
        {
            "low_leak": Schedule((8, 64, 2048), 4, 2),
            "low_rounds": Schedule((8, 32, 512), 8, 4),
        },
    ),
)
"""Schedules by the QBER for which they were found."""


def schedule_for(qber: float, profile: Profile = "low_leak") -> Schedule:
    """The schedule of the nearest QBER of the table, on a logarithmic scale.

    Below the table blocks grow in inverse proportion to the QBER; above, the last row serves.
    Only products are compared, so that both users find the same row whatever their math library.
    """
    least, row = TABLE[0]
    if qber < least:
        factor = 1
        while factor < MOST_BLOCK_BITS and 2.0 * (factor * qber) ** 2 < least * least:
            factor *= 2
        schedule = row[profile]
        sizes = tuple(min(size * factor, MOST_BLOCK_BITS) for size in schedule.block_bits)
        return replace(schedule, block_bits=sizes)
    for (low, row), (high, _) in pairwise(TABLE):
        if qber * qber < low * high:
            return row[profile]
    return TABLE[-1][1][profile]
