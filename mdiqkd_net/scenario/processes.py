"""Node processes: start them, listen to them, and leave none behind.

Every node runs in a session of its own, so that Ctrl-C reaches the runner alone, which then
stops the nodes in order: SIGTERM, a grace period, SIGKILL. If the runner itself is killed, nodes
find their standard input at its end, and stop by themselves.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from mdiqkd_net.errors import MdiqkdError, RemoteProtocolError
from mdiqkd_net.scenario import events
from mdiqkd_net.scenario.network import Node
from mdiqkd_net.scenario.progress import Board

NODE_COMMAND: Final = (sys.executable, "-m", "mdiqkd_net", "node")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAX_LINE_BYTES: Final = 1 << 20
TAIL_LINES: Final = 12
DRAIN_S: Final = 1.0
LAST_WORDS_S: Final = 0.5
NODE_EXIT_CODES: Final = (2, 3, 4)
"""Codes of a node that are passed on; whatever else it leaves with counts as 3."""


View = Callable[[Board], Awaitable[None]]
"""A task that shows the board for as long as it is left to run."""


class NodeError(MdiqkdError):
    """A node that ended early, stayed silent, or could not be started."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StoppedError(MdiqkdError):
    """A signal asked the run to stop, and it did."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; no node is left running")
        self.exit_code = 128 + signum


@dataclass(frozen=True, slots=True)
class Patience:
    """How long nodes may take.

    Attributes:
        ready_s: Until every node is up; a first start compiles the kernels.
        silence_s: Between two events of the whole network.
        stop_s: Between SIGTERM and SIGKILL.
    """

    ready_s: float = 180.0
    silence_s: float = 300.0
    stop_s: float = 5.0


class Supervisor:
    """Runs the nodes of one network until every pair is finished, or something goes wrong."""

    def __init__(
        self,
        nodes: Sequence[Node],
        board: Board,
        *,
        command: Sequence[str] = NODE_COMMAND,
        patience: Patience | None = None,
    ) -> None:
        self._nodes = nodes
        self._board = board
        self._command = tuple(command)
        self._patience = patience or Patience()
        self._processes: dict[str, trio.Process] = {}
        self._heard_out: dict[str, trio.Event] = {}
        self._all_up = trio.Event()
        self._over = trio.Event()
        self._hurry = trio.Event()
        self._failure: MdiqkdError | None = None
        self._heard_s = 0.0
        self._stubborn: tuple[str, ...] = ()

    @property
    def stubborn(self) -> tuple[str, ...]:
        """Nodes that did not stop when asked, and were killed."""
        return self._stubborn

    async def run(
        self, signals: AsyncIterator[int], started: Callable[[], None], view: View
    ) -> None:
        """Start all nodes, follow them to the end, and stop them.

        Args:
            signals: Of `SIGNALS`, as they come; a second one kills instead of waiting.
            started: Called once when all processes exist.
            view: A task that shows the board; cancelled when the nodes have stopped.

        Raises:
            NodeError: A node ended early or was silent for too long.
            RemoteProtocolError: A node said something that is no event.
            StoppedError: By a signal.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, signals)
            try:
                for node in self._nodes:
                    await self._start(node)
                    self._heard_out[node.name] = trio.Event()
                    nursery.start_soon(self._follow, node)
                started()
                nursery.start_soon(view, self._board)
                nursery.start_soon(self._watch_the_clock)
                await self._over.wait()
                await self._hear_last_words()
            except OSError as error:
                self._fail(NodeError(f"cannot start a node: {error.strerror}", exit_code=4))
            finally:
                with trio.CancelScope(shield=True):
                    await self._stop()
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _start(self, node: Node) -> None:
        command = [*self._command, node.role, "--config", str(node.config), "--end-with-stdin"]
        with node.stderr.open("wb") as talk:
            self._processes[node.name] = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,  # never written to; it ends when the runner does
                stdout=subprocess.PIPE,
                stderr=talk,
                pass_fds=[listener.fileno() for listener in node.sockets],
                start_new_session=True,
            )

    async def _follow(self, node: Node) -> None:
        """Read a node's events to the end of its output, then see how it ended."""
        process = self._processes[node.name]
        assert process.stdout is not None  # noqa: S101  # it was opened with a pipe
        reader = LineReader()
        try:
            with node.events.open("wb", buffering=0) as record:
                async for chunk in process.stdout:
                    record.write(chunk)
                    for line in reader.receive_data(chunk):
                        self._take(line, node.name)
        except MdiqkdError as error:
            self._fail(error)
            return
        finally:
            self._heard_out[node.name].set()
        code = await process.wait()
        if not self._over.is_set() and not (code == 0 and self._board.user_finished(node.name)):
            self._fail(self._early_end(node, code))

    def _take(self, line: bytes, node: str) -> None:
        event = events.parse(line, node)
        if event is not None:
            self._heard_s = trio.current_time()
            self._board.take(event)
            if self._board.ready.issuperset(self._processes):
                self._all_up.set()
            if self._board.finished:
                self._over.set()

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for signum in signals:
            if self._over.is_set():
                self._hurry.set()
            self._fail(StoppedError(signum))

    async def _watch_the_clock(self) -> None:
        with trio.move_on_after(self._patience.ready_s):
            await self._all_up.wait()
        if late := [node for node in self._nodes if node.name not in self._board.ready]:
            names = ", ".join(sorted(node.name for node in late))
            self._fail(
                NodeError(
                    f"not ready after {self._patience.ready_s:g} s: {names}"
                    + "".join(self._talk(node) for node in late)
                )
            )
            return
        while (quiet_s := trio.current_time() - self._heard_s) < self._patience.silence_s:
            await trio.sleep(self._patience.silence_s - quiet_s)
        stages = "; ".join(
            f"{pair.users[0]} and {pair.users[1]}: {pair.stage}"
            for pair in self._board.pairs.values()
        )
        self._fail(NodeError(f"no node said a word for {quiet_s:.0f} s ({stages})"))

    async def _hear_last_words(self) -> None:
        """Let a node that has given up its only peer leave by itself, and say why."""
        if self._failure is None and self._board.any_aborted:
            with trio.move_on_after(LAST_WORDS_S):
                async with trio.open_nursery() as nursery:
                    for process in self._processes.values():
                        nursery.start_soon(_cancel_after, process.wait, nursery.cancel_scope)

    def _fail(self, failure: MdiqkdError) -> None:
        """Note the first thing that goes wrong; what follows from it is not news."""
        if not self._over.is_set():
            self._failure = failure
            self._over.set()

    async def _stop(self) -> None:
        for process in self._processes.values():
            _signal_group(process, signal.SIGTERM)
        with trio.move_on_after(self._patience.stop_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, self._hurry.wait, nursery.cancel_scope)
                nursery.start_soon(_cancel_after, self._all_gone, nursery.cancel_scope)
        if not self._hurry.is_set():
            self._stubborn = tuple(n for n, p in self._processes.items() if p.returncode is None)
        for process in self._processes.values():
            _signal_group(process, signal.SIGKILL)
        await self._all_gone()
        # Whatever the nodes said until the end still counts.
        with trio.move_on_after(DRAIN_S):
            for heard_out in self._heard_out.values():
                await heard_out.wait()
        if self._failure is None:
            self._failure = self._last_failure()

    def _last_failure(self) -> NodeError | None:
        """A node that failed by itself just when all was over."""
        for node in self._nodes:
            process = self._processes.get(node.name)
            code = process.returncode if process is not None else None
            if node.name in self._board.faults and code is not None and code > 0:
                return self._early_end(node, code)
        return None

    async def _all_gone(self) -> None:
        for process in self._processes.values():
            await process.wait()

    def _early_end(self, node: Node, code: int) -> NodeError:
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        fault = self._board.faults.get(node.name)
        return NodeError(
            f"{node.name} ended early ({how})" + (f": {fault}" if fault else "") + self._talk(node),
            exit_code=code if code in NODE_EXIT_CODES else 3,
        )

    def _talk(self, node: Node) -> str:
        lines = _tail(node.stderr)
        if not lines:
            return f"\n  {node.name} wrote nothing to stderr"
        return f"\n  last lines of {node.name}'s stderr:\n" + "\n".join(f"  | {x}" for x in lines)


async def _cancel_after(wait: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


class LineReader:
    """Cut a stream into lines; what is blank is passed over."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive_data(self, data: bytes | bytearray) -> list[bytes]:
        """Buffer `data` and return every line that it completes, oldest first.

        Raises:
            RemoteProtocolError: A line is longer than `MAX_LINE_BYTES`.
        """
        *lines, self._buffer = (self._buffer + bytes(data)).split(b"\n")
        if max(map(len, (*lines, self._buffer))) > MAX_LINE_BYTES:
            raise RemoteProtocolError(f"found a line of more than {MAX_LINE_BYTES} bytes")
        return [line for line in lines if line.strip()]


def _signal_group(process: trio.Process, signum: int) -> None:
    """Signal a node and whatever it has started; a node that has ended is left alone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)


def _tail(path: Path) -> list[str]:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 64 * 1024))
        last = deque(stream, maxlen=TAIL_LINES)
    return [line.decode("utf-8", "backslashreplace").rstrip() for line in last]
