"""Many computations that know nothing of each other: here, in local processes, or on a cluster."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, TypeVar

from mdiqkd_net import __version__
from mdiqkd_net.errors import ConfigError, WorkerError

Answer = TypeVar("Answer")

CONNECT_S: Final = 10.0
"""How long a scheduler may take to answer, and then its first worker to join."""


def spread(
    function: Callable[..., Answer],
    calls: Sequence[tuple[Any, ...]],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
) -> Generator[tuple[int, Answer], None, None]:
    """Call `function` with each of `calls`; yield (number of the call, answer) as they are done.

    In order if `jobs` is 1 and there is no scheduler. Close the iterator, or exhaust it: what is
    still at work is then stopped, on this machine at once.

    Args:
        function: Importable by name, since it may run elsewhere; so its arguments and answers are
            plain data.
        calls: Its arguments.
        jobs: Local processes; 1 computes in this one.
        scheduler: Address of a Dask scheduler, in place of local processes.

    Raises:
        ConfigError: No scheduler answers, or the extra `dask` is not installed.
        WorkerError: A worker died, or is of another version.
    """
    if scheduler is not None:
        yield from _on_cluster(function, calls, scheduler)
    elif jobs > 1 and len(calls) > 1:
        yield from _in_processes(function, calls, min(jobs, len(calls)))
    else:
        for number, arguments in enumerate(calls):
            yield number, function(*arguments)


def _in_processes(
    function: Callable[..., Answer], calls: Sequence[tuple[Any, ...]], jobs: int
) -> Generator[tuple[int, Answer], None, None]:
    others = set(multiprocessing.active_children())
    # Spawned, not forked: this process may have threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_with_parent)
    done = False
    try:
        with _deaf_to_interrupts():
            numbers = {pool.submit(function, *call): i for i, call in enumerate(calls)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
        done = True
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process died, perhaps for want of memory; found "
            f"--jobs {jobs}; fewer need less"
        ) from None
    finally:
        if not done:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes in here: they inherit that Ctrl-C, which a terminal sends to all, is ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_with_parent() -> None:
    """In a worker: end when the process that asked does, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _on_cluster(
    function: Callable[..., Answer], calls: Sequence[tuple[Any, ...]], address: str
) -> Generator[tuple[int, Answer], None, None]:
    try:
        import distributed  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        raise ConfigError(
            "--scheduler: found no `distributed`; it comes with the extra `dask`: "
            "pip install 'mdiqkd-net[dask]'"
        ) from None
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler: found {address!r}, where none answers ({error}); allowed: the address "
            "of a running Dask scheduler, such as tcp://host:8786"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
            numbers = {
                client.submit(_stamped, function, call, pure=False): i
                for i, call in enumerate(calls)
            }
            for future in distributed.as_completed(numbers, loop=client.loop):
                version, answer = future.result()
                if version != __version__:
                    raise WorkerError(
                        f"--scheduler: found a worker of version {version}; allowed: {__version__}"
                    )
                yield numbers[future], answer
        except ImportError as error:
            raise WorkerError(
                f"--scheduler: found a worker without mdiqkd-net ({error}); allowed: workers with "
                f"version {__version__} installed"
            ) from None
        except TimeoutError:
            raise WorkerError(
                f"--scheduler: found no worker at {address} within {CONNECT_S:g} s"
            ) from None
        except (distributed.KilledWorker, CancelledError, OSError) as error:
            raise WorkerError(f"--scheduler: the cluster at {address} failed: {error}") from None


def _stamped(function: Callable[..., Answer], call: tuple[Any, ...]) -> tuple[str, Answer]:
    """On a worker: the answer, and the version that computed it."""
    return __version__, function(*call)
