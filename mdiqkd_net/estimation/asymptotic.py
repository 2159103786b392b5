"""Key rates in the limit of infinitely many pulses, at the same settings.

Every gain is taken at its face value. The results are targets to compare a finite key with; they
are no statement about any key.
"""

import math

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import binary_entropy, planned_leak_bits
from mdiqkd_net.estimation.decoy import Tallies, faults, region, sent
from mdiqkd_net.params import Source


def z_single_photon_pairs(tallies: Tallies, alice: Source, bob: Source) -> float:
    """Expected number of z-z pulse pairs in which each user emitted exactly one photon."""
    z_alice, z_bob = alice.z.intensity, bob.z.intensity
    return sent(tallies, alice, bob, "zz") * z_alice * z_bob * math.exp(-z_alice - z_bob)


def asymptotic_key_bits(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    f_ec: float,
    *,
    leak_ec_bits: float | None = None,
) -> float:
    """Secret bits of these counts if the gains they show were exact; not clipped at zero.

    Uses the analytic four-intensity bounds of `decoy`. Zero where the counts permit no statement.

    Args:
        counts: As of `engine.estimate`.
        alice: Her settings.
        bob: His.
        f_ec: Efficiency of reconciliation.
        leak_ec_bits: What reconciliation disclosed; None plans f_ec n h(E).
    """
    if faults(counts, alice, bob):
        return 0.0
    tallies = Tallies.of(counts)
    exact = region(tallies, alice, bob, beta=None)
    h, m = exact.h_upper, exact.m_upper
    s11 = min(1.0, exact.s11(m - h))
    privacy = 0.0
    if s11 > 0.0:
        phase_error = min(0.5, exact.error_yield(m, h) / s11)
        privacy = s11 * (1.0 - binary_entropy(phase_error))
    leak = (
        planned_leak_bits(tallies.n["zz"], tallies.m["zz"], f_ec)
        if leak_ec_bits is None
        else leak_ec_bits
    )
    return z_single_photon_pairs(tallies, alice, bob) * privacy - leak
