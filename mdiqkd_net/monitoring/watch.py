"""A watch over the blocks of one pair: rules, and what they remember from block to block."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.monitoring.cusum import Cusum
from mdiqkd_net.monitoring.history import DAY_S, Commissioned, History
from mdiqkd_net.monitoring.public import PublicBlock
from mdiqkd_net.monitoring.rules import RULES, Finding, Scene

LATE_FACTOR: Final = 2.0
LATE_FLOOR_S: Final = 1.0
"""Batches that are less late than this are nobody's concern."""
MIN_BATCHES: Final = 100
"""The 99th percentile of fewer is their maximum."""
RELAY_ENDS: Final = 5
"""Sessions that the relay may end, spoil or leave in silence within a day before somebody should
look."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why somebody should look at a relay or a link. Nothing else follows from it."""

    monitor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What the monitors say of a block.

    Attributes:
        figures: By monitor.
        alarms: In the order of the monitors.
    """

    figures: Mapping[str, Mapping[str, Any]]
    alarms: Sequence[Alarm]


@dataclass(slots=True)
class Watch:
    """All monitors of one pair.

    A block that raises an alarm is no measure for later ones.
    """

    commissioned: Commissioned = field(default_factory=Commissioned)
    _history: History = field(default_factory=History)
    _y11: Cusum = field(default_factory=Cusum)
    _e11: Cusum = field(default_factory=Cusum)
    _ends: list[tuple[float, str]] = field(default_factory=list)
    _n_pulses: int = 0

    def observe(
        self, block: PublicBlock, t_s: float, arrived_s: NDArray[np.float64] | None = None
    ) -> Findings:
        """Look at a block that has ended.

        Args:
            block: What is public of it.
            t_s: When it ended, on a clock that does not step back.
            arrived_s: When each batch of announcements came, (batches,) on the same clock.
        """
        findings: dict[str, Finding] = {}
        lag = _lag(block, arrived_s)
        scene = None
        if block.announced is not None and block.announced.pulses.size:
            scene = Scene(block, block.announced, t_s, self._history, self.commissioned)
            findings |= {name: rule(scene) for name, rule in RULES.items()}
            findings["MON-06"] = self._bounds(block)
        findings["MON-08"] = self._latency(t_s, lag)
        findings["MON-09"] = self._ended(block, t_s)
        alarms = [
            Alarm(name, found.alarm) for name, found in sorted(findings.items()) if found.alarm
        ]
        if scene is not None and not alarms:
            p99 = None if lag is None else float(np.percentile(lag, 99.0))
            self._history.add(scene.record(p99))
        return Findings({name: found.figures for name, found in sorted(findings.items())}, alarms)

    def _bounds(self, block: PublicBlock) -> Finding:
        """MON-06: small lasting shifts of the single-photon bounds, for the worse."""
        if block.n_pulses != self._n_pulses:  # bounds of blocks of another length are others
            self._y11, self._e11, self._n_pulses = Cusum(), Cusum(), block.n_pulses
        fell = block.y11_lower is not None and self._y11.add(-block.y11_lower)
        rose = block.e11_upper is not None and self._e11.add(block.e11_upper)
        figures = {
            "y11_lower": block.y11_lower,
            "e11_upper": block.e11_upper,
            "y11_cusum": self._y11.value,
            "e11_cusum": self._e11.value,
        }
        if fell or rose:
            what = "yield of single-photon pairs falls" if fell else "phase-error bound rises"
            return Finding(figures, f"the {what} from block to block")
        return Finding(figures)

    def _latency(self, t_s: float, lag: NDArray[np.float64] | None) -> Finding:
        """MON-08: how far batches are behind the steady pace of their session.

        No matter of chance: a busy computer is late, too.
        """
        if lag is None:
            return Finding({"lag_p99_s": None, "late": None})
        p99 = float(np.percentile(lag, 99.0))
        before = [r.lag_p99_s for r in self._history.within(t_s, DAY_S) if r.lag_p99_s is not None]
        limit = max(LATE_FACTOR * max(before), LATE_FLOOR_S) if before else None
        late = 0 if limit is None else int((lag > limit).sum())
        figures = {"lag_p99_s": p99, "late": late}
        if limit is not None and p99 > limit:
            return Finding(
                figures, f"announcements are {p99:.1f} s behind; before: {max(before):.1f}"
            )
        return Finding(figures)

    def _ended(self, block: PublicBlock, t_s: float) -> Finding:
        """MON-09: how blocks of the last day ended. No matter of chance."""
        self._ends = [(at, end) for at, end in self._ends if t_s - at <= DAY_S]
        self._ends.append((t_s, block.end))
        ends = Counter(end for _, end in self._ends)
        figures = {"ends": dict(ends)}
        if block.end == "equivocation":
            return Finding(figures, "the relay told the two users different things")
        if block.end == "relay" and ends["relay"] > RELAY_ENDS:
            return Finding(figures, f"the relay has spoiled {ends['relay']} sessions within a day")
        return Finding(figures)


def _lag(block: PublicBlock, arrived_s: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Seconds of each batch behind the steady pace from the first to the last; (batches,)."""
    if arrived_s is None or arrived_s.size != block.covered.size or arrived_s.size < MIN_BATCHES:
        return None
    light = block.covered - block.covered[0]
    if light[-1] <= 0:
        return None
    pace = (arrived_s[-1] - arrived_s[0]) / light[-1]
    lag: NDArray[np.float64] = arrived_s - arrived_s[0] - pace * light
    return lag
