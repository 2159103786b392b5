"""Files that hold secrets: never overwritten, never readable by others, durable when done."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Final

from mdiqkd_net.errors import ConfigError, KeyStoreError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to create, of `data` and then `tail`; both may be secret."""

    path: Path
    mode: int
    data: bytes | bytearray | memoryview = field(repr=False)
    tail: bytes | memoryview = field(default=b"", repr=False)


def make_directory(directory: Path) -> None:
    """Make a directory that only its owner may enter; an existing one stays as it is.

    Raises:
        KeyStoreError: If that is not possible.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyStoreError(f"{directory}: {error.strerror}") from None


def create_together(files: Sequence[NewFile]) -> None:
    """Create all of these files durably, or none.

    Each file has its mode from the first moment, so that there is no window to read it in.

    Raises:
        ConfigError: If one of them exists.
        KeyStoreError: If the disk refuses.
    """
    refuse_existing([file.path for file in files])
    created: list[Path] = []
    try:
        for file in files:
            descriptor = os.open(
                file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode
            )
            created.append(file.path)
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                write_all(stream, file.data)
                write_all(stream, file.tail)
                os.fsync(stream.fileno())
        for directory in {file.path.parent for file in files}:
            sync_directory(directory)
    except BaseException as error:
        for path in created:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise _exists(Path(error.filename)) from None
        if isinstance(error, OSError):
            place = error.filename or created[-1]
            raise KeyStoreError(f"{place}: {error.strerror}") from None
        raise


def refuse_existing(paths: Sequence[Path]) -> None:
    """Return if none of these files exists.

    Raises:
        ConfigError: Otherwise, naming the first that does.
    """
    for path in paths:
        if path.exists() or path.is_symlink():
            raise _exists(path)


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path}: exists already, and nothing is overwritten; move it away first")


def write_all(stream: RawIOBase, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`, with no copy of it in a buffer. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) or 0 :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_private(status: os.stat_result, path: Path) -> None:
    """Return if `status` is that of a regular file that only its owner can read.

    Raises:
        KeyStoreError: Otherwise.
    """
    if not stat.S_ISREG(status.st_mode):
        raise KeyStoreError(f"{path}: found no regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise KeyStoreError(
            f"{path}: found mode {mode:04o}, so others may read a secret; allowed: 0600 (chmod 600)"
        )
