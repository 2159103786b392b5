"""Relays with one defect each, made from ours; and the cases that must find it.

Every entry patches names in the modules of the node, not in the wire code itself, which the harness
uses, too.
"""

import dataclasses
from dataclasses import dataclass

import msgpack
import msgspec
import trio
from conformance.networks import SCALE, CrashError

from mdiqkd_net.protocol import relay as core
from mdiqkd_net.protocol.announcing import Announcer, _next_link
from mdiqkd_net.protocol.effects import StartLight
from mdiqkd_net.protocol.relay import Relay, segments
from mdiqkd_net.protocol.states import RelayState
from mdiqkd_net.runtime import charles, link
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import HEADER_BYTES, FrameReader, Sequencer
from mdiqkd_net.wire.messages import BY_TYPE, AnnouncementsClosed


@dataclass(frozen=True)
class Defect:
    """What is patched, and which cases must find it."""

    patches: tuple[tuple[object, str, object], ...]
    found_by: frozenset[str]
    timed: bool = False
    strict: bool = False
    among: tuple[str, ...] = ()
    node: type = charles.Charles


def ids(prefix, *numbers):
    return {f"CT-RL-{prefix}-{number:02}" for number in numbers}


def lax_reader(change):
    """A reader that checks `change(length, kind, version, flags)` in place of what came."""

    class Lax(FrameReader):
        def _check(self, *header):
            super()._check(*change(*header))

    return Lax


class Gapped(Sequencer):
    def accept(self, frame):
        if frame.seq > self._received.get(frame.stream, 0):
            self._received[frame.stream] = frame.seq
        super().accept(frame)


class Unacknowledging(Sequencer):
    def accept(self, frame):
        super().accept(dataclasses.replace(frame, ack=0))


def decode_anything_that_fits(frame):
    """No comparison with the canonical encoding."""
    try:
        fields = msgpack.unpackb(frame.body, raw=False, strict_map_key=True)
        kind = BY_TYPE[frame.kind]
        return msgspec.convert(fields, kind)
    except Exception:
        return decode(frame)


def decode_more_fields(frame):
    """Fields that the type does not have are dropped."""
    try:
        fields = msgpack.unpackb(frame.body, raw=False)
        known = BY_TYPE[frame.kind].__struct_fields__
        if set(fields) <= set(known):
            return decode(frame)
        cut = {key: value for key, value in fields.items() if key in known}
        body = msgpack.packb(cut, use_bin_type=True)
    except Exception:
        return decode(frame)
    return decode(dataclasses.replace(frame, raw=frame.raw[:HEADER_BYTES] + body))


async def refuse_and_stay(self, code):
    """Say Error, and leave the link open until the other side goes."""
    self.tell(link.Error(code=code & 0xFFFF))
    try:
        while await self._stream.receive():
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    await self.close()


async def refuse_silently(self, code):
    await self.close()


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


link_welcome, armed = link.welcome, Relay._armed


def hasty(self, user, message):
    """Measure as soon as the first user is armed."""
    session = self._session
    if session is None or message.session != session.ready.session:
        return armed(self, user, message)
    starts = not session.measuring
    session.measuring = True
    self._users[user].state = RelayState.ARMED
    if not starts:
        return []
    cut = segments(session.ready.n_pulses, session.ready.segment_pulses)
    return [StartLight(session.ready.session, session.users, cut)]


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
            for user in current.users:
                sequencer = self._users[user].sequencer
                again = current.announcer.announce(block)
                frame = sequencer.seal(again.TYPE, encode(again), current.handle)
                effects.append(type(said[0])(user, frame.raw))
        return effects


class SelfPairing(Relay):
    def _request(self, user, message):
        if message.peer == user:
            return []
        return super()._request(user, message)


class Impatient(charles.Charles):
    """Works on nothing while any user's frame is incomplete, for as long as the harness waits."""

    async def _do(self, nursery, job):
        with trio.move_on_after(7 * SCALE):
            while any(each._reader.mid_frame for each in self._links.values()):
                await trio.sleep(0.05)
        await super()._do(nursery, job)


class Fragile(charles.Charles):
    """Dies of a body that is no MessagePack."""

    async def _do(self, nursery, job):
        if job.func == self._core.receive and b"\xc1" * 8 in job.args[1].raw:
            raise CrashError
        await super()._do(nursery, job)


