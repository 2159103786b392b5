"""Post-processing on a Dask cluster: reconciliations and hashes on its workers, by actors.

A cluster that is given raw keys is as trusted as the node. What Dask connects, it connects with the
right to run code, and it knows no names, only who has a certificate of its authority. So a cluster
has an authority of its own, which has signed for nobody else: not that of the network, which the
relay has a certificate of, too. Without TLS a cluster is on the loopback interface.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net import __version__
from mdiqkd_net.errors import ConfigError, MdiqkdError, WorkerError
from mdiqkd_net.postprocessing.reconcile import Reconciler
from mdiqkd_net.runtime.config import (
    Postprocessing,
    check_cluster_address,
)
from mdiqkd_net.runtime.workbench import MODULE, Progress, Workbench, rehearse
from mdiqkd_net.secret import SecretBuffer, wipe

CONNECT_S: Final = 10.0
"""How long a scheduler may take to answer, and then its first worker to join."""

REHEARSAL_S: Final = 120.0
"""How long a worker may take when the node starts; it may have kernels to compile."""

N_CALLS: Final = 10
"""Of which the shortest tells how long a call takes."""

KEY: Final = "postprocessing.scheduler"
"""Of a node's configuration, for errors."""


class Cluster:
    """The `Processor` that has its work done by workers of a Dask cluster.

    Every piece of work has a workbench of its own on some worker. Any thread may call; calls wait
    for the worker, and not longer than the deadline.

    Args:
        config: Where the cluster is.
        security: `distributed.Security`.

    Attributes:
        round_s: How long a call of a worker takes; measured once, by `open`.
    """

    def __init__(self, config: Postprocessing, security: Any) -> None:
        self._address = config.scheduler
        self._security = security
        self.deadline_s = config.deadline_s
        self.round_s = 0.0
        self._lock = threading.Lock()
        self._client: Any = None
        self._benches: set[_Bench] = set()
        self._overdue: Counter[str] = Counter()
        self._met: set[str] = set()

    def open(self) -> None:
        """Connect, and have all workers rehearse.

        Raises:
            ConfigError: No scheduler answers, or a worker is not allowed.
            WorkerError: There is no worker in time, or one that cannot do it.
        """
        with self._lock:
            client = self._connected()
            try:
                client.wait_for_workers(1, timeout=CONNECT_S)
            except TimeoutError:
                raise WorkerError(
                    f"{KEY}: found no worker at {self._address} within {CONNECT_S:g} s"
                ) from None
            workers = self._workers(client)
        self._meet(client, workers, REHEARSAL_S)
        bench = self.bench()
        try:
            self.round_s = min(self._call_s(bench) for _ in range(N_CALLS))
        finally:
            bench.dismiss()

    def close(self) -> None:
        """Leave the cluster; workers wipe what is still on a bench."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def reconciler(
        self, scheme: str, bits: NDArray[np.uint8], *, corrects: bool, qber: float, seed: bytes
    ) -> Reconciler:
        """See `Processor`."""
        return _RemoteReconciler(self, scheme, bits, corrects=corrects, qber=qber, seed=seed)

    def amplify(self, bits: NDArray[np.uint8], seed: bytes, n_out: int) -> SecretBuffer:
        """See `Processor`."""
        packed = np.packbits(bits)
        bench = self.bench()
        try:
            found = _checked(bench.ask("amplify", packed, bits.size, seed, n_out), n_out)
            secret = SecretBuffer.copy_of(found.data)
            wipe(found)
            return secret
        finally:
            wipe(packed)
            bench.dismiss()

    def bench(self) -> "_Bench":
        """A fresh one, on the worker that has the fewest of ours.

        Raises:
            WorkerError: No worker can have one.
        """
        with self._lock:
            try:
                client = self._connected()
                workers = self._workers(client)
            except ConfigError as error:
                raise WorkerError(str(error)) from None
            n_benches = Counter(bench.address for bench in list(self._benches))
            # One that has kept us waiting comes last: it may hang.
            address = min(workers, key=lambda a: (self._overdue[a], n_benches[a]))
            bench = _Bench(self, client, address)
            self._benches.add(bench)
        try:
            if address not in self._met:
                self._meet(client, [address], self.deadline_s)
            with self.blaming(address, self.deadline_s):
                bench.place(self._submit(client, address, Workbench, __version__, actor=True))
        except MdiqkdError:
            bench.dismiss()
            raise
        return bench

    def forget(self, bench: "_Bench") -> None:
        """It is being cleared away; any thread may say so, and never waits."""
        self._benches.discard(bench)

    @contextlib.contextmanager
    def blaming(self, address: str, deadline_s: float) -> Iterator[None]:
        """Say in one line what went wrong on a worker, and remember who was late."""
        try:
            yield
        except WorkerError as error:
            raise WorkerError(f"worker {address}: {error}") from None
        except MdiqkdError:
            raise  # what the work itself has to say
        except TimeoutError:
            self._overdue[address] += 1
            raise WorkerError(f"worker {address}: no answer within {deadline_s:g} s") from None
        except ImportError as error:
            raise WorkerError(
                f"worker {address}: found no module {error.name}; "
                f"allowed: workers with mdiqkd-net {__version__} installed"
            ) from None
        except Exception as error:  # whatever a cluster may raise
            # Not its words: they are somebody else's, and may quote anything.
            raise WorkerError(f"worker {address} is lost ({type(error).__name__})") from None

    def _meet(self, client: Any, workers: Sequence[str], deadline_s: float) -> None:
        """Require that workers can do the work, and have them do it once."""
        # A worker that is told to use what it has not got leaves the cluster without a word.
        for work, argument in ((find_spec, MODULE), (rehearse, __version__)):
            answers = {
                address: self._submit(client, address, work, argument) for address in workers
            }
            for address, future in answers.items():
                with self.blaming(address, deadline_s):
                    if future.result(deadline_s) is None and work is find_spec:
                        raise ModuleNotFoundError(name=MODULE)
        self._met.update(workers)

    @staticmethod
    def _call_s(bench: "_Bench") -> float:
        before_s = time.perf_counter()
        bench.ask("touch")
        return time.perf_counter() - before_s

    def _connected(self) -> Any:
        if self._client is None or self._client.status != "running":
            import distributed  # noqa: PLC0415  # an extra, and slow to import

            if self._client is not None:
                with contextlib.suppress(Exception):  # it has no connection any more
                    self._client.close(timeout=0)
            try:
                self._client = distributed.Client(
                    self._address,
                    timeout=CONNECT_S,
                    security=self._security,
                    set_as_default=False,
                    direct_to_workers=True,  # the scheduler never sees a key
                )
            except (OSError, ValueError) as error:
                self._client = None
                raise ConfigError(
                    f"{KEY}: found {self._address!r}, where none answers ({error}); allowed: "
                    "the address of a running Dask scheduler that trusts this certificate"
                ) from None
        return self._client

    def _workers(self, client: Any) -> list[str]:
        try:
            # `Client.nthreads`, but for its lack of a deadline.
            threads = client.sync(
                client.scheduler.ncores, workers=None, callback_timeout=self.deadline_s
            )
        except (OSError, RuntimeError) as error:  # a timeout is an OSError
            raise WorkerError(
                f"{KEY}: {self._address} does not answer ({type(error).__name__})"
            ) from None
        for address in threads:
            try:
                check_cluster_address(address, like=self._address)
            except ValueError as error:
                raise ConfigError(f"{KEY}: worker: {error}") from None
        if not threads:
            raise WorkerError(f"{KEY}: found no worker at {self._address}")
        return sorted(threads)

    @staticmethod
    def _submit(client: Any, address: str, work: Any, argument: str, *, actor: bool = False) -> Any:
        return client.submit(
            work,
            argument,
            workers=[address],
            allow_other_workers=False,
            actor=actor,
            pure=False,
        )


class _Bench:
    """This node's end of a `Workbench`."""

    def __init__(self, cluster: Cluster, client: Any, address: str) -> None:
        self.address = address
        self._cluster = cluster
        self._client = client
        self._actor: Any = None
        self._future: Any = None

    def place(self, future: Any) -> None:
        """Wait until the workbench is there."""
        self._future = future
        with self._client.as_current():
            self._actor = future.result(self._cluster.deadline_s)

    def ask(self, method: str, *args: object, **options: object) -> Any:
        """Call a method and wait for its answer.

        Raises:
            WorkerError: There is none in time.
        """
        deadline_s = self._cluster.deadline_s
        with self._cluster.blaming(self.address, deadline_s), self._client.as_current():
            return getattr(self._actor, method)(*args, **options).result(deadline_s)

    def dismiss(self) -> None:
        """Have it wiped and cleared away; waits for nothing, and never fails."""
        actor, self._actor = self._actor, None
        future, self._future = self._future, None
        self._cluster.forget(self)
        if actor is None:
            return
        with contextlib.suppress(Exception), self._client.as_current():
            answer = actor.wipe()
            client, deadline_s = self._client, self._cluster.deadline_s
            client.loop.add_callback(_see_off, client, future, answer, deadline_s)


