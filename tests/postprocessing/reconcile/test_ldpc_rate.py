import numpy as np
import pytest

from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile.ldpc_code import build
from mdiqkd_net.postprocessing.reconcile.ldpc_rate import (
    QBER_MAX,
    QBER_MIN,
    estimate_qber,
    syndrome_bits,
)


def differences(code, qber, n_frames, n_checks):
    rng = np.random.default_rng(1)
    columns = rng.random((n_frames, code.n_columns, code.size)) < qber
    out = np.zeros((n_frames, code.n_rows, code.size), np.uint8)
    for row in range(code.n_rows):
        for e in range(code.row_start[row], code.row_start[row + 1]):
            out[:, row] ^= np.roll(columns[:, code.column[e]], -code.shift[e], axis=1)
    return out.reshape(n_frames, -1)[:, :n_checks]


@pytest.mark.parametrize("qber", [0.0003, 0.003, 0.01, 0.03])
def test_the_estimate_is_within_its_deviations(qber):
    code = build(128, 20, 64)
    found = estimate_qber(differences(code, qber, 4, 1250), code, (-5.0, 0.0, 5.0))
    # The errors that were there scatter, too, and checks share them: 5 deviations are for both.
    assert found[0] < qber < found[2]
    assert found == sorted(found)
    if qber in (0.003, 0.01):
        assert found[1] == pytest.approx(qber, rel=0.3)


def test_syndromes_of_guesses_tell_no_upper_bound():
    code = build(128, 5, 64)
    low, high = estimate_qber(differences(code, 0.3, 2, 320), code, (-3.0, 3.0))
    assert 0.0 < low < 0.3
    assert high == 0.5


def test_no_difference_is_no_error():
    code = build(128, 20, 64)
    assert estimate_qber(np.zeros((1, 1280), np.uint8), code, (0.0,))[0] < QBER_MIN


def test_syndromes_grow_with_the_error_rate_up_to_a_limit():
    n = 100_000
    lengths = [syndrome_bits(n, q) for q in (0.0, 1e-5, 0.001, 0.01, 0.05, 0.15, 0.2, 1.0)]
    assert lengths == sorted(lengths)
    assert lengths[0] == lengths[1] == syndrome_bits(n, QBER_MIN)
    assert lengths[-1] == lengths[-3] == syndrome_bits(n, QBER_MAX)
    assert 1.1 < syndrome_bits(n, 0.03) / n / binary_entropy(0.03) < 1.13
    assert syndrome_bits(3, 0.1) <= 3
