"""The worst joint point of H and M: how much of the z events is secret whatever the truth is.

Every point of the rectangle [h_lower, h_upper] x [m_lower, m_upper] with M >= H/2 may be the truth.
(H is the part of the gain of xx in which a user sent no photon. The bit of such a user is a fair
coin whatever anybody does, so that half of H belongs to M; a point below that line is no truth.)
The minimum of the key must not be missed, so it is bracketed and bounded from below, not searched
for:

1. The single-photon pairs n depend on p = M - H alone, and grow with it. For a given p the phase
   errors k grow with H, so that the worst point lies on the edge H = h_upper or on the edge
   M = m_upper: H = min(h_upper, m_upper - p). One variable is left.
2. The greatest H at a given p is possible from p = max(-h_upper/2, -m_upper) on; below, no point
   is. Where n has reached its cap (no yield above 1, no more pairs than z events), k grows: the
   greatest p is worst.
3. In between, n(p) = E - sqrt(2 beta E) is convex and k(p), a square root of a minimum of two
   lines, is concave. The entropy n (1 - h(k/n)) is the greatest of linear functions c1 n - c2 k
   with c1, c2 >= 0, so that it is convex in p. A convex function lies above the extension of each
   of its chords, which turns any grid into a lower bound of the minimum; the grid is refined around
   its least value until the bound is tight.

Source of the scan: Jiang, Yu, Hu & Wang, PRA 103, 012402 (2021); the reduction to a convex problem
in one variable is argued here.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mdiqkd_net.estimation import tails
from mdiqkd_net.estimation.accounting import private_bits
from mdiqkd_net.estimation.boxes import NoChannelError
from mdiqkd_net.estimation.decoy import Region, Worst

_INTERVALS: Final = 16
_MAX_ROUNDS: Final = 12
_TIGHT_BITS: Final = 0.01

_ROUNDING: Final = 1e-13
"""Relative margin for the rounding of a few dozen operations in doubles."""


@dataclass(frozen=True, slots=True)
class _Path:
    """The worst points as a function of p = M - H."""

    region: Region
    z_pairs: float
    z_pairs_upper: float
    n_zz: float
    beta: float

    def at(self, p: float) -> Worst:
        region = self.region
        h = min(region.h_upper, region.m_upper - p)
        s11 = min(1.0, max(0.0, region.s11(p)))
        error_yield = region.error_yield(p + h, h)
        n11 = min(self.n_zz, tails.realised_lower(self.z_pairs * s11, self.beta))
        phase_errors = tails.realised_upper(self.z_pairs_upper * error_yield, self.beta)
        return Worst(
            private_bits=private_bits(n11, phase_errors),
            s11=s11,
            e11=min(0.5, error_yield / s11) if s11 > 0.0 else 0.5,
            n11=n11,
            phase_errors=phase_errors,
        )

    def capped_from(self) -> float:
        """The p from which n11 stands still at the number of z events or at a yield of 1."""
        # E - sqrt(2 beta E) = n  solved for E.
        root = math.sqrt(0.5 * self.beta) + math.sqrt(0.5 * self.beta + self.n_zz)
        s11 = min(1.0, root * root / self.z_pairs)
        return (s11 * self.region.denominator - self.region.base) / self.region.weight


def double_scan(
    region: Region,
    *,
    z_pairs: float,
    n_zz: float,
    beta: float,
    z_pairs_upper: float | None = None,
    tight_bits: float = _TIGHT_BITS,
) -> Worst:
    """Least private bits over the rectangle of H and M.

    Args:
        region: The rectangle and the decoy bounds at each point.
        z_pairs: Expected number of z-z pulse pairs in which both users emitted one photon; the
            least that is possible.
        n_zz: z events observed; no more of them can be single-photon pairs.
        beta: ln(1 / eps) of each of the two realised bounds.
        z_pairs_upper: The greatest expected number; None if it is known exactly.
        tight_bits: How close to the minimum the bound has to come.

    Raises:
        NoChannelError: No point of the rectangle has M >= H/2; some tail bound has failed.
    """
    path = _Path(region, z_pairs, z_pairs_upper or z_pairs, n_zz, beta)
    least, greatest = region.m_lower - region.h_upper, region.m_upper - region.h_lower
    if region.m_upper < 0.5 * region.h_lower:
        raise NoChannelError("fewer X errors than vacuum alone would make")
    # M - H/2 vanishes on the path at -h_upper/2 (first edge) or -m_upper (second edge).
    start = min(max(least, -0.5 * region.h_upper, -region.m_upper), greatest)
    stop = max(start, min(greatest, path.capped_from()))
    worst = _worst([path.at(greatest), _convex_minimum(path, start, stop, tight_bits)])
    return replace(worst, private_bits=worst.private_bits * (1.0 - _ROUNDING))


def _worst(found: Sequence[Worst]) -> Worst:
    """The point with the fewest private bits; among points without any, the most erroneous."""
    return min(found, key=lambda w: (w.private_bits, -w.phase_errors / max(w.n11, 1.0)))


def _convex_minimum(path: _Path, start: float, stop: float, tight_bits: float) -> Worst:
    """Minimum over [start, stop], where the private bits are convex, as a certified lower bound."""
    low, high = start, stop
    best = path.at(start)
    if not stop > start:
        return best
    certified = 0.0
    for _ in range(_MAX_ROUNDS):
        points = [low + (high - low) * i / _INTERVALS for i in range(_INTERVALS + 1)]
        if not all(a < b for a, b in itertools.pairwise(points)):
            break  # the grid has shrunk to neighboring doubles
        found = [path.at(p) for p in points]
        best = _worst([best, *found])
        if best.private_bits <= 0.0:
            return best
        # The minimum of a convex function lies next to the least grid point, within the bracket
        # of every earlier round, so that a bound for this bracket is one for all.
        values = [w.private_bits for w in found]
        i = min(range(_INTERVALS + 1), key=values.__getitem__)
        cells = [j for j in (i - 1, i) if 0 <= j < _INTERVALS]
        certified = max(certified, min(_cell_bound(points, values, j) for j in cells))
        if best.private_bits - certified < tight_bits:
            break
        low, high = points[max(0, i - 1)], points[min(_INTERVALS, i + 1)]
    return replace(best, private_bits=min(certified, best.private_bits))


def _cell_bound(points: Sequence[float], values: Sequence[float], j: int) -> float:
    """Lower bound of a convex function between grid points j and j + 1.

    The chords of the cells on either side, extended, lie below the function; the greater of the
    two is least at an end of the cell or where they cross.
    """
    a, b = points[j], points[j + 1]
    lines = [
        (values[k], (values[k + 1] - values[k]) / (points[k + 1] - points[k]), points[k])
        for k in (j - 1, j + 1)
        if 0 <= k < _INTERVALS
    ]
    places = [a, b]
    if len(lines) == 2:
        (v0, s0, x0), (v1, s1, x1) = lines
        if s0 != s1:
            places.append(min(b, max(a, (v1 - v0 + s0 * x0 - s1 * x1) / (s0 - s1))))
    return min(max(v + s * (x - x0) for v, s, x0 in lines) for x in places)
