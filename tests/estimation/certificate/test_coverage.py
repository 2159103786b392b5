"""How often the bound fails, at probabilities that can be measured.

The truth is known: events are drawn class by class, from a table that the code under test does not
use. A correct certificate fails each of these tests with probability below 1e-9.
"""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.evaluate import certified_bits

FALSE_ALARM = 1e-9
BLOCKS = 4000


def assert_at_most(failures, blocks, p_fail):
    assert binomtest(int(failures), blocks, p_fail, alternative="greater").pvalue > FALSE_ALARM


def bits(design, field):
    return getattr(design, field) / UNITS_PER_BIT


def drawn_surplus(table, announced, rng, blocks):
    """Sum of scores minus G for rounds of one class; shape (blocks,). Unused settings give 0."""
    p = np.append(table.q, max(0.0, table.total - table.q.sum())) / table.total
    events = rng.multinomial(announced, p / p.sum(), size=blocks)
    return events[:, :-1] @ (table.score - table.gain)


def tight(design, source, class_tables):
    """Classes that use up their constraint and whose factor fluctuates."""
    return [
        t
        for t in class_tables(design, source, source, 12)
        if t.excess > -1e-5 * max(1e-3, t.variance) and t.variance > 1e-9
    ]


@pytest.mark.parametrize("p_fail", [0.05, 0.01])
def test_no_single_class_breaks_the_bound(loose_designs, short_link, class_tables, p_fail):
    """Eve announces one class only, as often as suits her best.

    Without knowledge of settings she wins about Phi(-sqrt(2 ln(1/eps))): 0.72 % at 5 %.
    """
    design = loose_designs[p_fail]
    rng = np.random.default_rng(11)
    found = tight(design, short_link.source, class_tables)
    assert len(found) > 5
    rates = []
    for table in found:
        announced = round(2.0 * math.log(1.0 / p_fail) / table.variance)
        surplus = drawn_surplus(table, max(1, announced), rng, BLOCKS)
        failures = np.count_nonzero(surplus > bits(design, "offset"))
        assert_at_most(failures, BLOCKS, p_fail)
        rates.append(failures / BLOCKS)
    # The attack is a real one: a bound without the offset would fail in a third of the blocks.
    assert max(rates) > 0.03 * p_fail


@pytest.mark.parametrize("p_fail", [0.05, 0.01])
def test_no_mix_of_tight_classes_breaks_the_bound(loose_designs, short_link, class_tables, p_fail):
    design = loose_designs[p_fail]
    rng = np.random.default_rng(12)
    found = tight(design, short_link.source, class_tables)
    share = 2.0 * math.log(1.0 / p_fail) / len(found)
    surplus = sum(drawn_surplus(t, max(1, round(share / t.variance)), rng, BLOCKS) for t in found)
    failures = np.count_nonzero(surplus > bits(design, "offset"))
    assert_at_most(failures, BLOCKS, p_fail)
    mean = float(np.mean(np.exp(design.theta * surplus)))
    assert mean < 1.5  # E[M] <= 1; its spread over 4000 blocks is far below one half


@pytest.mark.parametrize("p_fail", [0.05, 0.01])
def test_an_adversary_who_learns_settings_and_stops_in_time_nearly_wins(
    loose_designs, short_link, class_tables, p_fail
):
    """Settings of announced rounds are disclosed; she stops as soon as the bound is broken.

    The worst that the theorem allows, and it is nearly attained: epsilon cannot be lowered.
    """
    design = loose_designs[p_fail]
    rng = np.random.default_rng(13)
    candidates = [t for t in tight(design, short_link.source, class_tables) if t.variance < 0.05]
    table = max(candidates, key=lambda t: t.excess)
    blocks, chunks = 2000, 300
    announced = max(1, round(0.06 / table.variance))
    surplus, lost = np.zeros(blocks), np.zeros(blocks, bool)
    for _ in range(chunks):
        surplus = surplus + drawn_surplus(table, announced, rng, blocks)
        lost |= surplus > bits(design, "offset")
    assert_at_most(np.count_nonzero(lost), blocks, p_fail)
    assert np.count_nonzero(lost) > 0.3 * p_fail * blocks


def honest_yield(n, m):
    return 0.5 * (1.0 - 0.3**n) * (1.0 - 0.3**m) + 1e-5


@pytest.mark.parametrize("p_fail", [0.05, 0.01])
def test_honest_blocks_through_the_public_function(loose_designs, short_link, class_tables, p_fail):
    """Counts drawn class by class; the bound on G is compared with G itself."""
    design, source = loose_designs[p_fail], short_link.source
    rng = np.random.default_rng(14)
    names = [c for c, _ in design.scores]
    zz = names.index("zz")
    blocks = 1500
    events = np.zeros((blocks, len(names)), np.int64)
    truth = np.zeros(blocks)
    for table in class_tables(design, source, source, 6):
        n, first, m, second, flag = table.name
        unit = emitted(source, n, first) * emitted(source, m, second) / table.total
        error = {"right": 0.98, "wrong": 0.02, "coin": 1.0}[flag] if (n, m) == (1, 1) else 0.5
        error = 1.0 if flag == "coin" else error
        mean = short_link.n_pulses * unit * honest_yield(n, m) * error * table.q
        drawn = rng.poisson(mean, size=(blocks, len(names)))
        events += drawn
        truth += drawn[:, zz] * table.gain[zz]
    failures = 0
    positive = 0
    for row, true_bits in zip(events, truth, strict=True):
        n, m = {}, {}
        for name, count in zip(names, row, strict=True):
            pair = name[:2]
            n[pair] = n.get(pair, 0) + int(count)
            if name.endswith("wrong"):
                m[pair] = int(count)
        bound, why = certified_bits(Counts(int(short_link.n_pulses), n, m), design)
        assert not why
        failures += bound > true_bits
        positive += bound > 0
    assert positive > 0.5 * blocks
    assert_at_most(failures, blocks, p_fail)


def emitted(source, n, basis):
    """Probability that a user emits n photons, in that basis from two up."""
    total = 0.0
    for letter, mu, p in zip("oxyz", source.intensities, source.probabilities, strict=True):
        if (n < 2 or letter in {"X": "xy", "Z": "z"}[basis]) and (mu > 0 or n == 0):
            total += p * math.exp(-mu) * mu**n / math.factorial(n)
    return total


def test_inflated_scores_would_be_noticed(loose_designs, short_link, class_tables):
    """The same attack on a bound without its offset fails in far more than 5 % of the blocks."""
    design = loose_designs[0.05]
    rng = np.random.default_rng(15)
    table = tight(design, short_link.source, class_tables)[0]
    announced = max(1, round(0.5 / table.variance))
    surplus = drawn_surplus(table, announced, rng, BLOCKS)
    failures = np.count_nonzero(surplus > 0.0)
    assert binomtest(failures, BLOCKS, 0.05, alternative="greater").pvalue < FALSE_ALARM
