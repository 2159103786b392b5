"""Arithmetic in GF(2)[x] and GF(2^64) in Python integers: bit i is the coefficient of x^i."""

FIELD = 1 << 64 | 0b11011
"""x^64 + x^4 + x^3 + x + 1."""


def multiply(a: int, b: int) -> int:
    """Shift and add."""
    product = 0
    while b:
        low = b & -b
        product ^= a * low
        b ^= low
    return product


def reduce(a: int) -> int:
    while a.bit_length() > 64:
        a ^= FIELD << (a.bit_length() - 65)
    return a


def field_multiply(a: int, b: int) -> int:
    return reduce(multiply(a, b))


def polynomial_value(coefficients: list[int], at: int) -> int:
    """Horner's rule in GF(2^64)."""
    value = 0
    for coefficient in reversed(coefficients):
        value = field_multiply(value, at) ^ coefficient
    return value
