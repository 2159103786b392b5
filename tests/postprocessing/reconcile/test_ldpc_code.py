import hashlib
from itertools import combinations

import numpy as np
import pytest

from mdiqkd_net.postprocessing.reconcile.ldpc_code import build
from mdiqkd_net.postprocessing.reconcile.ldpc_degrees import DEGREES, TABLE, degree_shares


def cycles_of_length_4(code):
    """Pairs of rows and columns whose four shifts close."""
    columns = [
        dict(zip(code.column[a:b].tolist(), code.shift[a:b].tolist(), strict=True))
        for a, b in zip(code.row_start[:-1], code.row_start[1:], strict=True)
    ]
    found = 0
    for first, second in combinations(columns, 2):
        differences = [(first[c] - second[c]) % code.size for c in first.keys() & second.keys()]
        found += len(differences) - len(set(differences))
    return found


@pytest.mark.parametrize(("n", "m", "z"), [(512, 24, 256), (512, 60, 256), (400, 160, 128)])
def test_long_codes_have_no_cycle_of_length_4(n, m, z):
    code = build(n, m, z)
    assert (code.n_columns, code.n_rows, code.size) == (n, m, z)
    assert cycles_of_length_4(code) == 0
    pairs = set(zip(np.repeat(np.arange(m), np.diff(code.row_start)), code.column, strict=True))
    assert len(pairs) == code.column.size


@pytest.mark.parametrize(("n", "m"), [(512, 24), (512, 60), (400, 160), (100, 60), (3, 2), (1, 1)])
def test_columns_have_the_degrees_of_the_table_and_rows_share_them(n, m):
    code = build(n, m, 32)
    degrees = np.bincount(code.column, minlength=n)
    for degree, share in zip(DEGREES, degree_shares(m / n), strict=True):
        if degree < m:
            assert abs(np.count_nonzero(degrees == degree) - share * n) < 1.0
    assert np.ptp(np.diff(code.row_start)) <= 4


def test_turns_lead_around_to_the_rest():
    code = build(60, 20, 64)
    at = code.rest.astype(np.int64)
    for c, shift, turn in zip(code.column, code.shift, code.turn, strict=True):
        at[c] = (at[c] + turn) % code.size
        assert at[c] == shift
    assert np.array_equal(at, code.rest)


def test_both_users_build_the_same_code_on_any_platform():
    build.cache_clear()
    code = build(100, 30, 64)
    build.cache_clear()
    again = build(100, 30, 64)
    for name in ("row_start", "column", "shift", "turn", "rest"):
        assert np.array_equal(getattr(code, name), getattr(again, name))
    edges = np.concatenate([code.row_start, code.column, code.shift]).astype("<i4").tobytes()
    assert hashlib.sha256(edges).hexdigest()[:16] == "4f6bf3c050625948"


def test_shares_are_those_of_the_table_and_linear_between():
    for leak, columns in TABLE:
        assert degree_shares(leak) == pytest.approx([c / sum(columns) for c in columns])
    assert degree_shares(0.0) == degree_shares(TABLE[0][0])
    assert degree_shares(1.0) == degree_shares(TABLE[-1][0])
    (low, a), (high, b) = TABLE[0], TABLE[1]
    mixed = [(x + y) / (sum(a) + sum(b)) for x, y in zip(a, b, strict=True)]
    assert degree_shares((low + high) / 2) == pytest.approx(mixed, abs=1e-3)
