"""Sealing of keys at rest: AES-256-GCM-SIV (RFC 8452) under a store key in a file of its own.

Whoever has the database but not the store key learns the sizes and the fates of keys, not their
values. This protection is computational; the store key belongs on storage that backups of the
database do not include.
"""

import os
import secrets
import struct
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.files import PRIVATE, check_private, sync_directory, write_all
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.secret import SecretBuffer

STORE_KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class Sealer:
    """Seals and opens secrets under one store key, which it takes over.

    The library copies the key to ordinary memory and clears that copy together with the cipher, so
    a cipher lives for one call; a new one costs as much as sealing a key does, a few microseconds.
    """

    def __init__(self, store_key: SecretBuffer) -> None:
        self._store_key = store_key

    def wipe(self) -> None:
        """Overwrite the store key and refuse from now on; harmless when repeated."""
        self._store_key.wipe()

    def seal(self, secret: bytes | memoryview, bound: bytes) -> bytes:
        """Encrypt `secret` and bind it to `bound`; returns nonce, ciphertext and tag."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCMSIV(self._store_key.view).encrypt(nonce, secret, bound)

    def unseal(self, sealed: bytes, bound: bytes) -> SecretBuffer:
        """Decrypt what `seal` made, straight into memory for secrets.

        Raises:
            KeyStoreError: If one bit of `sealed` or `bound` differs, or the store key.
        """
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        secret = SecretBuffer(max(0, len(ciphertext) - TAG_BYTES))
        try:
            AESGCMSIV(self._store_key.view).decrypt_into(nonce, ciphertext, bound, secret.view)
        except (InvalidTag, ValueError):
            secret.wipe()  # it holds what would have been the plaintext
            raise KeyStoreError("a sealed record does not open") from None
        return secret


def bound_prefix(meta: BlockMeta, key_size_bits: int) -> bytes:
    """The part of the bound data that all keys of a block share: every field that never changes.

    So nobody can turn a simulated key into a measured one, or move it to another pair, by editing
    the database.
    """
    fields = (
        b"mdiqkd1 sealed key",
        meta.block_id,
        *(text.encode() for text in (*meta.pair, meta.owner, meta.origin)),
        struct.pack(">QdI", meta.block_no, meta.eps, key_size_bits),
        meta.leak_model.encode(),
        meta.created_utc.encode(),
    )
    return b"".join(len(part).to_bytes(4, "big") + part for part in fields)


def create_store_key(path: Path) -> None:
    """Make a store key (mode 0600) unless there is one.

    The file appears whole or not at all, also when two processes try at once.

    Raises:
        KeyStoreError: If the disk refuses.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                with SecretBuffer.random(STORE_KEY_BYTES) as store_key:
                    write_all(stream, store_key.view)
                os.fsync(stream.fileno())
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # made by another process, or left by a run that ended before the database began
        finally:
            draft.unlink()
        sync_directory(path.parent)
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None


def load_sealer(path: Path) -> Sealer:
    """Read a store key.

    Raises:
        KeyStoreError: If it is missing, of the wrong size, or open to others.
    """
    with SecretBuffer(STORE_KEY_BYTES + 1) as store_key:
        try:
            with path.open("rb", buffering=0) as stream:
                check_private(os.fstat(stream.fileno()), path)
                n_read = stream.readinto(store_key.view)
        except OSError as error:
            raise KeyStoreError(
                f"{path}: {error.strerror}; without this file no key of the store can be opened"
            ) from None
        if n_read != STORE_KEY_BYTES:
            raise KeyStoreError(f"{path}: no store key: allowed: exactly {STORE_KEY_BYTES} bytes")
        return Sealer(SecretBuffer.copy_of(store_key.view[:STORE_KEY_BYTES]))
