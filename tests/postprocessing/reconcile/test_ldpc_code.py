import hashlib
from itertools import combinations

import numpy as np
import pytest

from mdiqkd_net.postprocessing.reconcile.ldpc_code import (
    SURE_DEGREE,
    build,
    complete,
    rows_to_gain,
    sent_parts,
    split,
)
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


def dense(code):
    """The base matrix, with 1 + shift where there is an edge."""
    out = np.zeros((code.n_rows, code.n_columns), np.int64)
    out[np.repeat(np.arange(code.n_rows), np.diff(code.row_start)), code.column] = 1 + code.shift
    return out


@pytest.mark.parametrize("n_more", [0, 1, 7, 23, 40, 200])
def test_parts_of_split_rows_sum_up_to_them(n_more):
    code = build(200, 24, 32)
    longer, parts = split(code, n_more)
    assert longer.n_rows == parts.sum() == 24 + n_more
    assert parts[-1] == 1
    assert np.ptp(parts[:-1]) <= 1
    starts = np.cumsum(parts) - parts
    assert np.array_equal(np.add.reduceat(dense(longer), starts), dense(code))
    degrees = np.diff(longer.row_start)
    assert degrees.min() >= 2
    for first, n in zip(starts, parts, strict=True):
        assert np.ptp(degrees[first : first + n]) <= 1


def test_what_is_not_sent_follows_from_the_rest():
    _, parts = split(build(60, 20, 64), 31)
    rows = np.random.default_rng(1).integers(0, 2, (3, 51, 64), dtype=np.uint8)
    sums = np.bitwise_xor.reduceat(rows, np.cumsum(parts) - parts, axis=1)
    sent = sent_parts(parts)
    assert sent.sum() == 31
    seen = rows.copy()
    seen[:, ~sent] ^= 1
    assert np.array_equal(complete(seen, sums, parts), rows)


def test_as_many_rows_can_be_gained_as_leave_two_edges():
    code = build(60, 20, 64)
    most = rows_to_gain(code)
    longer, _ = split(code, most)
    assert np.diff(longer.row_start).min() >= 2
    assert rows_to_gain(build(4, 1, 32)) == 0


def test_the_last_row_has_no_columns_of_few_edges():
    code = build(512, 24, 256)
    degrees = np.bincount(code.column, minlength=512)
    assert degrees[code.column[code.row_start[-2] :]].min() >= SURE_DEGREE


def test_both_users_build_the_same_code_on_any_platform():
    build.cache_clear()
    code = build(100, 30, 64)
    build.cache_clear()
    again = build(100, 30, 64)
    for name in ("row_start", "column", "shift"):
        assert np.array_equal(getattr(code, name), getattr(again, name))
    edges = np.concatenate([code.row_start, code.column, code.shift]).astype("<i4").tobytes()
    assert hashlib.sha256(edges).hexdigest()[:16] == "e12263384c3ad41d"


def test_shares_are_those_of_the_table_and_linear_between():
    for leak, columns in TABLE:
        assert degree_shares(leak) == pytest.approx([c / sum(columns) for c in columns])
    assert degree_shares(0.0) == degree_shares(TABLE[0][0])
    assert degree_shares(1.0) == degree_shares(TABLE[-1][0])
    (low, a), (high, b) = TABLE[0], TABLE[1]
    mixed = [(x + y) / (sum(a) + sum(b)) for x, y in zip(a, b, strict=True)]
    assert degree_shares((low + high) / 2) == pytest.approx(mixed, abs=1e-3)
