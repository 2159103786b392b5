"""The limit of infinitely many pulses, against fixed numbers and an independent linear program."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar

from mdiqkd_net.estimation import tails
from mdiqkd_net.estimation.accounting import constant_bits, planned_leak_bits, tail_beta
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits, z_single_photon_pairs
from mdiqkd_net.estimation.decoy import Tallies, sent
from mdiqkd_net.estimation.engine import estimate
from mdiqkd_net.params import Security

N_MAX = 10


def linear_program(case, e, bounds, realised):
    """Least c1 n - c2 k of the z events over all yields that the counts allow.

    Unknowns are the right and the wrong yield of every pair of photon numbers up to ten, each in
    units of the largest value that a single gain permits; pairs with more photons are left to Eve
    by an inequality. Only one-category constraints are used: no nested sums, no decoy formula.
    """
    source, tallies = case.source, case.tallies
    weights = {
        letter: np.array([math.exp(-mu) * mu**n / math.factorial(n) for n in range(N_MAX + 1)])
        for letter, mu in zip("oxyz", source.intensities, strict=True)
    }
    rows = []  # coefficients over (flag, n, m), lower and upper gain
    for first in "oxy":
        for second in "oxy":
            category = first + second
            pairs = sent(tallies, source, source, category)
            part = np.outer(weights[first], weights[second])
            tail = max(0.0, 1.0 - part.sum())
            n, m = case.tallies.n[category], case.tallies.m[category]
            if "o" in category:
                flagged = [((part, part), n)]
            else:
                flagged = [((part, 0 * part), n - m), ((0 * part, part), m)]
            for coefficients, count in flagged:
                low, high = bounds(count)
                rows.append((np.array(coefficients), low / pairs - tail, high / pairs))
    # Right and wrong are fair coins where one user sent vacuum: one unknown for both.
    scale = np.full((2, N_MAX + 1, N_MAX + 1), np.inf)
    for coefficients, _, high in rows:
        with np.errstate(divide="ignore"):
            scale = np.minimum(scale, np.where(coefficients > 0, high / coefficients, np.inf))
    scale[:, 0, :] = scale[:, 0, :].min(axis=0)
    scale[:, :, 0] = scale[:, :, 0].min(axis=0)
    scale = np.minimum(scale, 1.0)
    upper_rows, upper = [], []
    for coefficients, low, high in rows:
        row = (coefficients * scale / high).ravel()
        upper_rows += [row, -row]
        upper += [1.0, -max(0.0, low) / high]
    equal_rows = []
    for n in range(N_MAX + 1):
        for m in range(N_MAX + 1):
            if n == 0 or m == 0:
                coin = np.zeros_like(scale)
                coin[0, n, m], coin[1, n, m] = 1.0, -1.0
                equal_rows.append(coin.ravel())
    c1, c2 = 1 + math.log2(1 - e), math.log2((1 - e) / e)
    cost = np.zeros_like(scale)
    cost[0, 1, 1], cost[1, 1, 1] = c1, c1 - c2
    unit = scale[0, 1, 1]
    solved = linprog(
        (cost * scale / unit).ravel(),
        A_ub=np.array(upper_rows),
        b_ub=np.array(upper),
        A_eq=np.array(equal_rows),
        b_eq=np.zeros(len(equal_rows)),
        bounds=(0.0, 1.0),
        method="highs",
    )
    assert solved.status == 0
    right, wrong = (solved.x.reshape(scale.shape) * scale)[:, 1, 1]
    pairs = z_single_photon_pairs(tallies, source, source)
    return realised(pairs * (right + wrong), pairs * wrong, c1, c2)


def best_linear_program(case, bounds, realised):
    found = minimize_scalar(
        lambda e: -linear_program(case, e, bounds, realised),
        bounds=(0.01, 0.2),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return -found.fun


def per_pulse(case, private, constant=0.0):
    leak = planned_leak_bits(case.tallies.n["zz"], case.tallies.m["zz"], 1.16)
    return (private - leak - constant) / case.tallies.n_pulses


def test_benchmark_asymptotic_rate(benchmark_case):
    source = benchmark_case.source
    bits = asymptotic_key_bits(benchmark_case.tallies, source, source, 1.16)
    assert bits / 1e12 == pytest.approx(2.1605e-4, abs=5.1e-9)


def test_linear_program_with_exact_gains_finds_what_is_known(benchmark_case):
    """All nine X categories, right and wrong: a little more than the analytic bounds."""
    private = best_linear_program(
        benchmark_case,
        lambda n: (n * (1 - 1e-9), n * (1 + 1e-9)),
        lambda n, k, c1, c2: c1 * n - c2 * k,
    )
    assert per_pulse(benchmark_case, private) == pytest.approx(2.3636e-4, rel=2e-3)


def test_linear_program_with_boxes_agrees_with_the_double_scan(benchmark_case):
    """An independent route to a finite key: boxes around every count instead of nested sums."""
    beta = tail_beta(Security())

    def realised(n, k, c1, c2):
        return c1 * tails.realised_lower(n, beta) - c2 * tails.realised_upper(k, beta)

    private = best_linear_program(
        benchmark_case,
        lambda n: (tails.expectation_lower(n, beta), tails.expectation_upper(n, beta)),
        realised,
    )
    by_program = per_pulse(benchmark_case, private, constant_bits(Security()))
    source = benchmark_case.source
    found = estimate(benchmark_case.tallies, source, source, Security())
    by_scan = found.key_length_bits / benchmark_case.tallies.n_pulses
    assert 0.97 * by_program < by_scan < 1.03 * by_program


def test_a_given_leak_replaces_the_planned_one(benchmark_case):
    source = benchmark_case.source
    free = asymptotic_key_bits(benchmark_case.tallies, source, source, 1.16, leak_ec_bits=0)
    paid = asymptotic_key_bits(benchmark_case.tallies, source, source, 1.16, leak_ec_bits=10**6)
    assert free - paid == pytest.approx(1e6)


def test_hopeless_or_impossible_data(benchmark_case):
    source = benchmark_case.source
    n, m = benchmark_case.tallies.n, benchmark_case.tallies.m
    noise = Tallies(1e12, n, {**m, "xx": n["xx"] / 2, "zz": n["zz"] / 2})
    assert asymptotic_key_bits(noise, source, source, 1.16) < 0
    impossible = Tallies(1e12, n, {**m, "xx": 2 * n["xx"]})
    assert asymptotic_key_bits(impossible, source, source, 1.16) == 0.0
