"""Which intensities and probabilities give the longest key, and how few pulses a key takes.

Both users' settings are optimised together: 12 numbers, or 6 if both must use the same. What a
channel gives is not known here: the caller hands in `KeyBits`, which may predict from a model, from
a measured channel, for one pair or for the worst pair of a star, by any method of estimation.

The search climbs the logarithm of the key (`ascent`) from fixed starts. It is deterministic, and
local: it promises no global maximum. Whatever it finds is only a proposal of settings; no security
rests on it as long as they are fixed before the block is measured.

Alice's and Bob's decoy bounds change places where x_A / y_A = x_B / y_B, and the optimum of an
unequal link often lies near that kink. The ratio of the two ratios is therefore a coordinate of its
own, held in the first climb and released in later ones. Source of the observation: Wang, Xu & Lo,
PRX 9, 041012 (2019), who confine the search to the kink.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.estimation.accounting import planned_leak_bits, private_bits
from mdiqkd_net.estimation.ascent import Ascent
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import Estimate
from mdiqkd_net.estimation.settings_space import RATIO_OF_RATIOS, Limits, SettingsSpace
from mdiqkd_net.params import MAX_PULSES, Security, Source

Floats = NDArray[np.float64]

KeyBits = Callable[[Source, Source, float], float]
"""Alice's settings, Bob's, and the number of pulses, to secret bits; zero or less if no key.

Better as a real number than rounded to whole bits: see `smooth_key_bits`. At fixed settings it must
not decrease with the number of pulses.
"""

_SEEDS: Final = (
    # x, y, z; p_x, p_y, p_z: optima of long, of middling and of short blocks.
    (0.045, 0.21, 0.60, 0.11, 0.010, 0.86),
    (0.060, 0.27, 0.45, 0.25, 0.040, 0.65),
    (0.080, 0.34, 0.25, 0.42, 0.110, 0.36),
)
_RELEASED: Final = 0.05
"""How far the ratio of ratios is moved off its kink, both ways, before it is set free."""
_ON_THE_KINK: Final = 1e-9

_ITERATIONS: Final = 80
_COARSE_ITERATIONS: Final = 12
_LEAST_DIFFERENCE: Final = 1e-6
_GREATEST_DIFFERENCE: Final = 1e-2

_ENDLESS_PULSES: Final = 1e24
_PRECISION: Final = 1e-4
_MARGIN: Final = 1.05
"""Settings are tuned a little above the least number of pulses, where there is key to climb on."""
_ROUNDS: Final = 12
_SETTLED: Final = 0.997
_NEAR: Final = 1.2


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best settings found.

    Attributes:
        alice: Her settings.
        bob: His.
        n_pulses: Length of the block that they are for.
        key_bits: What `KeyBits` says of them; zero or less if no settings were found that give a
            key (then these are the ones that would give one with the fewest pulses).
        at_limits: Where a limit stopped the search, in words.
        evaluations: How often `KeyBits` was asked.
    """

    alice: Source
    bob: Source
    n_pulses: float
    key_bits: float
    at_limits: tuple[str, ...]
    evaluations: int


def smooth_key_bits(found: Estimate, tallies: Tallies, security: Security) -> float:
    """The key of an estimate before rounding to whole bits, and below zero where there is none.

    For the search alone: the slope of a rounded number is noise. Where the estimate is not made of
    these parts (another method than the double scan), its whole bits are returned.
    """
    whole = float(found.key_length_bits)
    if found.n11_lower is None or found.phase_errors_upper is None:
        return whole
    planned = planned_leak_bits(tallies.n["zz"], tallies.m["zz"], security.f_ec)
    leak = planned if abs(planned - found.leak_ec_bits) <= 1.0 else float(found.leak_ec_bits)
    private = private_bits(found.n11_lower, found.phase_errors_upper)
    smooth = private - leak - found.constant_bits
    return smooth if abs(max(0.0, smooth) - whole) <= 2.0 else whole


