"""Search for the rows of `ldpc_degrees.TABLE`, one for each error rate on the command line.

`python -m mdiqkd_net.postprocessing.reconcile.density_evolution 0.02 0.05` looks for the column
degrees that let belief propagation succeed at the least syndrome, prints the rows, and on stderr
how good they are. Nothing in it is random.

Method: density evolution of the messages on a cycle-free graph (Richardson, Shokrollahi & Urbanke,
IEEE Trans. Inf. Theory 47, 619 (2001)), with discretized densities, and a linear program over the
share of edges of each column degree, which is solved again on the densities of its own solution
until nothing changes (Chung, PhD thesis, MIT 2000, chapter 6).

Densities are kept on two grids. Columns add log-likelihood ratios x, on a uniform grid of x with
saturation. Checks multiply tanh(x / 2), which is to add phi(|x|) = -ln tanh(|x| / 2) on a uniform
grid of phi; of the signs no record is needed, for a message of magnitude x is wrong with
probability 1 / (1 + e^x). A mass that falls between two points of a grid is shared between them
so that its mean stays.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile.ldpc_degrees import DEGREES

Density: TypeAlias = NDArray[np.float64]

X_STEP: Final = 0.05
X_HALF: Final = 500
PHI_STEP: Final = 2.0**-10
PHI_SIZE: Final = 2**13
FFT_SIZE: Final = 2 * PHI_SIZE
TILT: Final = 1.0
"""Densities are damped by exp(-TILT phi) under the FFT: what it wraps around then shrinks by
exp(-TILT FFT_SIZE PHI_STEP), 1e-7."""

DEGREE_2_MAX: Final = 2.5
"""Columns of degree 2 per row of the matrix. From 1 on they would close cycles among themselves,
and such a cycle is a codeword of low weight."""

SPEED: Final = 0.01
"""Every iteration takes away at least this share of the uncertainty, so that few are needed."""

FLOOR: Final = 1e-5
"""Bits of uncertainty below which stability decides, which is a constraint of its own."""


def _phi(x: NDArray[np.floating[Any]]) -> Density:
    return np.asarray(-np.log(np.tanh(np.maximum(x, 1e-9) / 2.0)))


def _shares(place: Density, top: int) -> tuple[NDArray[np.intp], Density]:
    """The grid point at or below each place, and the share of the mass that goes one higher."""
    place = np.minimum(place, float(top))
    low = np.minimum(place.astype(np.intp), top - 1)
    return low, place - low


_TO_PHI = _shares(_phi(np.arange(1, X_HALF + 1) * X_STEP) / PHI_STEP, PHI_SIZE - 1)
_TO_X = _shares(np.append(float(X_HALF), _phi(np.arange(1, PHI_SIZE) * PHI_STEP) / X_STEP), X_HALF)
_ERROR = 1.0 / (1.0 + np.exp(X_STEP * np.arange(X_HALF + 1)))
_ENTROPY = np.array([binary_entropy(p) for p in _ERROR])
_DAMPING = np.exp(-TILT * PHI_STEP * np.arange(PHI_SIZE))


def _deposit(mass: Density, where: tuple[NDArray[np.intp], Density], size: int) -> Density:
    low, upper = where
    return np.asarray(
        np.bincount(low, mass * (1.0 - upper), size) + np.bincount(low + 1, mass * upper, size)
    )


def channel(qber: float) -> Density:
    """Density of the LLR that a bit starts with, given that it should be 0; shape (1001,)."""
    density = np.zeros(2 * X_HALF + 1)
    place = min(np.log((1.0 - qber) / qber) / X_STEP, X_HALF - 1.0)
    for sign, mass in ((1, 1.0 - qber), (-1, qber)):
        low = int(place)
        density[X_HALF + sign * low] += mass * (1.0 - (place - low))
        density[X_HALF + sign * (low + 1)] += mass * (place - low)
    return density


def check_output(density: Density, degree: float) -> Density:
    """Density of the message of a check, from that of its inputs.

    Args:
        density: Of the LLR on the edges into the check, shape (1001,).
        degree: Mean edges of a check; the two integers next to it share the edges.
    """
    magnitudes = density[X_HALF + 1 :] + density[X_HALF - 1 :: -1]
    spectrum = np.fft.rfft(_deposit(magnitudes, _TO_PHI, PHI_SIZE) * _DAMPING, FFT_SIZE)
    whole = int(degree)
    upper = (degree - whole) * (whole + 1) / degree
    product = spectrum ** (whole - 1) * (1.0 - upper + upper * spectrum)
    sums = np.maximum(np.fft.irfft(product, FFT_SIZE)[:PHI_SIZE] / _DAMPING, 0.0)
    out_magnitudes = _deposit(sums, _TO_X, X_HALF + 1)
    out_magnitudes[0] += 1.0 - out_magnitudes.sum()  # phi beyond the grid: an LLR of nearly 0
    out = np.zeros_like(density)
    out[X_HALF:] += out_magnitudes * (1.0 - _ERROR)
    out[X_HALF::-1] += out_magnitudes * _ERROR
    return out


def _convolve(a: Density, b: Density) -> Density:
    size = 4 * X_HALF + 1
    full = np.fft.irfft(np.fft.rfft(a, 4096) * np.fft.rfft(b, 4096), 4096)[:size]
    out = full[X_HALF : 3 * X_HALF + 1].copy()
    out[0] += full[:X_HALF].sum()
    out[-1] += full[3 * X_HALF + 1 :].sum()
    return np.asarray(np.maximum(out, 0.0))


def uncertainty(density: Density) -> float:
    """Conditional entropy in bits of a bit given its message: it never grows with knowledge.

    The error rate would not do: a column of degree 3 cannot turn a bit in the first iteration.
    """
    magnitudes = density[X_HALF:] + density[X_HALF::-1]
    magnitudes[0] /= 2.0
    return float(magnitudes @ _ENTROPY)


class Trajectory(NamedTuple):
    """What happens to messages over the iterations.

    Attributes:
        before: Uncertainty of those from columns, shape (n,).
        by_degree: What each column degree makes of it in one more, shape (n, len(DEGREES)).
    """

    before: Density
    by_degree: Density

    def converges(self, edges: Density) -> bool:
        """Whether it ends in knowledge, with these shares of edges."""
        return bool(self.by_degree[-1] @ edges < FLOOR)


def evolve(qber: float, edges: Density, check_degree: float, n_iterations: int) -> Trajectory:
    """Follow the messages, until they are right or do not improve.

    Args:
        qber: Error rate of the key.
        edges: Share of the edges at columns of each of `DEGREES`.
        check_degree: Mean edges of a check.
        n_iterations: At most.
    """
    start = channel(qber)
    density = start
    before, rows = [uncertainty(start)], []
    for _ in range(n_iterations):
        from_check = check_output(density, check_degree)
        outputs = []
        column, degree = start, 1
        for wanted in DEGREES:
            while degree < wanted:
                column, degree = _convolve(column, from_check), degree + 1
            outputs.append(column)
        rows.append([uncertainty(output) for output in outputs])
        density = np.asarray(edges @ np.array(outputs))
        before.append(uncertainty(density))
        if before[-1] < FLOOR or before[-1] > before[-2] * (1.0 - 1e-4):
            break
    return Trajectory(np.array(before[:-1]), np.array(rows))


class Design(NamedTuple):
    """Edges' shares of the column degrees, mean check degree and leak per key bit."""

    edges: Density
    check_degree: float
    leak: float


