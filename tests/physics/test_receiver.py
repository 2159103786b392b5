"""Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, chisquare, expon, kstest, poisson

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics import _kernels
from mdiqkd_net.physics.receiver import (
    FLIPPED,
    detect,
    draw_candidates,
    generator_state,
    pair_tables,
)

FALSE_ALARM = 1e-6
BOTH_BINS = [p for p in range(16) if p & 3 and p & 12]
PSI_MINUS_PATTERNS = [EARLY_0 | LATE_1, EARLY_1 | LATE_0]
PSI_PLUS_PATTERNS = [EARLY_0 | LATE_0, EARLY_1 | LATE_1]


def params(efficiency=0.8, dark=2e-8, misalignment=0.0, overlap=0.99):
    return ReceiverParams(
        efficiency=efficiency,
        dark_probability=dark,
        misalignment=misalignment,
        mode_overlap=overlap,
    )


def amplitudes(x: float, y: float, z: float):
    plus, minus = np.array([1, 1]) / math.sqrt(2), np.array([1, -1]) / math.sqrt(2)
    rows = [0 * plus]
    rows += [math.sqrt(x) * plus, math.sqrt(x) * minus, math.sqrt(y) * plus, math.sqrt(y) * minus]
    rows += [math.sqrt(z) * np.array([1, 0]), math.sqrt(z) * np.array([0, 1])]
    return np.array(rows, dtype=np.complex128)


def arbitrary(seed: int):
    """Amplitudes of any size and phase: states that no protocol uses, for the interference."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(7, 2)) + 1j * rng.normal(size=(7, 2))


USUAL = amplitudes(0.08, 0.30, 0.45)
LINKS = {
    "20 dB": (params(), (0.1, 0.1), (USUAL, USUAL)),
    "unequal arms": (
        params(0.65, 8e-5, 0.005, 0.96),
        (0.5, 0.02),
        (amplitudes(0.02, 0.1, 0.4), amplitudes(0.2, 0.9, 0.5)),
    ),
    "misaligned, dark, dull": (params(0.3, 1e-2, 0.1, 0.9), (0.7, 0.6), (USUAL, USUAL)),
    "bright": (params(0.9, 1e-3, 0.03, 0.9), (0.9, 0.5), (10 * USUAL, 4 * USUAL)),
    "any amplitudes": (params(0.8, 1e-4, 0.02, 0.7), (0.6, 0.3), (arbitrary(1), arbitrary(2))),
    "no interference": (params(overlap=0.0), (0.3, 0.3), (USUAL, USUAL)),
    "darks only": (params(dark=3e-3), (0.1, 0.1), (0 * USUAL, 0 * USUAL)),
}


def oracle(receiver, transmittances, light, n_phases=128):
    """Chance of each of the 16 click patterns per pair of states, (7, 7, 16), by integration."""
    patterns = np.zeros((7, 7, 16))
    alice, bob = (table * math.sqrt(t) for table, t in zip(light, transmittances, strict=True))
    phases = np.exp(2j * np.pi * (np.arange(n_phases) + 0.37) / n_phases)
    for a, b in itertools.product(range(7), range(7)):
        no_click = {}
        for m, s in itertools.product(range(2), range(2)):
            # The part of Bob's light in Alice's mode interferes, the rest adds its photons.
            same = math.sqrt(receiver.mode_overlap) * bob[b, m] * phases * (-1) ** s
            other = (1 - receiver.mode_overlap) * abs(bob[b, m]) ** 2
            photons = (np.abs(alice[a, m] + same) ** 2 + other) / 2
            silence = np.exp(-receiver.efficiency * photons)
            no_click[2 * m + s] = (1 - receiver.dark_probability) * silence
        for pattern in range(16):
            chance = np.ones(n_phases)
            for k in range(4):
                chance *= 1 - no_click[k] if pattern >> k & 1 else no_click[k]
            patterns[a, b, pattern] = chance.mean()
    e_d = receiver.misalignment
    return (1 - e_d) * patterns + e_d * patterns[:, [0, 2, 1, 4, 3, 6, 5]]


def simulate(link, n_pulses, seed, states_of):
    """Events per pair of states and pattern, (7, 7, 16); `states_of(rng, n)` makes the settings."""
    receiver, transmittances, light = link
    tables = pair_tables(receiver=receiver, transmittances=transmittances, light=light)
    rng = np.random.default_rng(seed)
    drawing, detecting = map(generator_state, np.random.SeedSequence(seed).spawn(2))
    counts = np.zeros(7 * 7 * 16, dtype=np.int64)
    at = 0
    while at < n_pulses:
        pulses, at = draw_candidates(
            tables, drawing, position=at, n_pulses=n_pulses, max_candidates=50_000
        )
        alice, bob = states_of(rng, pulses.size)
        clicked, patterns = detect(tables, detecting, pulses, alice, bob)
        index = np.searchsorted(pulses, clicked)
        cells = (7 * alice[index].astype(int) + bob[index]) * 16 + patterns
        counts += np.bincount(cells, minlength=counts.size)
    return counts.reshape(7, 7, 16)


