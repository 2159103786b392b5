"""Quasi-cyclic LDPC codes, built to measure from a fixed public seed: both users get the same.

A code is a small *base matrix*, of which each one stands for a Z x Z cyclic permutation: row r and
column c with shift s say that check i of row r covers bit (i + s) mod Z of column c. The base
matrix grows edge by edge, each as far as possible from what its column can already reach (PEG: Hu,
Eleftheriou & Arnold, IEEE Trans. Inf. Theory 51, 386 (2005)). Shifts are random, except that
two checks that share two bits (a cycle of length 4, which makes belief propagation believe its own
echo) are avoided. They cannot be avoided in codes of a few thousand bits.

Only integers, sums and products decide, and SHAKE-256 draws the lots, so that a code is the same on
any platform.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.reconcile.ldpc_degrees import DEGREES, degree_shares

SEED: Final = b"mdiqkd-net ldpc 1"
SHIFT_TRIALS: Final = 512

SURE_DEGREE: Final = 5
"""The last row, of which a part only may be disclosed, has no columns of a lower degree: a bit of
two checks, one of which is not there, is as good as lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A code, and how the decoder walks through it.

    Attributes:
        size: Z, bits per column and checks per row.
        n_columns: N, columns of the base matrix.
        row_start: Number of the first edge of each row, shape (M + 1,), int32.
        column: Column of each edge, rows one after the other, shape (E,), int32.
        shift: Its shift, 0 to Z - 1, shape (E,), int32.
    """

    size: int
    n_columns: int
    row_start: NDArray[np.int32]
    column: NDArray[np.int32]
    shift: NDArray[np.int32]

    @property
    def n_rows(self) -> int:
        """Rows of the base matrix."""
        return self.row_start.size - 1


class _Lots:
    """Random integers out of SHAKE-256."""

    def __init__(self, label: bytes) -> None:
        self._label = label
        self._count = 0
        self._words: list[int] = []

    def below(self, n: int) -> int:
        if not self._words:
            self._count += 1
            text = self._label + self._count.to_bytes(4, "little")
            digest = hashlib.shake_256(text).digest(8 * 4096)
            self._words = np.frombuffer(digest, "<u8").tolist()
        return self._words.pop() % n


@lru_cache(maxsize=16)
def build(n_columns: int, n_rows: int, size: int) -> Code:
    """The code with these dimensions; cached.

    Args:
        n_columns: N >= 1; a codeword has N x `size` bits.
        n_rows: M, 1 to N.
        size: Z, a multiple of 32.
    """
    lots = _Lots(SEED + b" %d %d %d" % (n_columns, n_rows, size))
    degrees = _column_degrees(n_columns, n_rows)
    rows_of = _grow(degrees, n_rows, lots)
    shifts_of = _shifts(rows_of, size, lots)
    edges = sorted(
        (row, column, shift)
        for column, (rows, shifts) in enumerate(zip(rows_of, shifts_of, strict=True))
        for row, shift in zip(rows, shifts, strict=True)
    )
    row, column, shift = np.array(edges, np.int32).T.copy()
    starts = np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int32)
    return Code(size, n_columns, starts, column, shift)


def rows_to_gain(code: Code) -> int:
    """How many rows `split` can add: no part has fewer than two edges, and the last row stays."""
    return (code.n_rows - 1) * (int(np.diff(code.row_start).min()) // 2 - 1)


def split(code: Code, n_more: int) -> tuple[Code, NDArray[np.int64]]:
    """A code with more checks, of which sums are the checks of a given one.

    Rows are cut into parts of equal degrees up to one, as equally as may be; each column keeps its
    edges. Whoever knows the syndrome needs `n_more` rows to know the longer one.

    Args:
        code: With the rows to cut.
        n_more: Rows to add, 0 to `rows_to_gain`.

    Returns:
        The code, and the number of parts of each row of the given one; they follow each other.
    """
    cuts = np.arange(code.n_rows) * n_more // max(code.n_rows - 1, 1)
    parts = 1 + np.diff(cuts, append=cuts[-1])
    starts = np.cumsum(parts) - parts
    old_row = np.repeat(np.arange(code.n_rows), np.diff(code.row_start))
    rank = np.arange(code.column.size) - code.row_start[old_row]
    row = starts[old_row] + rank % parts[old_row]
    order = np.lexsort((code.column, row))
    row_start = np.searchsorted(row[order], np.arange(parts.sum() + 1)).astype(np.int32)
    column, shift = code.column[order], code.shift[order]
    return Code(code.size, code.n_columns, row_start, column, shift), parts


def sent_parts(parts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of a code by `split` are to be sent: all but the last part of each row."""
    sent = np.ones(int(parts.sum()), np.bool_)
    sent[np.cumsum(parts) - 1] = False
    return sent


