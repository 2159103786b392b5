"""The linear programs: certified whatever the solver says, and as tight as another program."""

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.blocks import Counts
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation import boxes, tails, tangent_lp
from mdiqkd_net.estimation.asymptotic import z_single_photon_pairs
from mdiqkd_net.estimation.boxes import NoChannelError, Observation, observations
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.source_bounds import Light
from mdiqkd_net.estimation.tangent_lp import _Goal, _Program

TAIL = tails.TAILS["chernoff"]


def exactly(mean):
    return Light(mean, mean)


def solve(case, beta, tail=TAIL, names=None):
    source, tallies = case.source, case.tallies
    observed = observations(tallies, source, source)
    return tangent_lp.tangent_lp(
        [o for o in observed if names is None or o.category in names],
        z_pairs=z_single_photon_pairs(tallies, source, source),
        n_zz=tallies.n["zz"],
        tail=tail,
        beta=beta,
    )


def another_program(case, beta, e):
    """Least (1 + log2(1-e)) n - log2((1-e)/e) k with boxes alone, in plain yields.

    No tangent planes of the realised numbers, no scaling by category, another cutoff, right and
    wrong yields tied by equations; written for this test.
    """
    source, tallies, n_max = case.source, case.tallies, 11
    photons = {
        letter: np.array([math.exp(-mu) * mu**n / math.factorial(n) for n in range(n_max)])
        for letter, mu in zip("oxyz", source.intensities, strict=True)
    }
    p = dict(zip("oxyz", source.probabilities, strict=True))
    scale = 1e-3
    rows, limits = [], []
    for category in ("oo", "ox", "xo", "oy", "yo", "xx", "xy", "yx", "yy"):
        part = np.outer(photons[category[0]], photons[category[1]])
        pairs = tallies.n_pulses * p[category[0]] * p[category[1]]
        n, m = tallies.n[category], tallies.m[category]
        kinds = [(1, 1, n)] if "o" in category else [(1, 0, n - m), (0, 1, m)]
        for right, wrong, count in kinds:
            row = np.array([right * part, wrong * part]).ravel() * pairs
            size = tails.expectation_upper(count, beta)
            low = tails.expectation_lower(count, beta)
            rows += [row * scale / size, -row * scale / size]
            limits += [1.0, -low / size + 1e-9]
    equal = []
    for n in range(n_max):
        for m in range(n_max):
            if n == 0 or m == 0:
                tie = np.zeros((2, n_max, n_max))
                tie[0, n, m], tie[1, n, m] = 1.0, -1.0
                equal.append(tie.ravel())
    c1, c2 = 1 + math.log2(1 - e), math.log2((1 - e) / e)
    cost = np.zeros((2, n_max, n_max))
    cost[0, 1, 1], cost[1, 1, 1] = c1, c1 - c2
    found = scipy.optimize.linprog(
        cost.ravel(),
        A_ub=rows,
        b_ub=limits,
        A_eq=equal,
        b_eq=np.zeros(len(equal)),
        bounds=(0.0, 1.0 / scale),
        method="highs-ipm",
    )
    assert found.status == 0
    right, wrong = found.x.reshape(2, n_max, n_max)[:, 1, 1] * scale
    z_pairs = z_single_photon_pairs(tallies, source, source)
    pairs, errors = z_pairs * (right + wrong), z_pairs * wrong
    return c1 * tails.realised_lower(pairs, beta) - c2 * tails.realised_upper(errors, beta)


def test_boxes_alone_agree_with_another_program(benchmark_case, monkeypatch):
    monkeypatch.setattr(boxes, "SUMS", ())
    found = solve(benchmark_case, 51.5)
    e = found.phase_errors / found.n11
    other = another_program(benchmark_case, 51.5, e)
    # The other one assumes that no yield exceeds 1 and forgets eleven and more photons.
    assert found.private_bits <= other
    assert found.private_bits == pytest.approx(other, rel=1e-3)
    # Any other e gives less.
    assert another_program(benchmark_case, 51.5, 0.8 * e) < other
    assert another_program(benchmark_case, 51.5, 1.2 * e) < other


