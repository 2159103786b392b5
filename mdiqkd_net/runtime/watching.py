"""The monitors of one pair in its shell: blocks in, events out. No way leads back."""

from collections.abc import Callable

import numpy as np
import trio

from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.monitoring.public import PublicBlock
from mdiqkd_net.monitoring.watch import Watch
from mdiqkd_net.runtime.world import World
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Announcement, PairReady


class Watcher:
    """Emits `block.monitors` for every block that ends, and `monitor.alarm` for every alarm."""

    def __init__(self, commissioned: Commissioned, world: World, emit: Callable[..., None]) -> None:
        self._watch = Watch(commissioned)
        self._world = world
        self._emit = emit
        self._arrived_s: list[float] = []

    def arrived(self, frame: Frame) -> None:
        """Note when the relay says something of a session."""
        if frame.kind == PairReady.TYPE:
            self._arrived_s.clear()
        elif frame.kind == Announcement.TYPE:
            self._arrived_s.append(trio.current_time())

    async def observe(self, block: PublicBlock) -> None:
        """Let the monitors look at a block, and say what they find; also while the node stops."""
        now_s, arrived_s = trio.current_time(), np.array(self._arrived_s)
        with trio.CancelScope(shield=True):
            found = await self._world.in_thread(self._watch.observe, block, now_s, arrived_s)
        about = {"users": list(block.users), "block": block.block}
        for alarm in found.alarms:
            self._emit("monitor.alarm", about, monitor=alarm.monitor, reason=alarm.reason)
        self._emit(
            "block.monitors",
            about,
            figures=found.figures,
            alarms=[alarm.monitor for alarm in found.alarms],
        )
