"""Pre-shared one-time pads of one pair of users, one file per user.

The tags of the endpoint link are information-theoretically secure only if no pad is ever used
twice. So a pad is burnt on disk, overwritten and synced, before its value is handed out: after a
crash at any point it was either burnt or never seen. This assumes that nobody puts an older copy
of the file back; a file must never be restored from a backup. Overwriting in place erases what
the file system shows; copy-on-write file systems and flash media may keep stale sectors.

Layout, integers big-endian: a page of 4096 bytes, then `n_pads` pads of 16 bytes for the messages
of the lower node id, then as many for those of the higher. The page begins with
`magic 8 | version u16 | zero u16 | n_pads u32 | pool id 16 | lower 32 | higher 32 | owner 32 |
r1 r2 of the lower 32 | r1 r2 of the higher 32 | SHA-256 of all that`; node ids are padded with
zeros. Both users' files are equal but for the owner and the checksum.
"""

import fcntl
import hashlib
import os
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import AuthenticationError, ConfigError, KeyStoreError
from mdiqkd_net.keys.files import PRIVATE, NewFile, check_private, create_together, make_directory
from mdiqkd_net.keys.identity import check_pair
from mdiqkd_net.secret import SecretBuffer, wipe

PAD_BYTES: Final = 16
N_PADS: Final = 4096
MAX_PADS: Final = 2**20

_MAGIC: Final = b"MDIQKDPD"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHHI16s32s32s32s")
"""What is not secret of the header; the hash keys and the checksum follow."""
_HASH_KEYS_BYTES: Final = 4 * PAD_BYTES
_CHECKED_BYTES: Final = _HEADER.size + _HASH_KEYS_BYTES
_CHECKSUM_BYTES: Final = 32
_PAGE_BYTES: Final = 4096
"""The header has a page of its own, so that no torn write of a pad can damage it."""


@dataclass(frozen=True, slots=True)
class PadInfo:
    """What a pad file says of itself, without secrets; a snapshot if a node is using it."""

    path: Path
    pair: tuple[str, str]
    owner: str
    pool_id: str
    n_pads: int
    remaining_send: int
    remaining_receive: int


@dataclass(frozen=True, slots=True)
class _Header:
    n_pads: int
    pool_id: bytes
    pair: tuple[str, str]
    owner: str
    hash_keys: SecretBuffer = field(repr=False)


def pad_path(directory: Path, a: str, b: str, owner: str) -> Path:
    """Where `create_pads` puts the file of `owner`."""
    low, high = check_pair(a, b)
    return directory / f"{low}--{high}.{owner}.pads"


def check_count(n_pads: int) -> None:
    """Return if a file may have this many pads per direction; raise ConfigError otherwise."""
    if not 1 <= n_pads <= MAX_PADS:
        raise ConfigError(f"number of pads: found {n_pads}; allowed: 1 to {MAX_PADS} per direction")


def create_pads(directory: Path, a: str, b: str, n_pads: int = N_PADS) -> tuple[Path, Path]:
    """Draw hash keys and pads for a pair of users, and write one file for each (mode 0600).

    All secrets come from the entropy of the operating system.

    Args:
        directory: Where the files go.
        a: One user.
        b: The other user.
        n_pads: Pads per direction, 1 to 2^20.

    Returns:
        The file of `a`, then the file of `b`.

    Raises:
        ConfigError: If an argument cannot be used or a file exists.
        KeyStoreError: If the disk refuses.
    """
    low, high = check_pair(a, b)
    check_count(n_pads)
    make_directory(directory)
    pool_id, hash_keys = os.urandom(16), SecretBuffer.random(_HASH_KEYS_BYTES)
    # A pad of zeros counts as burnt. One is drawn with probability 2^-128, and both users skip it.
    pads = SecretBuffer.random(2 * n_pads * PAD_BYTES)
    pages = [SecretBuffer(_PAGE_BYTES), SecretBuffer(_PAGE_BYTES)]
    files = []
    for owner, buffer in zip((a, b), pages, strict=True):
        page = buffer.view
        _HEADER.pack_into(
            page,
            0,
            _MAGIC,
            _VERSION,
            0,
            n_pads,
            pool_id,
            low.encode(),
            high.encode(),
            owner.encode(),
        )
        page[_HEADER.size : _CHECKED_BYTES] = hash_keys.view
        checksum = hashlib.sha256(page[:_CHECKED_BYTES]).digest()
        page[_CHECKED_BYTES : _CHECKED_BYTES + _CHECKSUM_BYTES] = checksum
        files.append(NewFile(pad_path(directory, a, b, owner), PRIVATE, page, pads.view))
    try:
        create_together(files)
    finally:
        wipe(hash_keys, pads, *pages)
    return files[0].path, files[1].path


