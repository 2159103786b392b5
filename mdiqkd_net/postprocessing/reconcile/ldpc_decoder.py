"""From the difference of two syndromes to the errors of a frame."""

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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

CERTAIN: Final = round(30.0 * _ldpc_kernels.LLR_SCALE)
"""LLR of a bit that is known, in steps."""


def lay_out(values: NDArray[Any], filling: int, code: Code) -> NDArray[np.int16]:
    """Values of a frame in the layout of `post` in `_ldpc_kernels`."""
    laid = np.zeros(code.n_columns * (code.size + MARGIN) + N_LANES, np.int16)
    columns = _columns(laid, code)
    whole = values.size // code.size
    columns[:whole, : code.size] = values[: whole * code.size].reshape(whole, code.size)
    columns[whole:, : code.size] = filling
    for rest in columns[whole : whole + 1]:
        rest[: values.size - whole * code.size] = values[whole * code.size :]
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


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """How far the search for the errors of a frame has come.

    Attributes:
        code: Of the frame.
        llr: What unknown bits started from, in steps.
        post: As in `_ldpc_kernels`, like the others.
        message: From checks.
        syndrome: Of the errors.
    """

    code: Code
    llr: int
    post: NDArray[np.int16]
    message: NDArray[np.int8]
    syndrome: NDArray[np.int8]

    def learn(self, positions: NDArray[np.int64], errors: NDArray[np.uint8]) -> None:
        """Take notice of bits that were unknown so far.

        Args:
            positions: Of the bits, each once, shape (k,).
            errors: Whether they are errors, shape (k,).
        """
        columns, places = np.divmod(positions, self.code.size)
        # What the checks have said of these bits stays; what was guessed of them goes.
        change = np.where(errors, -CERTAIN, CERTAIN) - self.llr
        laid = _columns(self.post, self.code)
        laid[columns, places] += change.astype(np.int16)
        again = places < N_LANES
        laid[columns[again], places[again] + self.code.size] = laid[columns[again], places[again]]


class Outcome(NamedTuple):
    """Where a search has ended.

    Attributes:
        sure: How sure each bit is, shape (n,), int16.
        errors: As they seem, shape (n,).
        violated: How many checks did not hold in each iteration when their turn came.
    """

    sure: NDArray[np.int16]
    errors: NDArray[np.uint8]
    violated: NDArray[np.int64]


class Decoder:
    """Looks for errors in the frames of one code.

    Args:
        code: Of the frames.
        n_checks: How many of its checks are disclosed, from the first on.
        qber: Error rate that bits start from, above 0 and below 1/2.
    """

    def __init__(self, code: Code, n_checks: int, qber: float) -> None:
        size = code.size
        scale = _ldpc_kernels.LLR_SCALE
        self._code = code
        self._n_checks = n_checks
        self._llr = round(scale * math.log((1.0 - qber) / qber))
        there = np.zeros(code.n_rows * size, np.int8)
        there[:n_checks] = -1
        self._there = _in_lanes(there)
        widest = int(np.diff(code.row_start).max())
        self._inputs = _aligned(widest * N_LANES, np.int16)
        self._doubts = _aligned(widest * N_LANES, np.int16)
        self._quick = _aligned(widest * N_LANES, np.int8)
        self._place = np.zeros(widest, np.int64)
        self._end = np.zeros(widest, np.int64)

    def begin(
        self, difference: NDArray[np.uint8], errors: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> Search:
        """Begin to look for the error pattern of a frame.

        Args:
            difference: Of the syndromes, shape (n_checks,).
            errors: Errors where they are known, shape (n,).
            known: Where they are, shape (n,).
        """
        code = self._code
        values = np.full(errors.size, self._llr, np.int16)
        values[known] = np.where(errors[known], -CERTAIN, CERTAIN)
        syndrome = np.zeros(code.n_rows * code.size, np.int8)
        syndrome[: difference.size] = -difference.astype(np.int8)
        # Behind the end of the frame, both users have zeros.
        post = lay_out(values, CERTAIN, code)
        message = _aligned(code.column.size * code.size, np.int8)
        return Search(code, self._llr, post, message, _in_lanes(syndrome))

    def go_on(self, search: Search, n_bits: int) -> Outcome:
        """Iterate until all checks hold, or nothing is gained.

        Args:
            search: Is changed.
            n_bits: Of the frame.
        """
        code = self._code
        history = np.zeros(ITERATIONS, np.int64)
        n = _ldpc_kernels.iterate(
            search.post,
            search.message,
            search.syndrome,
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
            history,
            PATIENCE,
            PROGRESS,
        )
        found = _columns(search.post, code)[:, : code.size].reshape(-1)[:n_bits]
        return Outcome(np.abs(found), (found < 0).astype(np.uint8), history[:n])

    def decode(
        self, difference: NDArray[np.uint8], errors: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> Outcome:
        """Both at once, with the arguments of `begin` and the result of `go_on`."""
        return self.go_on(self.begin(difference, errors, known), errors.size)
