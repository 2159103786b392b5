"""The optimiser on functions with a known maximum and on links; limits, floors and blocks."""

import math

import numpy as np
import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.ascent import Ascent
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import estimate
from mdiqkd_net.estimation.optimize import (
    optimize_settings,
    pulses_at_settings,
    pulses_for_bits,
    smooth_key_bits,
)
from mdiqkd_net.estimation.settings_space import Limits, SettingsSpace
from mdiqkd_net.params import Security, Setting, Source

EQUAL = Limits(equal=True)


def source(x, y, z, p_x=0.2, p_y=0.1, p_z=0.6):
    return Source(x=Setting(x, p_x), y=Setting(y, p_y), z=Setting(z, p_z))


def parabola(*targets):
    """A key that falls off with the squared logarithmic distance from the targets."""

    def bits(alice, bob, n_pulses):
        off = 0.0
        for user, target in zip((alice, bob), targets, strict=True):
            for mine, best in zip(user.intensities[1:], target.intensities[1:], strict=True):
                off += math.log(mine / best) ** 2
            for mine, best in zip(user.probabilities, target.probabilities, strict=True):
                off += math.log(mine / best) ** 2
        return n_pulses * math.exp(-off) - 1e6

    return bits


def numbers_of(*users):
    return [v for u in users for v in (*u.intensities[1:], *u.probabilities)]


def test_a_maximum_is_found_with_twelve_numbers_and_with_six():
    alice, bob = source(0.02, 0.1, 0.7), source(0.09, 0.3, 0.4, 0.3, 0.2, 0.3)
    found = optimize_settings(parabola(alice, bob), 1e12, Limits())
    assert numbers_of(found.alice, found.bob) == pytest.approx(numbers_of(alice, bob), rel=0.01)
    assert found.key_bits == pytest.approx(1e12 - 1e6, rel=1e-4)
    assert found.at_limits == ()
    equal = optimize_settings(parabola(alice, alice), 1e12, EQUAL)
    assert equal.alice is equal.bob
    assert numbers_of(equal.alice) == pytest.approx(numbers_of(alice), rel=0.01)
    assert equal.evaluations < found.evaluations


def test_a_limit_that_stops_the_search_is_named_and_kept():
    best = source(0.02, 0.025, 0.9)
    limits = Limits(equal=True, min_intensity=0.03, min_step=0.05, max_intensity=0.5)
    found = optimize_settings(parabola(best, best), 1e12, limits)
    _, x, y, z = found.alice.intensities
    assert (x, y, z) == pytest.approx((0.03, 0.08, 0.5), rel=1e-9)
    assert found.at_limits == (
        "alice.x.intensity at its least, 0.03",
        "alice.z.intensity at its greatest, 0.5",
        "alice: y - x at its least, 0.05",
        "bob.x.intensity at its least, 0.03",
        "bob.z.intensity at its greatest, 0.5",
        "bob: y - x at its least, 0.05",
    )
    rare = source(0.02, 0.1, 0.5, 0.2, 0.001, 0.6)
    limits = Limits(equal=True, min_probability=0.01)
    found = optimize_settings(parabola(rare, rare), 1e12, limits)
    assert found.alice.y.probability == pytest.approx(0.01, rel=0.05)
    assert "alice.y.probability at its least, 0.01" in found.at_limits


def test_a_kink_does_not_stop_the_climb():
    """min(f, g) of two smooth functions, greatest on the line where they cross."""

    def height(c):
        bowl = -0.5 * float((c[0] - 3) ** 2 + (c[1] + 1) ** 2 + (c[2] - 1) ** 2)
        return bowl - 5.0 * abs(float(c[0] + c[1] - c[2] ** 2))

    ascent = Ascent(height, lambda c: c, lambda at: 1e-6)
    top, found = ascent.climb(np.array([0.3, -0.2, 0.6]), np.ones(3, dtype=bool), 200)
    # On the ridge c1 = c2^2 - c0, by brute force.
    a, c = np.meshgrid(np.linspace(2, 4, 801), np.linspace(0, 2, 801))
    b = c**2 - a
    brute = (-0.5 * ((a - 3) ** 2 + (b + 1) ** 2 + (c - 1) ** 2)).max()
    assert found == pytest.approx(brute, abs=2e-3)
    assert top[0] + top[1] == pytest.approx(top[2] ** 2, abs=1e-3)


def test_coordinates_that_are_held_do_not_move():
    ascent = Ascent(lambda c: -float(((c - 1) ** 2).sum()), lambda c: c, lambda at: 1e-6)
    top, _ = ascent.climb(np.zeros(2), np.array([True, False]), 50)
    assert top == pytest.approx([1.0, 0.0], abs=1e-3)
    nowhere = Ascent(lambda c: -math.inf, lambda c: c, lambda at: 1e-6)
    assert nowhere.climb(np.zeros(2), np.ones(2, dtype=bool), 9)[1] == -math.inf


