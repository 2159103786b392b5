"""What a watch remembers of earlier blocks, and what an operator told it when the link was new."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from mdiqkd_net.blocks import BELL_STATES, CATEGORIES
from mdiqkd_net.monitoring.public import XX, YY, Announced, PublicBlock

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0
MAX_RECORDS: Final = 4096

GAP_BINS: Final = 164
"""Distances of events are counted by quarters of an octave, up to 2^40 pulses and more."""


class Commissioned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link was like when it was put into service."""

    gains: dict[str, Annotated[float, Meta(ge=0.0, le=1.0)]] = {}
    """Events per pulse pair of a category, such as `zz`; absent: earlier blocks stand in."""
    gain_tolerance: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02
    """How far, relatively, a gain may be from that for other reasons than chance."""
    visibility: Annotated[float, Meta(ge=-1.0, le=1.0)] | None = None
    """1 - 2 QBER of xx and yy; one half at best. Absent: earlier blocks stand in."""
    dead_pulses: Annotated[int, Meta(ge=0, le=2**32)] = 1024
    """Gaps that detectors may still remember; only longer ones have to follow one law."""
    steady: bool = True
    """Whether the loss is constant over a block; if not, gaps are not held against any law."""

    def __post_init__(self) -> None:
        for category in self.gains:
            if category not in CATEGORIES:
                allowed = ", ".join(CATEGORIES)
                raise ValueError(f"gains: found category {category!r}; allowed: {allowed}")


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """The figures of one block that later ones are held against.

    Attributes:
        t_s: When it ended.
        n_pulses: Pulse pairs.
        announced: Events of both Bell states.
        categories: Accepted events per category, (16,).
        n_key, m_key: Events and errors of the key.
        n_x, m_x: Test events of xx and yy per Bell state and errors among them, (2,) each.
        gaps: Distances of neighbouring events by quarters of an octave.
        lag_p99_s: What 99 % of the batches did not exceed; None if it is not known.
    """

    t_s: float
    n_pulses: int
    announced: int
    categories: NDArray[np.int64]
    n_key: int
    m_key: int
    n_x: NDArray[np.int64]
    m_x: NDArray[np.int64]
    gaps: NDArray[np.int64]
    lag_p99_s: float | None


@dataclass(slots=True)
class History:
    """Records of the last day, oldest first; blocks that raised an alarm are not among them."""

    _records: deque[Record] = field(default_factory=lambda: deque(maxlen=MAX_RECORDS))

    def add(self, record: Record) -> None:
        """Remember a block."""
        self._records.append(record)

    def within(self, now_s: float, span_s: float) -> list[Record]:
        """Records that are not older than `span_s`."""
        return [record for record in self._records if now_s - record.t_s <= span_s]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def category_counts(block: PublicBlock, events: Announced) -> NDArray[np.int64]:
    """Accepted events per category, (16,)."""
    category = events.settings[0] << 2 | events.settings[1]
    by_label = np.bincount(category | events.outcomes << 4, minlength=32).reshape(2, 16)
    kept = [name in block.bell_states for name in BELL_STATES]
    counts: NDArray[np.int64] = by_label[kept].sum(axis=0)
    return counts


def x_tests(events: Announced) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Test events of xx and yy, and errors among them, per Bell state; (2,) each."""
    if events.test_wrong is None:
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    equal = (events.test_category == XX) | (events.test_category == YY)
    return (
        np.bincount(events.test_outcome[equal], minlength=2),
        np.bincount(events.test_outcome[equal & events.test_wrong], minlength=2),
    )


def gap_histogram(gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distances of neighbouring events by quarters of an octave."""
    quarters = (4.0 * np.log2(gaps)).astype(np.int64)
    return np.bincount(np.minimum(quarters, GAP_BINS - 1), minlength=GAP_BINS)


def summed(
    records: list[Record], figure: Callable[[Record], NDArray[np.int64]]
) -> NDArray[np.int64] | None:
    """A figure over several blocks; None without any."""
    return sum(map(figure, records[1:]), figure(records[0])) if records else None