def complete(
    rows: NDArray[np.uint8], sums: NDArray[np.uint8], parts: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Checks of a code by `split`, from the parts that were sent and the sums of all parts.

    Args:
        rows: Of the longer code, shape (n_frames, parts.sum(), Z); what was not sent is not read.
        sums: Of the given code, shape (n_frames, parts.size, Z).
        parts: Of each row.
    """
    out = rows.copy()
    last = np.cumsum(parts) - 1
    out[:, last] = 0
    out[:, last] = sums ^ np.bitwise_xor.reduceat(out, last - parts + 1, axis=1)
    return out


def _column_degrees(n_columns: int, n_rows: int) -> list[int]:
    """Degrees by largest remainders, rising."""
    exact = [share * n_columns for share in degree_shares(n_rows / n_columns)]
    counts = [int(count) for count in exact]
    order = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: n_columns - sum(counts)]:
        counts[i] += 1
    return [min(d, n_rows) for d, count in zip(DEGREES, counts, strict=True) for _ in range(count)]


def _grow(degrees: Sequence[int], n_rows: int, lots: _Lots) -> list[list[int]]:
    """Progressive edge growth: the rows of each column."""
    matrix = np.zeros((len(degrees), n_rows), np.float32)
    load = np.zeros(n_rows, np.int64)
    rows_of: list[list[int]] = []
    for column, degree in enumerate(degrees):
        rows: list[int] = []
        allowed = n_rows - 1 if degree < SURE_DEGREE < n_rows else n_rows
        for _ in range(degree):
            candidates = _farthest(matrix[:, :allowed], rows)
            least = load[candidates].min()
            best = candidates[load[candidates] == least]
            row = int(best[lots.below(best.size)])
            rows.append(row)
            matrix[column, row] = 1.0
            load[row] += 1
        rows_of.append(rows)
    return rows_of


def _farthest(matrix: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.intp]:
    """Rows that a column with these rows reaches last, or not at all."""
    n_rows = matrix.shape[1]
    reached = np.zeros(n_rows, np.bool_)
    reached[list(rows)] = True
    last = ~reached
    while rows:
        columns = matrix @ reached.astype(np.float32) > 0.0
        grown = (columns.astype(np.float32) @ matrix > 0.0) | reached
        if grown.all() or not (grown & ~reached).any():
            break
        reached = grown
        last = ~reached
    return np.flatnonzero(last)


def _shifts(rows_of: Sequence[Sequence[int]], size: int, lots: _Lots) -> list[list[int]]:
    """Shifts without cycles of length 4, as long as there are any."""
    # For each pair of rows, the differences of shifts at columns that have both.
    taken: dict[tuple[int, int], set[int]] = {}
    shifts_of: list[list[int]] = []
    for rows in rows_of:
        shifts: list[int] = []
        for k, row in enumerate(rows):
            best, fewest = 0, len(rows) + 1
            drawn = (lots.below(size) for _ in range(SHIFT_TRIALS))
            for shift in chain(drawn, range(size)):  # where chance finds none, there may be one
                clashes = sum(
                    (shift - shifts[j]) % size in taken.get((rows[j], row), ()) for j in range(k)
                )
                if clashes < fewest:
                    best, fewest = shift, clashes
                if fewest == 0:
                    break
            for j in range(k):
                taken.setdefault((rows[j], row), set()).add((best - shifts[j]) % size)
                taken.setdefault((row, rows[j]), set()).add((shifts[j] - best) % size)
            shifts.append(best)
        shifts_of.append(shifts)
    return shifts_of
