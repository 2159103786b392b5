"""The epsilon budget, and the entropy function that the scan relies on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.estimation import accounting
from mdiqkd_net.params import Security


def test_constant_and_share_of_one_tail_bound():
    security = Security(eps_sec=1e-10, eps_cor=1e-15)
    assert accounting.constant_bits(security) == pytest.approx(117.27, abs=0.01)
    assert sum(accounting.TAIL_EVENTS.values()) == 15
    assert math.exp(-accounting.tail_beta(security)) == pytest.approx(4.1667e-23, rel=1e-4)


@given(eps=st.floats(1e-15, 0.9))
def test_the_parts_of_the_budget_add_up(eps):
    security = Security(eps_sec=eps, eps_cor=1e-15)
    p_fail = sum(accounting.TAIL_EVENTS.values()) * math.exp(-accounting.tail_beta(security))
    hashing = accounting.constant_bits(security) - math.log2(2e15)
    eps_pa = 2.0 ** (-hashing / 2) / 2
    assert 2 * math.sqrt(p_fail) + eps_pa == pytest.approx(eps, rel=1e-9)


@given(x=st.floats(1e-9, 1 - 1e-9))
def test_entropy(x):
    by_definition = -x * math.log2(x) - (1 - x) * math.log2(1 - x)
    assert accounting.binary_entropy(x) == pytest.approx(by_definition, rel=1e-7)
    assert accounting.binary_entropy(0.0) == accounting.binary_entropy(1.0) == 0.0


@given(n=st.floats(0, 1e12), k=st.floats(0, 1e12), e=st.floats(1e-6, 0.5))
def test_private_bits_lie_above_every_tangent(n, k, e):
    """n (1 - h(k/n)) >= (1 + log2(1-e)) n - log2((1-e)/e) k: convex, up with n, down with k."""
    tangent = (1 + math.log2(1 - e)) * n - math.log2((1 - e) / e) * k
    assert accounting.private_bits(n, k) >= tangent - 1e-9 * (n + k)


@given(n=st.floats(1, 1e12), share=st.floats(0.001, 0.499))
def test_private_bits_touch_the_tangent_at_their_own_rate(n, share):
    tangent = (1 + math.log2(1 - share)) * n - math.log2((1 - share) / share) * share * n
    assert accounting.private_bits(n, share * n) == pytest.approx(tangent, rel=1e-6, abs=1e-6 * n)


@pytest.mark.parametrize(("n", "k"), [(0, 0), (0, 5), (10, 5), (10, 9), (10, 40), (-3, 0)])
def test_no_privacy_from_half_errors_on(n, k):
    assert accounting.private_bits(n, k) == 0.0


def test_planned_leak():
    assert accounting.planned_leak_bits(0, 0, 1.16) == 0.0
    assert accounting.planned_leak_bits(1000, 0, 1.16) == 0.0
    assert accounting.planned_leak_bits(1000, 110, 1.0) == pytest.approx(499.916, abs=0.001)
    assert accounting.planned_leak_bits(1000, 900, 1.0) == 1000.0
