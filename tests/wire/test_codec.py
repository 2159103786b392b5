"""One message, one encoding."""

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


def test_type_numbers_are_critical_and_unique():
    assert all(kind & 0x8000 for kind in m.BY_TYPE)
    assert len(m.BY_TYPE) == len(m.Message.__subclasses__())
