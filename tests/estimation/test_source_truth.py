"""Sources within declared bounds: the bounds hold for every truth inside, drawn or adversarial."""

import itertools
import math
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from mdiqkd_net.blocks import CATEGORIES, Counts
from mdiqkd_net.estimation import decoy
from mdiqkd_net.estimation.accounting import private_bits
from mdiqkd_net.estimation.asymptotic import (
    z_single_photon_pairs,
    z_single_photon_pairs_upper,
)
from mdiqkd_net.estimation.boxes import observations
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.methods import METHODS, Case
from mdiqkd_net.estimation.tails import TAILS, Tail
from mdiqkd_net.estimation.tangent_lp import tangent_lp
from mdiqkd_net.params import Security, Setting, Source, SourceBounds

N_MAX = 8
USED = tuple(c for c in CATEGORIES if "z" not in c)
FALSE_ALARM = 1e-9


@dataclass
class Group:
    """A share of the pulse pairs: what the sources emit in it, and what Eve does with it.

    `alice` and `bob` are mean photon numbers of o, x, y, z; `y` and `e` are yields and error rates
    by photon numbers. She lets stray pairs of category c succeed with probability `stray_y[c]`.
    """

    share: float
    alice: dict[str, float]
    bob: dict[str, float]
    y: np.ndarray
    e: np.ndarray

    def __post_init__(self):
        self.e = self.e.copy()
        self.e[0, :] = self.e[:, 0] = 0.5


@dataclass
class Truth:
    """A block within the declared bounds whose single photons are known."""

    sources: tuple[Source, Source]
    groups: list[Group]
    stray_y: dict[str, float]
    stray_e: float = 0.0

    def photons(self, user, mean, letter):
        """Of pulses that are not stray, and how many are: shape (N_MAX + 1,), and a number."""
        bounds = self.sources[user].bounds
        clean = 1.0 - bounds.phase_nonuniformity
        weights = [math.exp(-mean) * mean**n / math.factorial(n) for n in range(N_MAX + 1)]
        if letter == "o" and bounds.vacuum_light == "any":
            weights[1:] = [0.0] * N_MAX
            return clean * np.array(weights), 1.0 - clean * math.exp(-mean)
        return clean * np.array(weights), 1.0 - clean

    def parts(self, category):
        """For each group: events by photon numbers, then stray ones, per pair of the category."""
        found = []
        for g in self.groups:
            a, b = category
            (first, stray_a), (second, stray_b) = (
                self.photons(0, g.alice[a], a),
                self.photons(1, g.bob[b], b),
            )
            stray = 1.0 - (1.0 - stray_a) * (1.0 - stray_b)
            found.append(
                (g.share * np.outer(first, second) * g.y, g.share * stray * self.stray_y[category])
            )
        return found

    def pairs(self, category, n_pulses):
        i, j = "oxyz".index(category[0]), "oxyz".index(category[1])
        return n_pulses * self.sources[0].probabilities[i] * self.sources[1].probabilities[j]

    def expected(self, n_pulses):
        n, m = {}, {}
        for c in (*USED, "zz"):
            pairs = self.pairs(c, n_pulses)
            n[c] = m[c] = 0.0
            for g, (seen, stray) in zip(self.groups, self.parts(c), strict=True):
                n[c] += pairs * float(seen.sum() + stray)
                m[c] += pairs * float((seen * g.e).sum() + self.stray_e * stray)
        return Tallies(n_pulses, n, m)

    def draw(self, n_pulses, rng):
        """Counts of one block, and its single-photon pairs and phase errors of basis z."""
        n, m = {}, {}
        n11 = k = 0
        for c in (*USED, "zz"):
            n[c] = m[c] = 0
            for g, (seen, stray) in zip(self.groups, self.parts(c), strict=True):
                drawn = rng.poisson(self.pairs(c, n_pulses) * seen)
                lost = int(rng.poisson(self.pairs(c, n_pulses) * stray))
                n[c] += int(drawn.sum()) + lost
                m[c] += int(rng.binomial(drawn, g.e).sum() + rng.binomial(lost, self.stray_e))
                if c == "zz":
                    n11 += int(drawn[1, 1])
                    k += int(rng.binomial(drawn[1, 1], g.e[1, 1]))
        return Counts(n_pulses, n, m), n11, k

    def single(self):
        """Yield of single-photon pairs that are not stray and its wrong part, averaged."""
        clean = math.prod(1.0 - s.bounds.phase_nonuniformity for s in self.sources)
        y11 = sum(g.share * g.y[1, 1] for g in self.groups)
        return clean * y11, clean * sum(g.share * g.y[1, 1] * g.e[1, 1] for g in self.groups)

    def z_pairs(self, n_pulses):
        """Expected single-photon pairs of basis z, and phase errors among them."""
        pairs = self.pairs("zz", n_pulses)
        parts = self.parts("zz")
        n11 = sum(pairs * seen[1, 1] for seen, _ in parts)
        wrong = zip(self.groups, parts, strict=True)
        return n11, sum(pairs * seen[1, 1] * g.e[1, 1] for g, (seen, _) in wrong)


