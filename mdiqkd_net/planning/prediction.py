"""One analysis of one block: measured, or expected of a link. Plain results, ready for JSON."""

import time
from typing import Any, Final

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits
from mdiqkd_net.estimation.certificate.design import Design
from mdiqkd_net.estimation.certificate.search import design_certificate
from mdiqkd_net.estimation.counts_file import Measurement
from mdiqkd_net.estimation.decoy import Tallies, sent
from mdiqkd_net.estimation.engine import (
    blocks_needed,
    eps_ledger,
    estimate,
    in_words,
    more_light,
    predict_estimate,
)
from mdiqkd_net.params import Link, Security, Setting, Source
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.link_clicks import left_out
from mdiqkd_net.structs import plain
from mdiqkd_net.units import from_nano, to_nano

Result = dict[str, Any]
"""Numbers, strings, and tables of them, under the names of docs/reference/keyrate.md."""

KEY: Final = "key"
NO_KEY: Final = "no key"
LIMIT: Final = "limit, not a key"
"""Verdict of a method that makes no finite-key statement."""
NOT_FROZEN: Final = "not frozen, not a key"
"""Verdict of a design without a digest that was stored before the block."""


def expected_tallies(link: Link) -> Tallies:
    """Counts that a block on this link is expected to give."""
    return Tallies(
        n_pulses=link.n_pulses,
        n=expected.expected_counts(link),
        m=expected.expected_errors(link),
    )


def design_of(link: Link) -> Design:
    """The certificate's design for a block on this link, to be frozen before it.

    It is made for the settings as nodes send them, in whole multiples of 1e-9.

    Raises:
        ConfigError: None can be made: a source outside the scope of the proof, for one.
    """
    alice, bob = as_sent(link.alice.source), as_sent(link.bob.source)
    return design_certificate(expected_tallies(link), alice, bob, link.security)


def as_sent(source: Source) -> Source:
    """Settings as they travel between nodes, in whole multiples of 1e-9."""
    x, y, z = (
        Setting(from_nano(to_nano(s.intensity)), from_nano(to_nano(s.probability)))
        for s in (source.x, source.y, source.z)
    )
    return Source(x=x, y=y, z=z)


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
    gains, error_gains = expected.gains_and_errors(link)
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
        "left_out": left_out(link),
        "y11_true": expected.y11(link),
        "e11_true": expected.e11(link),
        "asymptotic_rate_per_pulse": max(0.0, asymptotic) / link.n_pulses,
        "infinite_decoy_rate_per_pulse": max(0.0, expected.infinite_decoy_rate(link)),
    }


def with_times(result: Result, pulse_rate_hz: float) -> Result:
    """The result and how much longer the same light would have to last for a key."""
    seconds = more_light(result["data_factor_needed"], result["n_pulses"], pulse_rate_hz)
    reason = result["reason"]
    if reason:
        reason = f"{reason}; {in_words(seconds)}"
    return result | {
        "reason": reason,
        "pulse_rate_hz": pulse_rate_hz,
        "seconds_more_needed": seconds,
    }


def _estimated(
    counts: Counts | Tallies, alice: Source, bob: Source, security: Security, analysis: Analysis
) -> Result:
    if analysis.method == "tangent_lp":
        # `seconds` is the analysis, not the loading of a library.
        import scipy.optimize  # noqa: F401, PLC0415

    ledger = eps_ledger(counts, alice, bob, security, analysis)
    judge = predict_estimate if isinstance(counts, Tallies) else estimate
    begun = time.perf_counter()
    found = judge(counts, alice, bob, security, analysis)
    seconds = time.perf_counter() - begun
    verdict = NO_KEY if found.reason else KEY if ledger.shares else LIMIT
    if verdict == KEY and found.analysis.design is not None and found.analysis.digest is None:
        verdict = NOT_FROZEN
    result: Result = {
        "verdict": verdict,
        "label": found.label,
        "reason": found.reason,
        "key_length_bits": found.key_length_bits,
        "rate_per_pulse": found.key_length_bits / counts.n_pulses,
        "asymptotic_key_length_bits": found.asymptotic_key_length_bits,
        "data_factor_needed": blocks_needed(counts, alice, bob, security, analysis),
        "n_pulses": counts.n_pulses,
        "private_bits": found.private_bits,
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
        "tail": analysis.tail if analysis.rules.uses_tails else None,
        "accounting": analysis.accounting if ledger.shares else None,
        "eps_ledger": ledger.as_dict(),
        "source_bounds": {"alice": plain(alice.bounds), "bob": plain(bob.bounds)},
        "seconds": seconds,
    }
    if analysis.rules.frozen:
        design = found.analysis.design
        result["design_sha256"] = None if design is None else design.digest()
        result["digest_given"] = analysis.digest is not None
    return result
