"""The generator, gaps and alias tables, each against plain Python or its distribution."""

import math

import numpy as np
import pytest
from light_checks import FALSE_ALARM
from scipy.stats import chisquare, expon, kstest

from mdiqkd_net.physics import _click_kernels, _kernels
from mdiqkd_net.physics.sampling import alias_tables, gap_scale, generator_state


def python_words(state):
    """xoshiro256++ in unbounded integers."""
    s = [int(word) for word in state]
    mask = 2**64 - 1

    def rotated(word, n):
        return ((word << n) | (word >> (64 - n))) & mask

    while True:
        yield (rotated((s[0] + s[3]) & mask, 23) + s[0]) & mask
        t = (s[1] << 17) & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotated(s[3], 45)


def seeded(seed):
    return generator_state(np.random.SeedSequence(seed))


def test_generator_gives_the_published_sequence():
    """First outputs of xoshiro256++ from the state 1, 2, 3, 4, worked out by hand for two."""
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    got = [int(_kernels.next_word(state)) for _ in range(1000)]
    # (1 + 4) << 23, plus 1; then the state is 7, 0, 2^18 + 2, 6 << 45 and the sum rotates.
    assert got[0] == 5 * 2**23 + 1
    assert got[1] == ((7 + (6 << 45)) << 23) % 2**64 + ((7 + (6 << 45)) >> 41) + 7
    reference = python_words([1, 2, 3, 4])
    assert got == [next(reference) for _ in range(1000)]


def gaps_of(p, n, seed):
    pulses = np.empty(n, dtype=np.int64)
    got, _ = _click_kernels.draw_candidates(
        seeded(seed), gap_scale(p), 0, 2**53, np.empty(n), pulses
    )
    assert got == n
    return np.diff(pulses, prepend=-1)


@pytest.mark.parametrize("p", [0.5, 0.05])
def test_gaps_are_geometric(p):
    n = 300_000
    gaps = gaps_of(p, n, 9)
    cut = int(math.log(50 / n) / math.log1p(-p))
    k = np.arange(1, cut + 1)
    mean = np.append(n * p * (1 - p) ** (k - 1), n * (1 - p) ** cut)
    observed = np.bincount(np.minimum(gaps, cut + 1), minlength=cut + 2)[1:]
    assert chisquare(observed, mean).pvalue > FALSE_ALARM


def test_gaps_at_a_tiny_chance_are_exponential():
    p = 1e-10
    assert kstest(gaps_of(p, 50_000, 10) * p, expon.cdf).pvalue > FALSE_ALARM


def test_a_chance_of_one_skips_nothing_and_of_zero_everything():
    assert (gaps_of(1.0, 1000, 11) == 1).all()
    pulses = np.empty(10, dtype=np.int64)
    drawn = np.empty(10)
    found = _click_kernels.draw_candidates(seeded(1), gap_scale(0.0), 3, 2**53, drawn, pulses)
    assert found == (0, 2**53)


def test_alias_tables_hold_the_chances_and_nothing_else():
    rng = np.random.default_rng(2)
    chances = rng.random((500, 16)) ** rng.integers(1, 40, (500, 1))
    chances[:, 3] = 0.0
    chances[0] = np.eye(16)[5]
    chances[1] = 1.0 / 16.0
    chances /= chances.sum(axis=1, keepdims=True)
    keep, other = alias_tables(chances)
    kept = np.clip(keep, 0.0, 1.0) / 16.0
    found = kept.copy()
    for row, alias, own in zip(found, other, kept, strict=True):
        np.add.at(row, alias, 1.0 / 16.0 - own)
    np.testing.assert_allclose(found, chances, atol=1e-15)
    assert (found[2:, 3] == 0.0).all()
    assert (found[0] > 0.0).sum() == 1
