"""One analysis of one block: measured, or expected of a link. Plain results, ready for JSON."""

import time
from typing import Any, Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits
from mdiqkd_net.estimation.counts_file import Measurement
from mdiqkd_net.estimation.decoy import Tallies, sent
from mdiqkd_net.estimation.engine import blocks_needed, eps_ledger, estimate
from mdiqkd_net.params import Link, Security, Source
from mdiqkd_net.physics import expected

Result = dict[str, Any]
"""Numbers, strings, and tables of them, under the names of docs/reference/keyrate.md."""

LIMIT: Final = "limit, not a key"
"""Verdict of a method that makes no finite-key statement."""


def expected_tallies(link: Link) -> Tallies:
    """Counts that a block on this link is expected to give."""
    return Tallies(
        n_pulses=link.n_pulses,
        n=expected.expected_counts(link),
        m=expected.expected_errors(link),
    )


def analyze(measured: Measurement, security: Security, analysis: Analysis) -> Result:
    """What measured counts are worth."""
    counts, alice, bob = measured.counts, measured.alice, measured.bob
    result = _estimated(counts, alice, bob, security, analysis)
    pairs = {category: sent(counts, alice, bob, category) for category in counts.n}
    rates = {c: m / counts.n[c] for c, m in counts.m.items() if counts.n.get(c, 0) > 0}
    return result | {
        "qber_z": rates.get("zz"),
        "qber_x": rates.get("xx"),
        "gains": {c: n / pairs[c] for c, n in counts.n.items() if pairs[c] > 0.0},
        "error_rates": rates,
        "counts": dict(counts.n),
        "errors": dict(counts.m),
    }


def predict(link: Link, analysis: Analysis) -> Result:
    """What the expected counts of a block on this link are worth."""
    tallies = expected_tallies(link)
    alice, bob = link.alice.source, link.bob.source
    result = _estimated(tallies, alice, bob, link.security, analysis)
    gains, error_gains = expected.gains(link), expected.error_gains(link)
    rates = {c: error_gains[c] / gain for c, gain in gains.items() if gain > 0.0}
    asymptotic = asymptotic_key_bits(tallies, alice, bob, link.f_ec)
    return result | {
        "qber_z": rates.get("zz"),
        "qber_x": rates.get("xx"),
        "gains": gains,
        "error_gains": error_gains,
        "error_rates": rates,
        "expected_counts": dict(tallies.n),
        "expected_errors": dict(tallies.m),
        "y11_true": expected.y11(link),
        "e11_true": expected.e11(link),
        "asymptotic_rate_per_pulse": max(0.0, asymptotic) / link.n_pulses,
        "infinite_decoy_rate_per_pulse": max(0.0, expected.infinite_decoy_rate(link)),
    }


def _estimated(
    counts: Counts | Tallies, alice: Source, bob: Source, security: Security, analysis: Analysis
) -> Result:
    if analysis.method == "tangent_lp":
        # `seconds` is the analysis, not the loading of a library.
        import scipy.optimize  # noqa: F401, PLC0415

    ledger = eps_ledger(counts, alice, bob, security, analysis)
    begun = time.perf_counter()
    found = estimate(counts, alice, bob, security, analysis)
    seconds = time.perf_counter() - begun
    return {
        "verdict": "no key" if found.reason else "key" if ledger.shares else LIMIT,
        "reason": found.reason,
        "key_length_bits": found.key_length_bits,
        "rate_per_pulse": found.key_length_bits / counts.n_pulses,
        "asymptotic_key_length_bits": found.asymptotic_key_length_bits,
        "data_factor_needed": blocks_needed(counts, alice, bob, security, analysis),
        "n_pulses": counts.n_pulses,
        "s11_lower": found.s11_lower,
        "e11_upper": found.e11_upper,
        "n11_lower": found.n11_lower,
        "phase_errors_upper": found.phase_errors_upper,
        "leak_ec_bits": found.leak_ec_bits,
        "constant_bits": found.constant_bits,
        "eps_sec": security.eps_sec,
        "eps_cor": security.eps_cor,
        "f_ec": security.f_ec,
        "method": analysis.method,
        "tail": analysis.tail,
        "accounting": analysis.accounting,
        "eps_ledger": ledger.as_dict(),
        "seconds": seconds,
    }
