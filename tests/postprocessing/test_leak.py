import math

import pytest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import LEAK_MODELS, LeakLedger, binary_entropy, efficiency


@pytest.mark.parametrize(("p", "h"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.25, 0.8112781245)])
def test_binary_entropy(p, h):
    assert math.isclose(binary_entropy(p), h, abs_tol=1e-10)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_binary_entropy_has_a_domain(p):
    with pytest.raises(LocalProtocolError, match="allowed: 0 to 1"):
        binary_entropy(p)


def test_efficiency_is_relative_to_the_shannon_limit():
    assert efficiency(500, 1000, 0.5) == 0.5
    assert efficiency(0, 1000, 0.0) == 1.0
    assert efficiency(3, 1000, 0.0) == math.inf


@pytest.mark.parametrize(
    ("model", "total"), [("two_way_w", 1000 + 30 + 128 + 1), ("conservative_2x", 1990 + 30 + 129)]
)
def test_the_ledger_charges_parities_by_its_model_and_all_else_once(model, total):
    ledger = LeakLedger(model, parity_bits=1000, answer_bits=990)
    ledger.disclosed_bits += 30
    ledger.tag_bits += 128
    ledger.verdict_bits += 1
    assert ledger.total_bits == total


def test_one_way_is_for_schemes_without_answers():
    assert LeakLedger("one_way", parity_bits=7).total_bits == 7
    with pytest.raises(LocalProtocolError, match="found 1 bits from Bob; allowed: 0"):
        _ = LeakLedger("one_way", parity_bits=7, answer_bits=1).total_bits


def test_a_leak_model_has_a_name_of_the_list():
    with pytest.raises(LocalProtocolError, match=f"allowed: {', '.join(LEAK_MODELS)}"):
        _ = LeakLedger("none").total_bits