def test_sums_tighten_and_more_categories_do_not_hurt(benchmark_case, monkeypatch):
    """At the same beta; what the additional events cost is the engine's affair."""
    everything = solve(benchmark_case, 51.5).private_bits
    scanned = solve(benchmark_case, 51.5, names=("oo", "ox", "xo", "oy", "yo", "xx", "yy"))
    assert scanned.private_bits <= everything * (1 + 1e-6)
    monkeypatch.setattr(boxes, "SUMS", ())
    assert solve(benchmark_case, 51.5).private_bits < 0.97 * everything


def test_the_point_reported_belongs_to_the_bits(benchmark_case):
    found = solve(benchmark_case, 51.5)
    ratio = found.phase_errors / found.n11
    entropy = -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)
    assert found.private_bits == pytest.approx(found.n11 * (1 - entropy), rel=1e-5)
    assert found.private_bits <= found.n11 * (1 - entropy)


@pytest.mark.parametrize(
    "missing",
    [
        ("oo",),
        ("xy", "yx"),
        ("yy", "oy", "yo"),
        ("xx",),
        ("ox", "xo", "oy", "yo", "oo"),
        ("xx", "yy"),
    ],
)
def test_any_subset_of_categories_gives_a_bound(benchmark_case, missing):
    whole = solve(benchmark_case, 51.5).private_bits
    names = set(benchmark_case.tallies.n) - set(missing)
    assert 0.0 <= solve(benchmark_case, 51.5, names=names).private_bits <= whole * (1 + 1e-6)


def test_another_intensity_and_errors_unknown(benchmark_case):
    """More intensities than the protocol has, straight as observations, and fewer errors."""
    source, tallies = benchmark_case.source, benchmark_case.tallies
    observed = observations(tallies, source, source)
    z_pairs = z_single_photon_pairs(tallies, source, source)

    def bits(seen):
        return tangent_lp.tangent_lp(
            seen, z_pairs=z_pairs, n_zz=tallies.n["zz"], tail=TAIL, beta=51.5
        ).private_bits

    base = bits(observed)
    # A fifth intensity that saw nothing in many pulses: dark counts and two photons are rare.
    extra = Observation("dd", exactly(1e-4), exactly(1e-4), pairs=1e9, events=0.0, errors=0.0)
    assert bits([*observed, extra]) >= base * (1 - 1e-6)
    blind = [Observation(o.category, o.alice, o.bob, o.pairs, o.events) for o in observed]
    assert bits(blind) < base


def test_no_observation_no_key():
    found = tangent_lp.tangent_lp([], z_pairs=1e9, n_zz=1e6, tail=TAIL, beta=50.0)
    assert found.private_bits == 0.0


@pytest.mark.parametrize("means", [(0.0, 0.1, 101.0), tuple(0.1 * k for k in range(8))])
def test_intensities_out_of_scope(means):
    seen = [
        Observation(f"{mean}", exactly(mean), exactly(0.1), pairs=1e6, events=5e5) for mean in means
    ]
    with pytest.raises(ConfigError, match="allowed: 6, up to 100"):
        tangent_lp.tangent_lp(seen, z_pairs=1e9, n_zz=1e6, tail=TAIL, beta=50.0)


@pytest.mark.parametrize(
    ("lights", "words"),
    [
        ((Light(0.05, 0.11), Light(0.1, 0.2)), "intensities up to 0.11 beside 0.1"),
        ((Light(0.05, 0.05), Light(0.9, 1.1)), "intervals up to 1"),
    ],
)
def test_intervals_out_of_scope(lights, words):
    seen = [
        Observation(f"{i}", light, exactly(0.1), pairs=1e6, events=5e5)
        for i, light in enumerate(lights)
    ]
    with pytest.raises(ConfigError, match=f"Alice: .*{words}"):
        tangent_lp.tangent_lp(seen, z_pairs=1e9, n_zz=1e6, tail=TAIL, beta=50.0)