async def _see_off(client: Any, future: Any, answer: Any, deadline_s: float) -> None:
    """Have the worker drop an actor, once it has answered."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(answer, deadline_s)
    # Not by letting go: an actor refers to itself, until the garbage collector comes.
    with contextlib.suppress(Exception):
        await client.cancel([future], force=True)


class _RemoteReconciler:
    """A `Reconciler` whose work is done on a bench; the numbers are those of its last answer."""

    def __init__(
        self,
        cluster: Cluster,
        scheme: str,
        bits: NDArray[np.uint8],
        *,
        corrects: bool,
        qber: float,
        seed: bytes,
    ) -> None:
        self._n_bits = bits.size
        self._bench = cluster.bench()
        packed = np.packbits(bits)
        try:
            self._last: Progress = self._bench.ask(
                "begin", scheme, packed, bits.size, corrects=corrects, qber=qber, seed=seed
            )
        except MdiqkdError:
            self._bench.dismiss()
            raise
        finally:
            wipe(packed)
        self._first = self._last.payload

    @property
    def done(self) -> bool:
        return self._last.payload is None

    @property
    def bits(self) -> NDArray[np.uint8]:
        packed = _checked(self._bench.ask("bits"), self._n_bits)
        bits = np.unpackbits(packed, count=self._n_bits)
        wipe(packed)
        return bits

    @property
    def leak_bits(self) -> int:
        return self._last.leak_bits

    @property
    def peer_leak_bits(self) -> int:
        return self._last.peer_leak_bits

    @property
    def n_corrected(self) -> int:
        return self._last.n_corrected

    @property
    def rounds(self) -> int:
        return self._last.rounds

    def start(self) -> bytes:
        return self._first or b""

    def receive(self, payload: bytes) -> bytes | None:
        self._last = self._bench.ask("receive", payload)
        return self._last.payload

    def wipe(self) -> None:
        self._bench.dismiss()


def _checked(packed: object, n_bits: int) -> NDArray[np.uint8]:
    shape = (-(-n_bits // 8),)
    if not (isinstance(packed, np.ndarray) and (packed.dtype, packed.shape) == (np.uint8, shape)):
        raise WorkerError(f"found an answer of a worker that is not {n_bits} bits, packed")
    return packed
