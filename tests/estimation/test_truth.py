"""Blocks whose truth is known: no method promises more key than there is, but as often as agreed.

Reconciliation is free here: the private bits alone are compared with the numbers that were drawn.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
from scipy.stats import binomtest

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.accounting import constant_bits, private_bits
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.asymptotic import asymptotic_key_bits, z_single_photon_pairs
from mdiqkd_net.estimation.boxes import observations
from mdiqkd_net.estimation.decoy import Tallies, region
from mdiqkd_net.estimation.double_scan import double_scan
from mdiqkd_net.estimation.engine import eps_ledger, estimate
from mdiqkd_net.estimation.tails import TAILS
from mdiqkd_net.estimation.tangent_lp import tangent_lp
from mdiqkd_net.params import Security, Setting, Source

LOOSE = Security(eps_sec=0.9)
P_FAIL = (0.9 / 4) ** 2
BLOCKS = 200
FALSE_ALARM = 1e-9


def source(x, y, z):
    return Source(x=Setting(x, 0.4), y=Setting(y, 0.15), z=Setting(z, 0.4))


def honest(n_max=8):
    """Every photon arrives with probability 0.1; three and more behave alike."""
    arrive = 1 - 0.9 ** np.arange(n_max + 1)
    y = np.outer(arrive, arrive) / 2 + 1e-7
    e = np.full_like(y, 0.25)
    e[1, 1] = 0.02
    return y, e


def tight():
    """Only classes for which the bounds are exact: nothing but fluctuations protects the key."""
    y, e = np.zeros((9, 9)), np.zeros((9, 9))
    y[1, 1], e[1, 1] = 0.05, 0.05
    y[1, 2] = y[2, 1] = 0.05
    return y, e


def tight_with_vacuum():
    y, e = tight()
    y[0, :] = y[:, 0] = 1e-4
    return y, e


def bright_pairs():
    """Eve favors multi-photon pulses and spoils single photons."""
    y, e = honest()
    y[2:, 2:] = 1.0
    y[1, 1] = 0.02
    e[1, 1] = 0.11
    return y, e


def starved():
    """So few events that zeros are common."""
    y, e = tight()
    y[0, :] = y[:, 0] = 1e-7
    return y / 50, e


MIXES = {
    "honest": honest,
    "tight": tight,
    "tight with vacuum": tight_with_vacuum,
    "bright pairs": bright_pairs,
    "starved": starved,
}
SETTINGS = {
    "symmetric": (source(0.05, 0.25, 0.4), source(0.05, 0.25, 0.4)),
    "asymmetric": (source(0.03, 0.3, 0.5), source(0.1, 0.35, 0.3)),
    "asymmetric, exchanged": (source(0.1, 0.35, 0.3), source(0.03, 0.3, 0.5)),
}


def everything(truth, alice, bob, n_pulses, rng):
    """A block with the categories xy and yx and errors of all, too."""
    counts, n11, phase_errors = truth.draw(alice, bob, n_pulses, rng)
    n, m = dict(counts.n), dict(counts.m)
    for category in ("xy", "yx", "yy"):
        i, j = "oxyz".index(category[0]), "oxyz".index(category[1])
        pairs = n_pulses * alice.probabilities[i] * bob.probabilities[j]
        drawn = rng.poisson(pairs * truth.parts(alice, bob, category))
        n[category], m[category] = int(drawn.sum()), int(rng.binomial(drawn, truth.e).sum())
    return Counts(n_pulses, n, m), n11, phase_errors


def overestimates(found_bits, n11, phase_errors):
    return found_bits > private_bits(n11, phase_errors) - constant_bits(LOOSE)


def failures(truth, users, n_blocks, seed, n_pulses=10**9, **choice):
    """How many of the blocks give a key, and how many give more than there is."""
    rng = np.random.default_rng(seed)
    keys = wrong = 0
    for _ in range(n_blocks):
        counts, n11, phase_errors = everything(truth, *users, n_pulses, rng)
        found = estimate(counts, *users, LOOSE, Analysis(**choice), leak_ec_bits=0)
        keys += found.key_length_bits > 0
        wrong += found.key_length_bits > 0 and overestimates(
            found.key_length_bits, n11, phase_errors
        )
    return keys, wrong


@pytest.mark.parametrize("settings_name", SETTINGS)
@pytest.mark.parametrize("mix", MIXES)
def test_double_scan(channel, mix, settings_name):
    """The statements behind a key may fail with probability P_FAIL = 5 %.

    A correct engine fails this test with probability below 1e-9.
    """
    keys, wrong = failures(channel(*MIXES[mix]()), SETTINGS[settings_name], BLOCKS, 20240611)
    assert keys > BLOCKS / 2
    assert binomtest(wrong, BLOCKS, P_FAIL, alternative="greater").pvalue > FALSE_ALARM


@pytest.mark.parametrize("tail", ["poisson", "closed"])
@pytest.mark.parametrize("mix", ["tight with vacuum", "starved"])
def test_double_scan_with_other_tails(channel, mix, tail):
    """As above."""
    keys, wrong = failures(
        channel(*MIXES[mix]()), SETTINGS["asymmetric"], BLOCKS, 20240618, tail=tail
    )
    assert keys > BLOCKS / 2
    assert binomtest(wrong, BLOCKS, P_FAIL, alternative="greater").pvalue > FALSE_ALARM


@pytest.mark.parametrize("mix", MIXES)
def test_linear_programs(channel, mix):
    """As above; the tightest tail, fewer blocks."""
    for settings_name in ("symmetric", "asymmetric"):
        users = SETTINGS[settings_name]
        keys, wrong = failures(
            channel(*MIXES[mix]()), users, 25, 20240613, method="tangent_lp", tail="poisson"
        )
        assert keys > 12, settings_name
        assert binomtest(wrong, 25, P_FAIL, alternative="greater").pvalue > FALSE_ALARM


# --- the channel for which the linear program is exact -------------------------------------------


def worst_channel(channel, users, honest_truth, e):
    """Yields with the gains of an honest channel and the least key: what a wise Eve would do.

    At such a channel the decoy bounds leave no slack at all, and nothing but the margins for
    fluctuations protects the key.
    """
    size = len(honest_truth.y)
    rows, gains = [], []
    for first, second in itertools.product((0, 1, 2), repeat=2):
        part = np.outer(
            honest_truth.photons(users[0].intensities[first]),
            honest_truth.photons(users[1].intensities[second]),
        )
        for right, wrong in ((1, 0), (0, 1)):
            yields = np.array([1 - honest_truth.e, honest_truth.e]) * honest_truth.y
            row = np.array([right * part, wrong * part])
            rows.append((row / (row * yields).sum()).ravel())
            gains.append(1.0)
    for n, m in itertools.product(range(size), repeat=2):
        if n == 0 or m == 0:
            tie = np.zeros((2, size, size))
            tie[0, n, m], tie[1, n, m] = 1.0, -1.0
            rows.append(tie.ravel())
            gains.append(0.0)
    cost = np.zeros((2, size, size))
    c1, c2 = 1 + math.log2(1 - e), math.log2((1 - e) / e)
    cost[0, 1, 1], cost[1, 1, 1] = c1, c1 - c2
    solved = scipy.optimize.linprog(
        cost.ravel(), A_eq=rows, b_eq=gains, bounds=(0.0, 0.5), method="highs"
    )
    assert solved.status == 0
    right, wrong = solved.x.reshape(2, size, size)
    y = right + wrong
    return channel(y, np.divide(wrong, y, out=np.full_like(y, 0.5), where=y > 0))


@pytest.fixture(scope="module")
def adversary(channel):
    return worst_channel(channel, SETTINGS["symmetric"], channel(*honest()), 0.05)


def test_the_adversary_does_better_than_the_honest_channel(adversary, channel):
    truth = channel(*honest())
    assert adversary.e11 > truth.e11
    assert adversary.y11 * adversary.e11 > truth.y11 * truth.e11
    users = SETTINGS["symmetric"]
    seen, expected = (t.expected(*users, 10**9) for t in (adversary, truth))
    for category, events in expected.n.items():
        if category != "zz":
            assert seen.n[category] == pytest.approx(events, rel=1e-5)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("method", ["double_scan", "tangent_lp"])
def test_the_adversary_wins_no_more_often_than_agreed(adversary, method, tail):
    n_blocks = 60
    keys, wrong = failures(
        adversary, SETTINGS["symmetric"], n_blocks, 20240614, method=method, tail=tail
    )
    assert keys > n_blocks / 2
    assert binomtest(wrong, n_blocks, P_FAIL, alternative="greater").pvalue > FALSE_ALARM


@pytest.mark.parametrize("method", ["double_scan", "tangent_lp"])
def test_linear_accounting_keeps_its_sum(adversary, method):
    """All shares of the tail bounds together are below eps_sec = 0.2."""
    users, security, n_blocks = SETTINGS["symmetric"], Security(eps_sec=0.2), 60
    rng = np.random.default_rng(20240615)
    wrong = 0
    for _ in range(n_blocks):
        counts, n11, phase_errors = everything(adversary, *users, 10**9, rng)
        found = estimate(
            counts, *users, security, Analysis(method=method, accounting="linear"), leak_ec_bits=0
        )
        bits = found.key_length_bits + found.constant_bits
        wrong += found.key_length_bits > 0 and bits > private_bits(n11, phase_errors)
    assert binomtest(wrong, n_blocks, 0.2, alternative="greater").pvalue > FALSE_ALARM


def private(method, counts, users, tail, beta):
    z_pairs = z_single_photon_pairs(counts, *users)
    if method == "tangent_lp":
        seen = observations(counts, *users)
        return tangent_lp(
            seen, z_pairs=z_pairs, n_zz=counts.n["zz"], tail=tail, beta=beta
        ).private_bits
    area = region(Tallies.of(counts), *users, beta, tail)
    return double_scan(area, z_pairs=z_pairs, n_zz=counts.n["zz"], beta=beta).private_bits


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("method", ["double_scan", "tangent_lp"])
def test_at_one_percent(adversary, method, tail):
    """P_fail = 1e-2, set through beta: fewer than the agreed share of blocks are overestimated."""
    users, n_blocks = SETTINGS["symmetric"], 60
    events = 15 if method == "double_scan" else 33
    beta = math.log(events / 1e-2)
    rng = np.random.default_rng(20240616)
    wrong = 0
    for _ in range(n_blocks):
        counts, n11, phase_errors = everything(adversary, *users, 10**9, rng)
        found = private(method, counts, users, TAILS[tail], beta)
        wrong += found > private_bits(n11, phase_errors)
    assert binomtest(wrong, n_blocks, 1e-2, alternative="greater").pvalue > FALSE_ALARM


def test_the_truth_tests_would_see_a_bound_without_margins(channel):
    """With the gains at face value, tight channels are overestimated in half of the blocks."""
    truth = channel(*tight())
    alice, bob = SETTINGS["symmetric"]
    rng = np.random.default_rng(20240612)
    wrong = 0
    for _ in range(200):
        counts, n11, phase_errors = truth.draw(alice, bob, 10**8, rng)
        bits = asymptotic_key_bits(counts, alice, bob, 1.16, leak_ec_bits=constant_bits(LOOSE))
        wrong += overestimates(bits, n11, phase_errors)
    assert binomtest(wrong, 200, P_FAIL, alternative="greater").pvalue < FALSE_ALARM


def test_events_that_the_truth_tests_assume(channel):
    users = SETTINGS["symmetric"]
    counts, _, _ = everything(channel(*honest()), *users, 10**6, np.random.default_rng(1))
    for method, events in (("double_scan", 15), ("tangent_lp", 33)):
        ledger = eps_ledger(counts, *users, LOOSE, Analysis(method=method))
        assert sum(s.times for s in ledger.shares if s.part == "statistics") == events


def test_drawn_blocks_have_the_expected_counts(channel):
    """Guards the simulation itself: 10 standard deviations of a Poisson mean are no chance."""
    truth = channel(*tight_with_vacuum())
    alice, bob = SETTINGS["asymmetric"]
    rng = np.random.default_rng(7)
    drawn = [truth.draw(alice, bob, 10**6, rng)[0] for _ in range(200)]
    for category, mean in truth.expected(alice, bob, 10**6).n.items():
        total = sum(c.n[category] for c in drawn)
        assert abs(total - 200 * mean) < 10 * math.sqrt(200 * mean) + 1
