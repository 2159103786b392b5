"""What sharper tail bounds for single sums could give a double scan: little, by exact limits."""

import math

import pytest
from scipy.special import gammainccinv, gammaincinv

from mdiqkd_net.estimation import decoy, tails
from mdiqkd_net.estimation.accounting import constant_bits, planned_leak_bits, tail_beta
from mdiqkd_net.estimation.asymptotic import z_single_photon_pairs
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.params import Security

GARWOOD = tails.Tail(
    lower=lambda x, beta: float(gammaincinv(x, math.exp(-beta))) if x > 0 else 0.0,
    upper=lambda x, beta: float(gammainccinv(x + 1.0, math.exp(-beta))),
    source="Garwood, Biometrika 28, 437 (1936)",
)


def rate(case, tail, n_events=15):
    source, tallies, security = case.source, case.tallies, Security()
    beta = tail_beta(security, n_events)
    found = double_scan(
        decoy.region(tallies, source, source, beta, tail),
        z_pairs=z_single_photon_pairs(tallies, source, source),
        n_zz=tallies.n["zz"],
        beta=beta,
    )
    leak = planned_leak_bits(tallies.n["zz"], tallies.m["zz"], 1.16)
    return (found.private_bits - leak - constant_bits(security)) / tallies.n_pulses


def test_exact_limits_give_little_more_than_chernoff(benchmark_case, monkeypatch):
    assert rate(benchmark_case, tails.CHERNOFF) == pytest.approx(1.41911e-4, rel=1e-5)
    assert rate(benchmark_case, GARWOOD) == pytest.approx(1.43841e-4, rel=1e-5)
    # No margin at all from expectations to realised numbers is more than any bound can give.
    monkeypatch.setattr(tails, "realised_lower", lambda mean, _: mean)
    monkeypatch.setattr(tails, "realised_upper", lambda mean, _: mean)
    assert rate(benchmark_case, GARWOOD) == pytest.approx(1.44268e-4, rel=1e-5)
    assert rate(benchmark_case, GARWOOD, n_events=1) == pytest.approx(1.46042e-4, rel=1e-5)
    assert rate(benchmark_case, GARWOOD, n_events=1) < 0.8 * 1.8608e-4  # the certificate
