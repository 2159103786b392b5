"""Whole sessions, recorded so that an implementation can play one of the users."""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import to_builtins

from mdiqkd_net.conformance.vectors._cases import Cases, known, lots, octets
from mdiqkd_net.conformance.vectors._recording import (
    CHARLES,
    WINDOW,
    Entropy,
    ListedPads,
    RecordedRelay,
    RecordedUser,
    Recording,
    Tape,
)
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.keys.records import key_id_of
from mdiqkd_net.params import Security, Setting, Source
from mdiqkd_net.physics.settings import SegmentSettings
from mdiqkd_net.protocol.agreement import Agreement, float_bits, float_of
from mdiqkd_net.protocol.endpoint import PairPlan
from mdiqkd_net.units import from_nano
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import (
    Announcement,
    BlockAborted,
    Message,
    Prepare,
)

KEY_BITS: Final = 256
USERS: Final = ("alice", "bob")
_SEGMENT_KEY: Final = "segment key"
_INPUTS: Final = (
    "A network of the relay charles and two users, which wants one block. frames: all that was "
    "said, in the order in which it was sent; from, to, and octets of one whole frame each. "
    "agreement: what both users are configured with; eps and f_ec as in BlockOpen, qber_hint in "
    "1e-9. users, for each: n_pulses; its source in 1e-9, with bounds of 0 and vacuum_light "
    "any; hash_keys r1, r2 and "
    "pads of the tags that it sends, by index; draws: what its source of randomness gave, in "
    "order, each with the field that it went into, or 'segment key' where it chose states; states "
    "that it had sent where the relay announced something, a digit each, in the order of the "
    "announcements; script: the numbers of the frames that it sent and received, from 0, in its "
    "own order of time. The user's draws and states given, everything that it sends follows from "
    "what it receives. expected: block_id, bits, key, packed with the first bit in the high bit, "
    "and key_ids of its keys of 256 bits; or the code that the block was aborted with."
)
_SOURCES: Final = {
    "alice": ((300_000_000, 900_000_000, 1_000_000_000), (300_000_000, 100_000_000, 500_000_000)),
    "bob": ((250_000_000, 950_000_000, 1_050_000_000), (320_000_000, 100_000_000, 500_000_000)),
}
_EPS_SEC: Final = 0.1
"""So great that a short session gives a key: what is recorded is the protocol."""


def sessions() -> Cases:
    """A session that ends in a key, and one that is too short for a key."""
    cases = Cases("sessions", "Recorded sessions", _INPUTS, ("2.2", "4.1", "6.1", "7.3", "8.1"))
    for comment, n_pulses, flag in (
        ("a block that ends in a key", 300_000, "key"),
        ("a block that is aborted: too few events for a key", 6_000, "aborted"),
    ):
        given = _given(n_pulses)
        expected = _record(given, n_pulses)
        cases.add(comment, given, known(expected), flags=(flag,))
    return cases


def plan_of(given: dict[str, Any], user: str) -> PairPlan:
    """What a user of a case is configured with."""
    agreed, told = given["agreement"], given["users"][user]
    (peer,) = set(given["users"]) - {user}
    source = told["source"]
    x, y, z = (
        Setting(intensity=from_nano(mean), probability=from_nano(share))
        for mean, share in zip(source["intensities"], source["probabilities"], strict=True)
    )
    return PairPlan(
        node=user,
        peer=peer,
        n_pulses=int(told["n_pulses"]),
        blocks=1,
        agreement=Agreement(
            source=Source(x=x, y=y, z=z),
            security=Security(
                **{name: float_of(int(agreed[name])) for name in ("eps_sec", "eps_cor", "f_ec")}
            ),
            bell_states=tuple(agreed["bell_states"]),
            reconciler=agreed["reconciler"],
            analysis=Analysis(
                method=agreed["method"], tail=agreed["tail"], accounting=agreed["accounting"]
            ),
        ),
        qber_hint=from_nano(agreed["qber_hint"]),
    )


def pads_of(given: dict[str, Any], user: str) -> ListedPads:
    """The pads of a user of a case, none of them used."""
    (peer,) = set(given["users"]) - {user}
    ours, theirs = given["users"][user], given["users"][peer]
    keys = [[bytes.fromhex(key) for key in told["hash_keys"]] for told in (ours, theirs)]
    pads = [[bytes.fromhex(pad) for pad in told["pads"]] for told in (ours, theirs)]
    return ListedPads((keys[0][0], keys[0][1]), (keys[1][0], keys[1][1]), pads[0], pads[1])