def source(x=0.05, y=0.25, z=0.4, **bounds):
    return Source(
        x=Setting(x, 0.4), y=Setting(y, 0.15), z=Setting(z, 0.4), bounds=SourceBounds(**bounds)
    )


def intensities(declared, where):
    """Mean photon numbers at places 0 to 1 of the intervals of o, x, y, z."""
    return {
        letter: low + at * (high - low)
        for letter, (low, high), at in zip("oxyz", declared.intensity_intervals, where, strict=True)
    }


SPREAD = st.sampled_from([0.0, 0.001, 0.03, 0.1])
BOUNDS = st.fixed_dictionaries(
    {
        "x_relative": SPREAD,
        "y_relative": SPREAD,
        "z_relative": SPREAD,
        "vacuum_intensity": st.sampled_from([0.0, 1e-6, 1e-3, 0.004]),
        "vacuum_light": st.sampled_from(["any", "x"]),
        "phase_nonuniformity": st.sampled_from([0.0, 0.0, 1e-6, 1e-2]),
    }
)
INTENSITIES = st.tuples(st.floats(0.006, 0.2), st.floats(1.4, 4.0), st.floats(0.05, 0.8))
CORNER = st.tuples(*[st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0)] * 4)


@st.composite
def truths(draw):
    """Up to three kinds of pulses; Eve tells them apart and treats each as she likes."""
    users = []
    for _ in range(2):
        (x, ratio, z), bounds = draw(INTENSITIES), draw(BOUNDS)
        users.append(source(x, x * ratio, z, **bounds))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.integers(0, 5))
    n_groups = draw(st.integers(1, 3))
    size = (N_MAX + 1, N_MAX + 1)
    groups = [
        Group(
            1.0 / n_groups,
            intensities(users[0], draw(CORNER)),
            intensities(users[1], draw(CORNER)),
            10.0 ** -(spread * rng.random(size)) * (rng.random(size) < 0.6),
            rng.random(size),
        )
        for _ in range(n_groups)
    ]
    stray = {c: float(rng.integers(0, 2)) for c in (*USED, "zz")}
    return Truth(tuple(users), groups, stray, float(rng.random()))


@settings(max_examples=150, deadline=None)
@given(truth=truths())
def test_exact_gains_never_promise_too_much(truth):
    """For any intensities inside and any yields, H and M are inside, and the bounds hold there."""
    tallies = truth.expected(1e12)
    if decoy.faults(tallies, *truth.sources):
        return
    area = decoy.region(tallies, *truth.sources, beta=None)
    h = m = 0.0
    for g, (seen, _) in zip(truth.groups, truth.parts("xx"), strict=True):
        h += float(seen[0, :].sum() + seen[1:, 0].sum())
        m += float((seen * g.e).sum())
    rounding = 1e-12 * (h + m)
    assert area.h_lower <= h + rounding
    assert h <= area.h_upper + rounding
    assert area.m_lower <= m + rounding
    assert m <= area.m_upper + rounding
    y11, wrong = truth.single()
    rounding = 1e-12 * (abs(area.base) + area.weight) / area.denominator
    assert area.s11(m - h) <= y11 + rounding
    assert area.error_yield(m, h) >= wrong * (1 - 1e-9) - 1e-12
    n11, k = truth.z_pairs(1e12)
    assert z_single_photon_pairs(tallies, *truth.sources) * y11 <= n11 * (1 + 1e-9)
    assert z_single_photon_pairs_upper(tallies, *truth.sources) * wrong >= k * (1 - 1e-9)