def test_categories_without_single_photon_pairs(benchmark_case):
    assert solve(benchmark_case, 51.5, names=("oo", "ox", "yo")).private_bits == 0.0


# --- the certificate of a bound, independent of the solver ---------------------------------------


def toy_observations(channel, seed, alice=(0.0, 0.05, 0.3), bob=(0.0, 0.08, 0.5)):
    rng = np.random.default_rng(seed)
    y = 10.0 ** -(4 * rng.random((12, 12)))
    truth = channel(y, rng.random((12, 12)))
    seen = []
    for a in alice:
        for b in bob:
            part = np.outer(truth.photons(a), truth.photons(b)) * truth.y
            n, m = 1e10 * part.sum(), 1e10 * (part * truth.e).sum()
            seen.append(Observation(f"{a}{b}", exactly(a), exactly(b), 1e10, float(n), float(m)))
    return truth, seen


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), garbage=st.floats(0.0, 2.0), slope=st.floats(-50.0, 1.0))
def test_any_multipliers_bound_the_truth_from_below(channel, seed, garbage, slope):
    """Weak duality: a solver that returns nonsense can only make the bound worse."""
    truth, seen = toy_observations(channel, seed)
    program = _Program.of(seen, TAIL, 20.0)
    right = truth.y11 * (1 - truth.e11)
    wrong = truth.y11 * truth.e11
    least, _ = program.least(1.0, slope)
    assert least <= right + slope * wrong
    cost = np.zeros(program.rows.shape[1])
    cost[list(program.single)] = program.unit[0], slope * program.unit[1]
    noise = np.random.default_rng(seed).exponential(garbage + 1e-9, program.rows.shape[0])
    assert program._certified(cost, noise) <= right + slope * wrong


@settings(max_examples=60, deadline=None)
@given(
    q=st.tuples(st.floats(0, 0.02), st.floats(0, 0.004)),
    p=st.tuples(st.floats(0, 0.02), st.floats(0, 0.004)),
    z_pairs=st.floats(1e4, 1e12),
    beta=st.floats(1.0, 60.0),
)
def test_tangent_planes_lie_below_the_goal(q, p, z_pairs, beta):
    goal = _Goal(z_pairs, beta)
    value, per_right, per_wrong = goal.tangent(*q)
    plane = value + per_right * (p[0] - q[0]) + per_wrong * (p[1] - q[1])
    assert plane <= goal.bits(*p) + 1e-9 * z_pairs * 0.03


@pytest.mark.parametrize("seed", range(6))
def test_exact_counts_of_a_channel_never_promise_more_than_it_has(channel, seed):
    truth, seen = toy_observations(channel, seed)
    goal = _Goal(1e9, 20.0)
    found = tangent_lp.tangent_lp(seen, z_pairs=1e9, n_zz=1e9, tail=TAIL, beta=20.0)
    actual = goal.bits(truth.y11 * (1 - truth.e11), truth.y11 * truth.e11)
    assert found.private_bits <= actual


class Broken:
    def __init__(self, status, x, marginals):
        self.status, self.x = status, x
        self.ineqlin = self
        self.marginals = marginals


def test_a_solver_that_gives_up_gives_no_key(benchmark_case, monkeypatch):
    monkeypatch.setattr(scipy.optimize, "linprog", lambda *a, **k: Broken(4, None, None))
    assert solve(benchmark_case, 51.5).private_bits == 0.0


