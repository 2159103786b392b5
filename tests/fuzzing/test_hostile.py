"""Every parser, always: it accepts, or says no in an error of its own, at a cost in proportion.

The campaign in tests/campaigns does the same a million times for each parser.
"""

import tracemalloc
from random import Random

import numpy as np
import pytest
from fuzzing.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import HEADER_BYTES, Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import MAX_GROUPS, GroupsVerified, Reconcile

READ_PER_BYTE = 4
"""The reader's buffer, the frame, and its body."""
DECODE_PER_BYTE = 32
"""A list of integers is the worst: a pointer and an object for a few bytes, and once more when the
message is encoded again."""
UNPACK_PER_BYTE = 96
"""Gaps of one bit each are the worst: 8 bytes for one bit."""
FIXED_BYTES = 16 << 10


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_nearly_right(name, seed):
    target = TARGETS[name]
    target.survives(target.make(Random(seed)))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=300))
def test_noise(name, data):
    TARGETS[name].survives(data)


def peak_bytes(call, *arguments):
    """Most memory that a call held at once, and what it returned or how it refused."""
    for _ in range(2):  # the first time may fill caches
        tracemalloc.start()
        try:
            outcome = call(*arguments)
        except WireError as error:
            outcome = error
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    return peak, outcome


@pytest.mark.parametrize("name", [name for name in TARGETS if name.startswith("body of ")])
def test_a_body_takes_memory_in_proportion(name):
    rng = Random(2)
    kind = next(kind for kind in CAPS if name.endswith(f" {_name(kind)}"))
    for _ in range(60):
        body = TARGETS[name].make(rng)
        frame = Frame(kind, 0, 0, 0, bytes(HEADER_BYTES) + body)
        peak, _ = peak_bytes(decode, frame)
        assert peak <= DECODE_PER_BYTE * len(body) + FIXED_BYTES


def _name(kind):
    from mdiqkd_net.wire.messages import BY_TYPE

    return BY_TYPE[kind].__name__


@pytest.mark.parametrize("number", [0, 257, 2**63 - 1])
def test_the_densest_body_takes_memory_in_proportion(number):
    body = encode(GroupsVerified(wrong=[number] * MAX_GROUPS))
    frame = Frame(GroupsVerified.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + body)
    peak, message = peak_bytes(decode, frame)
    assert len(message.wrong) == MAX_GROUPS
    assert peak <= DECODE_PER_BYTE * len(body) + FIXED_BYTES


@pytest.mark.parametrize("n_bytes", [1, 10_000, 4_000_000])
def test_a_frame_is_read_at_a_few_times_its_size(n_bytes):
    body = encode(Reconcile(chunk=0, payload=bytes(n_bytes), round=0))
    raw = Sequencer().seal(Reconcile.TYPE, body).raw
    peak, frames = peak_bytes(lambda: FrameReader(CAPS).receive_data(raw))
    assert frames[0].body == body
    assert peak <= READ_PER_BYTE * len(raw) + FIXED_BYTES


@pytest.mark.parametrize("kind", sorted(CAPS))
def test_a_header_alone_takes_no_memory_for_its_body(kind):
    from mdiqkd_net.wire.frames import HEADER

    header = HEADER.pack(CAPS[kind], kind, 1, 0, 0, 0, 0)
    peak, frames = peak_bytes(lambda: FrameReader(CAPS).receive_data(header))
    assert frames == []
    assert peak <= FIXED_BYTES


N_BYTES = 100_000


@pytest.mark.parametrize(
    ("unpack", "n_items"),
    [
        (lambda v, n: bulk.unpack_bits(bulk.Bulk(n=n, t="b1", v=v)), 8 * N_BYTES),
        (lambda v, n: bulk.unpack_unsigned(bulk.Bulk(n=n, t="u8", v=v)), N_BYTES),
        (lambda v, n: bulk.unpack_gaps(bulk.Rice(k=0, n=n, v=v), 0, n), 8 * N_BYTES),
    ],
    ids=["b1", "u8", "gaps"],
)
def test_an_array_takes_memory_in_proportion(unpack, n_items):
    v = b"\xff" * N_BYTES
    peak, items = peak_bytes(unpack, v, n_items)
    assert isinstance(items, np.ndarray)
    assert items.size == n_items
    assert peak <= UNPACK_PER_BYTE * N_BYTES + FIXED_BYTES
    for claimed in (n_items + 1, bulk.MAX_ITEMS):
        peak, refusal = peak_bytes(unpack, v, claimed)
        assert isinstance(refusal, WireError)
        assert peak <= FIXED_BYTES