def uniform_states(rng, n):
    return rng.integers(0, 7, n, dtype=np.uint8), rng.integers(0, 7, n, dtype=np.uint8)


def fit(counts, expected, n_pulses, least=25.0):
    """P-value of event counts against expectations.

    Cells with less than `least` are pooled, and the pool joins the pulses without an event if it
    stays below `least` itself.
    """
    assert not counts[expected == 0].any()
    large = expected >= least
    observed, mean = counts[large].tolist(), expected[large].tolist()
    pool = expected[~large].sum()
    if pool >= least:
        observed.append(counts[~large].sum())
        mean.append(pool)
    observed.append(n_pulses - sum(observed))
    mean.append(n_pulses - sum(mean))
    return chisquare(observed, mean).pvalue, len(mean)


@pytest.mark.parametrize("name", LINKS)
def test_events_follow_the_closed_form(name):
    link = LINKS[name]
    chances = oracle(*link)[..., BOTH_BINS]
    n_pulses = int(1e6 / chances.mean() / 9)
    counts = simulate(link, n_pulses, seed=11, states_of=uniform_states)
    assert counts.sum() == counts[..., BOTH_BINS].sum()
    p_value, n_cells = fit(counts[..., BOTH_BINS], n_pulses / 49 * chances, n_pulses)
    assert n_cells > 90
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("name", LINKS)
def test_chance_of_both_bins_needs_no_phase(name):
    receiver, transmittances, light = LINKS[name]
    tables = pair_tables(receiver=receiver, transmittances=transmittances, light=light)
    sums = oracle(*LINKS[name])[..., BOTH_BINS].sum(axis=-1)
    np.testing.assert_allclose(
        (tables.accept[:, 1] * tables.bound).reshape(7, 7), sums, rtol=1e-9, atol=1e-15
    )
    assert tables.coincidence.max() == tables.bound
    assert tables.accept.max() <= 1.0 + 1e-12
    assert (tables.accept[:, 0] <= tables.accept[:, 1]).all()


def test_events_are_those_of_a_loop_over_every_pulse():
    """Two samples, one by a naive simulation of each pulse: chi-square of the whole table."""
    receiver, transmittances, light = link = LINKS["misaligned, dark, dull"]
    n = 3_000_000
    rng = np.random.default_rng(5)
    alice, bob = uniform_states(rng, n)
    flip = rng.random(n) < receiver.misalignment
    a = light[0][alice] * math.sqrt(transmittances[0])
    b = light[1][np.where(flip, FLIPPED[bob], bob)] * math.sqrt(transmittances[1])
    b *= np.exp(2j * np.pi * rng.random(n))[:, None]
    patterns = np.zeros(n, dtype=np.int64)
    for m, s in itertools.product(range(2), range(2)):
        same = np.abs(a[:, m] + (-1) ** s * math.sqrt(receiver.mode_overlap) * b[:, m]) ** 2
        photons = (same + (1 - receiver.mode_overlap) * np.abs(b[:, m]) ** 2) / 2
        light_clicks = rng.random(n) < -np.expm1(-receiver.efficiency * photons)
        clicks = light_clicks | (rng.random(n) < receiver.dark_probability)
        patterns |= clicks.astype(np.int64) << (2 * m + s)
    cells = (7 * alice.astype(int) + bob) * 16 + patterns
    naive = np.bincount(cells, minlength=49 * 16).reshape(7, 7, 16)[..., BOTH_BINS]
    fast = simulate(link, n, seed=6, states_of=uniform_states)[..., BOTH_BINS]
    frequent = naive + fast >= 50
    rows = [[*table[frequent], table[~frequent].sum(), n - table.sum()] for table in (naive, fast)]
    assert frequent.sum() > 90
    assert chi2_contingency(np.array(rows)).pvalue > FALSE_ALARM


@pytest.mark.parametrize("name", ["20 dB", "unequal arms", "misaligned, dark, dull"])
def test_bell_states_are_equally_frequent(name):
    """With states drawn uniformly, psi_minus and psi_plus differ by chance alone."""
    n_pulses = int(2e6 / oracle(*LINKS[name])[..., BOTH_BINS].mean() / 9)
    counts = simulate(LINKS[name], n_pulses, seed=3, states_of=uniform_states)
    minus = int(counts[..., PSI_MINUS_PATTERNS].sum())
    plus = int(counts[..., PSI_PLUS_PATTERNS].sum())
    assert binomtest(minus, minus + plus, 0.5).pvalue > FALSE_ALARM