def describe(path: Path) -> PadInfo:
    """Count the pads of a file without locking it.

    Raises:
        KeyStoreError: If it is no pad file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None
    try:
        header = _read_header(descriptor, path)
        of_low = _unused(descriptor, path, header.n_pads, 0)
        of_high = _unused(descriptor, path, header.n_pads, 1)
    finally:
        os.close(descriptor)
    sends, receives = (of_low, of_high) if header.owner == header.pair[0] else (of_high, of_low)
    return PadInfo(
        path=path,
        pair=header.pair,
        owner=header.owner,
        pool_id=header.pool_id.hex(),
        n_pads=header.n_pads,
        remaining_send=header.n_pads - _first_unused(sends),
        remaining_receive=int(np.count_nonzero(receives)),
    )


class PadFile:
    """One user's pads for one peer, locked for as long as it is open.

    A pad is returned at most once in the life of the file. May be used from any thread.
    """

    def __init__(self, descriptor: int, path: Path, header: _Header) -> None:
        self._descriptor = descriptor
        self._path = path
        self._pair = header.pair
        self._owner = header.owner
        self._pool_id = header.pool_id
        self._n_pads = header.n_pads
        self._hash_keys = header.hash_keys
        self._send_side = header.pair.index(header.owner)
        self._lock = threading.Lock()
        self._why_unusable: str | None = None
        self._next_send = _first_unused(_unused(descriptor, path, self._n_pads, self._send_side))
        receives = _unused(descriptor, path, self._n_pads, 1 - self._send_side)
        self._remaining_receive = int(np.count_nonzero(receives))

    @classmethod
    def open(cls, path: Path, owner: str, peer: str) -> Self:
        """Lock a file and check that it belongs to `owner`, for messages to and from `peer`.

        Raises:
            KeyStoreError: If the file is missing, damaged, in use, open to others, or not theirs.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise KeyStoreError(f"{path}: {error.strerror}") from None
        try:
            check_private(os.fstat(descriptor), path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KeyStoreError(f"{path}: in use by another process") from None
            except OSError as error:
                raise KeyStoreError(f"{path}: cannot be locked: {error.strerror}") from None
            header = _read_header(descriptor, path)
            if header.owner != owner or set(header.pair) != {owner, peer}:
                other = header.pair[1 - header.pair.index(header.owner)]
                raise KeyStoreError(
                    f"{path}: found the pads of {header.owner!r} for {other!r}; "
                    f"allowed: those of {owner!r} for {peer!r}"
                )
            return cls(descriptor, path, header)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"PadFile({str(self._path)!r}, owner={self._owner!r}, "
            f"remaining_send={self.remaining_send}, remaining_receive={self.remaining_receive})"
        )

    def close(self) -> None:
        """Unlock the file and wipe the hash keys; closing twice does nothing."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self._why_unusable = "closed"
                self._hash_keys.wipe()

    @property
    def pool_id(self) -> bytes:
        """16 bytes that name this set of pads, alike at both users and in every such file once."""
        return self._pool_id

    @property
    def send_keys(self) -> tuple[memoryview, memoryview]:
        """Copies of r1, r2 of the tags that the owner sends; they wipe themselves."""
        return self._keys(self._send_side)

    @property
    def receive_keys(self) -> tuple[memoryview, memoryview]:
        """Copies of r1, r2 of the tags that the owner checks; they wipe themselves."""
        return self._keys(1 - self._send_side)

    @property
    def remaining_send(self) -> int:
        """Pads left for tags that the owner sends."""
        return self._n_pads - self._next_send

    @property
    def remaining_receive(self) -> int:
        """Pads left for tags that the owner checks."""
        return self._remaining_receive

    def take_send(self) -> tuple[int, memoryview]:
        """Burn the next pad for sending, and return its index and its 16 bytes, to be wiped.

        Indices only grow, also across restarts.

        Raises:
            KeyStoreError: If none is left, or the disk refuses.
        """
        with self._lock:
            self._check_usable()
            if self._next_send >= self._n_pads:
                low, high = self._pair
                raise KeyStoreError(
                    f"{self._path}: all {self._n_pads} pads for sending are used up; make new ones "
                    f"with `mdiqkd pki new-pads {low} {high} --dir DIR`, and give each user its "
                    "file in place of the old one"
                )
            index = self._next_send
            pad = self._burn(self._send_side, index)
            self._next_send = index + 1
            return index, pad

    def take_receive(self, index: int) -> memoryview:
        """Burn the pad that the peer names, and return its 16 bytes, to be wiped.

        Raises:
            AuthenticationError: If there is no such pad, or it was used before; never says which.
            KeyStoreError: If the disk refuses.
        """
        with self._lock:
            self._check_usable()
            if not 0 <= index < self._n_pads:
                raise AuthenticationError("authentication failed")
            pad = self._burn(1 - self._send_side, index)
            if not any(pad):
                raise AuthenticationError("authentication failed")
            self._remaining_receive -= 1
            return pad

    def _check_usable(self) -> None:
        if self._why_unusable is not None:
            raise KeyStoreError(f"{self._path}: {self._why_unusable}")

    def _keys(self, side: int) -> tuple[memoryview, memoryview]:
        with self._lock:
            self._check_usable()
            start = 2 * PAD_BYTES * side
            first, middle, end = start, start + PAD_BYTES, start + 2 * PAD_BYTES
            keys = SecretBuffer.copy_of(self._hash_keys.view)
            return keys.view[first:middle], keys.view[middle:end]

    def _burn(self, side: int, index: int) -> memoryview:
        """Read a pad and erase it durably; the value leaves only if the disk has confirmed."""
        offset = _offset(self._n_pads, side, index)
        pad = SecretBuffer(PAD_BYTES).view
        try:
            _read_at(self._descriptor, pad, offset)
            if any(pad):
                if os.pwrite(self._descriptor, bytes(PAD_BYTES), offset) != PAD_BYTES:
                    raise OSError(0, "short write")
                os.fsync(self._descriptor)
        except BaseException as error:
            wipe(pad)
            # After a failed sync nobody knows what the disk holds, and a second sync may falsely
            # succeed: this file is only trusted again after it has been opened anew.
            self._why_unusable = "a pad could not be burnt; restart after mending the disk"
            if isinstance(error, OSError):
                raise KeyStoreError(
                    f"{self._path}: a pad could not be burnt: {error.strerror}"
                ) from None
            raise
        return pad


def _offset(n_pads: int, side: int, index: int) -> int:
    return _PAGE_BYTES + PAD_BYTES * (side * n_pads + index)


def _read_at(descriptor: int, buffer: bytearray | memoryview, offset: int) -> None:
    """Fill a buffer, without a copy that could not be wiped. Raises OSError."""
    done = 0
    with memoryview(buffer) as view:
        while done < len(buffer):
            n_read = os.preadv(descriptor, [view[done:]], offset + done)
            if n_read == 0:
                raise OSError(0, "unexpected end of file")
            done += n_read


def _read_header(descriptor: int, path: Path) -> _Header:
    raw = SecretBuffer(_CHECKED_BYTES + _CHECKSUM_BYTES).view
    try:
        _read_at(descriptor, raw, 0)
        size_bytes = os.fstat(descriptor).st_size
    except OSError as error:
        raise KeyStoreError(f"{path}: no pad file: {error.strerror}") from None
    magic, version, _, n_pads, pool_id, low, high, owner = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise KeyStoreError(f"{path}: no pad file")
    if version != _VERSION:
        raise KeyStoreError(f"{path}: found pad file version {version}; allowed: {_VERSION}")
    if hashlib.sha256(raw[:_CHECKED_BYTES]).digest() != raw[_CHECKED_BYTES:]:
        raise KeyStoreError(f"{path}: damaged: the checksum of its header does not fit")
    expected_bytes = _offset(n_pads, 2, 0)
    if size_bytes != expected_bytes:
        raise KeyStoreError(
            f"{path}: damaged: found {size_bytes} bytes; {n_pads} pads need {expected_bytes}"
        )
    names = [name.rstrip(b"\0").decode() for name in (low, high, owner)]
    hash_keys = SecretBuffer.copy_of(raw[_HEADER.size : _CHECKED_BYTES])
    wipe(raw)
    return _Header(n_pads, pool_id, (names[0], names[1]), names[2], hash_keys)


def _unused(descriptor: int, path: Path, n_pads: int, side: int) -> NDArray[np.bool_]:
    """Which pads of a direction are not burnt, shape (n_pads,)."""
    region = bytearray(n_pads * PAD_BYTES)
    try:
        _read_at(descriptor, region, _offset(n_pads, side, 0))
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None
    words = np.frombuffer(region, dtype=np.uint64).reshape(n_pads, 2)
    unused: NDArray[np.bool_] = (words[:, 0] | words[:, 1]) != 0
    words.fill(0)  # the bytes of `region`
    return unused


def _first_unused(unused: NDArray[np.bool_]) -> int:
    """The index after the last burnt pad, so that indices never go back."""
    burnt = np.flatnonzero(~unused)
    return int(burnt[-1]) + 1 if burnt.size else 0
