"""Users with one defect each in what they owe the owner of keys that they hold."""

from conformance.broken.users import BrokenUser, ids

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.protocol.effects import HandOut, HandStep, Say
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.handing import Handouts, _keys_of
from mdiqkd_net.wire.messages import (
    KeyAssign,
    KeyAssigned,
    KeyBurn,
    KeyBurned,
    KeyRefused,
)


def with_handouts(handouts):
    class Changed(Endpoint):
        def __init__(self, plan, **parts):
            super().__init__(plan, **parts)
            self.handouts = handouts(self.users, self.role, parts["shelf"], parts["entropy"])
            self.handouts.records = parts["records"]

    return Changed


class AgreesToAll(Handouts):
    """Says that it has set aside whatever is asked for."""

    def receive(self, message):
        if isinstance(message, KeyAssign):
            return [Say(KeyAssigned(request=message.request))]
        return super().receive(message)


class AgreesToNothing(Handouts):
    def receive(self, message):
        if isinstance(message, KeyAssign):
            return [Say(KeyRefused(code=0x0601, request=message.request))]
        return super().receive(message)


class BurnsInSilence(Handouts):
    """Does not confirm that keys are burned."""

    def receive(self, message):
        effects = super().receive(message)
        return [e for e in effects if not isinstance(getattr(e, "message", None), KeyBurned)]


class BurnsWhatItIsTold(Handouts):
    """Does not look which request a key serves before it burns it."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self._serves = {}

    def receive(self, message):
        if isinstance(message, KeyAssign):
            self._serves[_keys_of(message.keys)] = message.request
        if not isinstance(message, KeyBurn):
            return super().receive(message)
        keys = _keys_of(message.keys)
        request = self._serves.get(keys, message.request)
        effects = [HandOut(HandStep.DROP, request, keys), Say(KeyBurned(request=message.request))]
        if self._shelf.fits(keys):
            effects.insert(0, HandOut(HandStep.ASSIGN, request, keys))
        return effects


class KeepsTheKeys(Handouts):
    """Confirms that keys are burned, and frees nothing and burns nothing."""

    def receive(self, message):
        if isinstance(message, KeyBurn):
            return [Say(KeyBurned(request=message.request))]
        return super().receive(message)


class ForgetsWithTheLine(Handouts):
    """Knows what it has set aside for as long as the connection lasts."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self._told = set()

    def linked(self):
        self._told.clear()
        return super().linked()

    def receive(self, message):
        if isinstance(message, KeyAssign):
            is_held = self._shelf.held(message.request) is not None
            if is_held and message.request not in self._told:
                return [Say(KeyRefused(code=0x0601, request=message.request))]
            self._told.add(message.request)
        return super().receive(message)


class OneThingAtATime(Endpoint):
    """Hands out nothing while a block is under way."""

    def _receive_about_pair(self, message):
        busy = self._block is not None and not self._block.ended
        if busy and isinstance(message, KeyAssign):
            return []
        return super()._receive_about_pair(message)


class Touchy(Handouts):
    """Refuses an answer about a request that it does not know."""

    def receive(self, message):
        if isinstance(message, KeyRefused | KeyBurned):
            raise RemoteProtocolError("a request that is unknown here")
        return super().receive(message)


class Overlooks(Handouts):
    """Passes over what it should refuse."""

    def receive(self, message):
        try:
            return super().receive(message)
        except RemoteProtocolError:
            return []


class WaitsForConfirmation(Handouts):
    """A coordinator that sets nothing aside before it has confirmed the block."""

    def receive(self, message):
        if isinstance(message, KeyAssign):
            records = [self.records.record(block.block_id) for block in message.keys]
            if any(record and record.phase is Phase.COMMITTED for record in records):
                return [Say(KeyRefused(code=0x0601, request=message.request))]
        return super().receive(message)


HOLDERS = {
    "says that all keys are set aside": BrokenUser(
        ids("K", *range(4, 11), 15), ids("K", 1), endpoint=with_handouts(AgreesToAll)
    ),
    "refuses all keys": BrokenUser(
        ids("K", 1, 16, 20),
        ids("K", 7),
        endpoint=with_handouts(AgreesToNothing),
    ),
    "does not confirm that keys are burned": BrokenUser(
        ids("K", 15, 16, 17), ids("K", 1), endpoint=with_handouts(BurnsInSilence)
    ),
    "burns keys of other requests": BrokenUser(
        ids("K", 16, 17), ids("K", 1, 15), endpoint=with_handouts(BurnsWhatItIsTold)
    ),
    "keeps keys that it should burn": BrokenUser(
        ids("K", 15), ids("K", 16), endpoint=with_handouts(KeepsTheKeys)
    ),
    "forgets with the line what it has set aside": BrokenUser(
        ids("K", 2), ids("K", 1), endpoint=with_handouts(ForgetsWithTheLine)
    ),
    "hands out nothing during a block": BrokenUser(
        ids("K", 3), ids("K", 1), endpoint=OneThingAtATime
    ),
    "refuses answers that it does not expect": BrokenUser(
        ids("K", 19), ids("K", 18), endpoint=with_handouts(Touchy)
    ),
    "passes over what it should refuse": BrokenUser(
        ids("K", *range(10, 15), 18), ids("K", 19), endpoint=with_handouts(Overlooks)
    ),
    "sets nothing aside before it confirms": BrokenUser(
        ids("K", 20), ids("K", 1), endpoint=with_handouts(WaitsForConfirmation)
    ),
}
