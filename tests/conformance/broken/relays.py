"""Relays with one defect each, made from ours; and the cases that must find it.

Every entry patches names in the modules of the node, not in the wire code itself, which the harness
uses, too.
"""

import dataclasses
from dataclasses import dataclass

import msgpack
import msgspec
import trio
from conformance import networks
from conformance.broken.announcers import (
    MiscountingAnnouncer,
    ShortSession,
    Talkative,
    TwoTales,
    announcer,
    from_one,
    one_state_short,
    past_the_end,
)
from conformance.networks import CrashError

from mdiqkd_net.protocol import relay as core
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.credit import Outstanding
from mdiqkd_net.protocol.effects import StartLight
from mdiqkd_net.protocol.relay import Relay, segments
from mdiqkd_net.protocol.states import RelayState
from mdiqkd_net.runtime import charles, link
from mdiqkd_net.runtime.limits import Limits
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import HEADER_BYTES, FrameReader, Sequencer
from mdiqkd_net.wire.messages import BY_TYPE


@dataclass(frozen=True)
class Defect:
    """What is patched, and which cases must find it."""

    patches: tuple[tuple[object, str, object], ...]
    found_by: frozenset[str]
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
        return super().accept(frame)


class Unacknowledging(Sequencer):
    def accept(self, frame):
        return super().accept(dataclasses.replace(frame, ack=0))


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


link_welcome, armed, welcome = link.welcome, Relay._armed, charles.Charles._welcome
meet, accept = Correspondence.meet, link.Link.accept


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


class SelfPairing(Relay):
    def _request(self, user, message):
        if message.peer == user:
            return []
        return super()._request(user, message)


class Impatient(charles.Charles):
    """Works on nothing while any user's frame is incomplete, for as long as the harness waits."""

    async def _do(self, nursery, job):
        with trio.move_on_after(7):
            while any(each._reader.mid_frame for each in self._links.values()):
                await trio.sleep(0.05)
        await super()._do(nursery, job)


class Fragile(charles.Charles):
    """Dies of a body that is no MessagePack."""

    async def _do(self, nursery, job):
        if job.func == self._hear and b"\xc1" * 8 in job.args[1].raw:
            raise CrashError
        await super()._do(nursery, job)


class Sleepy(Relay):
    """Never tells a user that its partner has left."""

    def _abort(self, code):
        session = self._session
        if session is not None:
            self._release_users(session)
        return self._next_session()


class Counting(Relay):
    """Takes every request for a new one."""

    def _request(self, user, message):
        self._users[user].n_requested.clear()
        return super()._request(user, message)


class Hurried(Relay):
    def disconnected(self, user):
        return self._leave(user)


async def welcome_beside_the_old(self, nursery, link):
    old = self._links.pop(link.node, None)
    await welcome(self, nursery, link)
    del old


def forgetful_meet(self, ours, theirs, n_meetings):
    kept, _ = meet(self, ours, theirs, n_meetings)
    return kept, []


def accept_all(self, frame):
    return accept(self, frame) or True


def no_name_check(frame, certified, expected):
    claimed = getattr(decode(frame), "node", certified)
    return link_welcome(frame, claimed, expected)


everything_refused = (
    ids("F", *range(1, 14), 15, 16)
    | ids("M", *range(1, 28))
    | ids("H", 9)
    | ids("S", 5, 6, 9, 17)
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
        frozenset(ids("S", 5, 6, 9, 17)),
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
        ((charles, "Relay", Sleepy),), frozenset(ids("S", 7, 10, 14, 15) | ids("A", 13))
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
    "counts every request, however often it is said": Defect(
        ((charles, "Relay", Counting),), frozenset(ids("S", 16)), strict=True
    ),
    "gives a user up when its connection is lost": Defect(
        ((charles, "Relay", Hurried),), frozenset(ids("X", 7, 12))
    ),
    "keeps the old link of a user that comes back": Defect(
        ((charles.Charles, "_welcome", welcome_beside_the_old),), frozenset(ids("H", 13))
    ),
    "keeps its epoch after a breach": Defect(
        ((link.Link, "break_off", lambda _: None),), frozenset(ids("H", 15))
    ),
    "keeps nothing for a new connection": Defect(
        ((Correspondence, "meet", forgetful_meet),), frozenset(ids("X", 7, 11))
    ),
    "takes any credit": Defect(
        ((Outstanding, "granted", lambda *_: None),), frozenset(ids("S", 17))
    ),
    "takes a repeated frame for a new one": Defect(
        ((link.Link, "accept", accept_all),), frozenset(ids("S", 18))
    ),
    "waits for handshakes for ever": Defect(
        ((networks, "LIMITS", Limits(handshake_s=3600, header_s=3600, body_s=3600)),),
        frozenset(ids("X", 1, 3, 4)),
    ),
}