@pytest.mark.parametrize("overlap", [1.0, 0.9, 0.0])
def test_x_error_of_weak_pulses_is_half_less_a_quarter_of_the_overlap(overlap):
    """Multi-photon pulses cost 25 % in x even at perfect interference (theory: 1/2 - M/4)."""
    weak = amplitudes(1e-3, 2e-3, 1e-3)
    link = (params(1.0, 0.0, 0.0, overlap), (1.0, 1.0), (weak, weak))

    def x_states(rng, n):
        return rng.integers(1, 3, n, dtype=np.uint8), rng.integers(1, 3, n, dtype=np.uint8)

    def errors_and_total(table):
        x_table = table[1:3, 1:3]
        minus = x_table[..., PSI_MINUS_PATTERNS].sum(axis=-1)
        plus = x_table[..., PSI_PLUS_PATTERNS].sum(axis=-1)
        return np.trace(minus) + plus.sum() - np.trace(plus), minus.sum() + plus.sum()

    wrong_chance, chance = errors_and_total(oracle(*link))
    # The limit of no light, up to a correction of the order of the intensity.
    assert wrong_chance / chance == pytest.approx(0.5 - overlap / 4, abs=1e-3)
    counts = simulate(link, 10**12, seed=8, states_of=x_states)
    wrong, total = errors_and_total(counts)
    assert total > 200_000
    assert binomtest(int(wrong), int(total), wrong_chance / chance).pvalue > FALSE_ALARM


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


def python_uniforms(state):
    return (float(word >> 11) * 2.0**-53 for word in python_words(state))


def test_generator_gives_the_published_sequence():
    """First outputs of xoshiro256++ from the state 1, 2, 3, 4, worked out by hand for two."""
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    got = [int(_kernels.next_word(state)) for _ in range(1000)]
    # (1 + 4) << 23, plus 1; then the state is 7, 0, 2^18 + 2, 6 << 45 and the sum rotates.
    assert got[0] == 5 * 2**23 + 1
    assert got[1] == ((7 + (6 << 45)) << 23) % 2**64 + ((7 + (6 << 45)) >> 41) + 7
    reference = python_words([1, 2, 3, 4])
    assert got == [next(reference) for _ in range(1000)]


def test_candidates_are_those_of_plain_python():
    state = generator_state(np.random.SeedSequence(1))
    uniforms = python_uniforms(state.copy())
    tables = pair_tables(**named("20 dB"))
    pulses, position = draw_candidates(
        tables, state, position=7, n_pulses=10**6, max_candidates=10**4
    )
    scale, expected, at = 1 / math.log1p(-tables.bound), [], 7
    while (at := at + math.floor(math.log(1.0 - next(uniforms)) * scale)) < 10**6:
        expected.append(at)
        at += 1
    assert pulses.tolist() == expected
    assert position == 10**6


def named(name):
    receiver, transmittances, light = LINKS[name]
    return {"receiver": receiver, "transmittances": transmittances, "light": light}


def python_detect(tables, state, pulses, alice, bob):
    """The definition of an event, candidate by candidate."""
    u = python_uniforms(state.copy())
    events = []
    for pulse, a, b in zip(pulses.tolist(), alice.tolist(), bob.tolist(), strict=True):
        pair, draw = 7 * a + b, next(u)
        if draw >= tables.accept[pair, 1]:
            continue
        if draw < tables.accept[pair, 0]:
            pair = 7 * a + int(FLIPPED[b])
        turn = 1 + 0j
        if tables.beat[pair].any():
            point = 0j
            while not 0 < abs(point) <= 1:
                point = complex(2 * next(u) - 1, 2 * next(u) - 1)
            turn = point**2 / abs(point) ** 2
        pattern = 0
        for m in range(2):
            swing = (tables.beat[pair, m] * turn).real
            photons = tables.base[pair, m] + np.array([swing, -swing])
            p = 1 - (1 - tables.dark) * np.exp(-photons)
            cuts = np.cumsum([(1 - p[0]) * p[1], p[0] * (1 - p[1]), p[0] * p[1]])
            pattern |= [2, 1, 3][int(np.searchsorted(cuts, next(u) * cuts[-1], "right"))] << 2 * m
        events.append((pulse, pattern))
    return events


