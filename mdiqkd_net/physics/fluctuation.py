"""Random intensities as a handful of levels that no click can tell from the continuous law.

The chance of any click pattern is a combination of exponentials of the intensity, whose power
series converges fast for the light of this protocol. A Gauss rule of n levels has the first 2 n
moments of its law, the zeroth among them, and so the same click statistics up to the term of order
2 n: see `levels_needed`. Heavier tails than the Gaussian's converge more slowly; tests compare
fades with the integral over their density.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.imperfections import NOISE_CUT

Floats = NDArray[np.float64]
Law = tuple[Floats, Floats]
"""Levels and their probabilities, (n,) each."""

LEVELS: Final = 8
_FINE: Final = 96
_NEGLIGIBLE: Final = 1e-17

STEADY: Final[Law] = (np.ones(1), np.ones(1))
"""The law of what does not fluctuate."""


def gauss_rule(law: Law, n: int = LEVELS) -> Law:
    """The n levels and probabilities with the first 2 n moments of a finer discrete law.

    Source: Golub & Welsch, Math. Comp. 23, 221 (1969); the recurrence coefficients by the Lanczos
    process with full orthogonalization, as in Gautschi, Orthogonal Polynomials (2004), sec. 2.2.3.
    """
    points, weights = law
    n = min(n, points.size)
    basis = np.zeros((n, points.size))
    diagonal, beside = np.zeros(n), np.zeros(n)
    vector = np.sqrt(weights / weights.sum())
    for i in range(n):
        basis[i] = vector
        diagonal[i] = vector @ (points * vector)
        vector = points * vector
        for _ in range(2):
            vector = vector - basis[: i + 1].T @ (basis[: i + 1] @ vector)
        beside[i] = np.linalg.norm(vector)
        if beside[i] <= 1e-14 * np.abs(points).max():
            n = i + 1
            break
        vector = vector / beside[i]
    return _nodes(diagonal[:n], beside[: n - 1])


def levels_needed(deviation: float, photons: float) -> int:
    """Levels of a Gaussian factor that no count tells from the whole law, at most `LEVELS`.

    With s the deviation and μ the detected photons, n levels err by n!/(2n)! s^2n μ^2n, and the
    chance of two clicks is of the order μ². This is the least n whose error, relative to that, is
    below 1e-17; with 8 levels it is 2e-9 s^16 μ^14, below 1e-17 up to s = 0.24 and μ = 1.3.
    """
    for n in range(2, LEVELS):
        share = math.factorial(n) / math.factorial(2 * n)
        if share * deviation ** (2 * n) * photons ** (2 * n - 2) < _NEGLIGIBLE:
            return n
    return LEVELS


def gaussian(deviation: float, n: int = LEVELS) -> Law:
    """A Gaussian factor of mean 1, cut off at `NOISE_CUT` standard deviations on both sides.

    The truncated Gaussian is the law that characterizations of decoy-state transmitters use: Sixto,
    Zapatero & Curty, Phys. Rev. Applied 18, 044069 (2022). `deviation` is that of the Gaussian; the
    cut takes 0.05 % off it.
    """
    if deviation == 0.0:
        return STEADY
    points, weights = np.polynomial.legendre.leggauss(_FINE)
    z = NOISE_CUT * points
    levels, probabilities = gauss_rule((z, weights * np.exp(-0.5 * z * z)), n)
    return 1.0 + deviation * levels, probabilities


def gamma_gamma_shapes(rytov_variance: float) -> tuple[float, float]:
    """Shapes of the large-scale and the small-scale factor of a fade, for a plane wave.

    Source: Al-Habash, Andrews & Phillips, Opt. Eng. 40, 1554 (2001), without inner scale and
    aperture averaging, which would soften the fades. Positive variances only.
    """
    s2 = rytov_variance
    large = 0.49 * s2 / (1.0 + 1.11 * s2 ** (6.0 / 5.0)) ** (7.0 / 6.0)
    small = 0.51 * s2 / (1.0 + 0.69 * s2 ** (6.0 / 5.0)) ** (5.0 / 6.0)
    return 1.0 / math.expm1(large), 1.0 / math.expm1(small)


def gamma_gamma(rytov_variance: float, greatest: float = math.inf) -> Law:
    """A fade of mean 1, and what exceeds `greatest` cut down to it.

    The product of two gamma variables of mean 1: Al-Habash et al. (2001).
    """
    if rytov_variance == 0.0:
        return STEADY
    (p, p_weights), (q, q_weights) = map(_gamma, gamma_gamma_shapes(rytov_variance))
    fades = np.minimum(np.outer(p, q).ravel(), greatest)
    return gauss_rule((fades, np.outer(p_weights, q_weights).ravel()))


def product(first: Law, second: Law) -> Law:
    """The law of the product of two independent factors, as a rule of at most `LEVELS` levels."""
    if first[0].size == 1 or second[0].size == 1:
        return np.outer(first[0], second[0]).ravel(), np.outer(first[1], second[1]).ravel()
    levels = np.outer(first[0], second[0]).ravel()
    return gauss_rule((levels, np.outer(first[1], second[1]).ravel()))


def _gamma(shape: float, n: int = 24) -> Law:
    """Gauss rule of a gamma variable of mean 1: generalized Laguerre polynomials."""
    k = np.arange(n)
    beside = np.sqrt(k[1:] * (k[1:] + shape - 1.0))
    levels, weights = _nodes((2.0 * k + shape).astype(np.float64), beside.astype(np.float64))
    return levels / shape, weights


def _nodes(diagonal: Floats, beside: Floats) -> Law:
    """Levels and probabilities of a Gauss rule from its Jacobi matrix."""
    levels, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return np.asarray(levels, dtype=np.float64), np.asarray(vectors[0] ** 2, dtype=np.float64)
