"""Secret bytes as text, written in place: the usual functions leave copies that nobody can wipe.

A byte at a time, since Python keeps all integers below 256 ready and makes none anew.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

_HEX: Final = b"0123456789abcdef"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PAD: Final = ord("=")


class Encoding(NamedTuple):
    """How secret bytes become ASCII.

    Attributes:
        size: Length of the text of so many bytes.
        write: Fill a buffer of that length with the text of some bytes.
    """

    size: Callable[[int], int]
    write: Callable[[memoryview, memoryview], None]


def write_hex(secret: memoryview, out: memoryview) -> None:
    """Fill `out`, twice as long as `secret`, with lower-case hexadecimal digits."""
    for i, byte in enumerate(secret):
        out[2 * i] = _HEX[byte >> 4]
        out[2 * i + 1] = _HEX[byte & 15]


def write_base64(secret: memoryview, out: memoryview) -> None:
    """Fill `out` with base64 (RFC 4648, section 4); four characters for every three bytes begun."""
    rest = 0
    at = 0
    for i, byte in enumerate(secret):
        match i % 3:
            case 0:
                out[at] = _BASE64[byte >> 2]
                rest = (byte & 3) << 4
            case 1:
                out[at] = _BASE64[rest | byte >> 4]
                rest = (byte & 15) << 2
            case _:
                out[at] = _BASE64[rest | byte >> 6]
                at += 1
                out[at] = _BASE64[byte & 63]
        at += 1
    if len(secret) % 3:
        out[at] = _BASE64[rest]
        for i in range(at + 1, len(out)):
            out[i] = _PAD


ENCODINGS: Final[Mapping[str, Encoding]] = {
    "hex": Encoding(lambda n_bytes: 2 * n_bytes, write_hex),
    "base64": Encoding(lambda n_bytes: 4 * -(-n_bytes // 3), write_base64),
}
