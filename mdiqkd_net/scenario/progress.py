"""Where a run stands: the events of all nodes, folded into one record per pair. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.scenario.events import (
    BlockAborted,
    BlockEnd,
    BlockEstimated,
    BlockKey,
    BlockReconciled,
    BlockSifted,
    BlockStage,
    Event,
    Fault,
    LightProgress,
    MonitorAlarm,
    PairEvent,
    PairFailed,
    PairFinished,
    PairStarted,
    Ready,
)
from mdiqkd_net.scenario.topology import UserPair


@dataclass(slots=True)
class PairProgress:
    """One pair so far.

    Attributes:
        users: Lower id first.
        n_pulses: Pulse pairs of all blocks together.
        blocks: How many blocks there will be.
        ends: How each block ended, by (user, block).
        failures: Why a user gave the other up, by user.
        alarms: Of the monitors of both users, in the order of their coming.
    """

    users: UserPair
    n_pulses: int
    blocks: int
    stage: str = "waiting"
    block: int | None = None
    started_s: float | None = None
    latest_s: float | None = None
    light_s: float = 0.0
    light_ended_s: float | None = None
    qber_z: float | None = None
    qber_x: float | None = None
    s11_lower: float | None = None
    e11_upper: float | None = None
    ends: dict[tuple[str, int], BlockEnd] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    alarms: list[MonitorAlarm] = field(default_factory=list)
    _pulses_before: int = 0
    _announced_before: int = 0
    _pulses_now: int = 0
    _announced_now: int = 0

    @property
    def pulses(self) -> int:
        """Pulse pairs that have passed the relay."""
        return self._pulses_before + self._pulses_now

    @property
    def announced(self) -> int:
        """Events that the relay has announced."""
        return self._announced_before + self._announced_now

    @property
    def secret_bits(self) -> int:
        """Of the blocks that both users have finished with one and the same key."""
        return sum(
            low.secret_bits
            for low, high in self.ended_blocks
            if isinstance(low, BlockKey) and agree(low, high)
        )

    @property
    def ended_blocks(self) -> list[tuple[BlockEnd, BlockEnd]]:
        """Blocks that both users have ended, oldest first; the lower id's ending first."""
        low, high = self.users
        numbers = sorted(block for user, block in self.ends if user == low)
        return [
            (self.ends[low, block], self.ends[high, block])
            for block in numbers
            if (high, block) in self.ends
        ]

    @property
    def finished(self) -> bool:
        """Whether both users have ended every block, or given up."""
        return all(map(self.user_finished, self.users))

    def user_finished(self, user: str) -> bool:
        """Whether one of the users has ended every block, or given up."""
        return user in self.failures or sum(name == user for name, _ in self.ends) >= self.blocks

    def take(self, event: PairEvent) -> None:
        """Note an event of this pair.

        Raises:
            RemoteProtocolError: A user ends a block twice.
        """
        self.latest_s = event.t_s
        match event:
            case PairStarted():
                self.started_s = event.t_s if self.started_s is None else self.started_s
                self.stage = "light"
            case LightProgress():
                self._pulses_now, self._announced_now = event.pulses, event.announced
            case PairFinished():
                self._pulses_before += event.pulses
                self._announced_before += event.announced
                self._pulses_now = self._announced_now = 0
                self.light_s += event.light_s
                self.light_ended_s = event.t_s
            case BlockStage():
                self.block, self.stage = event.block, event.stage
            case BlockSifted():
                self.qber_x = event.qber_x
            case BlockReconciled():
                self.qber_z = event.qber_z
            case BlockEstimated():
                self.s11_lower, self.e11_upper = event.s11_lower, event.e11_upper
            case BlockEnd():
                self._end(event)
            case MonitorAlarm():
                self.alarms.append(event)
            case PairFailed():
                self.failures[event.node] = event.reason
                self.stage = "failed"

    def _end(self, event: BlockEnd) -> None:
        key = (event.node, event.block)
        if event.node not in self.users or key in self.ends:
            raise RemoteProtocolError(f"{event.node}: ended block {event.block} out of turn")
        self.ends[key] = event
        self.qber_z, self.qber_x = event.qber_z, event.qber_x
        self.s11_lower, self.e11_upper = event.s11_lower, event.e11_upper
        if self.finished and not self.failures:
            self.stage = "no key" if self.secret_bits == 0 else "done"


def agree(low: BlockEnd, high: BlockEnd) -> bool:
    """Whether two users tell the same story of a block."""
    return (
        type(low) is type(high)
        and low.block_id == high.block_id
        and low.secret_bits == high.secret_bits
    )


def aborted_reason(end: BlockEnd) -> str | None:
    """Why a block gave no key; None if it did."""
    return end.reason if isinstance(end, BlockAborted) else None


class Board:
    """All pairs of a run, and which nodes are up."""

    def __init__(self, pairs: Sequence[UserPair], n_pulses: int, blocks: int) -> None:
        self._pairs = {
            users: PairProgress(users=users, n_pulses=n_pulses * blocks, blocks=blocks)
            for users in pairs
        }
        self._ready: set[str] = set()
        self._faults: dict[str, str] = {}

    @property
    def pairs(self) -> Mapping[UserPair, PairProgress]:
        """Each pair's record."""
        return self._pairs

    @property
    def ready(self) -> frozenset[str]:
        """Nodes that are up."""
        return frozenset(self._ready)

    @property
    def faults(self) -> Mapping[str, str]:
        """Last words of the nodes that had some."""
        return self._faults

    @property
    def finished(self) -> bool:
        """Whether every pair is finished."""
        return all(pair.finished for pair in self._pairs.values())

    @property
    def any_aborted(self) -> bool:
        """Whether a block ended without a key."""
        return any(
            isinstance(end, BlockAborted)
            for pair in self._pairs.values()
            for end in pair.ends.values()
        )

    def user_finished(self, node: str) -> bool:
        """Whether a user has ended every block of all its pairs; False for the relay."""
        mine = [pair for pair in self._pairs.values() if node in pair.users]
        return bool(mine) and all(pair.user_finished(node) for pair in mine)

    @property
    def first_key_s(self) -> float | None:
        """When the first block was committed by both of its users; None before."""
        times = [
            max(low.t_s, high.t_s)
            for pair in self._pairs.values()
            for low, high in pair.ended_blocks
            if isinstance(low, BlockKey) and isinstance(high, BlockKey)
        ]
        return min(times, default=None)

    def take(self, event: Event) -> None:
        """Note one event of any node.

        Raises:
            RemoteProtocolError: It speaks of a pair that is not of this run, or ends a block
                twice.
        """
        match event:
            case Ready():
                self._ready.add(event.node)
            case Fault():
                self._faults[event.node] = event.message
            case PairEvent():
                if event.pair not in self._pairs:
                    raise RemoteProtocolError(
                        f"{event.node}: speaks of the pair {' and '.join(event.users)}, "
                        "which is not in the scenario"
                    )
                self._pairs[event.pair].take(event)