def test_a_solver_that_lies_about_multipliers_gives_no_more_key(benchmark_case, monkeypatch):
    honest = solve(benchmark_case, 51.5).private_bits
    original = scipy.optimize.linprog
    rng = np.random.default_rng(5)

    def lying(cost, **options):
        found = original(cost, **options)
        wobble = 1 + 0.01 * rng.standard_normal(len(found.ineqlin.marginals))
        return Broken(found.status, found.x, found.ineqlin.marginals * wobble)

    monkeypatch.setattr(scipy.optimize, "linprog", lying)
    assert solve(benchmark_case, 51.5).private_bits <= honest * (1 + 1e-6)


@pytest.mark.parametrize("factor", [0.2, 0.7, 1.05])
def test_a_solver_that_lies_about_the_place_gives_no_more_key(benchmark_case, monkeypatch, factor):
    """The tangent plane moves elsewhere, and is a lower bound there, too."""
    honest = solve(benchmark_case, 51.5).private_bits
    original = scipy.optimize.linprog

    def lying(cost, **options):
        found = original(cost, **options)
        place = found.x.copy()
        place[np.argmin(cost)] *= factor  # the wrong yield of single-photon pairs
        return Broken(found.status, place, found.ineqlin.marginals)

    monkeypatch.setattr(scipy.optimize, "linprog", lying)
    assert 0.0 < solve(benchmark_case, 51.5).private_bits <= honest * (1 + 1e-6)


def test_counts_that_no_channel_explains(benchmark_case):
    """Vacuum on one side gives more events than the same pulse with light on both."""
    source, tallies = benchmark_case.source, benchmark_case.tallies
    changed = Tallies(tallies.n_pulses, {**tallies.n, "ox": 1e9}, tallies.m)
    with pytest.raises(NoChannelError, match="no channel"):
        tangent_lp.tangent_lp(
            observations(changed, source, source),
            z_pairs=1e9,
            n_zz=1e9,
            tail=TAIL,
            beta=50.0,
        )


@pytest.mark.parametrize("lit", [(0.05, 0.3), (0.01, 0.2, 0.5), (0.7,)])
@pytest.mark.parametrize("n", [3, 4, 9, 60])
def test_corners_generate_every_photon_number_beyond(lit, n):
    """Weights of n photons in each intensity are a mixture of corners, with no negative share."""
    table = tangent_lp._photon_weights([exactly(mean) for mean in (0.0, *lit)])
    corners = np.array([table[exactly(mean)][1][tangent_lp._CUTOFF + 1 :] for mean in lit])
    target = np.array([math.exp(lit[-1] - mu) * (mu / lit[-1]) ** n for mu in lit])
    shares, residue = scipy.optimize.nnls(corners, target)
    assert residue < 1e-12
    assert shares.min() >= 0.0
    assert not table[exactly(0.0)][1][1:].any()


def test_the_number_where_the_corners_begin_hardly_matters(benchmark_case, monkeypatch):
    base = solve(benchmark_case, 51.5).private_bits
    for cutoff in (1, 3, 6):
        monkeypatch.setattr(tangent_lp, "_CUTOFF", cutoff)
        found = solve(benchmark_case, 51.5).private_bits
        assert found == pytest.approx(base, rel=1e-5) if cutoff > 1 else found <= base * (1 + 1e-6)


def test_events_are_counted_as_they_are_used(benchmark_case):
    """Every statement calls one tail bound; the units of the program reuse those."""
    source, tallies = benchmark_case.source, benchmark_case.tallies
    for counts in (tallies, Tallies.of(tallies)):
        seen = observations(counts, source, source)
        n_statements = len(boxes.statements_of(boxes.parts_of(seen)))
        events = boxes.box_events(counts, source, source)
        assert sum(events.values()) == n_statements + 2
    assert sum(boxes.box_events(tallies, source, source).values()) == 33


def test_names_decide_what_is_used_and_numbers_do_not(benchmark_case):
    source, tallies = benchmark_case.source, benchmark_case.tallies
    empty = Counts(10**12, dict.fromkeys(tallies.n, 0), dict.fromkeys(tallies.m, 0))
    assert boxes.box_events(empty, source, source) == boxes.box_events(tallies, source, source)
