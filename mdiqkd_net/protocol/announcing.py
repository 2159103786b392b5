"""Announcements: how Charles signs them, and how a user holds him to his word (spec 5.4, 5.5).

The signature is evidence against a relay that tells two stories; no key rests on it.
"""

import hashlib
from collections.abc import Iterable

import msgspec
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

from mdiqkd_net.blocks import EARLY_0, EARLY_1, LATE_0, LATE_1, PSI_MINUS, PSI_PLUS, ClickBlock
from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import HEADER_BYTES, Frame
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed

NO_BELL_STATE = 255
UNSIGNED = bytes(64)
MAX_ANNOUNCED = 1 << 25
"""Events of one session that a user has memory for, unless it is told another number."""
MAX_BATCHES = 1 << 20
"""Batches of one session that a user keeps, which may be empty; an honest relay needs far fewer."""
TOO_MANY = 0x0401

_OUTCOMES = np.full(16, NO_BELL_STATE, np.uint8)
_OUTCOMES[[EARLY_0 | LATE_1, EARLY_1 | LATE_0]] = PSI_MINUS
_OUTCOMES[[EARLY_0 | LATE_0, EARLY_1 | LATE_1]] = PSI_PLUS


def bell_outcomes(patterns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PSI_MINUS, PSI_PLUS, or NO_BELL_STATE for each click pattern; shape (n,) in and out.

    Time-bin encoding: one early and one late click, in different detectors for psi-minus, in the
    same for psi-plus. Three- and four-fold clicks are no outcome.
    Source: Lo, Curty & Qi, PRL 108, 130503 (2012), for the measurement.
    """
    outcomes: NDArray[np.uint8] = _OUTCOMES[patterns]
    return outcomes


class Announcer:
    """Charles' side: turns clicks into signed, numbered, chained announcements."""

    def __init__(self, session: bytes, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._chain = _first_link(session)
        self._covered = 0
        self._segment = 0
        self.n_batches = 0
        self.n_announced = 0

    def announce(self, clicks: ClickBlock) -> Announcement:
        """The next batch."""
        if clicks.segment != self._segment:
            self._segment, self._covered = clicks.segment, 0
        outcomes = bell_outcomes(clicks.patterns)
        kept = outcomes != NO_BELL_STATE
        pulses = clicks.pulses[kept]
        unsigned = Announcement(
            base=self._covered,
            batch=self.n_batches,
            covered=clicks.n_elapsed,
            outcomes=bulk.pack_bits(outcomes[kept]),
            pulses=bulk.pack_gaps(pulses, self._covered),
            segment=clicks.segment,
            signature=UNSIGNED,
        )
        self._covered = clicks.n_elapsed
        return self.sign(unsigned)

    def sign(self, unsigned: Announcement) -> Announcement:
        """A batch as the next of the session, with the signature that says so."""
        self._chain = _next_link(self._chain, unsigned)
        self.n_batches += 1
        self.n_announced += unsigned.pulses.n
        return msgspec.structs.replace(unsigned, signature=self._key.sign(self._chain))

    def close(self) -> AnnouncementsClosed:
        """The last word of the session."""
        return AnnouncementsClosed(
            batches=self.n_batches,
            count=self.n_announced,
            signature=self._key.sign(_last_link(self._chain, self.n_batches, self.n_announced)),
        )


class AnnouncementLog:
    """A user's side: every batch checked before it is believed, none after the close.

    Args:
        session: Its number.
        relay_key: Ed25519 public key, 32 bytes.
        n_pulses: Of the session.
        segment_pulses: Of a segment; the last one may be shorter.
        most: Events that there may be, whatever the relay does.

    Attributes:
        progress: Pulses that the batches so far cover, after each.
    """

    def __init__(
        self,
        session: bytes,
        relay_key: bytes,
        n_pulses: int,
        segment_pulses: int,
        most: int = MAX_ANNOUNCED,
    ) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(relay_key)
        self._chain = _first_link(session)
        self._n_pulses = n_pulses
        self._segment_pulses = segment_pulses
        self._most = most
        self._covered = 0
        self._bodies: list[bytes] = []
        self.progress: list[int] = []
        self.segment = 0
        self.n_announced = 0
        self.closed = False

    @property
    def n_batches(self) -> int:
        """Batches so far."""
        return len(self._bodies)

    @property
    def n_elapsed(self) -> int:
        """Pulses that the batches so far cover."""
        return self.segment * self._segment_pulses + self._covered

    def add(
        self, batch: Announcement, body: bytes
    ) -> tuple[int, NDArray[np.int64], NDArray[np.uint8]]:
        """Check a batch; return its segment, pulses (n,) and Bell states (n,).

        Raises:
            RemoteProtocolError: A gap, a repetition, a pulse out of range, a wrong signature, or
                more than there is memory for.
        """
        if self.closed:
            raise RemoteProtocolError("announcement after the close of the session")
        segment, covered = self.segment, self._covered
        if covered == self._segment_length(segment) and batch.segment == segment + 1:
            segment, covered = segment + 1, 0
        length = self._segment_length(segment)
        if (batch.batch, batch.segment, batch.base) != (self.n_batches, segment, covered):
            raise RemoteProtocolError(
                f"announcement: found batch {batch.batch} of segment {batch.segment} "
                f"from pulse {batch.base}; allowed: batch {self.n_batches} of segment {segment} "
                f"from pulse {covered}"
            )
        if not covered <= batch.covered <= length:
            raise RemoteProtocolError(
                f"announcement: found a batch up to pulse {batch.covered}; "
                f"allowed: {covered} to {length}"
            )
        if batch.outcomes.n != batch.pulses.n:
            raise RemoteProtocolError(
                f"announcement: found {batch.outcomes.n} Bell states for {batch.pulses.n} pulses"
            )
        if self.n_announced + batch.pulses.n > self._most:
            raise RemoteProtocolError(
                f"announcements: found {self.n_announced + batch.pulses.n} events in a session; "
                f"allowed: {self._most} (`session_events` in the limits of this node)",
                TOO_MANY,
            )
        if self.n_batches == MAX_BATCHES:
            raise RemoteProtocolError(f"announcements: more than {MAX_BATCHES} batches", TOO_MANY)
        pulses = bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
        outcomes = bulk.unpack_bits(batch.outcomes)
        chain = _next_link(self._chain, batch)
        self._verify(batch.signature, chain)
        self.segment, self._covered, self._chain = segment, batch.covered, chain
        self._bodies.append(body)
        self.progress.append(self.n_elapsed)
        self.n_announced += pulses.size
        return segment, pulses, outcomes

    def close(self, last: AnnouncementsClosed) -> None:
        """Check the close.

        Raises:
            RemoteProtocolError: Counts that differ from what came, light missing, wrong signature.
        """
        if self.closed:
            raise RemoteProtocolError("second close of the session")
        if (last.batches, last.count) != (self.n_batches, self.n_announced):
            raise RemoteProtocolError(
                f"close: found {last.count} announcements in {last.batches} batches; "
                f"received: {self.n_announced} in {self.n_batches}"
            )
        if self.n_elapsed != self._n_pulses:
            raise RemoteProtocolError(
                f"close: announcements cover {self.n_elapsed} of {self._n_pulses} pulses"
            )
        self._verify(last.signature, _last_link(self._chain, last.batches, last.count))
        self.closed = True

    def digest(self, hash_key: bytes) -> bytes:
        """`list_digest` of all batches so far."""
        return list_digest(self._bodies, hash_key)

    def pulses(self) -> NDArray[np.int64]:
        """All announced pulses, as numbers in the block, rising; (n,)."""
        every = np.empty(self.n_announced, np.int64)
        at = 0
        for body in self._bodies:
            batch = decode(Frame(Announcement.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + body))
            assert isinstance(batch, Announcement)  # noqa: S101  # by its type
            first = batch.segment * self._segment_pulses
            pulses = bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
            np.add(first, pulses, out=every[at : at + pulses.size])
            at += pulses.size
        return every

    @property
    def n_bytes(self) -> int:
        """Length of what `digest` hashes."""
        return sum(8 + len(body) for body in self._bodies)

    def _segment_length(self, segment: int) -> int:
        return min(self._segment_pulses, self._n_pulses - segment * self._segment_pulses)

    def _verify(self, signature: bytes, chain: bytes) -> None:
        try:
            self._key.verify(signature, chain)
        except InvalidSignature:
            raise RemoteProtocolError("announcement: wrong signature") from None


def list_digest(bodies: Iterable[bytes], hash_key: bytes) -> bytes:
    """Poly1305 of a list of announcement bodies under a one-time public key, 16 bytes.

    Two different lists of at most L bytes agree with probability at most 8 ceil(L / 16) / 2^106
    over the key (Bernstein, FSE 2005, Theorem 3.3), whatever the relay did, because the key is
    drawn after both lists are closed.
    """
    mac = Poly1305(hash_key)
    for body in bodies:
        mac.update(len(body).to_bytes(8, "little"))
        mac.update(body)
    return mac.finalize()


def _first_link(session: bytes) -> bytes:
    return hashlib.sha256(b"mdiqkd1 announcements\0" + session).digest()


def _next_link(chain: bytes, batch: Announcement) -> bytes:
    numbers = (batch.segment, batch.batch, batch.base, batch.covered, batch.pulses.k)
    counts = (batch.pulses.n, len(batch.pulses.v), batch.outcomes.n, len(batch.outcomes.v))
    link = hashlib.sha256(b"mdiqkd1 batch\0" + chain)
    link.update(b"".join(number.to_bytes(8, "big") for number in numbers + counts))
    link.update(batch.pulses.v)
    link.update(batch.outcomes.v)
    return link.digest()


def _last_link(chain: bytes, n_batches: int, n_announced: int) -> bytes:
    numbers = n_batches.to_bytes(8, "big") + n_announced.to_bytes(8, "big")
    return hashlib.sha256(b"mdiqkd1 close\0" + chain + numbers).digest()
