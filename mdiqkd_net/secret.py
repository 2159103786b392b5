"""Memory for secrets: kept out of swap and core dumps where the kernel allows, wiped after use.

Best effort. A `SecretBuffer` lives in pages from `memfd_secret` (Linux 5.14 and newer, where it is
enabled): they are locked, and not even the kernel or a debugger reads them by accident. Elsewhere
its pages are anonymous, locked (`mlock`) as long as RLIMIT_MEMLOCK allows, left out of core dumps,
and zero in a child process. `in_use` says which of these it is. What libraries copy on their own is
out of reach; docs/explanation/secrets.md names it.

Small buffers share pages, since a lock is per page and limits are small. Memory goes back to the
pages, overwritten with zeros, when the last view of it is gone; no live view ever shows another
secret.
"""

import ctypes
import errno
import hmac
import mmap
import os
import resource
import sys
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError

Kind = Literal["memfd_secret", "locked", "unlocked"]

MIN_BYTES: Final = 16
CHUNK_BYTES: Final = 1 << 18
"""Mapped at once for small buffers."""
SHARED_BYTES: Final = 1 << 14
"""Buffers up to this length share a chunk; longer ones have a mapping of their own."""

_PAGE: Final = mmap.PAGESIZE
_SYS_MEMFD_SECRET: Final = 447
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_MAP_FIXED: Final = 0x10
_PR_SET_DUMPABLE: Final = 4
_ADVICE: Final = (16, 18) if sys.platform == "linux" else ()
"""MADV_DONTDUMP and MADV_WIPEONFORK."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = _libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
if sys.platform == "linux":
    _libc.getrandom.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
    _libc.getrandom.restype = ctypes.c_ssize_t


class SecretBuffer:
    """A fixed number of secret bytes, zeros at first. Use it through `view` or `array`.

    It does not print, cannot be pickled or copied by `copy`, and compares in constant time. `wipe`,
    or the end of a `with` block, overwrites it at once; so does the end of its last view.

    Args:
        n_bytes: Its length, 0 or more.
    """

    __slots__ = ("_arena", "_n_bytes", "_view")

    def __init__(self, n_bytes: int) -> None:
        if n_bytes < 0:
            raise LocalProtocolError(f"secret: found {n_bytes} bytes; allowed: 0 or more")
        self._n_bytes = n_bytes
        self._arena = _arena
        self._view: memoryview | None = _arena.allocate(n_bytes)

    @classmethod
    def copy_of(cls, data: bytes | bytearray | memoryview) -> Self:
        """A buffer with these bytes; wiping `data` is up to the caller."""
        buffer = cls(len(data))
        buffer.view[:] = data
        return buffer

    @classmethod
    def random(cls, n_bytes: int) -> Self:
        """Bytes of the kernel's generator; on Linux they exist nowhere else in this process."""
        buffer = cls(n_bytes)
        if sys.platform != "linux":
            buffer.view[:] = os.urandom(n_bytes)
            return buffer
        done, address = 0, buffer.array.ctypes.data
        while done < n_bytes:
            n_drawn = _libc.getrandom(address + done, n_bytes - done, 0)
            if n_drawn < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), "getrandom failed")
            done += max(n_drawn, 0)
        return buffer

    @property
    def view(self) -> memoryview:
        """The bytes, writable, without a copy.

        Raises:
            LocalProtocolError: They are wiped; a key of zeros must never pass for a key.
        """
        if self._view is None or self._arena is not _arena:
            raise LocalProtocolError("secret: found it wiped; allowed: use before the wipe")
        return self._view

    @property
    def array(self) -> NDArray[np.uint8]:
        """The bytes as an array of shape (n_bytes,), writable, without a copy. Raises as `view`."""
        return np.frombuffer(self.view, np.uint8)

    @property
    def is_wiped(self) -> bool:
        """Whether the bytes are gone."""
        return self._view is None or self._arena is not _arena

    def wipe(self) -> None:
        """Overwrite the bytes, for all views, too, and refuse from now on; harmless if repeated."""
        if not self.is_wiped:
            self.array.fill(0)
        self._view = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()

    def __len__(self) -> int:
        return self._n_bytes

    def __repr__(self) -> str:
        return f"SecretBuffer({'wiped' if self.is_wiped else f'{self._n_bytes} bytes'})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SecretBuffer):
            return hmac.compare_digest(self.view, other.view)
        if isinstance(other, bytes | bytearray | memoryview):
            return hmac.compare_digest(self.view, other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its bytes may change

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a secret is neither pickled nor copied")


def wipe(*buffers: SecretBuffer | bytearray | memoryview | NDArray[Any]) -> None:
    """Overwrite buffers with zeros; arrays that cannot be written stay as they are."""
    for buffer in buffers:
        if isinstance(buffer, SecretBuffer):
            buffer.wipe()
        elif isinstance(buffer, np.ndarray):
            if buffer.flags.writeable:
                buffer.fill(0)
        else:
            np.frombuffer(buffer, np.uint8).fill(0)


def in_use() -> Mapping[Kind, int]:
    """Bytes of memory for secrets, by what protects it; of each kind that there is any of.

    `unlocked` may be swapped out: the kernel refused a lock, most often by RLIMIT_MEMLOCK.
    """
    return {kind: n_bytes for kind, n_bytes in _arena.mapped.items() if n_bytes}


def forbid_dumps() -> None:
    """No core dump of this process, and no other process of the same user may look into it.

    For good, and for its children the limit, too. Where the system has no such calls, the first
    part alone.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(_libc, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class _Lease(weakref.ref[Any]):
    """Notes when the last view of a buffer is gone."""

    __slots__ = ("address", "size")
    address: int
    size: int


class _Arena:
    """Pages for secrets, and the parts of them that are free."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The garbage collector may return memory at any time, in any thread, even in the middle of
        # `allocate`. So returning takes no lock: each step of it is atomic.
        self._free: dict[int, deque[int]] = {}
        self._leases: dict[int, _Lease] = {}
        self._chunk, self._left = 0, 0
        self.has_memfd_secret = sys.platform == "linux"
        self.maps: dict[int, tuple[int, Kind]] = {}

    @property
    def mapped(self) -> dict[Kind, int]:
        """Bytes by kind."""
        found: dict[Kind, int] = {"memfd_secret": 0, "locked": 0, "unlocked": 0}
        for size, kind in list(self.maps.values()):
            found[kind] += size
        return found

    def allocate(self, n_bytes: int) -> memoryview:
        """Zeros; they go back by themselves when nothing refers to them any more."""
        size = max(MIN_BYTES, 1 << max(n_bytes - 1, 0).bit_length())
        if size <= SHARED_BYTES:
            address = self._take(size)
        else:
            size = -(-n_bytes // _PAGE) * _PAGE
            address = self._map(size)
        array = _array_type(n_bytes).from_address(address)
        lease = _Lease(array, self._return)
        lease.address, lease.size = address, size
        self._leases[address] = lease
        return memoryview(array).cast("B")

    def _return(self, lease: weakref.ref[Any]) -> None:
        assert isinstance(lease, _Lease)  # noqa: S101  # no others are made
        del self._leases[lease.address]
        ctypes.memset(lease.address, 0, lease.size)
        if lease.size <= SHARED_BYTES:
            self._free[lease.size].append(lease.address)
        else:
            del self.maps[lease.address]
            _libc.munmap(lease.address, lease.size)

    def _take(self, size: int) -> int:
        free = self._free.get(size)
        if free is None:
            free = self._free.setdefault(size, deque())
        while True:
            try:
                return free.pop()  # what was used last is still in the cache
            except IndexError:
                self._refill(size, free)

    def _refill(self, size: int, free: deque[int]) -> None:
        run = max(size, _PAGE)
        with self._lock:
            if self._left < run:
                self._chunk, self._left = self._map(CHUNK_BYTES), CHUNK_BYTES
            start = self._chunk
            self._chunk, self._left = start + run, self._left - run
        free.extend(range(start, start + run, size))

    def _map(self, size: int) -> int:
        """Pages of the best kind to be had."""
        address = self._map_secret(size) if self.has_memfd_secret else None
        kind: Kind = "memfd_secret"
        if address is None:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
            if address == _MAP_FAILED:
                raise MemoryError(f"secret: no memory for {size} bytes")
            for advice in _ADVICE:
                _libc.madvise(address, size, advice)
            kind = "locked" if _libc.mlock(address, size) == 0 else "unlocked"
        self.maps[address] = (size, kind)
        return int(address)

    def _map_secret(self, size: int) -> int | None:
        descriptor = _libc.syscall(_SYS_MEMFD_SECRET, os.O_CLOEXEC)
        if descriptor < 0:  # not in this kernel, or not for us; or no descriptor is left just now
            self.has_memfd_secret = ctypes.get_errno() in (errno.EMFILE, errno.ENFILE)
            return None
        try:
            os.ftruncate(descriptor, size)
            protection = mmap.PROT_READ | mmap.PROT_WRITE
            address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, descriptor, 0)
        finally:
            os.close(descriptor)
        # A failure means RLIMIT_MEMLOCK: another buffer may fit later.
        return None if address == _MAP_FAILED else int(address)


@lru_cache(maxsize=256)
def _array_type(n_bytes: int) -> Any:
    return ctypes.c_ubyte * n_bytes


def _after_fork_in_child() -> None:
    """Give the child zeros in place of its parent's secrets, and an arena of its own."""
    global _arena  # noqa: PLW0603  # a new process, a new arena
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    for address, (size, kind) in list(_arena.maps.items()):
        if kind == "memfd_secret":  # shared by nature; the others are zero in a child by request
            _libc.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    _arena = _Arena()


_arena = _Arena()
os.register_at_fork(after_in_child=_after_fork_in_child)
