"""The interior-point method against a general-purpose solver, and on what must not matter."""

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mdiqkd_net.estimation.certificate.program import maximize_certified

ZZ = 2


def problem(seed, events=3e4):
    """Six categories; classes without tilt, and single-photon pairs without and with an error."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((5, 6)) + 0.05
    matrix /= matrix.sum(axis=1)[:, None]
    tilt = np.array([0, 0, 0, 1, 2])
    # A mixture of the classes with few phase errors is what an honest channel gives.
    return matrix, tilt, events * (np.array([0.3, 0.3, 0.3, 3.0, 0.1]) @ matrix)


def sums(matrix, tilt, scores, gains, time):
    exponent = np.tile(scores, (5, 1))
    exponent[:, ZZ] -= np.array([0.0, *gains])[tilt]
    return (matrix * np.exp(exponent / time)).sum(axis=1)


def gains_of(found):
    return math.log2(2.0 - 2.0**found.gain_wrong), found.gain_wrong


def mended(matrix, tilt, events, nats, point):
    """What a point certifies once all scores are lowered alike until every class allows it."""
    scores, gains, time = point[:6], point[6:8], point[8]
    if 2 ** gains[0] + 2 ** gains[1] > 2.0 or time < 2.0:
        return -math.inf
    log = np.log(sums(matrix, tilt, scores, gains, time)).max()
    return float(events @ (scores - time * log)) - nats * time


@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_against_a_general_solver(seed):
    matrix, tilt, events = problem(seed)
    nats = 2.0
    found = maximize_certified(matrix, tilt, ZZ, events, nats, 1e-8)
    time = 1.0 / found.theta
    assert np.all(sums(matrix, tilt, found.scores, gains_of(found), time) <= 1.0 + 1e-12)
    assert found.gain_wrong < 0.0
    assert found.bits == pytest.approx(float(events @ found.scores) - nats * time, rel=1e-9)

    def excess(v):
        log = np.log(sums(matrix, tilt, v[:6], v[6:8], v[8]))
        return np.concatenate([-v[8] * log, [1.0 - math.log2(2 ** v[6] + 2 ** v[7]), v[8] - 2.0]])

    other = minimize(
        lambda v: (nats * v[8] - events @ v[:6]) / events.sum(),
        np.array([*[-0.02 / found.theta] * 6, 0.5, -4.0, 1.0 / found.theta]),
        constraints={"type": "ineq", "fun": excess},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    # A general solver may stall short of the optimum, or break its conditions a little.
    value = mended(matrix, tilt, events, nats, other.x - np.eye(9)[7] * 1e-9)
    assert value <= found.bits + 1e-6 * abs(found.bits)
    # Otherwise the comparison says nothing.
    assert value >= 0.9 * found.bits


def test_no_move_certifies_more():
    matrix, tilt, events = problem(3)
    found = maximize_certified(matrix, tilt, ZZ, events, 2.0, 1e-8)
    best = np.concatenate([found.scores, np.array(gains_of(found)) - 1e-12, [1.0 / found.theta]])
    assert mended(matrix, tilt, events, 2.0, best) == pytest.approx(found.bits, rel=1e-6)
    rng = np.random.default_rng(8)
    for size in (1e-4, 1e-2, 1.0):
        nudges = size * rng.standard_normal((300, 9)) * np.array([*[1] * 6, 0.1, 1, 10])
        values = [mended(matrix, tilt, events, 2.0, best + nudge) for nudge in nudges]
        assert max(values) <= found.bits + 1e-6 * abs(found.bits)


def test_a_class_of_its_own_for_every_event_certifies_nothing_but_zz():
    """Where only single-photon pairs reach zz, and never err, all of zz is certified in the end."""
    matrix = np.array([[1.0, 0.0], [0.02, 0.98], [0.98, 0.02]])
    tilt, events = np.array([0, 1, 2]), np.array([2e6, 98e6])
    found = maximize_certified(matrix, tilt, 1, events, 50.0, 1e-6)
    assert 0.9 * events[1] < found.bits < events[1]
