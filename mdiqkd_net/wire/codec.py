"""One message, one encoding: canonical MessagePack, strict schemas (spec 3.1, 3.2).

`msgspec` reads bytes straight into the message's struct, so it never makes what the struct does
not have, however deep or long the bytes claim it to be. The result is encoded again and compared:
duplicate or unsorted keys and long forms of numbers all fail that comparison.
"""

from typing import Any, Final

import msgpack
import msgspec

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire.frames import NOT_CANONICAL, SCHEMA, Frame
from mdiqkd_net.wire.messages import BY_TYPE, Message

CAPS: Final = {kind: message.CAP for kind, message in BY_TYPE.items()}
_BUFFER_BYTES: Final = 1024
"""To begin with; most messages fit, and msgpack would take a quarter of a megabyte for each."""
_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(message) for kind, message in BY_TYPE.items()
}


def encode(message: Message) -> bytes:
    """The body of `message`."""
    builtins = msgspec.to_builtins(message, order="sorted", builtin_types=(bytes,))
    body: bytes = msgpack.packb(builtins, use_bin_type=True, buf_size=_BUFFER_BYTES)
    return body


def decode(frame: Frame) -> Message:
    """The message in `frame`.

    Allocates in proportion to the body, whatever the body claims to hold.

    Raises:
        WireError: Not MessagePack, not this type's schema, or not canonical.
    """
    return decode_body(frame.kind, frame.body)


def decode_body(number: int, body: bytes) -> Message:
    """The message of type `number` in `body`.

    Raises:
        WireError: As `decode` does.
    """
    kind = BY_TYPE.get(number)
    if kind is None:
        raise WireError(f"frame type {number:#06x} is unknown", SCHEMA)
    try:
        message: Message = _DECODERS[number].decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError(f"{kind.__name__}: {error}", SCHEMA) from None
    if encode(message) != body:
        raise WireError(f"{kind.__name__}: not the canonical encoding", NOT_CANONICAL)
    return message
