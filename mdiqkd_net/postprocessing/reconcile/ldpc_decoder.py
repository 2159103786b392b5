"""From the difference of two syndromes to the errors of a frame."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.reconcile import _ldpc_kernels
from mdiqkd_net.postprocessing.reconcile._lanes import N_LANES, ORDER
from mdiqkd_net.postprocessing.reconcile._ldpc_kernels import MARGIN
from mdiqkd_net.postprocessing.reconcile.ldpc_code import Code

ITERATIONS: Final = 60
"""After as many, more bits are asked for."""

PATIENCE: Final = 12
PROGRESS: Final = 0.9
"""A frame is given up, and bits are asked for, where this many iterations leave more than this
share of the violated checks."""

FEW: Final = 0.005
"""Unless violated checks are a smaller share of all than this: a few often vanish after all."""

KNOWN_LLR: Final = 30.0


def lay_out(values: NDArray[Any], filling: int, code: Code) -> NDArray[np.int16]:
    """Values of a frame in the layout of `post` in `_ldpc_kernels`."""
    padded = np.full(code.n_columns * code.size, filling, np.int16)
    padded[: values.size] = values
    laid = np.zeros(code.n_columns * (code.size + MARGIN) + N_LANES, np.int16)
    columns = _columns(laid, code)
    columns[:, : code.size] = padded.reshape(code.n_columns, code.size)
    columns[:, code.size : code.size + N_LANES] = columns[:, :N_LANES]
    return laid


def _columns(laid: NDArray[np.int16], code: Code) -> NDArray[np.int16]:
    """The same with a row for each column, which begins with its bits."""
    return laid[N_LANES:].reshape(code.n_columns, code.size + MARGIN)


def _in_lanes(checks: NDArray[np.int8]) -> NDArray[np.int8]:
    """Values of checks in the order of bytes in `_lanes`."""
    return np.ascontiguousarray(checks.reshape(-1, N_LANES)[:, ORDER]).reshape(-1)


def _aligned(size: int, kind: type) -> NDArray[Any]:
    """Zeros that begin at a line of the cache."""
    line = 64
    room = np.zeros(size * np.dtype(kind).itemsize + line, np.uint8)
    first = -room.ctypes.data % line
    return room[first : first + room.size - line].view(kind)


class Decoder:
    """The arrays that `_ldpc_kernels.sweep` works on, for one frame after the other.

    Args:
        code: Of the frames.
        n_checks: How many of its checks are disclosed, from the first on.
        qber: Error rate that bits start from, above 0 and below 1/2.
    """

    def __init__(self, code: Code, n_checks: int, qber: float) -> None:
        size = code.size
        scale = _ldpc_kernels.LLR_SCALE
        self._code = code
        self._llr = round(scale * math.log((1.0 - qber) / qber))
        self._certain = round(scale * KNOWN_LLR)
        self._message = _aligned(code.column.size * size, np.int8)
        there = np.zeros(code.n_rows * size, np.int8)
        there[:n_checks] = -1
        self._there = _in_lanes(there)
        widest = int(np.diff(code.row_start).max())
        self._inputs = _aligned(widest * N_LANES, np.int16)
        self._doubts = _aligned(widest * N_LANES, np.int16)
        self._quick = _aligned(widest * N_LANES, np.int8)
        self._place = np.zeros(widest, np.int64)
        self._end = np.zeros(widest, np.int64)

    def decode(
        self, difference: NDArray[np.uint8], errors: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Look for the error pattern of a frame.

        Args:
            difference: Of the syndromes, shape (n_checks,).
            errors: Errors where they are known, shape (n,).
            known: Where they are, shape (n,).

        Returns:
            How sure each bit is, and the errors, as they are after the last iteration.
        """
        code, n = self._code, errors.size
        values = np.full(n, self._llr, np.int16)
        values[known] = np.where(errors[known], -self._certain, self._certain)
        syndrome = np.zeros(code.n_rows * code.size, np.int8)
        syndrome[: difference.size] = -difference.astype(np.int8)
        syndrome = _in_lanes(syndrome)
        self._message[:] = 0
        # Behind the end of the frame, both users have zeros.
        post = lay_out(values, self._certain, code)
        history: list[int] = []
        while len(history) < ITERATIONS:
            n_bad = _ldpc_kernels.sweep(
                post,
                self._message,
                syndrome,
                self._there,
                code.row_start,
                code.column,
                code.shift,
                code.size,
                self._inputs,
                self._doubts,
                self._quick,
                self._place,
                self._end,
            )
            stalled = len(history) >= PATIENCE and n_bad > PROGRESS * history[-PATIENCE]
            if n_bad == 0 or (stalled and n_bad > FEW * difference.size):
                break
            history.append(n_bad)
        found = _columns(post, code)[:, : code.size].reshape(-1)[:n]
        return np.abs(found), (found < 0).astype(np.uint8)
