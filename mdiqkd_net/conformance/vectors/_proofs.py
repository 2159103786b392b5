"""Tags and hashes: of a block's transcript, of the announcements, of the reconciled key."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from mdiqkd_net.conformance.vectors._cases import FAILED_CHECK, Cases, lots, octets
from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.postprocessing.verify import check_verification, verification_tag
from mdiqkd_net.protocol.announcing import list_digest
from mdiqkd_net.protocol.tags import Pads, Transcript, tag_context
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Commit, CommitAborted, Committed, Prepare, Vote

_TAG_INPUTS: Final = (
    "forth: frames from the sender of the tag to its receiver in this block, back: the other "
    "direction, both as the receiver saw them, and both empty but for Prepare; type to key_bits: "
    "the context; pad_index: which pad the message names; pad: its value."
)
_GATE_INPUTS: Final = (
    "bodies: a user's announcements; hash_key and digest: of the peer's gate. An invalid case has "
    "another list here than there."
)
_VERIFY_INPUTS: Final = "bits: the key, first bit in the high bit of the first byte; r: hash_key."


@dataclass(frozen=True, slots=True)
class _Setting:
    """Everything that a tag depends on."""

    r1: bytes
    r2: bytes
    pad: bytes
    pad_index: int
    forth: bytes
    back: bytes
    type: int
    by_coordinator: bool
    pair_id: bytes
    block_id: bytes
    key_bits: int

    @property
    def send_keys(self) -> tuple[bytearray, bytearray]:
        return bytearray(self.r1), bytearray(self.r2)

    receive_keys = send_keys

    def take_send(self) -> tuple[int, bytearray]:
        return self.pad_index, bytearray(self.pad)

    def read_receive(self, _index: int) -> bytearray:
        return bytearray(self.pad)

    @property
    def context(self) -> bytes:
        return tag_context(
            self.type,
            self.pair_id,
            self.block_id,
            self.key_bits,
            by_coordinator=self.by_coordinator,
        )

    def tag(self) -> bytes:
        transcript = Transcript()
        transcript.add_sent(_frame(self.forth))
        transcript.add_received(_frame(self.back))
        return transcript.seal(self._pads, self.context)[1]

    def check(self, tag: bytes) -> None:
        transcript = Transcript()
        transcript.add_received(_frame(self.forth))
        transcript.add_sent(_frame(self.back))
        transcript.check(self._pads, self.context, self.pad_index, tag)

    @property
    def _pads(self) -> Pads:
        return cast("Pads", self)  # the one pad that is needed here

    def as_json(self) -> dict[str, Any]:
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            found[field.name] = octets(value) if isinstance(value, bytes) else value
        return found | {"key_bits": str(self.key_bits), "pad_index": str(self.pad_index)}


def _frame(raw: bytes) -> Frame:
    return Frame(0, 0, 0, 0, raw)


_PLAIN: Final = _Setting(
    r1=lots("r1", 16),
    r2=lots("r2", 16),
    pad=lots("pad", 16),
    pad_index=5,
    forth=lots("forth", 200),
    back=lots("back", 100),
    type=Prepare.TYPE,
    by_coordinator=True,
    pair_id=lots("pair", 16),
    block_id=lots("block", 16),
    key_bits=1000,
)


def tag() -> Cases:
    """Tags of all lengths around a block of the hash, edge keys, and what must not pass."""
    cases = Cases("tag", "One-time tags", _TAG_INPUTS, ("8.1",))

    def add(comment: str, there: _Setting, here: _Setting | None = None) -> None:
        made = there.tag()
        seen = here or there

        def outcome() -> dict[str, Any]:
            seen.check(made)
            return {}

        given = {**seen.as_json(), "tag": octets(made)}
        cases.add(comment, given, outcome)

    change = dataclasses.replace
    lengths = (0, 1, 15, 16, 17, 32)
    for n, m in itertools.product(lengths, (0, 16)):
        there = change(_PLAIN, forth=lots("forth", n), back=lots("back", m))
        add(f"{n} bytes forth, {m} back", there)
    long = lots("long", 16) * 4096
    add("64 KiB forth, 64 KiB back", change(_PLAIN, forth=long, back=long[1:]))
    add("2^20 zeros forth", change(_PLAIN, forth=bytes(1 << 20)))
    clamped = bytes.fromhex("000000f0030000f0030000f0030000f0")
    for comment, r in (
        ("zero", bytes(16)),
        ("zero once clamped", clamped),
        ("all ones", b"\xff" * 16),
        ("one", (1).to_bytes(16, "little")),
    ):
        add(f"r1 is {comment}", change(_PLAIN, r1=r))
        add(f"r1 and r2 are {comment}", change(_PLAIN, r1=r, r2=r))
    add("all ones, all bytes 0xff", change(_PLAIN, r1=b"\xff" * 16, forth=b"\xff" * 64))
    add("a pad of ones: the sum wraps", change(_PLAIN, pad=b"\xff" * 16))
    for message in (Vote, Commit, Committed, CommitAborted):
        by_coordinator = message in (Commit, CommitAborted)
        decision = change(
            _PLAIN, type=message.TYPE, by_coordinator=by_coordinator, forth=b"", back=b""
        )
        add(message.__name__, decision)
    greatest = 2**63 - 1
    add("the greatest numbers", change(_PLAIN, key_bits=greatest, pad_index=greatest))
    flipped = bytes([_PLAIN.forth[0] ^ 1]) + _PLAIN.forth[1:]
    for comment, changes in (
        ("directions exchanged", {"forth": _PLAIN.back, "back": _PLAIN.forth}),
        ("the other role", {"by_coordinator": False}),
        ("another type", {"type": Commit.TYPE}),
        ("another pair", {"pair_id": lots("another", 16)}),
        ("another block", {"block_id": lots("another", 16)}),
        ("another length of key", {"key_bits": 1001}),
        ("another index", {"pad_index": 6}),
        ("another pad", {"pad": lots("another", 16)}),
        ("r1 and r2 exchanged", {"r1": _PLAIN.r2, "r2": _PLAIN.r1}),
        ("a bit flipped on the way", {"forth": flipped}),
        ("a byte missing at the end", {"forth": _PLAIN.forth[:-1]}),
        ("a zero byte more at the end", {"back": _PLAIN.back + b"\0"}),
        ("a byte moved to the other direction",
         {"forth": _PLAIN.forth[:-1], "back": _PLAIN.back + _PLAIN.forth[-1:]}),
    ):  # fmt: skip
        add(comment, _PLAIN, change(_PLAIN, **changes))
    return cases


def gate() -> Cases:
    """Lists of announcements that are equal, and that nearly are."""
    cases = Cases("gate", "Proof that both users hold the same announcements", _GATE_INPUTS,
                  ("6.2",))  # fmt: skip
    bodies = [lots("first", 40), lots("second", 17), lots("third", 16)]

    def add(comment: str, there: list[bytes], here: list[bytes], key: bytes) -> None:
        digest = list_digest(there, key)

        def outcome() -> dict[str, Any]:
            if list_digest(here, key) != digest:
                raise RemoteProtocolError("lists differ", FAILED_CHECK)
            return {}

        listed = [octets(body) for body in here]
        given = {"bodies": listed, "hash_key": octets(key), "digest": octets(digest)}
        cases.add(comment, given, outcome)

    keys = [lots(f"hash key {i}", 32) for i in range(3)]
    for key in keys:
        add("three announcements", bodies, bodies, key)
    add("none", [], [], keys[0])
    add("one, empty", [b""], [b""], keys[0])
    add("one of a megabyte", [bytes(1 << 20)], [bytes(1 << 20)], keys[0])
    flipped = [bodies[0], bytes([bodies[1][0] ^ 1]) + bodies[1][1:], bodies[2]]
    for comment, here in (
        ("one bit differs", flipped),
        ("another order", [bodies[1], bodies[0], bodies[2]]),
        ("one is missing", bodies[:2]),
        ("one more, empty", [*bodies, b""]),
        ("the same bytes, cut elsewhere",
         [bodies[0][:-1], bodies[0][-1:] + bodies[1], bodies[2]]),
        ("a zero byte more", [*bodies[:2], bodies[2] + b"\0"]),
    ):  # fmt: skip
        add(comment, bodies, here, keys[0])
    return cases


def verify_hash() -> Cases:
    """Hashes of keys around a block of the hash, and keys that differ."""
    cases = Cases("verify_hash", "Verification of the reconciled key", _VERIFY_INPUTS, ("6.6",))

    def add(comment: str, n: int, data: bytes, r: bytes, there: bytes | None = None) -> None:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=n)
        others = bits if there is None else np.unpackbits(np.frombuffer(there, np.uint8), count=n)
        digest = verification_tag(others, r)

        def outcome() -> dict[str, Any]:
            check_verification(bits, r, digest)
            return {}

        given = {"n": n, "bits": octets(data), "r": octets(r), "digest": octets(digest)}
        cases.add(comment, given, outcome)

    r = lots("r", 16)
    for n in (1, 7, 8, 9, 63, 64, 65, 128, 1000):
        data = np.packbits(np.unpackbits(np.frombuffer(lots(f"key {n}", 125), np.uint8), count=n))
        add(f"{n} bits", n, data.tobytes(), r)
    ones = b"\xff" * 125
    add("all ones, r all ones", 1000, ones, b"\xff" * 16)
    add("r is zero", 1000, ones, bytes(16))
    key = lots("key", 125)
    for comment, at in (("the first bit differs", 0), ("the last bit differs", 124)):
        flip = bytearray(key)
        flip[at] ^= 0x80 if at == 0 else 1
        add(comment, 1000, bytes(flip), r, key)
    return cases