@pytest.mark.parametrize("limits", [Limits(), Limits(min_intensity=0.01, min_step=0.02), EQUAL])
def test_coordinates_are_settings_and_back(limits):
    space = SettingsSpace(limits)
    users = source(0.03, 0.1, 0.5), source(0.05, 0.3, 0.4, 0.3, 0.05, 0.6)
    if limits.equal:
        users = users[0], users[0]
    again = space.decode(space.encode(*users))
    assert numbers_of(*again) == pytest.approx(numbers_of(*users), rel=1e-3)
    wild = np.random.default_rng(5).normal(scale=6.0, size=(200, 6 if limits.equal else 12))
    for c in wild:
        inside = space.project(c)
        assert space.project(inside) == pytest.approx(inside, abs=1e-6)
        for user in space.decode(c):
            _, x, y, z = user.intensities
            assert limits.min_intensity <= x < x + 0.999999 * limits.min_step <= y
            assert max(x, y, z) <= limits.max_intensity
            assert sum(user.probabilities) == pytest.approx(1.0)
            assert min(user.probabilities) >= 0.999 * limits.min_probability


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_intensity": 0.0}, "min_intensity: found 0.0"),
        ({"min_step": -1.0}, "min_step: found -1.0"),
        ({"max_intensity": math.nan}, "max_intensity: found nan"),
        ({"max_intensity": 0.01, "min_step": 0.02}, "plus min_step"),
        ({"min_probability": 0.25}, "below 0.25"),
    ],
)
def test_limits_without_room_are_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        Limits(**given)


def benchmark_key(case):
    """The key of the benchmark channel at its own settings, for any number of pulses."""

    def bits(alice, bob, n_pulses):
        tallies = Tallies.of(case.tallies, n_pulses / case.tallies.n_pulses)
        found = estimate(tallies, case.source, case.source, Security())
        return smooth_key_bits(found, tallies, Security())

    return bits


def test_the_smooth_key_is_the_key_but_for_rounding(benchmark_case):
    worth = benchmark_key(benchmark_case)
    for n_pulses in (1e11, 1e12, 1e13):
        tallies = Tallies.of(benchmark_case.tallies, n_pulses / 1e12)
        found = estimate(tallies, benchmark_case.source, benchmark_case.source, Security())
        assert abs(worth(None, None, n_pulses) - found.key_length_bits) < 2.0
    assert worth(None, None, 1e10) < 0.0
    # A method whose key is not made of the worst point is taken at its word.
    other = estimate(tallies, benchmark_case.source, benchmark_case.source, Security())
    other = type(other)(**{f: getattr(other, f) for f in other.__slots__} | {"n11_lower": 1e12})
    assert smooth_key_bits(other, tallies, Security()) == other.key_length_bits


def test_the_shortest_block_at_given_settings(benchmark_case):
    worth = benchmark_key(benchmark_case)
    user = benchmark_case.source
    for bits in (1, 256, 10**6, 10**10):
        n_pulses = pulses_at_settings(worth, user, user, bits)
        assert worth(user, user, n_pulses) >= bits
        assert worth(user, user, n_pulses * 0.9998) < bits
    assert pulses_at_settings(worth, user, user, 1, max_pulses=1e10) is None
    assert pulses_at_settings(lambda a, b, n: -1.0, user, user, 1) is None
    assert pulses_at_settings(lambda a, b, n: n - 7, user, user, 10) == pytest.approx(17, abs=1)


def test_time_to_bits_uses_settings_of_its_own():
    best = source(0.02, 0.1, 0.7)
    found = pulses_for_bits(parabola(best, best), 5e6, EQUAL)
    assert found.n_pulses == pytest.approx(6e6, rel=1e-3)
    assert found.key_bits >= 5e6
    assert pulses_for_bits(parabola(best, best), 5e6, EQUAL, max_pulses=5e6) is None
    assert pulses_for_bits(lambda a, b, n: -1.0, 1.0, EQUAL) is None


def test_without_a_key_the_nearest_settings_are_returned():
    best = source(0.02, 0.1, 0.7)
    found = optimize_settings(parabola(best, best), 1e5, EQUAL)
    assert found.key_bits < 0.0
    start = optimize_settings(parabola(best, best), 1.001e6, EQUAL)
    assert start.key_bits == pytest.approx(1e3, rel=0.05)
    hopeless = optimize_settings(lambda a, b, n: -1.0, 1e5, EQUAL)
    assert hopeless.key_bits == -1.0


def test_a_warm_start_is_taken_and_the_answer_is_the_same_every_time():
    far = source(0.0005, 0.9, 0.02, 0.01, 0.9, 0.01)
    narrow = parabola(far, far)

    def bits(alice, bob, n_pulses):
        return narrow(alice, bob, n_pulses) - 0.9 * n_pulses

    assert optimize_settings(bits, 1e12, EQUAL).key_bits <= 0.0
    near = source(0.00051, 0.88, 0.0201, 0.0101, 0.89, 0.0101)
    warm = optimize_settings(bits, 1e12, EQUAL, start=(near, near))
    assert warm.key_bits == pytest.approx(0.1 * 1e12 - 1e6, rel=1e-3)
    again = optimize_settings(bits, 1e12, EQUAL, start=(near, near))
    assert again == warm