def optimize_settings(
    key_bits: KeyBits,
    n_pulses: float,
    limits: Limits | None = None,
    *,
    start: tuple[Source, Source] | None = None,
    imbalance: float = 1.0,
    resolution_bits: float = 1e-4,
) -> Optimum:
    """Settings with the longest key of a block of `n_pulses`.

    Args:
        key_bits: What settings are worth.
        n_pulses: Length of the block, above 0.
        limits: What the transmitters can do.
        start: Settings to start from, besides the fixed starts: those of a similar link, say.
        imbalance: Alice's transmittance over Bob's. The fixed starts balance x and y at the relay.
        resolution_bits: How finely `key_bits` resolves; 1 if it is rounded to whole bits.
    """
    search = _Search(key_bits, limits or Limits(), resolution_bits)
    starts = search.starts(start, imbalance)
    ranked = sorted(starts, key=lambda c: -search.bits(c, n_pulses))
    if search.bits(ranked[0], n_pulses) <= 0.0:
        found = search.shorten(starts, 0.0, floor=n_pulses)
        return search.optimum(found[0] if found else starts[0], n_pulses)
    return search.optimum(search.climb_all(ranked[:2], n_pulses), n_pulses)


def pulses_for_bits(
    key_bits: KeyBits,
    bits: float,
    limits: Limits | None = None,
    *,
    start: tuple[Source, Source] | None = None,
    imbalance: float = 1.0,
    resolution_bits: float = 1e-4,
    max_pulses: float = MAX_PULSES,
) -> Optimum | None:
    """The shortest block, with settings of its own, that gives `bits` of key.

    Divided by the pulse rate it is how long n bits take; for one bit, the time to first key.
    Arguments are those of `optimize_settings`.

    Returns:
        The optimum, `n_pulses` rounded up to a whole number, or None above `max_pulses`.
    """
    search = _Search(key_bits, limits or Limits(), resolution_bits)
    found = search.shorten(search.starts(start, imbalance), bits, floor=1.0)
    if found is None or math.ceil(found[1]) > max_pulses:
        return None
    return search.optimum(found[0], float(math.ceil(found[1])))


def pulses_at_settings(
    key_bits: KeyBits, alice: Source, bob: Source, bits: float, max_pulses: float = MAX_PULSES
) -> float | None:
    """The shortest block that gives `bits` of key at these settings; None above `max_pulses`.

    A whole number that gives the key; the least one to four digits.
    """
    n = _least_pulses(lambda n_pulses: key_bits(alice, bob, n_pulses), bits, max_pulses)
    return None if n is None or math.ceil(n) > max_pulses else float(math.ceil(n))


def _least_pulses(
    bits_of: Callable[[float], float], bits: float, high: float, guess: float = 1e10
) -> float | None:
    """Least number of pulses with `bits` of key and more than none, on the upper side."""

    def enough(n_pulses: float) -> bool:
        found = bits_of(n_pulses)
        return found > 0.0 and found >= bits

    upper = min(guess, high)
    factor = 1.5
    if enough(upper):
        lower = upper / factor
        while lower > 1.0 and enough(lower):
            factor *= factor
            upper, lower = lower, lower / factor
        lower = max(lower, 0.5)
    else:
        if not enough(high):
            return None
        lower = upper
        upper = min(high, lower * factor)
        while not enough(upper):
            factor *= factor
            lower, upper = upper, min(high, upper * factor)
    while upper > (1.0 + _PRECISION) * lower:
        middle = math.sqrt(lower * upper)
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper


