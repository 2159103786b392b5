"""Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binomtest, expon, kstest, norm

from mdiqkd_net.physics import _draws
from mdiqkd_net.physics._kernels import next_word
from mdiqkd_net.physics.sampling import generator_state

FALSE_ALARM = 1e-6
N = 1_000_000


def fresh_state(seed=1):
    return generator_state(np.random.SeedSequence(seed))


def filled(fill, n, seed=1):
    out = np.empty(n)
    fill(fresh_state(seed), out)
    return out


def python_words(state):
    own = state.copy()
    while True:
        yield int(next_word(own))


def python_uniforms(words):
    return ((word >> 11) * 2.0**-53 for word in words)


DENSITIES = {
    "exponential": (_draws._E_ENDS, _draws._E_HEIGHTS, lambda x: math.exp(-x)),
    "normal": (_draws._N_ENDS, _draws._N_HEIGHTS, lambda x: math.exp(-x * x / 2)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_layers_share_the_area_under_the_density(name):
    ends, heights, density = DENSITIES[name]
    edge = ends[1]
    area = edge * density(edge) + quad(density, edge, np.inf, epsabs=0)[0]
    assert ends[0] * density(edge) == pytest.approx(area, rel=1e-12)
    # Layer i is as wide as its right end, and as high as the density rises over it.
    rises = np.diff(heights[1:])
    np.testing.assert_allclose(ends[1:-1] * rises, area, rtol=1e-9)
    assert ends.size == 257
    assert (np.diff(ends) < 0).all()
    assert (ends[-1], heights[-1]) == (0.0, 1.0)


def python_exponential(words):
    ends, heights, density = DENSITIES["exponential"]
    beyond = 0.0
    for word in words:
        i, x = word % 256, (word >> 11) * 2.0**-53 * ends[word % 256]
        if x < ends[i + 1]:
            return beyond + x
        if i == 0:
            beyond += ends[1]
            continue
        u = (next(words) >> 11) * 2.0**-53
        if heights[i] + u * (heights[i + 1] - heights[i]) < density(x):
            return beyond + x
    return None


def python_normal(words):
    ends, heights, density = DENSITIES["normal"]
    sign = None
    uniforms = python_uniforms(words)
    for word in words:
        sign = (-1 if word >> 8 & 1 else 1) if sign is None else sign
        i, x = word % 256, (word >> 11) * 2.0**-53 * ends[word % 256]
        if x < ends[i + 1]:
            return sign * x
        if i == 0:
            while True:
                x = -math.log(1 - next(uniforms)) / ends[1]
                if -2 * math.log(1 - next(uniforms)) > x * x:
                    return sign * (x + ends[1])
        if heights[i] + next(uniforms) * (heights[i + 1] - heights[i]) < density(x):
            return sign * x
    return None


@pytest.mark.parametrize(
    ("fill", "oracle"),
    [(_draws.fill_exponential, python_exponential), (_draws.fill_normal, python_normal)],
)
def test_draws_are_those_of_plain_python(fill, oracle):
    n = 20_000
    words = python_words(fresh_state())
    assert filled(fill, n).tolist() == [oracle(words) for _ in range(n)]


def test_filling_is_drawing_one_by_one():
    one, many = fresh_state(), fresh_state()
    for fill, draw in (
        (_draws.fill_uniform, _draws.uniform),
        (_draws.fill_exponential, _draws.exponential),
    ):
        out = np.empty(30_000)
        fill(many, out)
        assert out.tolist() == [draw(one) for _ in range(out.size)]
        assert one.tolist() == many.tolist()


def test_exponential_numbers():
    x = filled(_draws.fill_exponential, N)
    assert kstest(x, expon.cdf).pvalue > FALSE_ALARM
    for edge in (5.0, _draws.EXPONENTIAL_EDGE, 10.0):
        assert binomtest(int((x > edge).sum()), N, math.exp(-edge)).pvalue > FALSE_ALARM


def test_normal_numbers():
    x = filled(_draws.fill_normal, N)
    assert kstest(x, norm.cdf).pvalue > FALSE_ALARM
    for edge, sign in itertools.product((2.0, _draws.NORMAL_EDGE, 4.2), (-1, 1)):
        n_beyond = int((sign * x > edge).sum())
        assert binomtest(n_beyond, N, norm.sf(edge)).pvalue > FALSE_ALARM
