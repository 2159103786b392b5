"""Toeplitz products by real FFTs in float64, for every CPU that numba knows.

T x_T is part of a convolution of bits over the integers, taken modulo 2. It is computed in blocks
by real FFTs in float64, and summed over blocks before transforming back. What makes this exact:

With blocks of length N the error of a cyclic convolution is at most 3 log2(N) 6.7 u |s| |x| in any
entry (u = 2^-53; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 24.2,
for radix 2 and accurate twiddle factors; scipy's radices do fewer operations). Here N <= 2^18,
|s| <= 2^9 and |x| <= 2^9, the roots of the numbers of ones, so one pair of blocks errs by less
than 1.1e-8, and a key of n bits, n / 2^17 pairs for each output, by less than 8.1e-14 n: 1e-6 at
n = 1.2e7, 8e-6 at 1e8, and 1/4 beyond 1e12. The program does not rely on that: it measures the
distance of every value from the nearest integer, and refuses to return anything if one reaches
1/4. Memory is about a quarter of a gigabyte at most, besides one byte per bit of key and of seed.
"""

from typing import Final

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError

LOG_LENGTH_MAX: Final = 18
"""log2 of the longest transform: one batch of eight stays near the caches."""

OUTPUT_BLOCKS_MAX: Final = 32
BATCH: Final = 8
"""Transforms computed at once; scipy uses vector instructions across them."""

MAX_ROUNDING: Final = 0.25


def add_product(diagonals: NDArray[np.uint8], x: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Add T x to `out` modulo 2. Shapes: diagonals (m + n - 1,), x (n,), out (m,); 0 or 1.

    Raises:
        LocalProtocolError: Never seen: rounding was not safe.
    """
    log_length = min(max((diagonals.size - 1).bit_length(), 4), LOG_LENGTH_MAX)
    length = 2**log_length
    half = length // 2
    if out.size <= half:
        # One block of output; blocks of input take the rest of the transform.
        for_output, for_input = out.size, length - out.size + 1
    else:
        for_output = for_input = half
    step = for_output * OUTPUT_BLOCKS_MAX
    for first in range(0, out.size, step):
        part = out[first : first + step]
        n_diagonals = part.size + x.size - 1
        part ^= _product(
            diagonals[first : first + n_diagonals],
            x,
            part.size,
            length=length,
            for_output=for_output,
            for_input=for_input,
        )


def _product(
    diagonals: NDArray[np.uint8],
    x: NDArray[np.uint8],
    n_out: int,
    *,
    length: int,
    for_output: int,
    for_input: int,
) -> NDArray[np.uint8]:
    """T x modulo 2 for at most OUTPUT_BLOCKS_MAX blocks of output; shape (n_out,).

    Output block i takes input block j through the `length` diagonals from
    n - (j + 1) for_input + i for_output on. With more than one block of output both kinds have
    one size, so the diagonals depend on i - j alone; their transforms live in a ring.
    """
    n_rows = -(-n_out // for_output)
    n_columns = -(-x.size // for_input)
    ring_size = n_rows + BATCH - 1
    n_frequencies = length // 2 + 1
    ring = np.empty((ring_size, 2, n_frequencies))
    total = np.zeros((n_rows, 2, n_frequencies))
    newest = n_rows  # the least i - j whose transform is in the ring
    for column in range(0, n_columns, BATCH):
        n_batch = min(BATCH, n_columns - column)
        inputs = np.zeros((n_batch, length))
        for k in range(n_batch):
            chunk = x[(column + k) * for_input : (column + k + 1) * for_input]
            inputs[k, : chunk.size] = chunk
        oldest = 1 - column - n_batch
        for top in range(newest - 1, oldest - 1, -BATCH):
            which = np.arange(top, max(top - BATCH, oldest - 1), -1)
            windows = np.zeros((which.size, length))
            for row, difference in enumerate(which):
                start = x.size - for_input + int(difference) * for_input
                chunk = diagonals[max(start, 0) : max(start + length, 0)]
                skip = max(-start, 0)
                windows[row, skip : skip + chunk.size] = chunk
            ring[which % ring_size] = _planes(scipy.fft.rfft(windows, axis=1))
        newest = oldest
        _accumulate(total, ring, _planes(scipy.fft.rfft(inputs, axis=1)), column)
    result = np.empty((n_rows, for_output), np.uint8)
    for row in range(0, n_rows, BATCH):
        spectra = total[row : row + BATCH, 0] + 1j * total[row : row + BATCH, 1]
        sums = scipy.fft.irfft(spectra, n=length, axis=1)
        result[row : row + BATCH] = parities(sums[:, for_input - 1 : for_input - 1 + for_output])
    return result.reshape(-1)[:n_out]


def parities(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round to integers and take them modulo 2; same shape.

    Raises:
        LocalProtocolError: A value is MAX_ROUNDING or more from the nearest integer, or no number.
    """
    nearest = np.rint(sums)
    rounding = float(np.abs(sums - nearest).max())
    if not rounding < MAX_ROUNDING:
        raise LocalProtocolError(
            f"amplify: found a rounding error of {rounding:.3g}; allowed: below {MAX_ROUNDING}"
        )
    return nearest.astype(np.int64).astype(np.uint8) & np.uint8(1)


def _planes(spectra: NDArray[np.complex128]) -> NDArray[np.float64]:
    # Real and imaginary parts apart, so that products use whole vector registers.
    return np.stack((spectra.real, spectra.imag), axis=1)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _accumulate(
    total: NDArray[np.float64],
    ring: NDArray[np.float64],
    inputs: NDArray[np.float64],
    column: int,
) -> None:
    """Add ring[(i - column - k) mod its size] * inputs[k], complex, to total[i], for all i and k.

    Shapes: total (rows, 2, frequencies), ring (rows + BATCH - 1, 2, frequencies), inputs (at most
    BATCH, 2, frequencies); the middle axis is real and imaginary part.
    """
    tile = 512  # keeps one tile of every row in the second-level cache
    for first in range(0, total.shape[2], tile):
        stop = min(first + tile, total.shape[2])
        for i in range(total.shape[0]):
            # One-dimensional views let the compiler prove that the loop may be vectorized.
            t_re, t_im = total[i, 0, first:stop], total[i, 1, first:stop]
            for k in range(inputs.shape[0]):
                row = (i - column - k) % ring.shape[0]
                a_re, a_im = ring[row, 0, first:stop], ring[row, 1, first:stop]
                b_re, b_im = inputs[k, 0, first:stop], inputs[k, 1, first:stop]
                for f in range(stop - first):
                    t_re[f] += a_re[f] * b_re[f] - a_im[f] * b_im[f]
                    t_im[f] += a_re[f] * b_im[f] + a_im[f] * b_re[f]