class _Search:
    """The starts, the climbs, and how often `KeyBits` was asked."""

    def __init__(self, key_bits: KeyBits, limits: Limits, resolution_bits: float) -> None:
        self._key_bits = key_bits
        self._limits = limits
        self._resolution_bits = resolution_bits
        self._space = SettingsSpace(limits)
        self._evaluations = 0

    def optimum(self, coordinates: Floats, n_pulses: float) -> Optimum:
        alice, bob = self._space.decode(coordinates)
        bits = self.bits(coordinates, n_pulses)
        at = (*self._limits.touched("alice", alice), *self._limits.touched("bob", bob))
        return Optimum(alice, bob, n_pulses, bits, at, self._evaluations)

    def bits(self, coordinates: Floats, n_pulses: float) -> float:
        self._evaluations += 1
        return self._key_bits(*self._space.decode(coordinates), n_pulses)

    def starts(self, given: tuple[Source, Source] | None, imbalance: float) -> list[Floats]:
        starts = [] if given is None else [self._space.encode(*given)]
        root = math.sqrt(imbalance)
        scales = (1.0, 1.0) if self._limits.equal else (1.0 / root, root)
        for x, y, z, *probabilities in _SEEDS:
            # What one user cannot send, the other must not ask for: y stays below the greatest.
            room = min(1.0, self._limits.max_intensity / (y * max(scales)))
            alice, bob = (
                self._limits.source(x * s * room, y * s * room, z, probabilities) for s in scales
            )
            starts.append(self._space.encode(alice, bob))
        return starts

    def shorten(
        self, starts: Sequence[Floats], bits: float, floor: float
    ) -> tuple[Floats, float] | None:
        """Settings that give `bits` with the fewest pulses, and how many.

        The longest key of a block that is just long enough permits a shorter block, and so on.
        Below `floor` pulses the search goes for the longest key of `floor` pulses instead. None if
        no number of pulses would do.
        """
        firsts = [(n, c) for c in starts if (n := self._least(c, bits, 1e10)) is not None]
        if not firsts:
            return None
        n, best = min(firsts, key=lambda first: first[0])
        for _ in range(_ROUNDS):
            climbed, _ = self._climb(best, max(floor, _MARGIN * n), _COARSE_ITERATIONS)
            again = self._least(climbed, bits, n)
            if again is None or again >= n:
                break
            settled = again > _SETTLED * n
            n, best = again, climbed
            if n <= floor or settled:
                break
        if n <= floor:
            return self.climb_all([best], floor), n
        if floor > 1.0 and n > _NEAR * floor:
            return best, n  # out of reach: there is no need to be exact
        climbed = self.climb_all([best], _MARGIN * n)
        again = self._least(climbed, bits, n)
        if again is not None and again <= n:
            n, best = again, climbed
        return best, n

    def climb_all(self, starts: Sequence[Floats], n_pulses: float) -> Floats:
        """The best that climbs from all starts lead to."""
        tops = [self._climb(c, n_pulses, _ITERATIONS) for c in starts]
        best = max(tops, key=lambda top: top[1])
        if not self._limits.equal:
            for side in (-_RELEASED, _RELEASED):
                moved = best[0].copy()
                moved[RATIO_OF_RATIOS] += side
                released = self._climb(moved, n_pulses, _ITERATIONS)
                best = max(best, released, key=lambda top: top[1])
        return best[0]

    def _climb(self, start: Floats, n_pulses: float, iterations: int) -> tuple[Floats, float]:
        def height(coordinates: Floats) -> float:
            bits = self.bits(coordinates, n_pulses)
            return math.log(bits) if bits > 0.0 else -math.inf

        def difference(at: float) -> float:
            # The error of a slope is least where rounding and curvature contribute alike.
            fine = math.sqrt(self._resolution_bits * math.exp(-at))
            return min(max(fine, _LEAST_DIFFERENCE), _GREATEST_DIFFERENCE)

        free = np.ones(start.size, dtype=bool)
        if not self._limits.equal and abs(start[RATIO_OF_RATIOS]) < _ON_THE_KINK:
            free[RATIO_OF_RATIOS] = False
        return Ascent(height, self._space.project, difference).climb(start, free, iterations)

    def _least(self, c: Floats, bits: float, guess: float) -> float | None:
        return _least_pulses(lambda n: self.bits(c, n), bits, _ENDLESS_PULSES, guess)
