"""Packed arrays: round trips, near the entropy, and no spare bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdiqkd_net.errors import LocalProtocolError, WireError
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.bulk import Bulk, Ranked, Rice

BITS = hnp.arrays(np.uint8, st.integers(0, 50), elements=st.integers(0, 1))
FOURS = hnp.arrays(np.uint8, st.integers(0, 50), elements=st.integers(0, 3))


@settings(max_examples=50, deadline=None)
@given(BITS)
def test_bits_return(bits):
    np.testing.assert_array_equal(bulk.unpack_bits(bulk.pack_bits(bits)), bits)


@settings(max_examples=50, deadline=None)
@given(FOURS)
def test_ranked_return(values):
    np.testing.assert_array_equal(bulk.unpack_ranked(bulk.pack_ranked(values)), values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_unsigned_return_in_the_narrowest_type(values):
    packed = bulk.pack_unsigned(np.array(values, np.int64))
    assert bulk.unpack_unsigned(packed).tolist() == values
    width = max([v.bit_length() for v in values], default=0)
    assert int(packed.t[1:]) == next(w for w in (8, 16, 32, 64) if w >= width)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2**30), max_size=60, unique=True).map(sorted),
    st.integers(0, 1000),
    st.integers(0, 5),
)
def test_gaps_return(offsets, base, spare):
    pulses = np.array(offsets, np.int64) + base
    end = (int(pulses[-1]) + 1 if pulses.size else base) + spare
    np.testing.assert_array_equal(bulk.unpack_gaps(bulk.pack_gaps(pulses, base), base, end), pulses)


@pytest.mark.parametrize("pulses", [[3, 3], [3, 2], [9, 20], [11, 5]])
def test_numbers_that_no_gaps_express_are_not_packed(pulses):
    with pytest.raises(LocalProtocolError, match="strictly increasing"):
        bulk.pack_gaps(np.array(pulses, np.int64), 3 if pulses[0] == 3 else 10)


@pytest.mark.parametrize("chance", [0.5, 0.1, 1e-2, 1e-3, 1e-5, 1e-7])
def test_geometric_gaps_cost_little_more_than_their_entropy(chance):
    rng = np.random.default_rng(3)
    pulses = np.cumsum(rng.geometric(chance, 50_000)) - 1
    bits = 8 * len(bulk.pack_gaps(pulses, 0).v) / pulses.size
    entropy = -np.log2(chance) - (1 - chance) / chance * np.log2(1 - chance)
    # Rice codes of geometric gaps are within 0.03 bits of the best Golomb code, itself within 0.05.
    assert bits < 1.05 * entropy + 0.05


@pytest.mark.parametrize(
    "bad",
    [
        Bulk(n=9, t="b1", v=b"\0"),
        Bulk(n=1, t="b1", v=b"\0\0"),
        Bulk(n=1, t="b1", v=b"\2"),
        Bulk(n=1, t="u8", v=b"\1"),
    ],
)
def test_bits_of_the_wrong_shape_are_refused(bad):
    with pytest.raises(WireError):
        bulk.unpack_bits(bad)


NONE = Rice(k=0, n=0, v=b"")
ONE = Rice(k=0, n=1, v=b"\1")


@pytest.mark.parametrize(
    "bad",
    [
        Ranked(n=1, ranks=[NONE, NONE, NONE], symbols=b"\0\1\2\2"),
        Ranked(n=1, ranks=[NONE, NONE, NONE], symbols=b"\0\1\2\4"),
        Ranked(n=0, ranks=[ONE, NONE, NONE], symbols=b"\0\1\2\3"),
        Ranked(n=1, ranks=[NONE, ONE, NONE], symbols=b"\0\1\2\3"),
        Ranked(n=2, ranks=[ONE, ONE, Rice(k=0, n=1, v=b"\2")], symbols=b"\0\1\2\3"),
    ],
)
def test_ranked_of_the_wrong_shape_are_refused(bad):
    with pytest.raises(WireError):
        bulk.unpack_ranked(bad)


@pytest.mark.parametrize(
    "chances",
    [
        (0.25, 0.25, 0.25, 0.25),
        (0.4, 0.3, 0.2, 0.1),
        (0.5, 0.5, 0.0, 0.0),
        (0.02, 0.13, 0.03, 0.82),
        (0.001, 0.05, 0.01, 0.939),
        (0.0, 1e-4, 1e-5, 0.99989),
    ],
)
def test_ranked_cost_little_more_than_their_entropy(chances):
    values = np.random.default_rng(4).choice(4, 200_000, p=chances).astype(np.uint8)
    shares = np.bincount(values, minlength=4) / values.size
    entropy_bits = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * values.size
    bits = 8 * sum(len(rice.v) for rice in bulk.pack_ranked(values).ranks)
    # Equal parts are the worst: three ones or zeros where two bits would do, a quarter of the time.
    assert bits < 1.15 * entropy_bits + 24


@pytest.mark.parametrize("bad", [Bulk(n=1, t="u16", v=b"\0"), Bulk(n=1, t="b1", v=b"\0")])
def test_integers_of_the_wrong_shape_are_refused(bad):
    with pytest.raises(WireError):
        bulk.unpack_unsigned(bad)


@pytest.mark.parametrize(
    "bad",
    [
        Rice(k=0, n=9, v=b"\xff"),  # more items than bits
        Rice(k=0, n=1, v=b"\1\0"),  # a byte too many
        Rice(k=0, n=1, v=b"\3"),  # a spare bit
        Rice(k=0, n=1, v=b"\0"),  # a quotient that never ends
        Rice(k=0, n=1, v=b"\0" * 100 + b"\1"),  # past the end
        Rice(k=6, n=1, v=b"\xff"),  # 63: past the end
        Rice(k=7, n=1, v=b"\1"),  # fits exactly, and is legal: see below
    ],
)
def test_gaps_of_the_wrong_shape_are_refused(bad):
    if bad.k == 7:
        assert bulk.unpack_gaps(bad, 0, 50).tolist() == [0]
        return
    with pytest.raises(WireError):
        bulk.unpack_gaps(bad, 0, 50)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 48), st.integers(0, 40), st.binary(max_size=40), st.integers(0, 2**48))
def test_any_bytes_give_increasing_pulses_or_a_refusal(k, n, data, end):
    try:
        pulses = bulk.unpack_gaps(Rice(k=k, n=n, v=data), 5, 5 + end)
    except WireError:
        return
    assert pulses.size == n
    if n:
        assert pulses[0] >= 5
        assert pulses[-1] < 5 + end
        assert (np.diff(pulses) > 0).all()


def test_the_kernels_agree_with_a_plain_decoder():
    rng = np.random.default_rng(8)
    pulses = np.cumsum(rng.integers(1, 900, 500))
    packed = bulk.pack_gaps(pulses, 0)
    bits = "".join(f"{byte:08b}"[::-1] for byte in packed.v)
    at, previous, plain = 0, -1, []
    for _ in range(packed.n):
        one = bits.index("1", at)
        low = bits[one + 1 : one + 1 + packed.k][::-1] or "0"
        previous += ((one - at) << packed.k) + int(low, 2) + 1
        plain.append(previous)
        at = one + 1 + packed.k
    assert plain == pulses.tolist()