def _given(n_pulses: int) -> dict[str, Any]:
    users = {}
    for user in USERS:
        intensities, probabilities = _SOURCES[user]
        users[user] = {
            "n_pulses": str(n_pulses),
            "source": {"intensities": list(intensities), "probabilities": list(probabilities)},
            "hash_keys": [lots(f"{user} r{i} {n_pulses}", 16).hex() for i in (1, 2)],
            "pads": [lots(f"{user} pad {i} {n_pulses}", 16).hex() for i in range(WINDOW)],
        }
    agreement = {
        "bell_states": ["psi_minus", "psi_plus"],
        "reconciler": "cascade",
        "qber_hint": 20_000_000,
        "eps_sec": str(float_bits(_EPS_SEC)),
        "eps_cor": str(float_bits(1e-9)),
        "f_ec": str(float_bits(1.16)),
        "method": "double_scan",
        "tail": "chernoff",
        "accounting": "variable",
    }
    return {"agreement": agreement, "users": users}


def _record(given: dict[str, Any], n_pulses: int) -> dict[str, Any]:
    """Let a network play; enters in `given` what was said, and returns what is expected."""
    tape = Tape()
    draws: dict[str, list[bytes]] = {user: [] for user in USERS}
    users = {
        user: RecordedUser(
            plan_of(given, user),
            pads_of(given, user),
            _drawn(f"{user} {n_pulses}", draws[user]),
            tape.post,
        )
        for user in USERS
    }
    relay = RecordedRelay(
        Ed25519PrivateKey.from_private_bytes(lots("relay", 32)),
        n_pulses - n_pulses // 3,
        _drawn(f"relay {n_pulses}", []),
        tape.post,
        users,
        _drawn(f"light {n_pulses}", []),
    )
    tape.nodes = {CHARLES: relay, **users}
    recording = tape.run()
    for user in USERS:
        named = _named(draws[user], _said(recording, user))
        keys = [draw for draw, name in named if name == _SEGMENT_KEY]
        given["users"][user] |= {
            "draws": [{"of": name, "octets": octets(draw)} for draw, name in named],
            "states": _states(plan_of(given, user), keys, recording, user),
            "script": recording.scripts[user],
        }
    given["frames"] = [
        {"from": sender, "to": receiver, "octets": octets(frame.raw)}
        for sender, receiver, frame in recording.frames
    ]
    return _expected(users["alice"], _said(recording, "alice"))


def _expected(coordinator: RecordedUser, said: list[Message]) -> dict[str, Any]:
    for message in said:
        match message:
            case BlockAborted(code=code):
                return {"code": f"{code:#06x}"}
            case Prepare(block_id=block_id, bits=bits):
                indices = range(bits // KEY_BITS)
                return {
                    "block_id": block_id.hex(),
                    "bits": str(bits),
                    "key": coordinator.key.hex(),
                    "key_ids": [key_id_of(block_id, index, KEY_BITS) for index in indices],
                }
    raise ValueError("the block has not ended; choose other settings")


def _drawn(label: str, into: list[bytes]) -> Entropy:
    def draw(n: int) -> bytes:
        into.append(lots(f"{label} {len(into)}", n))
        return into[-1]

    return draw


def _said(recording: Recording, user: str) -> list[Message]:
    return [decode(frame) for sender, _, frame in recording.frames if sender == user]


def _named(draws: list[bytes], said: list[Message]) -> list[tuple[bytes, str]]:
    """Each draw with the first field that it was sent in."""
    names: dict[bytes, str] = {}
    for message in said:
        for name, value in to_builtins(message, builtin_types=(bytes,)).items():
            if isinstance(value, bytes):
                names.setdefault(value, f"{type(message).__name__}.{name}")
    return [(draw, names.get(draw, _SEGMENT_KEY)) for draw in draws]


def _states(plan: PairPlan, keys: list[bytes], recording: Recording, user: str) -> str:
    """What was sent in all announced pulses, as digits; `keys` by segment."""
    settings = [SegmentSettings(key, plan.agreement.prepared_source) for key in keys]
    states: list[int] = []
    for _, receiver, frame in recording.frames:
        if receiver == user and isinstance(batch := decode(frame), Announcement):
            pulses = bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
            states += settings[batch.segment].states_at(pulses).tolist()
    return "".join(map(str, states))
