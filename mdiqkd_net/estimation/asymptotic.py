"""Key rates in the limit of infinitely many pulses, at the same settings.

Every gain is taken at its face value. The results are targets to compare a finite key with; they
are no statement about any key.
"""

import math

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import planned_leak_bits, private_bits
from mdiqkd_net.estimation.decoy import Tallies, Worst, faults, region, sent
from mdiqkd_net.params import Source


def z_single_photon_pairs(tallies: Counts | Tallies, alice: Source, bob: Source) -> float:
    """Expected number of z-z pulse pairs in which each user emitted exactly one photon."""
    z_alice, z_bob = alice.z.intensity, bob.z.intensity
    return sent(tallies, alice, bob, "zz") * z_alice * z_bob * math.exp(-z_alice - z_bob)


def face_value(tallies: Tallies, alice: Source, bob: Source) -> Worst:
    """The one point that remains where every gain is exact.

    Uses the analytic four-intensity bounds of `decoy`; the caller has made sure that all settings
    are in use (`decoy.faults`).
    """
    exact = region(tallies, alice, bob, beta=None)
    h, m = exact.h_upper, exact.m_upper
    s11 = min(1.0, max(0.0, exact.s11(m - h)))
    error_yield = exact.error_yield(m, h)
    pairs = z_single_photon_pairs(tallies, alice, bob)
    n11, phase_errors = pairs * s11, pairs * error_yield
    return Worst(
        private_bits=private_bits(n11, phase_errors),
        s11=s11,
        e11=min(0.5, error_yield / s11) if s11 > 0.0 else 0.5,
        n11=n11,
        phase_errors=phase_errors,
    )


def asymptotic_key_bits(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    f_ec: float,
    *,
    leak_ec_bits: float | None = None,
) -> float:
    """Secret bits of these counts if the gains they show were exact; not clipped at zero.

    Zero where the counts permit no statement.

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
    leak = (
        planned_leak_bits(tallies.n["zz"], tallies.m["zz"], f_ec)
        if leak_ec_bits is None
        else leak_ec_bits
    )
    return face_value(tallies, alice, bob).private_bits - leak
