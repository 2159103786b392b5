"""Where a user's secret choices come from: the system, a file of random bytes, or a device.

Each of these is called with a number of bytes and returns exactly that many, never given out
before. What it cannot do it refuses: a source that runs dry raises and stays dry, and nothing wraps
around or falls back to another source.

A segment's choices are expanded from 32 of these bytes by AES-256 (`physics.settings`). Fresh
quantum randomness for every pulse would be gigabits per second; the choices are as good as the
cipher, whatever the source.
"""

import fcntl
import os
import secrets
import select
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from mdiqkd_net.errors import DeviceError

REPEATS: Final = 9
"""Equal bytes in a row at which a device is taken to be stuck: chance 2^-64 per byte."""


class EntropySource(Protocol):
    """A source of bytes that nobody can predict; any thread may call it."""

    def __call__(self, n_bytes: int) -> bytes:
        """Exactly `n_bytes` new bytes.

        Raises:
            DeviceError: It has no more, or is not healthy.
        """
        ...

    def close(self) -> None:
        """Let go of files; harmless when repeated."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def __call__(self, n_bytes: int) -> bytes:
        """`n_bytes` bytes of `secrets`."""
        return secrets.token_bytes(n_bytes)

    def close(self) -> None:
        """Nothing is open."""


class FileEntropy:
    """A file of random bytes, each given out once, over restarts and processes.

    How many are used stands in a second file, `NAME.used`, which is on disk before the bytes leave
    this object. After a crash a few bytes may be lost; none is given out twice, unless the second
    file is removed or set back. Both files are held locked while this object is open.

    Raises:
        DeviceError: A file that cannot be used, or that somebody else uses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._file = -1
        self._mark = -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise DeviceError(f"{path}: not a regular file; allowed: one, or type `device`")
            mark = path.with_name(path.name + ".used")
            self._mark = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync_directory(path.parent)
            text = os.pread(self._mark, 32, 0)
            if text and not (text.endswith(b"\n") and text[:-1].isdigit()):
                raise DeviceError(f"{mark}: found no number of used bytes; will not guess it")
            self._used = int(text or b"0")
        except BlockingIOError:
            self.close()
            raise DeviceError(f"{path}: in use by another process") from None
        except OSError as error:
            self.close()
            raise DeviceError(f"{path}: {error.strerror}") from None
        except DeviceError:
            self.close()
            raise

    def __call__(self, n_bytes: int) -> bytes:
        """The next `n_bytes` bytes of the file.

        Raises:
            DeviceError: Fewer are left, or the disk fails.
        """
        with self._lock:
            if self._file < 0:
                raise DeviceError(f"{self._path}: closed")
            try:
                left = os.fstat(self._file).st_size - self._used
                if left < n_bytes:
                    raise DeviceError(
                        f"{self._path}: underrun: found {max(left, 0)} unused bytes, needed "
                        f"{n_bytes}; bytes are never used twice"
                    )
                os.pwrite(self._mark, b"%020d\n" % (self._used + n_bytes), 0)
                os.fsync(self._mark)
                value = os.pread(self._file, n_bytes, self._used)
            except OSError as error:
                raise DeviceError(f"{self._path}: {error.strerror}") from None
            self._used += n_bytes
        if len(value) != n_bytes:
            raise DeviceError(f"{self._path}: underrun: the file became shorter")
        return value

    def close(self) -> None:
        """Let others use the file; harmless when repeated."""
        for handle in (self._file, self._mark):
            if handle >= 0:
                os.close(handle)
        self._file = self._mark = -1


class DeviceEntropy:
    """A hardware generator behind a character device or a named pipe.

    Two things are checked, both for good: bytes that do not come in time (underrun), and a stuck
    output, `REPEATS` equal bytes in a row (the repetition count test of NIST SP 800-90B, 4.4.1, at
    8 bits of entropy per byte). This is no certification of the generator; its own tests remain
    necessary.

    Args:
        path: Of the device.
        timeout_s: How long a request may take.

    Raises:
        DeviceError: No such device, or a regular file.
    """

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._last = -1
        self._run = 0
        self._broken: str | None = None
        try:
            self._device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from None
        mode = os.fstat(self._device).st_mode
        if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
            self.close()
            raise DeviceError(f"{path}: not a device; allowed: one, a pipe, or type `file`")

    def __call__(self, n_bytes: int) -> bytes:
        """The next `n_bytes` bytes of the device.

        Raises:
            DeviceError: They do not come in time, or look stuck; from then on every call.
        """
        with self._lock:
            if self._broken is None:
                value = self._read(n_bytes)
                if self._broken is None:
                    return value
            raise DeviceError(f"{self._path}: {self._broken}")

    def close(self) -> None:
        """Close the device; harmless when repeated."""
        if self._device >= 0:
            os.close(self._device)
            self._device = -1
            self._broken = "closed"

    def _read(self, n_bytes: int) -> bytes:
        value = bytearray()
        end_s = time.monotonic() + self._timeout_s
        while len(value) < n_bytes:
            try:
                ready, _, _ = select.select(
                    [self._device], [], [], max(0, end_s - time.monotonic())
                )
                part = os.read(self._device, n_bytes - len(value)) if ready else b""
            except BlockingIOError:
                continue
            except OSError as error:
                self._broken = error.strerror or "failed"
                return b""
            if not part:
                cause = "ended" if ready else f"no more within {self._timeout_s:g} s"
                self._broken = f"underrun: found {len(value)} bytes, needed {n_bytes}; {cause}"
                return b""
            value += part
        for byte in value:
            self._run = self._run + 1 if byte == self._last else 1
            self._last = byte
            if self._run >= REPEATS:
                self._broken = f"stuck: {REPEATS} equal bytes in a row"
        return bytes(value)


ENTROPY_SOURCES: Final[Mapping[str, Callable[..., EntropySource]]] = {
    "system": SystemEntropy,
    "file": FileEntropy,
    "device": DeviceEntropy,
}
"""By the `type` of an endpoint's `entropy` table; arguments differ, since sources do."""


def _sync_directory(path: Path) -> None:
    """Make a new file's name durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
