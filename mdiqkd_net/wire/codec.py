"""One message, one encoding: canonical MessagePack, strict schemas (spec 3.1, 3.2).

`msgpack` turns bytes into builtins under hard limits, `msgspec` holds them against the message's
struct, and the result is encoded again and compared: duplicate or unsorted keys, long forms of
numbers and trailing bytes all fail that comparison.
"""

from typing import Final

import msgpack
import msgspec

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire.frames import MAX_BODY_BYTES, NOT_CANONICAL, SCHEMA, Frame
from mdiqkd_net.wire.messages import BY_TYPE, Message

CAPS: Final = {kind: message.CAP for kind, message in BY_TYPE.items()}
MAX_STRING_BYTES: Final = 1024
MAX_ARRAY_ITEMS: Final = 4096
MAX_MAP_ITEMS: Final = 64


def encode(message: Message) -> bytes:
    """The body of `message`."""
    builtins = msgspec.to_builtins(message, order="sorted", builtin_types=(bytes,))
    body: bytes = msgpack.packb(builtins, use_bin_type=True)
    return body


def decode(frame: Frame) -> Message:
    """The message in `frame`.

    Raises:
        WireError: Not MessagePack, not this type's schema, or not canonical.
    """
    return decode_body(frame.kind, frame.body)


def decode_body(number: int, body: bytes) -> Message:
    """The message of type `number` in `body`. Raises as `decode` does."""
    kind = BY_TYPE.get(number)
    if kind is None:
        raise WireError(f"frame type {number:#06x} is unknown", SCHEMA)
    try:
        builtins = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_str_len=MAX_STRING_BYTES,
            max_bin_len=MAX_BODY_BYTES,
            max_array_len=MAX_ARRAY_ITEMS,
            max_map_len=MAX_MAP_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise WireError(
            f"{kind.__name__}: not MessagePack of this profile: {error}", SCHEMA
        ) from None
    try:
        message = msgspec.convert(builtins, kind)
    except msgspec.ValidationError as error:
        raise WireError(f"{kind.__name__}: {error}", SCHEMA) from None
    if encode(message) != body:
        raise WireError(f"{kind.__name__}: not the canonical encoding", NOT_CANONICAL)
    return message
