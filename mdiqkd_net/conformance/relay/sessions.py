"""Requests, sessions and turns at a relay (spec 5.1 to 5.3, 5.6)."""

from typing import Final

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.relay.harness import N_PULSES, SECOND_USER, RelayHarness
from mdiqkd_net.wire.messages import Credit, PairAborted, PairArmed, PairReady, PairRequest

WRONG_STATE: Final = 0x0301
QUOTA: Final = 0x0401
MANY: Final = 2000
AREA: Final = Area[RelayHarness]("CT-RL-S", "Sessions", "L2")


@AREA.case(
    1, "when both users have asked, both are told the same", "5.1", "5.2", needs=[SECOND_USER]
)
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (first, frame), (_, other) = await h.ready(users)
    if frame.body != other.body:
        raise Broken("the two users are told different sessions")
    if first.users != [user.label for user in users]:
        raise Broken(f"users: found {first.users}; expected the lesser node id first")
    if frame.stream == 0 or other.stream == 0:
        raise Broken("PairReady on stream 0; expected a session handle")


@AREA.case(2, "a session has no more pulses than either user asked for", "5.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await first.tell(h.request(first, N_PULSES))
    await second.tell(h.request(second, N_PULSES // 3))
    for user in (first, second):
        ready, _ = await user.expect(PairReady)
        if ready.n_pulses > N_PULSES // 3:
            raise Broken(f"{ready.n_pulses} pulses; asked for {N_PULSES // 3}")
        if not 1 <= ready.segment_pulses <= ready.n_pulses:
            raise Broken(f"segments of {ready.segment_pulses} pulses in {ready.n_pulses}")


@AREA.case(3, "no session begins before both users have asked", "5.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await first.tell(h.request(first))
    await second.quiet("only one user has asked")
    await first.quiet("the other user has not asked")
    await second.tell(h.request(second))
    await first.expect(PairReady)
    await second.expect(PairReady)


@AREA.case(4, "who asks for an absent peer may wait until it comes", "5.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.user(0), await h.user(1)
    await second.leave()
    await first.tell(h.request(first))
    await first.quiet("the peer is not here yet")
    second = await h.user(1)
    await second.tell(h.request(second))
    await first.expect(PairReady)
    await second.expect(PairReady)


@AREA.case(5, "a pair of a user with itself is refused", "5.1")
async def _(h: RelayHarness) -> Ending:
    user = await h.user()
    await user.tell(PairRequest(n_pulses=N_PULSES, peer=user.label, request=1))
    return await user.refused(WRONG_STATE)


@AREA.case(6, f"{MANY} open requests of one user exceed its quota", "8", level="SHOULD")
async def _(h: RelayHarness) -> Ending:
    user = await h.user()
    await user.send(b"".join(user.sealed(h.request(user)) for _ in range(MANY)))
    return await user.refused(QUOTA)


@AREA.case(7, "PairArmed for a session that is over changes nothing", "5.3", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    (ready, frame), _ = await h.ready((first, second))
    await h.user(h.number_of(first))
    await _aborted(second, ready.session, h.deadlines.reaction_s)
    await second.tell(PairArmed(session=ready.session), frame.stream)
    await second.quiet("its PairArmed crossed with the end of the session")


@AREA.case(8, "PairArmed that names another session changes nothing", "5.3", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (_, frame), _ = await h.ready(users)
    for user in users:
        await user.tell(PairArmed(session=h.rng.randbytes(16)), frame.stream)
    for user in users:
        await user.quiet("nobody is armed for the session")


@AREA.case(9, "a second PairArmed is refused", "5.3", needs=[SECOND_USER])
async def _(h: RelayHarness) -> Ending:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users)
    for _ in range(2):
        await users[0].tell(PairArmed(session=ready.session), frame.stream)
    return await users[0].refused(WRONG_STATE)


async def _aborted(user: Peer, session: bytes, within_s: float) -> None:
    told, _ = await user.expect(PairAborted, within_s)
    if told.session != session:
        raise Broken("PairAborted names another session")


@AREA.case(
    10,
    "when a user leaves and stays away, the other is told that the session ends",
    "5.6",
    "5.7",
    needs=[SECOND_USER],
)
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    (ready, _), _ = await h.ready((first, second))
    await first.leave()
    await _aborted(second, ready.session, h.deadlines.return_s)


@AREA.case(
    11,
    "a session that is not armed in time is given up",
    "5.3",
    level="SHOULD",
    needs=[SECOND_USER],
)
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users)
    await users[0].tell(PairArmed(session=ready.session), frame.stream)
    for user in users:
        await _aborted(user, ready.session, h.deadlines.arming_s)


@AREA.case(12, "one session at a time, however often both have asked", "5.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    await h.ready(users)
    for user in users:
        await user.tell(h.request(user))
    for user in users:
        await user.quiet("a session is under way")


@AREA.case(13, "every session has a number and a handle of its own", "5.2", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    sessions, handles = set(), set()
    for _ in range(3):
        users = await h.two_users()
        (ready, frame), _ = await h.ready(users)
        sessions.add(ready.session)
        handles.add(frame.stream)
    if len(sessions) < 3 or len(handles) < 3:
        raise Broken(f"3 sessions with {len(sessions)} numbers and {len(handles)} handles")


@AREA.case(
    14, "after a session that ended early the same users get another", "5.6", needs=[SECOND_USER]
)
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    (before, _), _ = await h.ready((first, second))
    again = await h.user(h.number_of(first))
    await _aborted(second, before.session, h.deadlines.reaction_s)
    (after, _), _ = await h.ready((again, second))
    if after.session == before.session:
        raise Broken("the new session has the number of the old one")


@AREA.case(
    15, "when a user begins anew, its session ends for the other", "4.4", needs=[SECOND_USER]
)
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    (ready, _), _ = await h.ready((first, second))
    again = await h.user(h.number_of(first))
    await _aborted(second, ready.session, h.deadlines.reaction_s)
    await again.quiet("it knows of no session")


@AREA.case(16, f"a request that is said {MANY} times is one request", "5.1")
async def _(h: RelayHarness) -> None:
    user = await h.user()
    request = h.request(user)
    await user.send(b"".join(user.sealed(request) for _ in range(MANY)))
    await user.quiet("the same request was said again")


@AREA.case(17, "Credit for more than was sent is refused", "5.7", needs=[SECOND_USER])
async def _(h: RelayHarness) -> Ending:
    users = await h.two_users()
    (_, frame), _ = await h.ready(users)
    await users[0].tell(Credit(n_bytes=1), frame.stream)
    return await users[0].refused(QUOTA)


@AREA.case(18, "a frame of a session that comes again is skipped", "2.4", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users)
    armed = users[0].sealed(PairArmed(session=ready.session), frame.stream)
    for _ in range(2):
        await users[0].send(armed)
    await users[0].quiet("the second is a repetition")
