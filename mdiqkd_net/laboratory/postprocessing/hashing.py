"""Verification and privacy amplification of made-up keys, each by one user."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from mdiqkd_net.laboratory.postprocessing.reconciling import sifted_keys
from mdiqkd_net.laboratory.postprocessing.timing import median_cpu_s, peak_bytes, per_s
from mdiqkd_net.postprocessing.amplify import amplify_packed, seed_bits
from mdiqkd_net.postprocessing.verify import R_BYTES, verification_tag


@dataclass(frozen=True, slots=True)
class Verification:
    """One tag of a whole key.

    Attributes:
        n_bits: Of the key.
        cpu_s: Median.
        peak_bytes: Besides the key.
    """

    n_bits: int
    cpu_s: float
    peak_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Fields, and bits per second of CPU time."""
        return asdict(self) | {"bits_per_s": per_s(self.n_bits, self.cpu_s)}


@dataclass(frozen=True, slots=True)
class Amplification:
    """Of one key in one way.

    Attributes:
        tier: One of `tiers()`.
        n_bits: Of the key.
        ratio: Length of the result over that of the key.
        cpu_s: Median.
        peak_bytes: Besides key and seed.
    """

    tier: str
    n_bits: int
    ratio: float
    cpu_s: float
    peak_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Fields, and bits per second of CPU time."""
        return asdict(self) | {"bits_per_s": per_s(self.n_bits, self.cpu_s)}


def measure_verification(n_bits: int, *, seed: int) -> Verification:
    """Tag a key of `n_bits`."""
    key, _ = sifted_keys(n_bits, 0.0, seed)
    task = partial(verification_tag, key, np.random.default_rng(seed).bytes(R_BYTES))
    return Verification(n_bits, median_cpu_s(task), peak_bytes(task))


def measure_amplification(tier: str, n_bits: int, ratio: float, *, seed: int) -> Amplification:
    """Hash a packed key of `n_bits`."""
    n_out = int(n_bits * ratio)
    rng = np.random.default_rng(seed)
    key, public = (rng.bytes(-(-n // 8)) for n in (n_bits, seed_bits(n_bits, n_out)))
    task = partial(amplify_packed, key, n_bits, public, n_out, tier=tier)
    return Amplification(tier, n_bits, ratio, median_cpu_s(task), peak_bytes(task))
