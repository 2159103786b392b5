"""Large Toeplitz products in blocks of one transform length, in bounded memory.

Output block i takes input block j through the N words of the seed from a bit on that depends on
i - j alone. Spectra of the windows live in a ring; products are summed over blocks as spectra, so
every output block is transformed back once.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.toeplitz import additive
from mdiqkd_net.postprocessing.toeplitz.additive import DUAL, EVALUATE, PROJECT
from mdiqkd_net.postprocessing.toeplitz.intrinsics import multiply_add
from mdiqkd_net.postprocessing.toeplitz.words import WORD_BITS, read_words
from mdiqkd_net.secret import wipe

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Lanes = tuple[int, ...]

LOG_N_MIN: Final = 9
LOG_N_MAX: Final = 20

LOG_CACHED: Final = 16
"""log2 of the transform length from which on the caches are too small."""

WORK_BYTES: Final = 2**28
"""Bound on the memory of one product, besides key, seed and result."""

BATCH: Final = 4
"""Input blocks that are multiplied at once."""

_TILE: Final = 512


@dataclass(frozen=True, slots=True)
class Plan:
    """How a product of m x k words is cut; lengths in words of 32 bits.

    Attributes:
        log_n: log2 of the transform length N.
        for_output: Words of an output block.
        for_input: Words of an input block; for_output + for_input is at most N.
        rows: Output blocks whose sums are in memory at once.
        batch: Input blocks at once.
        cost_ns: What it should take, by a model fitted on one CPU.
    """

    log_n: int
    for_output: int
    for_input: int
    rows: int
    batch: int
    cost_ns: float

    @property
    def work_bytes(self) -> int:
        """Spectra of sums, windows and inputs; words, a copy of them, and points of a transform."""
        n_spectra = self.rows + (self.rows + self.batch - 1) + self.batch
        return (8 << self.log_n) * (n_spectra + 2)


@lru_cache(maxsize=64)
def plan(m: int, k: int, work_bytes: int = WORK_BYTES) -> Plan:
    """The cheapest plan for m words of output and k of input that `work_bytes` allow."""
    return min(
        (
            found
            for log_n in range(LOG_N_MIN, LOG_N_MAX + 1)
            for for_output in {min(m, (1 << log_n) // 2), m}
            if for_output < 1 << log_n
            and (found := cut(m, k, log_n, for_output, work_bytes)).work_bytes <= work_bytes
        ),
        key=lambda found: found.cost_ns,
    )


def cut(m: int, k: int, log_n: int, for_output: int, work_bytes: int = WORK_BYTES) -> Plan:
    """The plan with these blocks, and as many of them in memory as `work_bytes` allow, or one."""
    n = 1 << log_n
    n_rows = -(-m // for_output)
    if n_rows == 1:
        n_columns = -(-k // (n - for_output))
        for_input = -(-k // n_columns)
    else:
        # Blocks of both kinds have one length, so that windows depend on i - j alone.
        for_input = for_output
        n_columns = -(-k // for_input)
    batch = min(BATCH, n_columns)
    most = (work_bytes // (8 * n) - 2 * batch - 1) // 2
    rows = min(n_rows, max(most, 1))
    n_steps = -(-n_rows // rows)
    n_transforms = n_steps * (2 * n_columns + rows - 1) + n_rows
    per_term = 5 + 0.45 * log_n + 1.5 * max(log_n - LOG_CACHED, 0)
    cost_ns = n * (n_transforms * per_term + n_rows * n_columns) + 8_000 * n_transforms
    return Plan(log_n, for_output, for_input, rows, batch, cost_ns)


def add_product(seed: U8, key: U8, n_in: int, n_out: int, out: U32, p: Plan, lanes: Lanes) -> None:
    """Add T x_T to `out`, its words in order."""
    n = 1 << p.log_n
    rest = n_in - n_out
    points, passes = additive.tables(p.log_n)
    words = np.empty(n, np.uint32)
    n_rows = -(-out.size // p.for_output)
    n_columns = -(-rest // (WORD_BITS * p.for_input))
    ring_size = p.rows + p.batch - 1
    ring, sums = np.empty((ring_size, n), np.uint64), np.empty((p.rows, n), np.uint64)
    inputs = np.empty((p.batch, n), np.uint64)

    def window(difference: int) -> None:
        first = rest + WORD_BITS * p.for_input * (difference - 1)
        read_words(seed, first, n_in - 1, words)
        spectrum(DUAL, ring[difference % ring_size])

    def spectrum(way: int, to: U64) -> None:
        additive.change_basis(words, passes, way)
        to[:] = words
        additive.butterflies(to, points, lanes, way)

    for top in range(0, n_rows, p.rows):
        rows = range(top, min(top + p.rows, n_rows))
        sums[:] = 0
        newest = rows.stop  # the least i - j whose window is in the ring
        for column in range(0, n_columns, p.batch):
            columns = range(column, min(column + p.batch, n_columns))
            for j in columns:
                words[p.for_input :] = 0
                read_words(key, n_out + WORD_BITS * p.for_input * j, n_in, words[: p.for_input])
                words[: p.for_input] = words[: p.for_input][::-1].copy()
                spectrum(EVALUATE, inputs[j - column])
            oldest = rows.start - columns.stop + 1
            for difference in range(newest - 1, oldest - 1, -1):
                window(difference)
            newest = oldest
            accumulate(sums, ring, inputs, rows.start, len(rows), column, len(columns), lanes)
        for i in rows:
            values = sums[i - top]
            additive.butterflies(values, points, lanes, PROJECT)
            additive.change_basis(values.view(np.uint32), passes, PROJECT)
            part = out[i * p.for_output : (i + 1) * p.for_output]
            # A sum has 63 bits: its low word, and the high word of the next one carried into it.
            halves = values.view(np.uint32)[: 2 * part.size + 2].reshape(-1, 2)
            part ^= halves[:-1, 0] ^ halves[1:, 1]
    wipe(words, inputs, sums)


@njit(cache=True, nogil=True)
def accumulate(
    sums: U64,
    ring: U64,
    inputs: U64,
    row: int,
    n_rows: int,
    column: int,
    n_columns: int,
    lanes: Lanes,
) -> None:
    """Add ring[(i - j) mod its size] * inputs[j - column] to sums[i - row], for all i and j.

    Shapes: sums (rows, N), ring (rows + batch - 1, N), inputs (batch, N).
    """
    n = sums.shape[1]
    tile = min(n, _TILE)  # keeps one tile of every spectrum in the cache
    for first in range(0, n, tile):
        for i in range(n_rows):
            for j in range(n_columns):
                window = (row + i - column - j) % len(ring)
                multiply_add(
                    sums,
                    i * n + first,
                    ring,
                    window * n + first,
                    inputs,
                    j * n + first,
                    tile,
                    lanes,
                )
