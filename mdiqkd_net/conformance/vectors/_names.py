"""Names that both users derive alike."""

from typing import Any, Final

from mdiqkd_net.conformance.vectors._cases import Cases, known, lots, octets
from mdiqkd_net.keys.records import key_id_of
from mdiqkd_net.protocol.ids import block_id, pair_id, session_digest
from mdiqkd_net.wire.messages import PairReady

_INPUTS: Final = "input.of says which name; expected.hex, or expected.uuid for a key, is the name."
_PAIRS: Final = (("alice", "bob"), ("a", "b"), ("a", "ab"), ("n" * 32, "n_-9"))


def ids() -> Cases:
    """Names of pairs, sessions, blocks and keys."""
    cases = Cases("ids", "Derived names", _INPUTS, ("1.3",))

    def add(comment: str, given: dict[str, Any], name: bytes | str) -> None:
        expected = {"uuid": name} if isinstance(name, str) else {"hex": name.hex()}
        cases.add(comment, given, known(expected))

    for pair in _PAIRS:
        users = (min(pair), max(pair))
        given = {"of": "pair", "users": list(users)}
        add(f"the pair {users[0]}, {users[1]}", given, pair_id(users))
    for number, (n_pulses, rate, segment) in enumerate(
        ((1, 0, 1), (10**9, 10**9, 10**8), (10**15, 2**63 - 1, 10**15))
    ):
        ready = PairReady(
            n_pulses=n_pulses,
            pulse_rate_hz=rate,
            relay_key=lots(f"relay key {number}", 32),
            segment_pulses=segment,
            session=lots(f"session {number}", 16),
            users=["alice", "bob"],
        )
        given = {
            "of": "session",
            "n_pulses": str(n_pulses),
            "pulse_rate_hz": str(rate),
            "relay_key": octets(ready.relay_key),
            "segment_pulses": str(segment),
            "session": octets(ready.session),
            "users": ready.users,
        }
        add(f"a session of {n_pulses} pulses", given, session_digest(ready))
    for block in (0, 1, 2**63 - 1):
        session, first, second = (lots(f"{word} {block}", n) for word, n in
                                  (("session", 16), ("gate c", 32), ("gate p", 32)))  # fmt: skip
        for gates, comment in (((first, second), ""), ((second, first), ", gates exchanged")):
            given = {
                "of": "block",
                "users": ["alice", "bob"],
                "session": octets(session),
                "block": str(block),
                "gate_c": octets(gates[0]),
                "gate_p": octets(gates[1]),
            }
            add(f"block {block}{comment}", given, block_id(("alice", "bob"), session, block, gates))
    for index, size in ((0, 256), (1, 256), (0, 128), (2**32 - 1, 2**32 - 1)):
        source = lots("key", 16)
        numbers = {"index": index, "size_bits": size}
        add(
            f"key {index} of {size} bits",
            {"of": "key", "block_id": octets(source), **numbers},
            key_id_of(source, index, size),
        )
    return cases
