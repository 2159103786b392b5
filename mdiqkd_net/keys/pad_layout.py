"""How a pad file is laid out, and how it is read.

Integers are big-endian: a page of 4096 bytes, then `n_pads` pads of 16 bytes for the messages of
the lower node id, then as many for those of the higher. The page begins with
`magic 8 | version u16 | zero u16 | n_pads u32 | pool id 16 | lower 32 | higher 32 | owner 32 |
r1 r2 of the lower 32 | r1 r2 of the higher 32 | SHA-256 of all that`; node ids are padded with
zeros. Both users' files are equal but for the owner and the checksum.

Bytes 1024 and 2048 of the page each begin with `granted u64 | SHA-256("mdiqkd1 granted" | pool id |
granted)`: how many pads of the other user the owner has granted. Zeros are a grant of nothing. One
is durable before the other is written, so a torn write leaves the other, and what was granted is in
both. This assumes that a write that is torn within a sector of 512 bytes leaves other sectors.
"""

import hashlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.identity import check_pair
from mdiqkd_net.secret import SecretBuffer, wipe

PAD_BYTES: Final = 16
PAGE_BYTES: Final = 4096
"""The header has a page of its own, so that no torn write of a pad can damage it."""
HASH_KEYS_BYTES: Final = 4 * PAD_BYTES
CHECKSUM_BYTES: Final = 32
GRANT_OFFSETS: Final = (1024, 2048)

_MAGIC: Final = b"MDIQKDPD"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHHI16s32s32s32s")
"""What is not secret of the header; the hash keys and the checksum follow."""
_CHECKED_BYTES: Final = _HEADER.size + HASH_KEYS_BYTES
_GRANT: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Header:
    """The first part of the first page."""

    n_pads: int
    pool_id: bytes
    pair: tuple[str, str]
    owner: str
    hash_keys: SecretBuffer = field(repr=False)


def first_page(header: Header) -> SecretBuffer:
    """The page that a new file begins with."""
    low, high = header.pair
    buffer = SecretBuffer(PAGE_BYTES)
    page = buffer.view
    _HEADER.pack_into(
        page,
        0,
        _MAGIC,
        _VERSION,
        0,
        header.n_pads,
        header.pool_id,
        low.encode(),
        high.encode(),
        header.owner.encode(),
    )
    page[_HEADER.size : _CHECKED_BYTES] = header.hash_keys.view
    checksum = hashlib.sha256(page[:_CHECKED_BYTES]).digest()
    page[_CHECKED_BYTES : _CHECKED_BYTES + CHECKSUM_BYTES] = checksum
    return buffer


def grant_record(pool_id: bytes, granted: int) -> bytes:
    """What stands at each of `GRANT_OFFSETS`."""
    number = _GRANT.pack(granted)
    return number + hashlib.sha256(b"mdiqkd1 granted" + pool_id + number).digest()


def offset_of(n_pads: int, side: int, index: int) -> int:
    """Where a pad begins; side 0 is that of the lower node id."""
    return PAGE_BYTES + PAD_BYTES * (side * n_pads + index)


def read_at(descriptor: int, buffer: bytearray | memoryview, offset: int) -> None:
    """Fill a buffer, without a copy that could not be wiped. Raises OSError."""
    done = 0
    with memoryview(buffer) as view:
        while done < len(buffer):
            n_read = os.preadv(descriptor, [view[done:]], offset + done)
            if n_read == 0:
                raise OSError(0, "unexpected end of file")
            done += n_read


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` durably. Raises OSError."""
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(0, "short write")
    os.fsync(descriptor)


def read_header(descriptor: int, path: Path) -> Header:
    """The header of a file of the right size.

    Raises:
        KeyStoreError: If it is no pad file, of another version, or damaged.
    """
    raw = SecretBuffer(_CHECKED_BYTES + CHECKSUM_BYTES).view
    try:
        read_at(descriptor, raw, 0)
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
    expected_bytes = offset_of(n_pads, 2, 0)
    if size_bytes != expected_bytes:
        raise KeyStoreError(
            f"{path}: damaged: found {size_bytes} bytes; {n_pads} pads need {expected_bytes}"
        )
    try:
        names = [name.rstrip(b"\0").decode("ascii") for name in (low, high, owner)]
        pair = check_pair(names[0], names[1])
    except (UnicodeDecodeError, ConfigError):
        raise KeyStoreError(f"{path}: damaged: it names no pair of users") from None
    if pair != (names[0], names[1]) or names[2] not in pair:
        raise KeyStoreError(
            f"{path}: damaged: found the users {', '.join(map(repr, names))}; "
            "allowed: the lower, the higher, and one of both as owner"
        )
    hash_keys = SecretBuffer.copy_of(raw[_HEADER.size : _CHECKED_BYTES])
    wipe(raw)
    return Header(n_pads, pool_id, pair, names[2], hash_keys)


def read_granted(descriptor: int, path: Path, header: Header) -> int:
    """How many pads the owner has granted.

    Raises:
        KeyStoreError: If neither record can be read and they are not both blank.
    """
    records = []
    for offset in GRANT_OFFSETS:
        raw = bytearray(_GRANT.size + CHECKSUM_BYTES)
        try:
            read_at(descriptor, raw, offset)
        except OSError as error:
            raise KeyStoreError(f"{path}: {error.strerror}") from None
        records.append(bytes(raw))
    found = []
    for record in records:
        granted: int = _GRANT.unpack(record[: _GRANT.size])[0]
        # Blank, or the second one was never begun: nothing was granted by this record.
        if not any(record) or (
            record == grant_record(header.pool_id, granted) and granted <= header.n_pads
        ):
            found.append(granted)
    if not found:
        raise KeyStoreError(f"{path}: damaged: the checksum of what was granted does not fit")
    return max(found)


def find_unused(descriptor: int, path: Path, n_pads: int, side: int) -> NDArray[np.bool_]:
    """Which pads of a direction are not burnt, shape (n_pads,).

    Raises:
        KeyStoreError: If the disk refuses.
    """
    with SecretBuffer(n_pads * PAD_BYTES) as region:
        try:
            read_at(descriptor, region.view, offset_of(n_pads, side, 0))
        except OSError as error:
            raise KeyStoreError(f"{path}: {error.strerror}") from None
        words = region.array.view(np.uint64).reshape(n_pads, 2)
        unused: NDArray[np.bool_] = (words != 0).any(axis=1)
    return unused


def first_unused(unused: NDArray[np.bool_]) -> int:
    """The index after the last burnt pad, so that indices never go back."""
    burnt = np.flatnonzero(~unused)
    return int(burnt[-1]) + 1 if burnt.size else 0
