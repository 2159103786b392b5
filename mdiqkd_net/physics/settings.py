"""A user's settings as a function of the pulse number, so that none has to be stored."""

from threading import Lock
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.params import Source
from mdiqkd_net.physics import _kernels
from mdiqkd_net.secret import SecretBuffer, wipe

KEY_BYTES: Final = 32
_BLOCK_BYTES: Final = 16
_BATCH: Final = 8192
"""Pulses per call of the cipher: counters and output together stay inside a core's own cache."""


class SegmentSettings:
    """The state of every pulse of one segment, fixed by a secret segment key.

    Pulse t gets the state that AES-256 of the block t (64 bits, little-endian, then 64 zero bits)
    selects: the lowest bit of the first word is the bit, its 63 others choose the setting. Access
    is random: any pulses, in any order, as often as one likes, always with the same answer.

    The states are as unpredictable as AES-256 is a pseudorandom permutation; distinct pulses get
    distinct blocks, which differs from ideal choices by less than n² / 2^129 over n pulses. The
    rounding of a probability to 2^-63 is smaller still. Settings are therefore computationally
    secure, not information-theoretically: good for a simulation, and keys from it are labelled so.

    Args:
        key: 32 bytes from an entropy source, fresh for every segment. It is copied; the copy is
            overwritten by `wipe`, the caller's own is the caller's.
        source: Intensities do not matter here, probabilities do.

    Raises:
        LocalProtocolError: On a key of any other length.
    """

    def __init__(self, key: bytes | bytearray, source: Source) -> None:
        if len(key) != KEY_BYTES:
            raise LocalProtocolError(
                f"segment key: found {len(key)} bytes; allowed: exactly {KEY_BYTES}"
            )
        self._key = SecretBuffer.copy_of(key)
        # `cryptography` keeps a reference to this same buffer, not a copy, so `wipe` reaches it.
        cipher = Cipher(algorithms.AES(self._key.view), modes.ECB())  # noqa: S305  # counters only
        self._encryptor: CipherContext | None = cipher.encryptor()
        self._lock = Lock()
        self._thresholds = _thresholds(source.probabilities)

    def __repr__(self) -> str:
        return f"SegmentSettings({'wiped' if self._encryptor is None else 'ready'})"

    def states_at(self, pulses: NDArray[np.int64]) -> NDArray[np.uint8]:
        """State 0 to 6 of each pulse, numbered as in `blocks`.

        Shapes: (n,) int64 in, (n,) uint8 out; any order, repetitions allowed. Thread-safe.

        Raises:
            LocalProtocolError: After `wipe`, and on anything but pulse numbers from 0 up.
        """
        if pulses.ndim != 1 or pulses.dtype != np.int64:
            raise LocalProtocolError(
                f"pulses: found shape {pulses.shape} of {pulses.dtype}; allowed: (n,) of int64"
            )
        if pulses.size and int(pulses.min()) < 0:
            raise LocalProtocolError(f"pulses: found {int(pulses.min())}; allowed: 0 or greater")
        states = np.empty(pulses.size, dtype=np.uint8)
        rows = min(pulses.size, _BATCH)
        counters = np.zeros((rows, 2), dtype="<u8")
        # The cipher insists on room for one block less a byte beyond its output.
        output = np.empty(rows * _BLOCK_BYTES + _BLOCK_BYTES - 1, dtype=np.uint8)
        words = output[: rows * _BLOCK_BYTES].view("<u8").reshape(rows, 2)
        with self._lock:
            if self._encryptor is None:
                raise LocalProtocolError("these settings are wiped: the segment is over")
            for start in range(0, pulses.size, _BATCH):
                batch = pulses[start : start + _BATCH]
                n = batch.size
                counters[:n, 0] = batch
                self._encryptor.update_into(counters[:n].data.cast("B"), output.data)
                _kernels.choose_states(words[:n], self._thresholds, states[start : start + _BATCH])
        wipe(output)
        return states

    def wipe(self) -> None:
        """Overwrite the key and refuse from now on; harmless when repeated.

        The key schedule goes with the cipher context, which OpenSSL clears when it frees it.
        """
        with self._lock:
            self._key.wipe()
            self._encryptor = None


def _thresholds(probabilities: tuple[float, float, float, float]) -> NDArray[np.uint64]:
    """Cumulative probabilities of o, x, y in units of 2^-63, shape (3,)."""
    total = sum(probabilities)
    levels = []
    for i in range(1, len(probabilities)):
        # The last setting in use takes the rest, lest rounding hands some to a setting that is not.
        used_up = not any(p > 0.0 for p in probabilities[i:])
        share = 1.0 if used_up else min(1.0, sum(probabilities[:i]) / total)
        levels.append(int(share * 2**63))
    return np.array(levels, dtype=np.uint64)
