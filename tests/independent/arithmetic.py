"""Poly1305 (RFC 8439, 2.5) and Ed25519 (RFC 8032, 5.1) on plain integers, and packed bits."""

import hashlib

P1305 = (1 << 130) - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def poly1305(r, s, data):
    """16 bytes; `r` and `s` are the halves of the key."""
    factor = int.from_bytes(r, "little") & CLAMP
    total = 0
    for at in range(0, len(data), 16):
        block = data[at : at + 16] + b"\x01"
        total = (total + int.from_bytes(block, "little")) * factor % P1305
    return ((total + int.from_bytes(s, "little")) % (1 << 128)).to_bytes(16, "little")


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def _add(p, q):
    """Sum of points (X, Y, Z, T) with x = X / Z, y = Y / Z, xy = T / Z (RFC 8032, 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n, point):
    found = (0, 1, 1, 0)
    while n:
        if n & 1:
            found = _add(found, point)
        point = _add(point, point)
        n >>= 1
    return found


def _same(p, q):
    return not ((p[0] * q[2] - q[0] * p[2]) % P or (p[1] * q[2] - q[1] * p[2]) % P)


def _point(data):
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(public, data, signature):
    """Whether the signature is good."""
    a, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + public + data).digest()
    other = _add(r, _times(int.from_bytes(digest, "little") % L, a))
    return _same(_times(s, BASE), other)


def bits_high_first(data, n):
    """n bits, the first in the high bit of the first byte."""
    return [data[i >> 3] >> 7 - (i & 7) & 1 for i in range(n)]


def bits_low_first(data, n):
    """n bits, the first in the low bit of the first byte."""
    return [data[i >> 3] >> (i & 7) & 1 for i in range(n)]


def packed_high_first(bits):
    """Undo `bits_high_first`."""
    found = bytearray(-(-len(bits) // 8))
    for i, bit in enumerate(bits):
        found[i >> 3] |= bit << 7 - (i & 7)
    return bytes(found)
