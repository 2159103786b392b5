"""Key rates in the limit of infinitely many pulses, at the same settings.

Every gain is taken at its face value. The results are targets to compare a finite key with; they
are no statement about any key.
"""

import math
from typing import Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import planned_leak_bits, private_bits
from mdiqkd_net.estimation.boxes import NoChannelError
from mdiqkd_net.estimation.decoy import Tallies, Worst, faults, region, sent
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.estimation.source_bounds import lights
from mdiqkd_net.params import Source

_RESOLUTION: Final = 1e-8
"""How closely the worst point is found where bounds leave more than one, in bits per z event."""


def z_single_photon_pairs(tallies: Counts | Tallies, alice: Source, bob: Source) -> float:
    """Expected number of z-z pulse pairs in which each user emitted exactly one photon, at least.

    What the bounds of the sources leave open stands in `z_single_photon_pairs_upper`.
    """
    z_alice, z_bob = lights(alice)["z"].low, lights(bob)["z"].low
    return sent(tallies, alice, bob, "zz") * z_alice * z_bob * math.exp(-z_alice - z_bob)


def z_single_photon_pairs_upper(tallies: Counts | Tallies, alice: Source, bob: Source) -> float:
    """The same, at most."""
    z_alice, z_bob = lights(alice)["z"].high, lights(bob)["z"].high
    return sent(tallies, alice, bob, "zz") * z_alice * z_bob * math.exp(-z_alice - z_bob)


def face_value(tallies: Tallies, alice: Source, bob: Source) -> Worst:
    """The one point that remains where every gain is exact, or the worst where bounds leave more.

    Uses the analytic four-intensity bounds of `decoy`; the caller has made sure that all settings
    are in use (`decoy.faults`).
    """
    exact = region(tallies, alice, bob, beta=None)
    pairs = z_single_photon_pairs(tallies, alice, bob)
    pairs_upper = z_single_photon_pairs_upper(tallies, alice, bob)
    if exact.h_lower < exact.h_upper or exact.m_lower < exact.m_upper:
        return double_scan(
            exact,
            z_pairs=pairs,
            z_pairs_upper=pairs_upper,
            n_zz=tallies.n["zz"],
            beta=0.0,
            tight_bits=_RESOLUTION * tallies.n["zz"],
        )
    h, m = exact.h_upper, exact.m_upper
    s11 = min(1.0, max(0.0, exact.s11(m - h)))
    error_yield = exact.error_yield(m, h)
    n11, phase_errors = pairs * s11, pairs_upper * error_yield
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
    try:
        return face_value(tallies, alice, bob).private_bits - leak
    except NoChannelError:
        return 0.0
