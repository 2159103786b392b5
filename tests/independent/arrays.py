"""Packed arrays, bit by bit (spec 3.3)."""

from independent.arithmetic import bits_low_first
from independent.refusal import SCHEMA, refuse

BITS = {"b1": 1, "u8": 8, "u16": 16, "u32": 32, "u64": 64}


def items_of(n, kind, v):
    """The items of a `{n, t, v}`."""
    width = BITS[kind]
    refuse(len(v) == (n * width + 7) // 8, SCHEMA, "length")
    if width >= 8:
        size = width // 8
        return [int.from_bytes(v[i * size : (i + 1) * size], "little") for i in range(n)]
    number = int.from_bytes(v, "little")
    refuse(number >> n * width == 0, SCHEMA, "spare bits")
    return [number >> i * width & ((1 << width) - 1) for i in range(n)]


def pulses_of(k, n, v, base, end):
    """The pulse numbers of a `{k, n, v}`."""
    bits = bits_low_first(v, 8 * len(v))
    found, at, previous = [], 0, base - 1
    for _ in range(n):
        try:
            one = bits.index(1, at)
        except ValueError:
            refuse(False, SCHEMA, "no one")
        low = bits[one + 1 : one + 1 + k]
        refuse(len(low) == k, SCHEMA, "low bits are missing")
        previous += (one - at << k) + sum(bit << i for i, bit in enumerate(low)) + 1
        refuse(previous < end, SCHEMA, "a pulse past the end")
        found.append(previous)
        at = one + 1 + k
    refuse((at + 7) // 8 == len(v) and not any(bits[at:]), SCHEMA, "spare bits")
    return found


def ranked_of(n, ranks, symbols):
    """The items of a `{n, ranks, symbols}`, rank by rank."""
    refuse(sorted(symbols) == [0, 1, 2, 3], SCHEMA, "symbols")
    items, left = [symbols[0]] * n, list(range(n))
    for (k, count, v), symbol in zip(ranks, symbols[1:], strict=True):
        left = [left[i] for i in pulses_of(k, count, v, 0, len(left))]
        for i in left:
            items[i] = symbol
    return items
