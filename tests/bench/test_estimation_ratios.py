"""Key lengths against a plain numpy double scan, in one process, by CPU time.

Ratios, not absolute figures, are asserted. The reference program scans 41 x 41 points in 0.6 ms and
needs 50 ms for a key by linear programs: 83 times as long. Limits are wide; `-s` shows the figures.
"""

import time

import numpy as np

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import planned_leak_bits, tail_beta
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import z_single_photon_pairs
from mdiqkd_net.estimation.certificate.evaluate import certified_estimate
from mdiqkd_net.estimation.decoy import Tallies, region
from mdiqkd_net.estimation.engine import designed_key_bits, estimate, prepared
from mdiqkd_net.params import Security, Setting, Source

SOURCE = Source(x=Setting(0.04, 0.13), y=Setting(0.16, 0.024), z=Setting(0.5, 0.82))
# Expected counts of 50 km, 1e12 pulses; an independent program's.
N = {"oo": 2.704e-5, "ox": 21553.4718, "xo": 21553.4718, "oy": 62937.6297, "yo": 62937.6297}
N |= {"xx": 429947.0482, "xy": 490829.8486, "yx": 490829.8486, "yy": 230047.4563}
N |= {"zz": 1223202915.68}
M = {"xx": 110587.6709, "xy": 168912.4384, "yx": 168912.4384, "yy": 58955.6458}
M |= {"zz": 18355670.8867}
COUNTS = Tallies(1e12, N, M)


def cpu_seconds(task, repeats, rounds=5):
    task()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(repeats):
            task()
        times.append((time.process_time() - start) / repeats)
    return min(times)


def plain_double_scan():
    """The least of 41 x 41 points, nothing certified."""
    beta = tail_beta(Security())
    area = region(COUNTS, SOURCE, SOURCE, beta)
    z_pairs = z_single_photon_pairs(COUNTS, SOURCE, SOURCE)
    h = np.linspace(area.h_lower, area.h_upper, 41)[:, None]
    m = np.linspace(area.m_lower, area.m_upper, 41)[None, :]
    pairs = z_pairs * area.s11(m - h)
    n11 = pairs - np.sqrt(2 * beta * pairs)
    wrong = z_pairs * np.maximum(0.0, m - h / 2) / area.single
    k = wrong + beta / 2 + np.sqrt(2 * beta * wrong + beta**2 / 4)
    e = k / n11
    bits = n11 * (1 + e * np.log2(e) + (1 - e) * np.log2(1 - e))
    return float(bits.min()) - planned_leak_bits(N["zz"], M["zz"], 1.16) - 117.27


def test_estimates_against_a_plain_scan():
    scanned = estimate(COUNTS, SOURCE, SOURCE, Security())
    assert abs(scanned.key_length_bits / plain_double_scan() - 1) < 1e-4
    plain = cpu_seconds(plain_double_scan, 50)
    scan = cpu_seconds(lambda: estimate(COUNTS, SOURCE, SOURCE, Security()), 50)
    program = cpu_seconds(
        lambda: estimate(COUNTS, SOURCE, SOURCE, Security(), Analysis(method="tangent_lp")), 5
    )
    print(  # noqa: T201
        f"\nplain scan {plain * 1e3:.3f} ms; certified scan {scan * 1e3:.3f} ms, "
        f"{scan / plain:.1f} times; linear programs {program * 1e3:.1f} ms, "
        f"{program / plain:.0f} times (reference 83)"
    )
    assert scan < 10 * plain
    assert program < 300 * plain


def test_the_certificate_against_a_double_scan():
    """The reference program evaluates in 0.016 ms, a 38th of its scan, and designs in 0.2 s."""
    certificate = Analysis(method="certificate")
    frozen = prepared(COUNTS, SOURCE, SOURCE, Security(), certificate)
    counts = Counts(
        10**12, {c: round(n) for c, n in N.items()}, {c: round(m) for c, m in M.items()}
    )

    def evaluated():
        return certified_estimate(
            counts,
            frozen.design,
            Security(),
            159_483_751,
            alice=SOURCE,
            bob=SOURCE,
            frozen_digest=frozen.digest,
        )

    assert evaluated().key_length_bits / 1e12 > 1.8e-4
    scan = cpu_seconds(lambda: estimate(COUNTS, SOURCE, SOURCE, Security()), 20)
    evaluation = cpu_seconds(evaluated, 200)
    search = cpu_seconds(
        lambda: designed_key_bits(COUNTS, SOURCE, SOURCE, Security(), certificate), 3
    )
    design = cpu_seconds(lambda: prepared(COUNTS, SOURCE, SOURCE, Security(), certificate), 3)
    print(  # noqa: T201
        f"\nevaluation {evaluation * 1e6:.0f} us, a {scan / evaluation:.0f}th of a scan; "
        f"one step of a search {search * 1e3:.1f} ms, checked design {design * 1e3:.0f} ms, "
        f"{design / scan:.0f} scans (reference 333)"
    )
    assert evaluation < 0.2 * scan
    assert design < 333 * scan