@pytest.mark.parametrize("name", ["20 dB", "bright", "any amplitudes", "misaligned, dark, dull"])
def test_detections_are_those_of_plain_python(name):
    tables = pair_tables(**named(name))
    state = generator_state(np.random.SeedSequence(2))
    pulses = np.arange(3000) * 5
    alice, bob = uniform_states(np.random.default_rng(4), 3000)
    expected = python_detect(tables, state, pulses, alice, bob)
    clicked, patterns = detect(tables, state, pulses, alice, bob)
    assert len(expected) > 100
    assert list(zip(clicked.tolist(), patterns.tolist(), strict=True)) == expected


def bounded(p: float):
    """Tables whose bound is p: darks alone, p = (1 - (1 - d)^2)^2."""
    dark = math.sqrt(p) / (1 + math.sqrt(1 - math.sqrt(p)))  # 1 - sqrt(1 - sqrt(p)), precisely
    return pair_tables(
        receiver=params(dark=dark), transmittances=(0.5, 0.5), light=(0 * USUAL, 0 * USUAL)
    )


@pytest.mark.parametrize("p", [0.5, 0.05])
def test_gaps_are_geometric(p):
    tables = bounded(p)
    assert tables.bound == pytest.approx(p, rel=1e-12)
    n = 300_000
    state = generator_state(np.random.SeedSequence(9))
    pulses, _ = draw_candidates(tables, state, position=0, n_pulses=10**12, max_candidates=n)
    gaps = np.diff(pulses, prepend=-1)
    cut = int(math.log(50 / n) / math.log1p(-p))
    k = np.arange(1, cut + 1)
    mean = np.append(n * p * (1 - p) ** (k - 1), n * (1 - p) ** cut)
    observed = np.bincount(np.minimum(gaps, cut + 1), minlength=cut + 2)[1:]
    assert chisquare(observed, mean).pvalue > FALSE_ALARM


def test_candidates_are_rare_but_right_at_a_tiny_bound():
    tables = bounded(1e-9)
    state = generator_state(np.random.SeedSequence(10))
    n_pulses = 2**40
    pulses, position = draw_candidates(
        tables, state, position=0, n_pulses=n_pulses, max_candidates=10**5
    )
    mean = n_pulses * tables.bound
    assert position == n_pulses
    assert poisson.cdf(pulses.size, mean) > FALSE_ALARM
    assert poisson.sf(pulses.size - 1, mean) > FALSE_ALARM
    gaps = np.diff(pulses) * tables.bound
    assert kstest(gaps, expon.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("p", [1e-24, 1e-12, 0.0])
def test_gaps_beyond_the_segment_and_beyond_64_bits_end_it(p):
    tables = bounded(p)
    state = generator_state(np.random.SeedSequence(12))
    for _ in range(200):
        pulses, position = draw_candidates(
            tables, state, position=0, n_pulses=1000, max_candidates=10
        )
        assert pulses.size == 0
        assert position == 1000


def test_a_certain_bound_takes_every_pulse():
    tables = bounded(1.0)
    pulses, position = draw_candidates(
        tables,
        generator_state(np.random.SeedSequence(13)),
        position=3,
        n_pulses=10,
        max_candidates=7,
    )
    assert pulses.tolist() == list(range(3, 10))
    assert position == 10


def test_blinding_light_clicks_everywhere():
    dazzling = (1e3 * USUAL, 1e3 * USUAL)
    tables = pair_tables(receiver=params(overlap=0.5), transmittances=(1.0, 1.0), light=dazzling)
    three = np.full(100, 3, dtype=np.uint8)
    state = generator_state(np.random.SeedSequence(14))
    clicked, patterns = detect(tables, state, np.arange(100), three, three)
    assert clicked.tolist() == list(range(100))
    assert set(patterns.tolist()) == {15}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"transmittances": (1.2, 0.5)}, "transmittance of alice's arm: found 1.2; allowed: 0"),
        ({"transmittances": (0.2, math.nan)}, "transmittance of bob's arm: found nan"),
        ({"light": (USUAL, USUAL[:6])}, r"light of bob: found shape \(6, 2\)"),
        ({"light": (np.full((7, 2), np.inf), USUAL)}, "light of alice: found nan or infinity"),
        ({"receiver": params(misalignment=0.6)}, "misalignment: found 0.6; allowed: 0 to 0.5"),
        ({"receiver": params(overlap=-0.1)}, "mode_overlap: found -0.1"),
        ({"receiver": params(efficiency=2.0)}, "efficiency: found 2.0"),
        ({"detector": "cat"}, "detector: found 'cat'; allowed: threshold"),
    ],
)
def test_numbers_that_no_receiver_has_are_refused(change, word):
    with pytest.raises(DeviceError, match=word):
        pair_tables(**(named("20 dB") | change))
