"""One message, one encoding."""

import tracemalloc

import msgpack
import pytest
from examples import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Sequencer


def framed(kind, body):
    return Sequencer().seal(kind, body)


def test_there_is_an_example_of_every_message():
    assert {type(example) for example in EXAMPLES} == set(m.BY_TYPE.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_messages_return(message):
    body = encode(message)
    assert decode(framed(message.TYPE, body)) == message
    assert len(body) <= CAPS[message.TYPE]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_every_missing_and_every_unknown_field_is_refused(message):
    whole = msgpack.unpackb(encode(message))
    for key in whole:
        less = {k: v for k, v in whole.items() if k != key}
        with pytest.raises(WireError, match="missing required field"):
            decode(framed(message.TYPE, msgpack.packb(less)))
    with pytest.raises(WireError, match="unknown field"):
        decode(framed(message.TYPE, msgpack.packb({**whole, "zz": 1})))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_other_encodings_of_the_same_are_refused(message):
    body = encode(message)
    whole = msgpack.unpackb(body)
    backwards = msgpack.packb(dict(sorted(whole.items(), reverse=True)))
    others = [body + b"\0", b"\xde\0" + bytes([len(whole)]) + body[1:]]
    if len(whole) > 1:
        others.append(backwards)
    for other in others:
        with pytest.raises(WireError):
            decode(framed(message.TYPE, other))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\xc1",
        msgpack.packb({"code": 1.0}),
        msgpack.packb({"code": True}),
        msgpack.packb({"code": "1"}),
        msgpack.packb({"code": -1}),
        msgpack.packb({"code": 1 << 16}),
        msgpack.packb({"code": None}),
        msgpack.packb({1: 1}),
        b"\x81\xa4code\xcd\x00\x01",  # long form of 1
        b"\x82\xa4code\x01\xa4code\x01",  # twice
        b"\xdd\xff\xff\xff\xff",  # length bomb
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 2000,
        b"\xc7\x01\x05a",  # extension type
    ],
)
def test_bad_bodies_are_refused(body):
    with pytest.raises(WireError):
        decode(framed(m.Error.TYPE, body))


@pytest.mark.parametrize(
    "body",
    [
        b"\xdc\x10\x00" * 1500,  # lists of 4096 items, each the first item of the one before
        b"\x81\xa5wrong" + b"\xdc\x10\x00" * 1020,
        b"\xde\x00\x40\xa1a" * 1000,
        b"\x81\xa5wrong\xdd\xff\xff\xff\xff",
        b"\x81\xa5wrong\xc6\xff\xff\xff\xff",
    ],
)
def test_what_bytes_claim_to_hold_is_not_allocated(body):
    frame = framed(m.GroupsVerified.TYPE, body)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(frame)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(body) + 8192


def test_an_error_rate_past_one_is_refused_as_the_peers_fault():
    start = m.ReconcileStart(bits=1, chunk=0, qber=10**9 + 1, scheme="cascade", seed=bytes(32))
    with pytest.raises(WireError, match="qber"):
        decode(framed(start.TYPE, encode(start)))


@pytest.mark.parametrize("name", ["alice\n", "Alice", "", "a" * 33, "alice\0", "\nalice"])
def test_a_node_name_is_a_node_name_to_its_end(name):
    body = msgpack.packb({"n_pulses": 1, "peer": name})
    with pytest.raises(WireError, match="peer"):
        decode(framed(m.PairRequest.TYPE, body))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(m.BY_TYPE)), st.binary(max_size=200))
def test_noise_never_raises_anything_else(kind, body):
    try:
        message = decode(framed(kind, body))
    except WireError:
        return
    assert encode(message) == body


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_a_flipped_byte_is_another_message_or_none(message, data):
    body = bytearray(encode(message))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(framed(message.TYPE, bytes(body)))
    except WireError:
        return
    assert changed != message


def test_type_numbers_are_unique_and_critical_but_for_signs_of_life():
    not_critical = {m.Ping.TYPE, m.Pong.TYPE}
    assert {kind for kind in m.BY_TYPE if not kind & 0x8000} == not_critical
    assert len(m.BY_TYPE) == len(m.Message.__subclasses__())
