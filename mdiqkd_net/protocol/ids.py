"""Names that both users derive alike, without talking (spec 1.3)."""

import hashlib

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.wire.messages import PairReady


def ordered(a: str, b: str) -> tuple[str, str]:
    """Two users, lower node id first: the first is the coordinator, and "Alice" of the formulas.

    Raises:
        LocalProtocolError: A user cannot pair with itself.
    """
    if a == b:
        raise LocalProtocolError(f"a pair needs two users; found {a!r} twice")
    return (a, b) if a < b else (b, a)


def pair_id(users: tuple[str, str]) -> bytes:
    """16 bytes that name an ordered pair of users."""
    return hashlib.sha256("\0".join(("mdiqkd1 pair", *users)).encode()).digest()[:16]


def session_digest(ready: PairReady) -> bytes:
    """32 bytes over everything that the relay told a user about a session.

    Both users compare them, so a relay that tells them different things is found out.
    """
    fields = (
        ready.n_pulses.to_bytes(8, "big"),
        ready.pulse_rate_hz.to_bytes(8, "big"),
        ready.segment_pulses.to_bytes(8, "big"),
        ready.relay_key,
        ready.session,
        "\0".join(ready.users).encode(),
    )
    return hashlib.sha256(b"mdiqkd1 session\0" + b"".join(fields)).digest()


def block_id(
    users: tuple[str, str], session: bytes, block: int, gates: tuple[bytes, bytes]
) -> bytes:
    """16 bytes that name a key block, alike at both users.

    `gates` are the hash keys of the coordinator's and the participant's gate. Both are fresh, so a
    name never comes twice, whatever the relay chose as session.
    """
    text = b"mdiqkd1 block\0" + pair_id(users) + session + block.to_bytes(8, "big")
    return hashlib.sha256(text + gates[0] + gates[1]).digest()[:16]
