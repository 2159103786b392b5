"""Hostile input made from good input: by its structure, and by its bytes."""

import copy
import json
import tomllib

import tomli_w

from mdiqkd_net.conformance.vectors._loose import Pairs, Raw, Wide, pack
from mdiqkd_net.wire.frames import HEADER

_PACKED = {}


def _packed(good):
    """The items of a map that lives on, packed: most of a message stays as it is."""
    if id(good) not in _PACKED:
        items = [(Raw(pack(key)), Raw(pack(item))) for key, item in sorted(good.items())]
        _PACKED[id(good)] = good, items
    return list(_PACKED[id(good)][1])


NUMBERS = (
    0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**63), 10**9, 10**9 + 1, 10**15, 10**15 + 1,
)  # fmt: skip
ODD_BYTES = (
    b"", b"\0", b"\xff", b"\x80", b"\xc0", b"\xc1", b"\xdc\x10\x00", b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91", b"\x81\xa1a", b"\n",
    b"\xed\xa0\x80",
)  # fmt: skip
HEADS = (b"\xc0", b"\xca" + bytes(4), b"\xcb" + bytes(8), b"\xd4\x05a", b"\xc7\x01\x05a",
         b"\xd6\xff" + bytes(4), b"\x91" * 40, b"\xdc\x10\x00" * 20, b"\x81\xa1a" * 9)  # fmt: skip


def any_bytes(rng, most=64):
    """Noise, of any length up to `most`."""
    return rng.randbytes(rng.randrange(most + 1))


def by_bytes(data, rng):
    """The data after one to four changes of bytes."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                data[at:at] = rng.choice(ODD_BYTES)
            case 3:
                del data[at : at + rng.randrange(1, 9)]
            case 4:
                del data[at:]
            case 5:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
            case _:
                data[at:at] = any_bytes(rng, 8)
    return bytes(data)


def around(data, rng):
    """The data, and three neighbors that differ from it in one byte."""
    yield data
    if data:
        for _ in range(3):
            near = bytearray(data)
            near[int(rng.random() * len(near))] = int(rng.random() * 256)
            yield bytes(near)


def value(good, rng, depth=0):
    """A value near `good`, for `pack`: of its type or of another, in another form."""
    if isinstance(good, dict) and rng.random() < 0.9 and good:
        return fields(good, rng, depth + 1)
    if isinstance(good, list) and good and rng.random() < 0.7:
        items = list(good)
        items[rng.randrange(len(items))] = value(rng.choice(items), rng, depth + 1)
        return items * rng.choice((1, 1, 1, 2, 40)) if rng.random() < 0.5 else items
    match rng.randrange(10):
        case 0 | 1 | 2 | 3 if isinstance(good, int):
            near = rng.choice((good + rng.choice((-1, 1)), rng.choice(NUMBERS)))
            return min(max(near, -(2**63)), 2**64 - 1)
        case 0 | 1 | 2 if isinstance(good, bytes):
            return by_bytes(good, rng)
        case 3 if isinstance(good, bytes):
            return any_bytes(rng, 300)
        case 0 | 1 | 2 if isinstance(good, str):
            return good + rng.choice(("\n", "\0", "é", "x" * 70, " ", "\u2028"))
        case 4 if isinstance(good, int | str | bytes) and not isinstance(good, bool):
            width = rng.choice((1, 2, 4, 8) if isinstance(good, int) else (1, 2, 4))
            size = good if isinstance(good, int) else len(good)
            wide = isinstance(good, bytes | str) or good >= 0
            return Wide(good, width) if wide and size < 1 << 8 * width - 3 else good
        case 5:
            return Raw(rng.choice(HEADS))
        case 6:
            return rng.choice((True, False, rng.choice(NUMBERS), "x", b"x", [], {}, [[[]]]))
        case _:
            return good


def fields(good, rng, depth=0):
    """A map near `good`: a value changed, and now and then a field more, less or twice."""
    names = sorted(good)
    items = _packed(good) if depth == 0 else sorted(good.items())
    at = rng.randrange(len(items))
    items[at] = (names[at], value(good[names[at]], rng, depth))
    match rng.randrange(16):
        case 0:
            del items[at]
        case 1:
            items.insert(at, items[rng.randrange(len(items))])
        case 2:
            rng.shuffle(items)
        case 3:
            items.append((rng.choice(("zz", "", b"a", 1, True, names[at] + "\0")), 0))
    return Pairs(tuple(items))


def frame(kind, body, rng):
    """A frame around a body, its header now and then a wrong one."""
    header = [len(body), kind, 1, 0, rng.choice((0, 1, 2**63, 2**64 - 1)), 0, 0]
    if rng.random() < 0.15:
        at = rng.randrange(len(header))
        most = (2**32, 2**16, 2**8, 2**8, 2**64, 2**32, 2**32)[at]
        header[at] = rng.choice((0, 1, most - 1, rng.randrange(most), (header[at] + 1) % most))
    return HEADER.pack(*header) + body


def message(good, rng):
    """A body near that of `good`, a map of builtins."""
    body = pack(fields(good, rng) if good else {})
    return by_bytes(body, rng) if rng.random() < 0.2 else body


ODD_LEAVES = (
    0, -1, 1, 2, 0.0, -1.0, 0.5, 1.0, 2.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"),
    2**63 - 1, 2**63, -(2**63), 10**400, "", "x", "\n", "a" * 100, "ideal", True, False, [], {},
    [[]], {"x": 1}, [0], [""], [0, 1], ["a", "a"],
)  # fmt: skip


def leaf(tree, rng):
    """Change one place of a tree of dicts and lists, in place: another value, none, one more."""
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.1:
            break
        place = inner
    match rng.randrange(8):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[rng.choice(("zz", "", "seed", key + "_", key.upper()))] = inner
        case 2 if isinstance(place, dict):
            place[key] = place[rng.choice(keys)]
        case 3 if isinstance(inner, int | float):
            near = min(max(inner, -(2**63)), 2**63)
            place[key] = near * rng.choice((-1, 2, 10, 1000, 1e-3, 1e9, 1e300))
        case _:
            place[key] = copy.deepcopy(rng.choice(ODD_LEAVES))


DEEP_TOML = (
    b"a = " + b"[" * 5000, b"a = " + b"{a=" * 5000, b"a = " + b"9" * 5000,
    b"[" + b"a." * 5000 + b"a]", b"a." * 5000 + b"a = 1", b"a = 0x" + b"f" * 5000,
    b"a = 1e" + b"9" * 5000,
)  # fmt: skip
DEEP_JSON = (
    b"[" * 100_000, b'{"event":' * 100_000, b'{"event":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"9" * 5000, b'{"event":"ready","node":' + b"9" * 5000 + b"}", b'{"event":"\xff"}',
)  # fmt: skip


def toml(text, rng):
    """Bytes near a TOML text."""
    if rng.random() < 0.2:
        return by_bytes(text.encode(), rng)
    if rng.random() < 0.01:
        return rng.choice(DEEP_TOML)
    tree = tomllib.loads(text)
    for _ in range(rng.randrange(1, 4)):
        leaf(tree, rng)
    return tomli_w.dumps(tree).encode("utf-8", "surrogatepass")


def json_text(text, rng):
    """Bytes near a JSON text, as its canonical encoding more often than not."""
    if rng.random() < 0.3:
        return by_bytes(text, rng)
    if rng.random() < 0.01:
        return rng.choice(DEEP_JSON)
    tree = json.loads(text)
    for _ in range(rng.randrange(1, 4)):
        leaf(tree, rng)
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
