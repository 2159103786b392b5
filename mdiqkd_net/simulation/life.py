"""One life of a simulated node: the `World` that its shell is given, and how the life ends."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol, TypeVar

import trio

from mdiqkd_net.errors import KeyStoreError, LocalProtocolError, MdiqkdError
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.runtime.node import leaves
from mdiqkd_net.simulation.disk import Contents, Disk
from mdiqkd_net.simulation.net import End, Listener, Net
from mdiqkd_net.telemetry.events import Telemetry

T = TypeVar("T")

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Crashed(BaseException):
    """The process is gone. No clause of the node's own code may catch this."""


class SimulatedEntropy:
    """Bytes from a seed; for simulation only."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __call__(self, n_bytes: int) -> bytes:
        """The next bytes."""
        return self._rng.randbytes(n_bytes)

    def close(self) -> None:
        """Nothing is open."""


class SimulatedCredentials:
    """The simulated network itself vouches for names; a handshake is one byte each way."""

    async def secure(self, stream: trio.abc.Stream, *, server_side: bool) -> tuple[End, str]:
        """Wait for the other end to answer; then the name of its node is known."""
        assert isinstance(stream, End)  # noqa: S101  # the simulation makes no other streams
        for ours in (not server_side, server_side):
            if ours:
                await stream.send_all(b"\x16")
            elif not await stream.receive_some(1):
                raise trio.BrokenResourceError("the other side hung up")
        return stream, stream.peer


class Observer(Protocol):
    """Who watches the nodes."""

    def heard(self, node: str, event: str, fields: dict[str, Any]) -> None:
        """A node reports an event."""

    def passed(self, life: "Life", point: str) -> None:
        """A node passes a crash point; may end its life."""

    def bug(self, node: str, error: BaseException) -> None:
        """A node ends in a way that no fault of its surroundings can excuse."""


class Troubles:
    """What is wrong with a node's machine at present.

    Attributes:
        disk_full: Every durable step fails.
        disk_delay_s: How long a durable step takes.
    """

    def __init__(self) -> None:
        self.disk_full = False
        self.disk_delay_s = 0.0


class Recorder(Telemetry):
    """Hands a node's events to the observer, as long as the node lives."""

    def __init__(self, life: "Life", observer: Observer) -> None:
        super().__init__(life.node)
        self._life = life
        self._observer = observer

    def emit(self, event: str, fields: Any = None, /, **more: Any) -> None:
        """Pass on one event."""
        if not self._life.dead:
            self._observer.heard(self._life.node, event, {**(fields or {}), **more})


Shell = Callable[["Life", Path, Telemetry], Awaitable[None]]
"""Builds a node's shell on its world, its directory and its telemetry, and runs it."""


class Life:
    """From a start to an end. It is the `World` of the shell.

    Args:
        compute_s: Mean time that work in a thread takes, whatever it is.

    Attributes:
        node: Whose life it is.
        troubles: What is wrong with its machine.
        dead: Whether it has crashed. What still runs then is unwinding, and reaches nobody.
        has_given_up: Whether the node says that nothing more can be done with one of its peers.
    """

    def __init__(
        self,
        node: str,
        number: int,
        *,
        seed: str,
        net: Net,
        disk: Disk,
        observer: Observer,
        compute_s: float,
    ) -> None:
        rng = Random(f"{seed} {node} {number}")
        self.node = node
        self.entropy = SimulatedEntropy(Random(rng.random()))
        self.troubles = Troubles()
        self.dead = False
        self.has_given_up = trio.Event()
        self._before_step: Contents = {}
        self._rng = rng
        self._net = net
        self._disk = disk
        self._observer = observer
        self._compute_s = compute_s
        self._scope = trio.CancelScope()
        self._in_step = False

    async def run(self, shell: Shell) -> str:
        """Live until the shell ends, or a crash comes; returns why, in words."""
        telemetry = Recorder(self, self._observer)
        why = "done"
        try:
            with self._scope:
                await shell(self, self._disk.path, telemetry)
        except* (trio.Cancelled, KeyboardInterrupt):
            raise  # the whole simulation ends
        except* BaseException as group:
            errors = leaves(group)
            why = "; ".join(str(error) for error in errors)
            for error in errors:
                if not self._is_excused(error):
                    self._observer.bug(self.node, error)
        finally:
            self._net.drop(self.node, cut=False)
            self._disk.bury()
        return "crashed" if self.dead else why

    def crash(self, *, torn: bool = False) -> str:
        """End the process here and now; says what its disk lost.

        Args:
            torn: In the middle of the step that is at its end.
        """
        self.dead = True
        lost = self._disk.crash(self._before_step if torn else None)
        self._net.drop(self.node, cut=self._rng.random() < 0.5)
        self._scope.cancel()
        return lost

    def remember_disk(self) -> None:
        """Keep what a step is about to change, for a crash in its middle."""
        self._before_step = self._disk.contents()

    def _is_excused(self, error: BaseException) -> bool:
        if self.dead:
            return True
        return isinstance(error, MdiqkdError | OSError) and not isinstance(
            error, LocalProtocolError
        )

    # What follows is the `World`.

    def credentials(self, tls: Tls, base: Path) -> SimulatedCredentials:
        """No files: the network knows who is who."""
        del tls, base
        return SimulatedCredentials()

    async def listen(self, address: str, key: str) -> tuple[Listener, str]:
        """Listen on the simulated network."""
        await trio.lowlevel.checkpoint()
        return self._net.listen(self.node, address, key), address

    async def listen_local(self, path: Path) -> Listener:
        """Nobody dials here: simulated applications ask the shell itself."""
        del path
        await trio.lowlevel.checkpoint()
        return self._net.listen(self.node, f"{self.node}:keys", "store")

    async def connect(self, address: str, key: str) -> End:
        """Connect on the simulated network."""
        del key
        return await self._net.connect(self.node, address)

    async def in_thread(self, work: Callable[..., T], *args: object) -> T:
        """Do it at once, in the one thread there is; then let time go by."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._in_step = False
        result = work(*args)
        takes_s = self._rng.expovariate(1.0 / self._compute_s)
        if self._in_step:
            takes_s += self.troubles.disk_delay_s
        # As a thread, it is not abandoned. A sleep would be a second scope, which costs as much.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + takes_s):
            await trio.sleep_forever()
        return result

    def utc_now(self) -> datetime:
        """Virtual time, from a fixed day on."""
        return EPOCH + timedelta(seconds=trio.current_time())

    def reach(self, point: str) -> None:
        """A crash point: the disk may be full, or the life may end.

        Raises:
            KeyStoreError: The disk is full.
            Crashed: The life ends.
        """
        self._in_step = True
        if self.troubles.disk_full and point.endswith(".before") and not self.dead:
            raise KeyStoreError(f"{self.node}: the disk is full; nothing was changed")
        self._observer.passed(self, point)
        if self.dead:
            raise Crashed