class Sleepy(Relay):
    """Never tells a user that its partner has left."""

    def _abort(self, code):
        session = self._session
        if session is not None:
            self._release_users(session)
        return self._next_session()


def no_name_check(frame, certified, expected):
    claimed = getattr(decode(frame), "node", certified)
    return link_welcome(frame, claimed, expected)


everything_refused = (
    ids("F", *range(1, 14), 15, 16)
    | ids("M", *range(1, 28))
    | ids("H", 9)
    | ids("S", 5, 6, 7, 8, 9)
    | ids("X", 5, 6)
)

DEFECTS = {
    "accepts a gap in SEQ": Defect(((link, "Sequencer", Gapped),), frozenset(ids("F", 11, 14))),
    "does not look at ACK": Defect(
        ((link, "Sequencer", Unacknowledging),), frozenset(ids("F", 13))
    ),
    "skips unknown critical types": Defect(
        (
            (
                link,
                "FrameReader",
                lax_reader(
                    lambda n, kind, *rest: (n, kind & ~0x8000 if kind == 0x8777 else kind, *rest)
                ),
            ),
        ),
        frozenset(ids("F", 9)),
    ),
    "reads bodies of any length": Defect(
        ((link, "FrameReader", lax_reader(lambda _, *rest: (0, *rest))),),
        frozenset(ids("F", 6, 7, 10)),
    ),
    "does not look at FLAGS": Defect(
        ((link, "FrameReader", lax_reader(lambda *header: (*header[:3], 0))),),
        frozenset(ids("F", 4, 5)),
    ),
    "accepts encodings that are not canonical": Defect(
        ((core, "decode", decode_anything_that_fits),), frozenset(ids("M", 1, 2, 3, 4, 5))
    ),
    "drops fields that it does not know": Defect(
        ((core, "decode", decode_more_fields),), frozenset(ids("M", 8))
    ),
    "leaves the link open after Error": Defect(
        ((link.Link, "refuse", refuse_and_stay),),
        frozenset(ids("S", 5, 6, 7, 8, 9)),
        strict=True,
        among=("CT-RL-S-*",),
    ),
    "closes without Error": Defect(
        ((link.Link, "refuse", refuse_silently),), frozenset(everything_refused), strict=True
    ),
    "lets a node lie about its name": Defect(
        ((link, "welcome", no_name_check),), frozenset(ids("H", 5))
    ),
    "pairs a user with itself": Defect(((charles, "Relay", SelfPairing),), frozenset(ids("S", 5))),
    "never ends a session early": Defect(
        ((charles, "Relay", Sleepy),), frozenset(ids("S", 10, 14) | ids("A", 13) | ids("X", 7))
    ),
    "announces differently to both users": Defect(
        ((charles, "Relay", TwoTales),), frozenset(ids("A", 2))
    ),
    "announces pulses past the range": Defect(
        ((core, "Announcer", announcer(past_the_end)),), frozenset(ids("A", 5))
    ),
    "numbers batches from 1": Defect(
        ((core, "Announcer", announcer(from_one)),), frozenset(ids("A", 3))
    ),
    "announces a pulse without a Bell state": Defect(
        ((core, "Announcer", announcer(one_state_short)),), frozenset(ids("A", 6))
    ),
    "does not sign batches": Defect(
        ((core, "Announcer", announcer(lambda b: b, sign=False)),), frozenset(ids("A", 7))
    ),
    "miscounts in its close": Defect(
        ((core, "Announcer", MiscountingAnnouncer),), frozenset(ids("A", 9))
    ),
    "measures before both users are armed": Defect(
        ((Relay, "_armed", hasty),), frozenset(ids("A", 1))
    ),
    "closes before every pulse is covered": Defect(
        ((charles, "Relay", ShortSession),), frozenset(ids("A", 10))
    ),
    "goes on after its close": Defect(((charles, "Relay", Talkative),), frozenset(ids("A", 11))),
    "works on nothing while a frame is incomplete": Defect(
        (), frozenset(ids("X", 5, 6)), node=Impatient
    ),
    "waits for handshakes for ever": Defect(
        ((link, "HANDSHAKE_S", 3600.0),), frozenset(ids("X", 1, 2, 3, 4)), timed=True
    ),
}
