"""Transmitters that are only known within declared bounds: what the estimates may use of them.

A pulse of a setting has any mean photon number within the setting's interval; which one, nature or
Eve may choose pulse by pulse, but not by setting, bit or basis. A *stray* pulse is one of which
nothing is known, not even that its photons look like those of other settings: Eve is told its
setting. Pulses are stray where o emits light of any kind, and where a phase was not uniform.

Sources: Wang, Peng, Zhang, Yang & Pan, PRA 77, 042311 (2008), and Jiang, Yu & Wang,
arXiv:1710.08211, for sources within intervals (the latter for this protocol); Nahar, Upadhyaya &
Luetkenhaus, arXiv:2304.09401, for partly random phases; the coefficients are derived in
docs/explanation/estimation.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from mdiqkd_net.params import IDEAL, Interval, Setting, Source, SourceBounds

MAX_UNCERTAIN: Final = 1.0
"""Up to this intensity the probabilities of one and of more photons grow with it."""

_UNPROVEN: Final[Mapping[str, str]] = {
    "intensity_correlation": (
        "correlated intensities: no finite-key analysis of them for this protocol is implemented "
        "(Zapatero et al., arXiv:2105.11165, and Liu et al., arXiv:2408.08011, bound the yields "
        "of other protocols or of long blocks)"
    ),
    "trojan_photons": (
        "Trojan-horse leakage: no bound for photon-number states that differ between settings is "
        "implemented (Wang, Tamaki & Curty, Sci. Rep. 2021, arXiv:2001.08086, have one)"
    ),
}


@dataclass(frozen=True, slots=True)
class Light:
    """What a setting of one user emits.

    Attributes:
        low: Least mean photon number.
        high: Greatest.
        stray: Whether its photons, if any, share no yield with those of other settings.
    """

    low: float
    high: float
    stray: bool = False

    @property
    def is_lit(self) -> bool:
        """Whether its photons are like those of other settings of basis X."""
        return self.high > 0.0 and not self.stray

    def chance(self, n: int) -> Interval:
        """Probability of n photons, at least and at most.

        Requires an exact intensity, or one up to `MAX_UNCERTAIN`.
        """
        if self.stray and n > 0:
            return 0.0, 0.0
        ends = [math.exp(-mu) * mu**n / math.factorial(n) for mu in (self.low, self.high)]
        return min(ends), max(ends)


def lights(source: Source) -> Mapping[str, Light]:
    """What each setting emits, by letter."""
    return _lights(source.x, source.y, source.z, source.bounds)


@lru_cache(maxsize=64)
def _lights(x: Setting, y: Setting, z: Setting, bounds: SourceBounds) -> Mapping[str, Light]:
    ends = Source(x=x, y=y, z=z, bounds=bounds).intensity_intervals
    stray = bounds.vacuum_light == "any"
    return MappingProxyType(
        {
            "o": Light(*ends[0], stray=stray),
            **{letter: Light(*pair) for letter, pair in zip("xyz", ends[1:], strict=True)},
        }
    )


def stray_share(alice: Source, bob: Source, category: str) -> float:
    """Probability that a pulse pair of a category is stray, at most."""
    if alice.bounds == bob.bounds == IDEAL:
        return 0.0
    log_clean = 0.0
    for user, letter in zip((alice, bob), category, strict=True):
        bounds = user.bounds
        log_clean += math.log1p(-bounds.phase_nonuniformity)
        if letter == "o" and bounds.vacuum_light == "any":
            log_clean -= bounds.vacuum_intensity
    return -math.expm1(log_clean)


def uncovered(name: str, source: Source) -> str:
    """Why no key is proven for a source within its declared bounds, in words; empty if one is."""
    bounds = source.bounds
    if bounds == IDEAL:
        return ""
    for field, reason in _UNPROVEN.items():
        if (found := getattr(bounds, field)) > 0.0:
            return f"{name}'s source declares {field} {found:g}; {reason}"
    light = lights(source)
    o, x, y = light["o"], light["x"], light["y"]
    for letter in "xyz":
        low, high = light[letter].low, light[letter].high
        if low < high and high > MAX_UNCERTAIN:
            return (
                f"{name}'s {letter} intensity is {low:g} to {high:g}; "
                f"bounds are proven up to {MAX_UNCERTAIN:g} photon"
            )
    if x.high >= y.low:
        return (
            f"{name}'s x intensity is {x.low:g} to {x.high:g} and y {y.low:g} to {y.high:g}; "
            "intervals that meet cannot separate photon numbers"
        )
    if 0.0 < x.low <= o.high:
        return (
            f"{name}'s o intensity is up to {o.high:g} and x from {x.low:g}; "
            "o must be dimmer than x"
        )
    return ""
