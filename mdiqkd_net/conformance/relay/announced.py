"""One session of a relay as both users saw it, and what must be true of it (spec 5.3 to 5.6).

The chain that is signed is computed here anew from the specification, not by the code of a node.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.errors import WireError
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed, Message, PairReady


@dataclass(slots=True)
class Seen:
    """What one user was told: messages of the session in order, their bodies, their streams."""

    messages: list[Message] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    streams: set[int] = field(default_factory=set)
    before_armed: list[str] = field(default_factory=list)
    after_close: list[str] = field(default_factory=list)

    @property
    def batches(self) -> list[Announcement]:
        """The announcements, in order."""
        return [message for message in self.messages if isinstance(message, Announcement)]

    @property
    def closed(self) -> bool:
        """Whether the close has come."""
        return bool(self.messages) and isinstance(self.messages[-1], AnnouncementsClosed)

    @property
    def close(self) -> AnnouncementsClosed:
        """The close.

        Raises:
            Broken: There is none.
        """
        found = [m for m in self.messages if isinstance(m, AnnouncementsClosed)]
        if not found:
            raise Broken("the session has no AnnouncementsClosed")
        return found[0]


@dataclass(frozen=True, slots=True)
class Session:
    """A session from PairReady to its close, as both users saw it."""

    ready: PairReady
    seen: tuple[Seen, Seen]
    asked_before_armed: int

    def both(self) -> Iterator[tuple[str, Seen]]:
        """Each user with what it saw."""
        return zip(self.ready.users, self.seen, strict=True)

    def segment_length(self, segment: int) -> int:
        """Pulses of a segment; none for a segment past the last."""
        left = self.ready.n_pulses - segment * self.ready.segment_pulses
        return max(0, min(self.ready.segment_pulses, left))


def check_same(session: Session) -> None:
    """Both users got the same bodies, in the same order."""
    first, second = session.seen
    if first.bodies != second.bodies:
        pairs = zip(first.bodies, second.bodies, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), len(first.bodies))
        raise Broken(f"the two users are told different things, first in message {at}")


def check_numbers(seen: Seen) -> None:
    """Batches are numbered from 0."""
    found = [batch.batch for batch in seen.batches]
    if found != list(range(len(found))):
        raise Broken(f"batches are numbered {found[:8]}...; expected 0, 1, 2, ...")


def check_ranges(session: Session, seen: Seen) -> None:
    """Ranges follow each other without a gap, segments in order."""
    segment = covered = 0
    for batch in seen.batches:
        if batch.segment == segment + 1 and covered == session.segment_length(segment):
            segment, covered = segment + 1, 0
        if (batch.segment, batch.base) != (segment, covered):
            raise Broken(
                f"batch {batch.batch} begins at pulse {batch.base} of segment {batch.segment}; "
                f"expected pulse {covered} of segment {segment}"
            )
        if not covered <= batch.covered <= session.segment_length(segment):
            raise Broken(f"batch {batch.batch} covers up to {batch.covered}")
        covered = batch.covered


def check_pulses(seen: Seen) -> None:
    """Pulses rise strictly within the range of their batch."""
    for batch in seen.batches:
        try:
            bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
        except WireError as error:
            raise Broken(f"batch {batch.batch}: {error}") from None


def check_outcomes(seen: Seen) -> None:
    """One Bell state for each pulse."""
    for batch in seen.batches:
        try:
            n_states = bulk.unpack_bits(batch.outcomes).size
        except WireError as error:
            raise Broken(f"batch {batch.batch}: {error}") from None
        if n_states != batch.pulses.n:
            raise Broken(f"batch {batch.batch}: {n_states} states for {batch.pulses.n} pulses")


def check_signatures(session: Session, seen: Seen) -> None:
    """Every batch is signed over the chain of everything announced before."""
    key = _key(session.ready)
    for batch, link in zip(seen.batches, chain(session.ready, seen.batches), strict=True):
        try:
            key.verify(batch.signature, link)
        except InvalidSignature:
            raise Broken(f"batch {batch.batch}: the signature does not fit") from None


def check_close_signature(session: Session, seen: Seen) -> None:
    """The close is signed over the chain and its counts."""
    signed = closing(session.ready, seen.batches, seen.close)
    try:
        _key(session.ready).verify(seen.close.signature, signed)
    except InvalidSignature:
        raise Broken("the signature of the close does not fit") from None


def check_counts(seen: Seen) -> None:
    """The close counts what came."""
    found = len(seen.batches), sum(batch.pulses.n for batch in seen.batches)
    stated = seen.close.batches, seen.close.count
    if found != stated:
        raise Broken(
            f"the close states {stated[1]} events in {stated[0]} batches; "
            f"came: {found[1]} in {found[0]}"
        )


def check_covered(session: Session, seen: Seen) -> None:
    """The batches before the close cover every pulse."""
    covered: dict[int, int] = {}
    for batch in seen.batches:
        covered[batch.segment] = max(covered.get(batch.segment, 0), batch.covered)
    total = sum(covered.values())
    if total != session.ready.n_pulses:
        raise Broken(f"closed after {total} of {session.ready.n_pulses} pulses")


def _key(ready: PairReady) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(ready.relay_key)
    except ValueError:
        raise Broken("relay_key is no Ed25519 key") from None


def _first(ready: PairReady) -> bytes:
    return hashlib.sha256(b"mdiqkd1 announcements\0" + ready.session).digest()


def closing(ready: PairReady, batches: list[Announcement], close: AnnouncementsClosed) -> bytes:
    """What a close signs, 32 bytes."""
    links = list(chain(ready, batches))
    last = links[-1] if links else _first(ready)
    numbers = close.batches.to_bytes(8, "big") + close.count.to_bytes(8, "big")
    return hashlib.sha256(b"mdiqkd1 close\0" + last + numbers).digest()


def chain(ready: PairReady, batches: list[Announcement]) -> Iterator[bytes]:
    """What each batch signs, 32 bytes: all that was announced up to it."""
    link = _first(ready)
    for batch in batches:
        pulses, outcomes = batch.pulses, batch.outcomes
        numbers = (batch.segment, batch.batch, batch.base, batch.covered, pulses.k)
        counts = (pulses.n, len(pulses.v), outcomes.n, len(outcomes.v))
        packed = b"".join(number.to_bytes(8, "big") for number in (*numbers, *counts))
        text = b"mdiqkd1 batch\0" + link + packed + pulses.v + outcomes.v
        link = hashlib.sha256(text).digest()
        yield link