@pytest.mark.parametrize("swapped", [False, True])
def test_at_the_worst_corner_the_bound_is_exact(swapped):
    """x at its brightest, y at its dimmest: pairs of one and two photons are removed exactly."""
    users = (
        source(x=0.04, x_relative=0.1, y_relative=0.05),
        source(x=0.06, x_relative=0.03, y_relative=0.1),
    )
    where = (0.0, 1.0, 0.0, 0.5)  # of o, x, y, z
    y = np.zeros((N_MAX + 1,) * 2)
    y[1, 1], y[1, 2] = 1e-3, 0.5
    if swapped:
        users, y = users[::-1], y.T
    for other in (0.0, 0.5):
        y[(1, 2) if swapped else (2, 1)] = other
        group = Group(1.0, *(intensities(user, where) for user in users), y, np.zeros_like(y))
        tallies = Truth(users, [group], dict.fromkeys((*USED, "zz"), 0.0)).expected(1e12)
        area = decoy.region(tallies, *users, beta=None)
        found = area.s11(area.m_upper - area.h_upper)
        assert found == pytest.approx(1e-3, rel=1e-9) if other == 0.0 else found < 1e-3


def test_at_its_worst_corner_the_vacuum_part_is_exact():
    """o at its brightest shows least of the vacuum part, x at its dimmest has most of it."""
    users = (source(x_relative=0.1, vacuum_intensity=0.02), source(x=0.1, vacuum_intensity=0.01))
    y = np.zeros((N_MAX + 1,) * 2)
    y[0, 1:] = y[1:, 0] = 1e-3
    where = (1.0, 0.0, 0.5, 0.5)  # of o, x, y, z
    group = Group(1.0, *(intensities(user, where) for user in users), y, np.zeros_like(y))
    truth = Truth(users, [group], dict.fromkeys((*USED, "zz"), 0.0))
    ((seen, _),) = truth.parts("xx")
    found = decoy.region(truth.expected(1e12), *users, beta=None)
    assert found.h_upper == pytest.approx(float(seen.sum()), rel=1e-9)


EXACT = Tail(lower=lambda x, _: x * (1 - 1e-9), upper=lambda x, _: x * (1 + 1e-9) + 1e-6, source="")


def program_bits(truth, tallies):
    return tangent_lp(
        observations(tallies, *truth.sources),
        z_pairs=z_single_photon_pairs(tallies, *truth.sources),
        z_pairs_upper=z_single_photon_pairs_upper(tallies, *truth.sources),
        n_zz=tallies.n["zz"],
        tail=EXACT,
        beta=1e-9,
    ).private_bits


def test_wrong_pairs_may_come_from_dimmer_pulses_than_right_ones():
    """Eve lets right pairs pass where x and y are bright, and wrong ones where they are dim."""
    users = (source(x_relative=0.2, y_relative=0.02), source(x_relative=0.2, y_relative=0.02))
    groups = []
    for at, y11, e11 in ((1.0, 0.05, 0.0), (0.0, 0.005, 1.0)):
        y = np.zeros((N_MAX + 1,) * 2)
        y[1, 1] = y11
        tables = [intensities(user, (0.0, at, at, 0.5)) for user in users]
        groups.append(Group(0.5, *tables, y, np.full_like(y, e11)))
    truth = Truth(users, groups, dict.fromkeys((*USED, "zz"), 0.0))
    found = program_bits(truth, truth.expected(1e12))
    assert 0.8 * private_bits(*truth.z_pairs(1e12)) < found <= private_bits(*truth.z_pairs(1e12))


@settings(max_examples=50, deadline=None)
@given(truth=truths())
def test_linear_programs_with_exact_gains_never_promise_too_much(truth):
    """The program works without the decoy formula; the truth is a point of it, hence above."""
    tallies = truth.expected(1e12)
    if decoy.faults(tallies, *truth.sources):
        return
    found = program_bits(truth, tallies)
    assert found <= private_bits(*truth.z_pairs(1e12)) * (1 + 1e-6)


# --- drawn blocks ---------------------------------------------------------------------------------


def tight():
    """Only classes for which the decoy bounds are exact."""
    y, e = np.zeros((N_MAX + 1,) * 2), np.zeros((N_MAX + 1,) * 2)
    y[1, 1], e[1, 1] = 0.05, 0.05
    y[1, 2] = y[2, 1] = 0.05
    y[0, :] = y[:, 0] = 1e-4
    return y, e


def corner(where, stray=("oy", "yo"), **bounds):
    """All pulses at one corner; Eve has stray pulses of some categories succeed, without errors."""
    users = (source(**bounds), source(**bounds))
    group = Group(1.0, intensities(users[0], where), intensities(users[1], where), *tight())
    return Truth(users, [group], {c: float(c in stray) for c in (*USED, "zz")})


