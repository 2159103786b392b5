"""Pre-shared one-time pads of one pair of users, one file per user.

The tags of the endpoint link are information-theoretically secure only if no pad is ever used
twice. So a pad is burnt on disk, overwritten and synced, before its value is handed out: after a
crash at any point it was either burnt or never seen. Overwriting in place erases what the file
system shows; copy-on-write file systems and flash media may keep stale sectors.

The owner sends tags only within a lease that the peer has granted, and keeps how far it has granted
to the peer (`mdiqkd_net.protocol.leases`). So one file of the two may be set back, and no pad is
used twice: what the other file tells is enough. Both files set back are not protected, so never
restore a pad file from a backup all the same. How the file looks: `mdiqkd_net.keys.pad_layout`.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from mdiqkd_net.errors import AuthenticationError, ConfigError, KeyStoreError
from mdiqkd_net.keys import pad_layout as layout
from mdiqkd_net.keys.files import PRIVATE, NewFile, check_private, create_together, make_directory
from mdiqkd_net.keys.identity import check_pair
from mdiqkd_net.keys.pad_layout import PAD_BYTES, Header
from mdiqkd_net.protocol.leases import NoLeaseError, check_lease, next_lease
from mdiqkd_net.secret import SecretBuffer, wipe

N_PADS: Final = 4096
MAX_PADS: Final = 2**20


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


def pad_path(directory: Path, a: str, b: str, owner: str) -> Path:
    """Where `create_pads` puts the file of `owner`."""
    low, high = check_pair(a, b)
    return directory / f"{low}--{high}.{owner}.pads"


def check_count(n_pads: int) -> None:
    """Return if a file may have this many pads per direction; raise ConfigError otherwise."""
    if not 1 <= n_pads <= MAX_PADS:
        raise ConfigError(f"number of pads: found {n_pads}; allowed: 1 to {MAX_PADS} per direction")


def create_pads(
    directory: Path,
    a: str,
    b: str,
    n_pads: int = N_PADS,
    *,
    entropy: Callable[[int], bytes] | None = None,
) -> tuple[Path, Path]:
    """Draw hash keys and pads for a pair of users, and write one file for each (mode 0600).

    Args:
        directory: Where the files go.
        a: One user.
        b: The other user.
        n_pads: Pads per direction, 1 to 2^20.
        entropy: Where all secrets come from, only to simulate; by default the operating system,
            straight into memory for secrets.

    Returns:
        The file of `a`, then the file of `b`.

    Raises:
        ConfigError: If an argument cannot be used or a file exists.
        KeyStoreError: If the disk refuses.
    """
    low, high = check_pair(a, b)
    check_count(n_pads)
    make_directory(directory)
    pool_id, hash_keys = _draw(16, entropy), _draw(layout.HASH_KEYS_BYTES, entropy)
    # A pad of zeros counts as burnt. One is drawn with probability 2^-128, and both users skip it.
    pads = _draw(2 * n_pads * PAD_BYTES, entropy)
    pages = [
        layout.first_page(Header(n_pads, bytes(pool_id.view), (low, high), owner, hash_keys))
        for owner in (a, b)
    ]
    paths = pad_path(directory, a, b, a), pad_path(directory, a, b, b)
    try:
        create_together(
            [
                NewFile(path, PRIVATE, page.view, pads.view)
                for path, page in zip(paths, pages, strict=True)
            ]
        )
    finally:
        wipe(hash_keys, pads, *pages)
    return paths


def _draw(n_bytes: int, entropy: Callable[[int], bytes] | None) -> SecretBuffer:
    if entropy is None:
        return SecretBuffer.random(n_bytes)
    return SecretBuffer.copy_of(entropy(n_bytes))


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
        header = layout.read_header(descriptor, path)
        of_low = layout.find_unused(descriptor, path, header.n_pads, 0)
        of_high = layout.find_unused(descriptor, path, header.n_pads, 1)
    finally:
        os.close(descriptor)
    sends, receives = (of_low, of_high) if header.owner == header.pair[0] else (of_high, of_low)
    return PadInfo(
        path=path,
        pair=header.pair,
        owner=header.owner,
        pool_id=header.pool_id.hex(),
        n_pads=header.n_pads,
        remaining_send=header.n_pads - layout.first_unused(sends),
        remaining_receive=int(np.count_nonzero(receives)),
    )


class PadFile:
    """One user's pads for one peer, locked for as long as it is open.

    A pad is returned at most once in the life of the file. May be used from any thread.
    """

    def __init__(self, descriptor: int, path: Path, header: Header, *, leased: bool) -> None:
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
        sends = layout.find_unused(descriptor, path, self._n_pads, self._send_side)
        self._next_send = layout.first_unused(sends)
        self._lease_end = 0 if leased else self._n_pads
        receives = layout.find_unused(descriptor, path, self._n_pads, 1 - self._send_side)
        self._remaining_receive = int(np.count_nonzero(receives))
        # A file from before there were leases has granted nothing, but accepted tags.
        self._granted = max(
            layout.read_granted(descriptor, path, header), layout.first_unused(receives)
        )
        self._readable = self._granted if leased else self._n_pads

    @classmethod
    def open(cls, path: Path, owner: str, peer: str, *, leased: bool = True) -> Self:
        """Lock a file and check that it belongs to `owner`, for messages to and from `peer`.

        A lease that an earlier process had is abandoned.

        Args:
            path: The file.
            owner: Whose file it is.
            peer: The other user.
            leased: Give and accept pads within leases only; without, nothing but this file keeps
                a pad from being used twice, so no node opens it that way.

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
            header = layout.read_header(descriptor, path)
            if header.owner != owner or set(header.pair) != {owner, peer}:
                other = header.pair[1 - header.pair.index(header.owner)]
                raise KeyStoreError(
                    f"{path}: found the pads of {header.owner!r} for {other!r}; "
                    f"allowed: those of {owner!r} for {peer!r}"
                )
            return cls(descriptor, path, header, leased=leased)
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

    @property
    def high_water(self) -> int:
        """The index after the last burnt pad for sending; durable."""
        return self._next_send

    @property
    def lease_left(self) -> int:
        """Pads of the lease in hand that are left for sending."""
        return max(0, self._lease_end - self._next_send)

    def grant(self, high_water: int) -> tuple[int, int]:
        """Grant the peer a lease on its next pads: base and count, durable before they return.

        The lease is short at the end of the pads, and then empty.

        Args:
            high_water: The peer's own mark, from its request.

        Raises:
            RemoteProtocolError: If the peer names a mark that cannot be.
            KeyStoreError: If the disk refuses.
        """
        with self._lock:
            self._check_usable()
            base, count = next_lease(self._granted, high_water, self._n_pads)
            record = layout.grant_record(self._pool_id, base + count)
            with self._trusted("a lease could not be granted"):
                for offset in layout.GRANT_OFFSETS:
                    layout.write_at(self._descriptor, record, offset)
            self._granted = base + count
            self._readable = max(self._readable, self._granted)
            return base, count

    def accept_lease(self, base: int, count: int) -> None:
        """Send with these pads from now on; the pads before them are burnt.

        Raises:
            RemoteProtocolError: If the lease holds pads that are burnt, or that do not exist.
            KeyStoreError: If the disk refuses.
        """
        with self._lock:
            self._check_usable()
            check_lease(self._next_send, base, count, self._n_pads)
            if base > self._next_send:
                offset = layout.offset_of(self._n_pads, self._send_side, self._next_send)
                with self._trusted("pads could not be burnt"):
                    skipped = bytes(PAD_BYTES * (base - self._next_send))
                    layout.write_at(self._descriptor, skipped, offset)
            self._next_send, self._lease_end = base, base + count

    def take_send(self) -> tuple[int, memoryview]:
        """Burn the next pad for sending, and return its index and its 16 bytes, to be wiped.

        Indices only grow, also across restarts.

        Raises:
            NoLeaseError: If the lease is used up; ask for another.
            KeyStoreError: If there is no pad left at all, or the disk refuses.
        """
        with self._lock:
            self._check_usable()
            index = self._next_send
            if index >= self._n_pads:
                low, high = self._pair
                raise KeyStoreError(
                    f"{self._path}: all {self._n_pads} pads for sending are used up; make new ones "
                    f"with `mdiqkd pki new-pads {low} {high} --dir DIR`, and give each user its "
                    "file in place of the old one"
                )
            if index >= self._lease_end:
                raise NoLeaseError(f"{self._path}: no pad for sending is left in the lease")
            pad = self._read(self._send_side, index)
            self._burn(self._send_side, index, pad)
            self._next_send = index + 1
            return index, pad

    def read_receive(self, index: int) -> memoryview:
        """The 16 bytes of the pad that the peer names, to be wiped; nothing is burnt.

        Raises:
            AuthenticationError: If it was not granted, or is burnt; never says which.
            KeyStoreError: If the disk refuses.
        """
        with self._lock:
            pad = self._read_granted(index)
            if not any(pad):
                raise AuthenticationError("authentication failed")
            return pad

    def burn_receive(self, index: int) -> None:
        """Burn a pad whose tag was accepted, durably. Burning again does nothing.

        Raises:
            AuthenticationError: If it was not granted.
            KeyStoreError: If the disk refuses.
        """
        with self._lock:
            pad = self._read_granted(index)
            if any(pad):
                wipe(pad)
                self._burn(1 - self._send_side, index, pad)
                self._remaining_receive -= 1

    def take_receive(self, index: int) -> memoryview:
        """`read_receive`, then `burn_receive`."""
        pad = self.read_receive(index)
        try:
            self.burn_receive(index)
        except BaseException:
            wipe(pad)
            raise
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

    def _read_granted(self, index: int) -> memoryview:
        """A pad of the peer's, burnt or not."""
        self._check_usable()
        if not 0 <= index < self._readable:
            raise AuthenticationError("authentication failed")
        return self._read(1 - self._send_side, index)

    def _read(self, side: int, index: int) -> memoryview:
        pad = SecretBuffer(PAD_BYTES).view
        with self._trusted("a pad could not be read"):
            layout.read_at(self._descriptor, pad, layout.offset_of(self._n_pads, side, index))
        return pad

    def _burn(self, side: int, index: int, pad: memoryview) -> None:
        """Erase a pad durably; on failure its value is wiped, so that it cannot leave."""
        offset = layout.offset_of(self._n_pads, side, index)
        try:
            with self._trusted("a pad could not be burnt"):
                layout.write_at(self._descriptor, bytes(PAD_BYTES), offset)
        except BaseException:
            wipe(pad)
            raise

    @contextmanager
    def _trusted(self, failure: str) -> Iterator[None]:
        """Use the disk; after a failure this object refuses everything."""
        try:
            yield
        except BaseException as error:
            # After a failed sync nobody knows what the disk holds, and a second sync may falsely
            # succeed: this file is only trusted again after it has been opened anew.
            self._why_unusable = f"{failure}; restart after mending the disk"
            if isinstance(error, OSError):
                raise KeyStoreError(f"{self._path}: {failure}: {error.strerror}") from None
            raise
