"""Lies about when and to whom: true words that come twice, late, out of turn, or never."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from mdiqkd_net.byzantine.behaviour import Behaviour, Hangup, Said, Word
from mdiqkd_net.protocol.ids import ordered
from mdiqkd_net.wire.messages import (
    Announcement,
    AnnouncementsClosed,
    Message,
    PairAborted,
    PairReady,
    PairRequest,
)

ENDED_BY_RELAY = 0x0501


class Replay(Behaviour):
    """Every batch comes twice."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """Batches twice."""
        return [honest, honest] if isinstance(honest.message, Announcement) else [honest]


@dataclass(eq=False)
class ReplaySession(Behaviour):
    """The announcements of the session before come in place of the true ones."""

    _recorded: dict[int, dict[int, Announcement]] = field(default_factory=dict, init=False)

    def say(self, honest: Said) -> Sequence[Word]:
        """Record what is true, whatever is said of it."""
        if isinstance(honest.message, Announcement):
            batches = self._recorded.setdefault(honest.stream, {})
            batches[honest.message.batch] = honest.message
            self._recorded.pop(honest.stream - 2, None)
        return super().say(honest)

    def lie(self, honest: Said) -> Sequence[Word]:
        """The batch of the same number of the session before, where there was one."""
        if not isinstance(honest.message, Announcement):
            return [honest]
        before = self._recorded.get(honest.stream - 1, {})
        old = before.get(honest.message.batch, honest.message)
        return [Said(honest.user, old, honest.stream)]


class SkipBatch(Behaviour):
    """The first batch never comes."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """All but the first batch."""
        first = isinstance(honest.message, Announcement) and honest.message.batch == 0
        return [] if first else [honest]


@dataclass(eq=False)
class Reorder(Behaviour):
    """The first batch comes behind the word that follows it."""

    _held: dict[tuple[int, str], Said] = field(default_factory=dict, init=False)

    def lie(self, honest: Said) -> Sequence[Word]:
        """Hold the first batch back for one word."""
        if isinstance(honest.message, Announcement) and honest.message.batch == 0:
            self._held[honest.stream, honest.user] = honest
            return []
        held = self._held.pop((honest.stream, honest.user), None)
        return [honest] if held is None else [honest, held]


class Withhold(Behaviour):
    """Neither user hears anything after the word that the session begins."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """The begin alone."""
        return [honest] if isinstance(honest.message, PairReady) else []


class WithholdFromOne(Behaviour):
    """The second user hears nothing after the word that the session begins."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """Everything to the first user, the begin alone to the second."""
        silent = self.is_second(honest) and not isinstance(honest.message, PairReady)
        return [] if silent else [honest]


class WaitForReveal(Behaviour):
    """Everything is announced but the close, to see whether a user reveals settings before it."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """All but the close."""
        return [] if isinstance(honest.message, AnnouncementsClosed) else [honest]


@dataclass(eq=False)
class Late(Behaviour):
    """A batch more comes after the close."""

    _latest: dict[tuple[int, str], Said] = field(default_factory=dict, init=False)

    def lie(self, honest: Said) -> Sequence[Word]:
        """The last batch again, after the close."""
        place = (honest.stream, honest.user)
        if isinstance(honest.message, Announcement):
            self._latest[place] = honest
        if isinstance(honest.message, AnnouncementsClosed) and place in self._latest:
            return [honest, self._latest.pop(place)]
        return [honest]


class AbortOften(Behaviour):
    """All is announced, and then the session is called off in place of its close."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """An end without a close."""
        if not isinstance(honest.message, AnnouncementsClosed):
            return [honest]
        session = self.ready(honest.stream).session
        aborted = PairAborted(code=ENDED_BY_RELAY, session=session)
        return [Said(honest.user, aborted, honest.stream)]


class Misbind(Behaviour):
    """The second user is told that its session is with somebody else."""

    STRANGER = "mallory"

    def lie(self, honest: Said) -> Sequence[Word]:
        """Another name for the first user."""
        if not isinstance(honest.message, PairReady) or not self.is_second(honest):
            return [honest]
        users = sorted((self.STRANGER, honest.user))
        return [
            Said(honest.user, msgspec.structs.replace(honest.message, users=users), honest.stream)
        ]


class OtherParameters(Behaviour):
    """The second user is told another pulse rate."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """One hertz more."""
        if not isinstance(honest.message, PairReady) or not self.is_second(honest):
            return [honest]
        rate = honest.message.pulse_rate_hz + 1
        other = msgspec.structs.replace(honest.message, pulse_rate_hz=rate)
        return [Said(honest.user, other, honest.stream)]


class Cut(Behaviour):
    """Both links are cut after the close, while the users make their key."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """The close, and then the cut."""
        if isinstance(honest.message, AnnouncementsClosed):
            return [honest, Hangup(honest.user)]
        return [honest]


class Flap(Behaviour):
    """Each link is cut after every batch, and goes on where it broke off."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """The batch, and then the cut."""
        if isinstance(honest.message, Announcement):
            return [honest, Hangup(honest.user)]
        return [honest]


class StartAnew(Behaviour):
    """In place of the first batch both links are cut, and the relay claims to have restarted."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """Nothing of what was, and nothing of the rest."""
        if isinstance(honest.message, PairReady):
            return [honest]
        first = isinstance(honest.message, Announcement) and honest.message.batch == 0
        return [Hangup(honest.user, anew=True)] if first else []


@dataclass(eq=False)
class Starve(Behaviour):
    """The pair that asks first is served; whatever others ask is not heard."""

    _favorite: tuple[str, str] | None = field(default=None, init=False)

    def hears(self, user: str, message: Message) -> bool:
        """Requests of the favorite alone."""
        if not isinstance(message, PairRequest) or message.peer == user:
            return True
        pair = ordered(user, message.peer)
        if self._favorite is None:
            self._favorite = pair
        return pair == self._favorite