def every_corner(**bounds):
    """Pulses at all corners alike, and each corner's yields at Eve's whim."""
    users, (y, e) = (source(**bounds), source(**bounds)), tight()
    rng = np.random.default_rng(7)
    groups = [
        Group(
            1 / 8,
            intensities(users[0], where),
            intensities(users[1], rng.integers(0, 2, 4)),
            y * rng.uniform(0.8, 1.2),
            e,
        )
        for where in list(itertools.product((0.0, 1.0), repeat=4))[::2]
    ]
    return Truth(users, groups, dict.fromkeys((*USED, "zz"), 0.0))


def random_pulses(**bounds):
    """Intensities at random within the intervals, from pulse to pulse."""
    users, rng = (source(**bounds), source(**bounds)), np.random.default_rng(8)
    groups = [
        Group(
            1 / 6,
            intensities(users[0], rng.random(4)),
            intensities(users[1], rng.random(4)),
            *tight(),
        )
        for _ in range(6)
    ]
    return Truth(users, groups, dict.fromkeys((*USED, "zz"), 0.5))


SPREADS = {"x_relative": 0.02, "y_relative": 0.02, "z_relative": 0.02}
STRAY_VACUUM = {"vacuum_intensity": 3e-4}
X_VACUUM = {"vacuum_intensity": 2e-3, "vacuum_light": "x"}
PHASES = {"phase_nonuniformity": 2e-6}
WORST = (1.0, 1.0, 0.0, 0.0)  # o and x as bright as they may be, y and z as dim
BRIGHT_TESTS = (1.0, 1.0, 1.0, 0.0)  # yields look greater than they are for z
CASES = {
    "bright tests": corner(BRIGHT_TESTS, **SPREADS),
    "intensities at a corner": corner(WORST, **SPREADS),
    "intensities at every corner": every_corner(**SPREADS, **X_VACUUM),
    "intensities at random": random_pulses(**SPREADS, **STRAY_VACUUM),
    "stray light in o": corner(WORST, **STRAY_VACUUM),
    "x light in o": corner(WORST, **X_VACUUM),
    "phases": corner(WORST, stray=("xx",), **PHASES),
}


def bits_of(counts, users, method, tail, p_fail):
    case = Case(counts, *users, Security())
    beta = math.log(sum(METHODS[method].events(case).values()) / p_fail)
    return METHODS[method].bound(case, TAILS[tail], beta).private_bits


def overestimates(truth, users, method, tail, p_fail, n_blocks, seed=20240701):
    rng = np.random.default_rng(seed)
    keys = wrong = 0
    for _ in range(n_blocks):
        counts, n11, k = truth.draw(10**12, rng)
        found = bits_of(counts, users, method, tail, p_fail)
        keys += found > 0
        wrong += found > private_bits(n11, k)
    return keys, wrong


@pytest.mark.parametrize(
    ("method", "tail", "n_blocks"),
    [("double_scan", "poisson", 60), ("tangent_lp", "poisson", 8)],
)
@pytest.mark.parametrize("case", CASES)
def test_blocks_are_overestimated_no_more_often_than_agreed(case, method, tail, n_blocks):
    """P_fail = 1e-2; a correct engine fails with probability below 1e-9."""
    truth = CASES[case]
    keys, wrong = overestimates(truth, truth.sources, method, tail, 1e-2, n_blocks)
    assert keys > n_blocks / 2
    assert binomtest(wrong, n_blocks, 1e-2, alternative="greater").pvalue > FALSE_ALARM


BLIND = [
    *itertools.product(("bright tests", "x light in o", "phases"), ("double_scan", "tangent_lp")),
    ("intensities at every corner", "double_scan"),
    ("stray light in o", "double_scan"),
]


@pytest.mark.parametrize(("case", "method"), BLIND)
def test_without_the_bounds_the_same_blocks_would_be_overestimated(case, method):
    """The tests above can fail: an ideal source is believed, and nearly every block is wrong."""
    truth, n_blocks = CASES[case], 8
    ideal = tuple(msgspec.structs.replace(s, bounds=SourceBounds()) for s in truth.sources)
    keys, wrong = overestimates(truth, ideal, method, "chernoff", 1e-2, n_blocks)
    assert keys == n_blocks
    assert binomtest(wrong, n_blocks, 1e-2, alternative="greater").pvalue < FALSE_ALARM
