"""What a scheme keeps of the key is overwritten, in whatever form it keeps it."""

import numpy as np
import pytest

from mdiqkd_net.postprocessing.reconcile import RECONCILERS

N = 150_000
PIECE = 4096
"""Bits of the key that are looked for together."""


def arrays(value):
    """All arrays that an object refers to, directly or through its attributes and items."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays(item)]
    return [array for item in getattr(value, "__dict__", {}).values() for array in arrays(item)]


def forms(bits):
    piece = bits[N // 2 // 64 * 64 :][:PIECE]
    wide = [piece.astype(kind).tobytes() for kind in (np.uint8, np.int16)]
    return [*wide, *(np.packbits(piece, bitorder=order).tobytes() for order in ("big", "little"))]


def holds(user, bits):
    # The words of a key may lie in a column of a table.
    columns = [
        column
        for array in arrays(user)
        for column in (np.moveaxis(array, -1, 0) if array.ndim > 1 else [array])
    ]
    return any(form in column.tobytes() for form in forms(bits) for column in columns)


@pytest.mark.parametrize("name", RECONCILERS)
def test_nothing_of_the_key_is_left(name):
    rng = np.random.default_rng(1)
    alice = rng.integers(0, 2, N, dtype=np.uint8)
    bob = alice ^ (rng.random(N) < 0.01)
    scheme = RECONCILERS[name]
    users = [
        scheme(bits, corrects=corrects, qber=0.01, seed=bytes(32))
        for bits, corrects in ((alice, False), (bob, True))
    ]
    payloads = [user.start() for user in users]
    while not users[0].done:
        payloads = [
            user.receive(payload) for user, payload in zip(users, payloads[::-1], strict=True)
        ]
    for user in users:
        before = user.bits
        assert np.array_equal(before, alice)
        assert holds(user, alice) or holds(user, bob)
        user.wipe()
        assert not holds(user, alice)
        assert not holds(user, bob)
        assert np.array_equal(before, alice)  # what it has given out is the caller's