def design(qber: float, column_degree: float) -> Design:
    """The distribution of least leak that corrects errors of rate `qber`.

    Args:
        qber: Error rate at the threshold.
        column_degree: Mean edges of a column that is aimed at: more cost more time.

    Raises:
        LocalProtocolError: The start does not converge.
    """
    inverse = 1.0 / np.array(DEGREES)
    check_degree = column_degree / (1.06 * binary_entropy(qber))
    stable = 1.0 / ((check_degree - 1.0) * 2.0 * np.sqrt(qber * (1.0 - qber)))
    most_2 = min(2.0 * DEGREE_2_MAX / check_degree, 0.98 * stable)
    # Begin where 40 % more syndrome makes up for a crude choice: degrees 2, 3 and 20.
    most_3 = (1.0 / (1.4 * column_degree) - most_2 / 2.0 - (1.0 - most_2) / 20.0) / (1 / 3 - 1 / 20)
    edges = np.zeros(len(DEGREES))
    edges[[0, 1, DEGREES.index(20)]] = most_2, most_3, 1.0 - most_2 - most_3
    best = Design(edges, check_degree, np.inf)
    found = evolve(qber, edges, check_degree, 400)
    if most_3 < 0.0 or not found.converges(edges):
        raise LocalProtocolError(
            f"column degree: found {column_degree}, with which the start does not converge; "
            "allowed: others"
        )
    reach = 0.06
    while reach > 1e-3:
        leak = 1.0 / (check_degree * float(edges @ inverse))
        trajectory = evolve(qber, edges, check_degree, 400)
        if trajectory.converges(edges) and leak < best.leak * (1.0 - 1e-4):
            best, found = Design(edges, check_degree, leak), trajectory
        else:
            reach /= 2.0
        bounds = [(max(e - reach, 0.0), min(e + reach, 1.0)) for e in best.edges]
        bounds[0] = (bounds[0][0], min(bounds[0][1], most_2))
        solution = linprog(
            -inverse,
            A_ub=found.by_degree,
            b_ub=found.before * (1.0 - SPEED),
            A_eq=[[1.0] * len(DEGREES)],
            b_eq=[1.0],
            bounds=bounds,
        )
        if solution.x is None:
            break
        edges = np.asarray(solution.x)
    return best


def main(argv: Sequence[str]) -> None:
    """Print a row for each error rate named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qber", type=float, nargs="+")
    parser.add_argument("--column-degree", type=float, default=5.2)
    args = parser.parse_args(argv)
    for qber in args.qber:
        found = design(qber, args.column_degree)
        columns = found.edges / np.array(DEGREES)
        columns /= columns.sum()
        row = ", ".join(str(round(1e4 * share)) for share in columns)
        sys.stdout.write(f"({found.leak:.5f}, ({row})),\n")
        sys.stdout.flush()
        mean = 1.0 / float(found.edges @ (1.0 / np.array(DEGREES)))
        sys.stderr.write(
            f"{qber}: f = {found.leak / binary_entropy(qber):.4f} at the threshold, "
            f"{mean:.2f} edges per column, {found.check_degree:.1f} per check\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
