"""Relays that announce wrongly, in one way each."""

import dataclasses

import msgspec

from mdiqkd_net.protocol.announcing import Announcer, _next_link
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import FrameReader
from mdiqkd_net.wire.messages import AnnouncementsClosed


class TwoTales(Relay):
    """Tells the second user of each pair the other Bell state."""

    def clicks(self, session, block):
        current = self._session
        if current is None or current.ready.session != session:
            return []
        if not hasattr(self, "_tales"):
            self._tales = {}
        twin = self._tales.setdefault(session, Announcer(session, self._key))
        other = {0b1001: 0b0011, 0b0011: 0b1001, 0b0110: 0b1100, 0b1100: 0b0110}
        patterns = block.patterns.copy()
        for old, new in other.items():
            patterns[block.patterns == old] = new
        lie = twin.announce(dataclasses.replace(block, patterns=patterns))
        second = current.users[1]
        whole = super()._to_both

        def to_both(which, message):
            effects = whole(which, message)
            if type(message) is type(lie) and message.batch == lie.batch:
                effects = [self._forged(e, lie) if e.node == second else e for e in effects]
            elif isinstance(message, AnnouncementsClosed):
                end = twin.close()
                effects = [self._forged(e, end) if e.node == second else e for e in effects]
            return effects

        self._to_both = to_both
        try:
            return super().clicks(session, block)
        finally:
            del self._to_both

    def _forged(self, send, message):
        (frame,) = FrameReader({message.TYPE: message.CAP}).receive_data(send.data)
        body = encode(message)
        head = len(body).to_bytes(4, "big") + frame.raw[4:24]
        return type(send)(send.node, head + body)


def announcer(change, *, sign=True):
    """An announcer whose batches go through `change` before they are signed."""

    class Changed(Announcer):
        def announce(self, clicks):
            chain = self._chain
            honest = super().announce(clicks)
            batch = change(honest)
            self._chain = _next_link(chain, batch)
            signature = self._key.sign(self._chain) if sign else bytes(64)
            return msgspec.structs.replace(batch, signature=signature)

    return Changed


def past_the_end(batch):
    pulses = bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
    late = pulses + (batch.covered - int(pulses[-1])) if pulses.size else pulses
    return msgspec.structs.replace(batch, pulses=bulk.pack_gaps(late, batch.base))


def from_one(batch):
    return msgspec.structs.replace(batch, batch=batch.batch + 1)


def one_state_short(batch):
    states = bulk.unpack_bits(batch.outcomes)
    return msgspec.structs.replace(batch, outcomes=bulk.pack_bits(states[:-1]))


class MiscountingAnnouncer(Announcer):
    def close(self):
        self.n_announced += 1
        return super().close()


class ShortSession(Relay):
    """Closes a session after its first segment."""

    def clicks(self, session, block):
        current = self._session
        if current is not None and block.n_elapsed == current.ready.segment_pulses:
            effects = super().clicks(session, block)
            if self._session is current:
                effects += self._to_both(current, current.announcer.close())
                self._release_users(current)
            return effects
        return super().clicks(session, block)


class Talkative(Relay):
    """Repeats its last announcement after the close."""

    def clicks(self, session, block):
        current = self._session
        effects = super().clicks(session, block)
        if current is not None and self._session is not current:
            said = [e for e in effects if hasattr(e, "data")]
            empty = dataclasses.replace(block, pulses=block.pulses[:0], patterns=block.patterns[:0])
            for user in current.users:
                sequencer = self._users[user].sequencer
                again = current.announcer.announce(empty)
                frame = sequencer.seal(again.TYPE, encode(again), current.handle)
                effects.append(type(said[0])(user, frame.raw))
        return effects
