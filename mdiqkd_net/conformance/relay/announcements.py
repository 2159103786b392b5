"""Announcements of a relay (spec 5.3 to 5.6): one session with light, looked at from all sides."""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from mdiqkd_net.conformance.cases import Area, Broken
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.relay import announced
from mdiqkd_net.conformance.relay.announced import Seen, Session
from mdiqkd_net.conformance.relay.harness import LIGHT, SECOND_USER, RelayHarness
from mdiqkd_net.conformance.relay.light import Transmitter
from mdiqkd_net.conformance.wirelog import describe
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import (
    Announcement,
    AnnouncementsClosed,
    Message,
    PairAborted,
    PairArmed,
)

AREA: Final = Area[RelayHarness]("CT-RL-A", "Announcements", "L2")
NEEDS: Final = (SECOND_USER, LIGHT)
_KEPT: Final = "session"


async def _session(h: RelayHarness) -> Session:
    """The session that the first of these cases measured."""
    if h.shared(_KEPT) is None:
        h.share(_KEPT, await _measure(h))
    found: Session = h.shared(_KEPT)
    return found


async def _measure(h: RelayHarness) -> Session:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users, h.n_pulses)
    lights = await _lights(h, users)
    seen = Seen(), Seen()
    async with trio.open_nursery() as nursery:
        for light in lights:
            nursery.start_soon(light.serve)
            await light.arm(ready.session)
        await users[0].tell(PairArmed(session=ready.session), frame.stream)
        for user, what in zip(users, seen, strict=True):
            what.before_armed += await _listen(user, what, h.deadlines.quiet_s)
        n_asked = sum(light.n_asked for light in lights)
        if not any(what.closed for what in seen):  # as a session might be that began too early
            await users[1].tell(PairArmed(session=ready.session), frame.stream)
        for user, what in zip(users, seen, strict=True):
            await _collect(user, what, h.deadlines.light_s)
        for user, what in zip(users, seen, strict=True):
            what.after_close += await _listen(user, what, h.deadlines.quiet_s)
        nursery.cancel_scope.cancel()
    return Session(ready, seen, n_asked)


async def _lights(h: RelayHarness, users: tuple[Peer, Peer]) -> list[Transmitter]:
    names = [who.node for who in h.identities]
    return [await h.transmitter(names.index(user.label)) for user in users]


async def _listen(user: Peer, what: Seen, within_s: float) -> list[str]:
    """What comes while nothing should; announcements among it belong to the session, too."""
    heard: list[str] = []
    try:
        while (frame := await user.next(within_s)) is not None:
            _note(user, what, frame)
            heard.append(describe(frame.raw))
    except trio.TooSlowError:
        return heard
    return [*heard, "the link was closed"]


def _note(user: Peer, what: Seen, frame: Frame) -> Message:
    message = user.read(frame)
    if not what.closed:
        what.messages.append(message)
        what.bodies.append(frame.body)
        what.streams.add(frame.stream)
    return message


async def _collect(user: Peer, what: Seen, within_s: float) -> None:
    """Read up to the close of the session."""
    while not what.closed:
        try:
            frame = await user.next(within_s)
        except trio.TooSlowError:
            raise Broken(f"{user.label}: the session does not end") from None
        if frame is None:
            raise Broken(f"{user.label}: the link was closed before the session")
        message = _note(user, what, frame)
        if not isinstance(message, Announcement | AnnouncementsClosed):
            raise Broken(f"{user.label}: got {describe(frame.raw)} before the session was closed")


@AREA.case(
    1,
    "nothing is announced, and no light asked for, before both users are armed",
    "5.3",
    needs=NEEDS,
)
async def _(h: RelayHarness) -> None:
    session = await _session(h)
    for user, seen in session.both():
        if seen.before_armed:
            raise Broken(f"{user} is told before both are armed: {seen.before_armed[0]}")
    if session.asked_before_armed:
        raise Broken("light is asked for before both users are armed")


@AREA.case(2, "both users get the same bodies", "5.4", needs=NEEDS)
async def _(h: RelayHarness) -> None:
    announced.check_same(await _session(h))


async def _of_each(check: Callable[[Seen], None], h: RelayHarness) -> None:
    for _, seen in (await _session(h)).both():
        check(seen)


async def _of_each_session(check: Callable[[Session, Seen], None], h: RelayHarness) -> None:
    session = await _session(h)
    for _, seen in session.both():
        check(session, seen)


for _number, _text, _check in (
    (3, "batches are numbered from 0", announced.check_numbers),
    (5, "pulses rise strictly within the range of their batch", announced.check_pulses),
    (6, "there is one Bell state for each pulse", announced.check_outcomes),
    (9, "the close states how many batches and events there were", announced.check_counts),
):
    AREA.add(
        _number,
        _text,
        ("5.4",) if _number < 9 else ("5.5",),
        partial(_of_each, _check),
        needs=NEEDS,
    )
for _number, _text, _with_session in (
    (4, "ranges follow each other without a gap, and segments in order", announced.check_ranges),
    (7, "every batch is signed over the chain of all before it", announced.check_signatures),
    (8, "the close is signed over the chain and its counts", announced.check_close_signature),
    (10, "the close comes when every pulse is covered", announced.check_covered),
):
    AREA.add(
        _number,
        _text,
        ("5.4",) if _number in (4, 7) else ("5.5",),
        partial(_of_each_session, _with_session),
        needs=NEEDS,
    )


@AREA.case(11, "nothing of a session comes after its close", "5.5", needs=NEEDS)
async def _(h: RelayHarness) -> None:
    for user, seen in (await _session(h)).both():
        if seen.after_close:
            raise Broken(f"{user} is told after the close: {seen.after_close[0]}")


@AREA.case(12, "all of a session travels on its handle", "2.2", needs=NEEDS)
async def _(h: RelayHarness) -> None:
    for user, seen in (await _session(h)).both():
        if len(seen.streams) != 1 or 0 in seen.streams:
            raise Broken(f"{user}: one session on the streams {sorted(seen.streams)}")


@AREA.case(
    13, "when light fails, the session ends early and nothing of it follows", "5.6", needs=NEEDS
)
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users, h.n_pulses)
    lights = await _lights(h, users)
    for light in lights:
        await light.arm(ready.session)
    for user in users:
        await user.tell(PairArmed(session=ready.session), frame.stream)
    for light in lights:
        await light.peer.drop()  # questions are on their way, and nobody will answer
    for user in users:
        told, _ = await user.expect(PairAborted, h.deadlines.light_s)
        if told.session != ready.session:
            raise Broken("PairAborted names another session")
    for user in users:
        await user.quiet("the session has ended early")


@AREA.case(
    14, "a session after a closed one begins anew, with a number of its own", "5.2", needs=NEEDS
)
async def _(h: RelayHarness) -> None:
    before = await _session(h)
    users = await h.two_users()
    (ready, _), _ = await h.ready(users)
    if ready.session == before.ready.session:
        raise Broken("two sessions have one number")
