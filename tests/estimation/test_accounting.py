"""The epsilon budget, and the entropy function that the scan relies on."""

import json
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


EVENTS = {"this from both sides": 2, "that": 5, "the other": 8}


@given(eps_sec=st.floats(1e-300, 0.99), eps_cor=st.floats(1e-300, 0.99))
def test_variable_ledger_can_be_checked_by_hand(eps_sec, eps_cor):
    security = Security(eps_sec=eps_sec, eps_cor=eps_cor)
    ledger = accounting.ACCOUNTINGS["variable"](security, EVENTS)
    assert ledger.spent("secrecy") == pytest.approx(eps_sec, rel=1e-12)
    assert ledger.spent("correctness") == eps_cor
    # 2 sqrt(P_fail), where P_fail itself does not underflow.
    if eps_sec > 1e-140:
        smoothing = 2 * math.sqrt(ledger.spent("statistics"))
        named = {s.what: s.total for s in ledger.shares if s.part == "secrecy"}
        assert smoothing == pytest.approx(named["smoothing, 2 sqrt(P_fail)"], rel=1e-9)
    assert ledger.constant_bits == accounting.constant_bits(security)
    assert ledger.beta == accounting.tail_beta(security)


@given(eps_sec=st.floats(1e-300, 0.99))
def test_linear_ledger_can_be_checked_by_hand(eps_sec):
    security = Security(eps_sec=eps_sec)
    ledger = accounting.ACCOUNTINGS["linear"](security, EVENTS)
    assert ledger.spent("secrecy") == pytest.approx(eps_sec, rel=1e-12)
    assert ledger.spent("statistics") == 0.0
    # Fifteen tail bounds: the customary twenty-one shares.
    shares = {share.eps for share in ledger.shares if share.part == "secrecy"}
    assert shares == {eps_sec / 21}
    assert ledger.beta == pytest.approx(math.log(21) - math.log(eps_sec), rel=1e-12)


def test_linear_constant_is_that_of_curty_et_al():
    security = Security(eps_sec=2.1e-9, eps_cor=1e-15)
    ledger = accounting.ACCOUNTINGS["linear"](security, EVENTS)
    eps = 1e-10
    expected = math.log2(8 / 1e-15) + 2 * math.log2(2 / (eps * eps)) + 2 * math.log2(1 / (2 * eps))
    assert ledger.constant_bits == pytest.approx(expected, rel=1e-12)


def test_a_ledger_as_json():
    ledger = accounting.ACCOUNTINGS["variable"](Security(), EVENTS).as_dict()
    assert json.loads(json.dumps(ledger, allow_nan=False)) == ledger
    for part, total in ledger["sums"].items():
        entries = [s for s in ledger["shares"] if s["part"] == part]
        assert total == pytest.approx(math.fsum(s["times"] * s["eps"] for s in entries))
        assert entries
    assert any("authentication" in what for what in ledger["not_included"])


def test_no_statement_no_epsilon():
    assert accounting.UNLIMITED.constant_bits == 0.0
    assert accounting.UNLIMITED.as_dict()["shares"] == []
