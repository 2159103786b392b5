"""The interior-point method against a general-purpose solver and its own duality bound."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mdiqkd_net.estimation.certificate.program import maximize_log_sum


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_against_a_general_solver(seed):
    rng = np.random.default_rng(seed)
    matrix, limit = rng.random((9, 4)) + 0.01, rng.uniform(-0.05, 0.3, 9)
    events = rng.uniform(0.5, 20.0, 4)
    w, value = maximize_log_sum(matrix, limit, events, 0.9, 1e-8)
    assert np.all(matrix @ w < limit)
    assert value == pytest.approx(float(events @ np.log1p(w)))
    other = minimize(
        lambda v: -events @ np.log1p(v),
        np.full(4, -0.9),
        jac=lambda v: -events / (1 + v),
        bounds=[(-0.999999, None)] * 4,
        constraints={"type": "ineq", "fun": lambda v: limit - matrix @ v, "jac": lambda v: -matrix},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert value == pytest.approx(-other.fun, rel=1e-5, abs=1e-5)


def test_a_single_constraint_by_hand():
    """Max sum n ln(1 + w), q . w <= 0: Gibbs' inequality gives 1 + w = n / (N q)."""
    q, events = np.array([0.5, 0.3, 0.2]), np.array([10.0, 20.0, 30.0])
    w, _ = maximize_log_sum(q[None, :], np.zeros(1), events, 0.5, 1e-10)
    assert 1 + w == pytest.approx(events / events.sum() / q, rel=1e-6)
