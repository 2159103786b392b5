"""Lies inside the list of events: well formed, numbered and signed, as only the relay can."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import BELL_STATES
from mdiqkd_net.byzantine.behaviour import Behaviour, Said, Word
from mdiqkd_net.protocol.announcing import UNSIGNED, Announcer
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed


class Events(NamedTuple):
    """Events of a batch that speaks for the pulses from `base` on, up to and without `covered`.

    Pulses (n,), rising, and their Bell states (n,).
    """

    pulses: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    base: int
    covered: int


@dataclass(eq=False)
class Listing(Behaviour):
    """Base of those that announce another list; every user has a chain of signatures of its own."""

    _announcers: dict[tuple[int, str], Announcer] = field(default_factory=dict, init=False)
    _latest: tuple[tuple[int, int], Events] | None = field(default=None, init=False)

    def lie(self, honest: Said) -> Sequence[Word]:
        """The same batches with other events, and the close that fits them."""
        match honest.message:
            case Announcement() as batch:
                return [self._signed(honest, listed(batch, self._events(honest, batch)))]
            case AnnouncementsClosed():
                closed = self.announcer(honest).close()
                return [Said(honest.user, closed, honest.stream)]
            case _:
                return [honest]

    def announcer(self, said: Said) -> Announcer:
        """The chain of signatures that a user is shown in a session."""
        place = (said.stream, said.user)
        if place not in self._announcers:
            self._announcers[place] = Announcer(self.ready(said.stream).session, self.key)
        return self._announcers[place]

    def both(self, events: Events) -> Events:
        """What both users hear in place of some events."""
        return events

    def second(self, events: Events) -> Events:
        """What the user with the greater id hears in place of what both hear."""
        return events

    def chosen(self, n: int) -> NDArray[np.bool_]:
        """A share of n events, by a coin each; (n,)."""
        return self.rng.random(n) < self.share

    def _signed(self, said: Said, batch: Announcement) -> Said:
        return Said(said.user, self.announcer(said).sign(batch), said.stream)

    def _events(self, said: Said, batch: Announcement) -> Events:
        place = (said.stream, batch.batch)
        if self._latest is None or self._latest[0] != place:  # one draw for both users
            self._latest = (place, self.both(events_of(batch)))
        events = self._latest[1]
        return self.second(events) if self.is_second(said) else events


class Equivocate(Listing):
    """The second user hears another Bell state in some events, and in one at least."""

    def second(self, events: Events) -> Events:
        """Some labels are the other one."""
        other = self.chosen(events.pulses.size)
        other[:1] = True
        return events._replace(outcomes=events.outcomes ^ other.astype(np.uint8))


class EquivocatePulses(Listing):
    """The second user does not hear of some events, and not of the first of a batch."""

    def second(self, events: Events) -> Events:
        """Some events are missing."""
        kept = ~self.chosen(events.pulses.size)
        kept[:1] = False
        return kept_of(events, kept)


class SwapLabels(Listing):
    """Both users hear psi-minus for psi-plus, and the reverse, in a share of the events."""

    def both(self, events: Events) -> Events:
        """Labels swapped."""
        swapped = self.chosen(events.pulses.size).astype(np.uint8)
        return events._replace(outcomes=events.outcomes ^ swapped)


class RandomLabels(Listing):
    """Both users hear a coin in place of the Bell state, in a share of the events."""

    def both(self, events: Events) -> Events:
        """Labels tossed."""
        n = events.pulses.size
        tossed = self.rng.integers(0, len(BELL_STATES), n, dtype=np.uint8)
        return events._replace(outcomes=np.where(self.chosen(n), tossed, events.outcomes))


class Invent(Listing):
    """Both users hear of events that never were, `share` times as many as there were."""

    def both(self, events: Events) -> Events:
        """Events at pulses of which nothing is known."""
        n = round(self.share * events.pulses.size)
        drawn = self.rng.integers(events.base, events.covered, n) if n else events.pulses[:0]
        invented = np.setdiff1d(drawn, events.pulses)
        labels = self.rng.integers(0, len(BELL_STATES), invented.size, dtype=np.uint8)
        pulses = np.concatenate([events.pulses, invented])
        outcomes = np.concatenate([events.outcomes, labels])
        order = np.argsort(pulses, kind="stable")
        return events._replace(pulses=pulses[order], outcomes=outcomes[order])


class PostSelect(Listing):
    """Both users do not hear of a share of the events, chosen by a coin."""

    def both(self, events: Events) -> Events:
        """Fewer events."""
        return kept_of(events, ~self.chosen(events.pulses.size))


class Flood(Listing):
    """Between any two batches come many that are valid and say nothing."""

    EMPTY = 30
    """Batches in front of each true one."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """Empty batches first."""
        if not isinstance(honest.message, Announcement):
            return super().lie(honest)
        batch = honest.message
        nothing = Events(np.empty(0, np.int64), np.empty(0, np.uint8), batch.base, batch.base)
        each = [*[nothing] * self.EMPTY, events_of(batch)]
        return [
            self._signed(honest, listed(batch, some, number=self.announcer(honest).n_batches))
            for some in each
        ]


class TooMany(Listing):
    """The first batch names one event more than there are pulses."""

    MOST = 1 << 20
    """Pulses of such a batch: it must still fit into a frame."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """One event for each pulse, and one more."""
        if not isinstance(honest.message, Announcement):
            return super().lie(honest)
        batch = honest.message
        covered = min(batch.covered, batch.base + self.MOST)
        pulses = np.arange(batch.base, covered + 1)
        full = Events(pulses, np.zeros(pulses.size, np.uint8), batch.base, covered)
        return [self._signed(honest, listed(batch, full))]


class OutOfRange(Listing):
    """Every batch has an event more, at the first pulse that it does not speak for."""

    def both(self, events: Events) -> Events:
        """One event more."""
        return events._replace(
            pulses=np.append(events.pulses, events.covered),
            outcomes=np.append(events.outcomes, np.uint8(0)),
        )


@dataclass(eq=False)
class Overdraw(Listing):
    """Every pulse is announced as an event, and all of it at once with the close, unasked for."""

    keeps_credit = False
    _held: defaultdict[tuple[int, str], list[Word]] = field(
        default_factory=lambda: defaultdict(list), init=False
    )

    def lie(self, honest: Said) -> Sequence[Word]:
        """Batches that are as long as can be, kept until the close."""
        place = (honest.stream, honest.user)
        if isinstance(honest.message, Announcement):
            self._held[place] += super().lie(honest)
            return []
        if isinstance(honest.message, AnnouncementsClosed):
            return [*self._held.pop(place, []), *super().lie(honest)]
        return super().lie(honest)

    def both(self, events: Events) -> Events:
        """An event at each pulse."""
        pulses = np.arange(events.base, events.covered)
        outcomes = self.rng.integers(0, len(BELL_STATES), pulses.size, dtype=np.uint8)
        return events._replace(pulses=pulses, outcomes=outcomes)


class Overlap(Listing):
    """After the first batch comes another one that speaks for the same pulses."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """The same events again under the next number."""
        if not isinstance(honest.message, Announcement):
            return super().lie(honest)
        batch, events = honest.message, events_of(honest.message)
        return [
            self._signed(honest, listed(batch, events, number=number))
            for number in (batch.batch, batch.batch + 1)
        ]


def events_of(batch: Announcement) -> Events:
    """The events of a batch."""
    return Events(
        bulk.unpack_gaps(batch.pulses, batch.base, batch.covered),
        bulk.unpack_bits(batch.outcomes),
        batch.base,
        batch.covered,
    )


def kept_of(events: Events, kept: NDArray[np.bool_]) -> Events:
    """Some of the events."""
    return events._replace(pulses=events.pulses[kept], outcomes=events.outcomes[kept])


def listed(batch: Announcement, events: Events, *, number: int | None = None) -> Announcement:
    """A batch with other events, and perhaps another number; not yet signed."""
    return Announcement(
        base=events.base,
        batch=batch.batch if number is None else number,
        covered=events.covered,
        outcomes=bulk.pack_bits(events.outcomes),
        pulses=bulk.pack_gaps(events.pulses, events.base),
        segment=batch.segment,
        signature=UNSIGNED,
    )
