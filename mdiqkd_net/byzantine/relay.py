"""A hostile relay: the honest core under somebody who chooses what is said on its behalf.

The honest core does its work, takes notes and hands its effects up; a `Behaviour` turns what it
would say into what is said, and the links number that. So a lie is as well formed as its teller
wants, and the honest core knows nothing of it. What users grant is held against what they were
told, so that a lie that is longer or shorter than the truth does not stall the session.
"""

from collections.abc import Sequence

from mdiqkd_net.blocks import ClickBlock
from mdiqkd_net.byzantine.behaviour import Behaviour, Body, Hangup, Noise, Said, Word
from mdiqkd_net.protocol.credit import Outstanding
from mdiqkd_net.protocol.effects import Cut, Effect, HasRoom, Report, Send
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import Announcement, Credit, PairReady


class HostileRelay:
    """In the place of a `Relay`; the same calls.

    Args:
        honest: Whose words are twisted.
        behaviour: Who twists them.
        name: Stands in every report, so that nobody takes such a relay for an honest one.
    """

    def __init__(self, honest: Relay, behaviour: Behaviour, name: str) -> None:
        self._honest = honest
        self._behaviour = behaviour
        self._name = name
        self._sequencers: dict[str, Sequencer] = {}
        self._unsent: dict[str, Sequencer] = {}
        self._outstanding: dict[tuple[int, str], Outstanding] = {}  # of the latest session

    def connected(self, user: str, sequencer: Sequencer, *, kept: bool) -> list[Effect]:
        """A user's link is up; the honest core numbers for itself what is never sent so."""
        if not kept or user not in self._unsent:
            self._unsent[user] = Sequencer()
        effects = self._honest.connected(user, self._unsent[user], kept=kept)
        self._sequencers[user] = sequencer
        return self._twist(effects)

    def disconnected(self, user: str) -> list[Effect]:
        """A user's link is gone."""
        return self._twist(self._honest.disconnected(user))

    def gone(self, user: str, n_visits: int) -> list[Effect]:
        """A user has had its time to return."""
        return self._twist(self._honest.gone(user, n_visits))

    def has_room(self, session: bytes) -> bool:
        """Whether both users have taken in enough for more to be announced."""
        del session  # a stopped one announces nothing, room or not
        takers = self._outstanding.values()
        return not self._behaviour.keeps_credit or all(taker.has_room for taker in takers)

    def receive(self, user: str, frame: Frame) -> list[Effect]:
        """Take one message of a user, or take no notice of it.

        Raises:
            RemoteProtocolError: A message that is not legal now.
            WireError: Not a message.
        """
        message = decode(frame)
        if not self._behaviour.hears(user, message):
            return []
        if isinstance(message, Credit):
            outstanding = self._outstanding.get((frame.stream, user))
            if outstanding is not None:
                outstanding.granted(message.n_bytes)
            return [HasRoom()]
        return self._twist(self._honest.receive(user, frame))

    def clicks(self, session: bytes, block: ClickBlock) -> list[Effect]:
        """Announce what the device measured, or something else."""
        return self._twist(self._honest.clicks(session, block))

    def light_failed(self, session: bytes) -> list[Effect]:
        """The device could not measure a session to its end."""
        return self._twist(self._honest.light_failed(session))

    def arming_overdue(self, session: bytes) -> list[Effect]:
        """A session's users have had their time."""
        return self._twist(self._honest.arming_overdue(session))

    def _twist(self, effects: Sequence[Effect]) -> list[Effect]:
        twisted: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send):
                (frame,) = FrameReader(CAPS).receive_data(effect.data)
                honest = Said(effect.node, decode(frame), frame.stream)
                if isinstance(honest.message, PairReady):
                    self._begin(honest.user, honest.stream)
                twisted += map(self._utter, self._behaviour.say(honest))
            elif isinstance(effect, Report):
                twisted.append(Report(effect.event, {**effect.fields, "byzantine": self._name}))
            else:
                twisted.append(effect)
        return twisted

    def _begin(self, user: str, stream: int) -> None:
        kept = {place: o for place, o in self._outstanding.items() if place[0] == stream}
        self._outstanding = {**kept, (stream, user): Outstanding()}

    def _utter(self, word: Word) -> Effect:
        match word:
            case Said(user=user, message=message, stream=stream):
                return self._seal(user, message.TYPE, encode(message), stream)
            case Body(user=user, kind=kind, body=body, stream=stream):
                return self._seal(user, kind, body, stream)
            case Noise(user=user, data=data):
                return Send(user, data)
            case Hangup(user=user, anew=anew):
                return Cut(user, anew)

    def _seal(self, user: str, kind: int, body: bytes, stream: int) -> Send:
        raw = self._sequencers[user].seal(kind, body, stream).raw
        outstanding = self._outstanding.get((stream, user))
        if kind == Announcement.TYPE and outstanding is not None:
            outstanding.sent(len(raw))
        return Send(user, raw)
