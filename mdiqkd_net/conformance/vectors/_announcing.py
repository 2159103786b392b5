"""Announcements: chained, signed, without a gap."""

from typing import Any, Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdiqkd_net.blocks import EARLY_0, LATE_0, LATE_1, ClickBlock
from mdiqkd_net.conformance.vectors._cases import Cases, lots, octets
from mdiqkd_net.protocol.announcing import AnnouncementLog, Announcer
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed

_INPUTS: Final = (
    "A session (session, relay_key, n_pulses, segment_pulses) and what the relay sends in it: "
    "bodies of Announcement (0x8105) and AnnouncementsClosed (0x8106), in order. expected.events: "
    "[segment, pulse, Bell state] of all. An invalid case is refused at its last message."
)
_N_PULSES: Final = 250
_SEGMENT: Final = 100
_SESSION: Final = lots("session", 16)
Said = Announcement | AnnouncementsClosed


def announcements() -> Cases:
    """A whole session, and every way in which a relay may break its word."""
    cases = Cases("announcements", "Announcements of a session", _INPUTS, ("5.4", "5.5"))
    key = Ed25519PrivateKey.from_private_bytes(lots("relay", 32))
    relay_key = key.public_key().public_bytes_raw()

    def add(comment: str, said: list[Said]) -> None:
        bodies = [{"type": f"{m.TYPE:#06x}", "body": octets(encode(m))} for m in said]
        given = {
            "session": octets(_SESSION),
            "relay_key": octets(relay_key),
            "n_pulses": str(_N_PULSES),
            "segment_pulses": str(_SEGMENT),
            "messages": bodies,
        }
        cases.add(comment, given, lambda: {"events": _listen(relay_key, said)})

    relay = Announcer(_SESSION, key)
    whole: list[Said] = [relay.announce(_clicks(*part)) for part in _PARTS]
    end = relay.close()
    add("a session, batch by batch", [*whole, end])
    empty = Announcer(_SESSION, key)
    dark: list[Said] = [
        empty.announce(_clicks(segment, n, ())) for segment, n in ((0, 100), (1, 100), (2, 50))
    ]
    add("a session without an event", [*dark, empty.close()])
    add("the first batch", whole[:1])
    replace = msgspec.structs.replace
    first, second = whole[0], whole[1]
    three = bulk.pack_gaps(np.array([3, 7, 60], np.int64), 0)
    for comment, said in (
        ("a batch is missing", [first, *whole[2:3]]),
        ("a batch comes twice", [first, first]),
        ("a batch out of order", [second]),
        ("another segment", [replace(first, segment=1)]),
        ("another number", [replace(first, batch=1)]),
        ("another base", [replace(first, base=1)]),
        ("coverage that ends past its segment", [replace(first, covered=101)]),
        ("coverage that ends before its base", [first, replace(second, covered=59)]),
        ("a pulse past the coverage", [replace(first, pulses=three)]),
        ("more Bell states than pulses",
         [replace(first, outcomes=bulk.pack_bits(np.zeros(4, np.uint8)))]),
        ("another Bell state",
         [replace(first, outcomes=bulk.pack_bits(np.array([1, 1, 0], np.uint8)))]),
        ("a signature of zeros", [replace(first, signature=bytes(64))]),
        ("the signature of another batch", [replace(first, signature=second.signature)]),
        ("a batch behind the close", [*whole, end, replace(first, batch=len(whole))]),
        ("a second close", [*whole, end, end]),
        ("the close before all pulses are covered", [*whole[:-1], end]),
        ("a close with another count", [*whole, replace(end, count=end.count + 1)]),
        ("a close with another number of batches", [*whole, replace(end, batches=0)]),
        ("a close with the signature of a batch", [*whole, replace(end, signature=bytes(64))]),
    ):  # fmt: skip
        add(comment, said)
    return cases


_PARTS: Final = (
    (0, 60, (3, 7, 59)),
    (0, 100, (60, 99)),
    (1, 100, tuple(range(0, 100, 3))),
    (2, 30, ()),
    (2, 50, (49,)),
)


def _clicks(segment: int, n_elapsed: int, pulses: tuple[int, ...]) -> ClickBlock:
    numbers = np.array(pulses, np.int64)
    minus = np.frombuffer(lots(f"outcomes {segment} {n_elapsed}", numbers.size), np.uint8) % 2
    patterns = np.where(minus, EARLY_0 | LATE_1, EARLY_0 | LATE_0).astype(np.uint8)
    return ClickBlock(segment, numbers, patterns, n_elapsed, last=False)


def _listen(relay_key: bytes, said: list[Said]) -> list[Any]:
    log = AnnouncementLog(_SESSION, relay_key, _N_PULSES, _SEGMENT)
    events: list[Any] = []
    sequencer = Sequencer()
    for message in said:
        frame = sequencer.seal(message.TYPE, encode(message))
        match decode(frame):
            case Announcement() as batch:
                segment, pulses, outcomes = log.add(batch, frame.body)
                pairs = zip(pulses.tolist(), outcomes.tolist(), strict=True)
                events += [[segment, pulse, outcome] for pulse, outcome in pairs]
            case AnnouncementsClosed() as last:
                log.close(last)
    return events
