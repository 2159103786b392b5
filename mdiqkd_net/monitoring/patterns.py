"""Counts that show when a relay announces by a pattern in time."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import SETTINGS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

COMPOSITES: Final = (
    2**6 * 3**2 * 5 * 7,
    2 * 3**3 * 5**2 * 7**2,
    2**2 * 3 * 5 * 11 * 13,
    2 * 3 * 17 * 19,
    2 * 23 * 29 * 31,
    37 * 41 * 43,
    47 * 53,
    59 * 61,
)
"""Each number from 2 to 64 divides one of them, so that few divisions per event do for all."""

TAIL_BINS: Final = 32


def residue_counts(
    pulses: Integers, n_pulses: int, moduli: Iterable[int]
) -> Iterator[tuple[int, Integers, Floats]]:
    """Events per residue of their pulse number, and what a uniform law expects.

    Yields:
        Modulus, counts (modulus,), expected counts (modulus,); for moduli from 2 to 64.
    """
    wanted = set(moduli)
    for composite in COMPOSITES:
        here = sorted(m for m in wanted if composite % m == 0)
        wanted.difference_update(here)
        if not here:
            continue
        counts = np.bincount(pulses % composite, minlength=composite)
        for modulus in here:
            folded = counts.reshape(-1, modulus).sum(axis=0)
            sent = (n_pulses + modulus - 1 - np.arange(modulus)) // modulus
            yield modulus, folded, pulses.size * sent / n_pulses


def tail_of_gaps(gaps: Integers, dead_pulses: int) -> tuple[Integers, Floats]:
    """Distances beyond what detectors remember, and what a law without memory expects.

    Whatever detectors do within `dead_pulses`, longer distances are geometric if every pulse has
    the same chance. Its parameter is fitted. Cells hold about as many each; (cells,) both.
    """
    beyond = gaps[gaps > dead_pulses] - dead_pulses - 1
    if not beyond.size:
        return np.empty(0, np.int64), np.empty(0)
    mean = float(beyond.mean())
    if mean <= 0.0:
        return np.array([beyond.size]), np.array([float(beyond.size)])
    log_stay = math.log(mean / (1.0 + mean))  # of the chance that a pulse gives no event
    quantiles = np.arange(1, TAIL_BINS) / TAIL_BINS
    edges = np.unique(np.ceil(np.log1p(-quantiles) / log_stay).astype(np.int64))
    edges = edges[edges > 0]
    counts = np.bincount(np.searchsorted(edges, beyond, side="right"), minlength=edges.size + 1)
    below = np.concatenate([[0.0], -np.expm1(edges * log_stay), [1.0]])
    return counts, beyond.size * np.diff(below)


def lag_counts(
    pulses: Integers, settings: tuple[NDArray[np.uint8], NDArray[np.uint8]], lags: Sequence[int]
) -> Iterator[tuple[int, int, Integers, Integers]]:
    """Settings of the events that another one follows at a distance, and of the others.

    Yields:
        Distance, user (0 or 1), settings of those with a successor (4,), of those without (4,).
    """
    followed = {lag: np.zeros((2, len(SETTINGS)), np.int64) for lag in lags}
    for ahead in range(1, max(lags) + 1):
        gaps = pulses[ahead:] - pulses[:-ahead]
        near = np.flatnonzero(gaps <= max(lags))
        if not near.size:
            break
        distances = gaps[near]
        for lag in lags:
            of = near[distances == lag]
            for user in (0, 1):
                followed[lag][user] += np.bincount(settings[user][of], minlength=len(SETTINGS))
    everybody = [np.bincount(settings[user], minlength=len(SETTINGS)) for user in (0, 1)]
    for lag in lags:
        for user in (0, 1):
            yield lag, user, followed[lag][user], everybody[user] - followed[lag][user]
