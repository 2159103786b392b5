"""Slow, rude and crowding peers at a relay: nobody else may suffer (spec 2.5, 4.1)."""

from contextlib import suppress
from typing import Final

import trio

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.peer import Peer, hello
from mdiqkd_net.conformance.relay.harness import SECOND_USER, RelayHarness, ended
from mdiqkd_net.wire.frames import HEADER_BYTES
from mdiqkd_net.wire.messages import PairAborted, PairArmed, PairReady, PairRequest

WRONG_STATE: Final = 0x0301
CROWD: Final = 24
STORM: Final = 12
N_MUTANTS: Final = 16
AREA: Final = Area[RelayHarness]("CT-RL-X", "Robustness", "L3")


@AREA.case(1, "a TCP connection that says nothing is closed within 10 s", "4.1")
async def _(h: RelayHarness) -> None:
    if not await ended(await h.tcp(), h.deadlines.handshake_s):
        raise Broken("a silent connection stays open")


@AREA.case(2, "half a TLS record is waited for no longer than 10 s", "4.1")
async def _(h: RelayHarness) -> None:
    tcp = await h.tcp()
    await tcp.send_all(b"\x16\x03\x01\x02\x00\x01")
    if not await ended(tcp, h.deadlines.handshake_s):
        raise Broken("a connection with half a TLS record stays open")


async def _closed(user: Peer, within_s: float) -> None:
    try:
        while await user.next(within_s) is not None:
            pass
    except trio.TooSlowError:
        raise Broken(f"{user.label}: the link stays open") from None


@AREA.case(3, "a link without a Hello is closed within 10 s", "4.1")
async def _(h: RelayHarness) -> None:
    await _closed(await h.secured(label="silent"), h.deadlines.handshake_s)


@AREA.case(4, "a Hello that drips is waited for no longer than 10 s in all", "4.1")
async def _(h: RelayHarness) -> None:
    user = await h.secured(label="dripping")
    greeting = hello(h.identities[0].node, "endpoint", user.correspondence)
    drops = user.sealed(greeting)[: HEADER_BYTES + 8]
    async with trio.open_nursery() as nursery:

        async def drip() -> None:
            for drop in drops:
                await user.send(bytes([drop]))
                await trio.sleep(h.deadlines.handshake_s / 16)  # slower than the deadline allows

        nursery.start_soon(drip)
        await _closed(user, h.deadlines.handshake_s)
        nursery.cancel_scope.cancel()


async def _others_are_served(h: RelayHarness, cut: int) -> Ending:
    """One user is in the midst of a frame; another must get its answer all the same."""
    first, second = await h.two_users()
    frame = first.sealed(h.request(first))
    await first.send(frame[:cut])
    await first.quiet("its frame is not whole yet", h.deadlines.quiet_s / 4)
    await second.tell(PairAborted(code=0x0503, session=bytes(16)))
    ending = await second.refused(WRONG_STATE)
    await first.send(frame[cut:])
    await first.quiet("the rest of its frame has come, and is legal")
    return ending


@AREA.case(5, "others are served while the rest of a header is awaited", "2.5", needs=[SECOND_USER])
async def _(h: RelayHarness) -> Ending:
    return await _others_are_served(h, HEADER_BYTES // 2)


@AREA.case(6, "others are served while the rest of a body is awaited", "2.5", needs=[SECOND_USER])
async def _(h: RelayHarness) -> Ending:
    return await _others_are_served(h, HEADER_BYTES + 2)


@AREA.case(
    7, "what a user missed while its connection was lost is sent again", "4.4", needs=[SECOND_USER]
)
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await first.tell(h.request(first))
    await first.quiet("the other user has not asked")
    await first.drop()
    await second.quiet("nobody but a user that has gone has asked", h.deadlines.quiet_s / 4)
    await second.tell(h.request(second))
    _, told = await second.expect(PairReady)
    first = await h.back(first)
    _, missed = await first.expect(PairReady)
    if missed.body != told.body:
        raise Broken("the two users are told different sessions")


@AREA.case(8, f"{STORM} connections in a row do no harm", "2.5")
async def _(h: RelayHarness) -> None:
    for number in range(STORM):
        peer = await h.secured(label=f"storm {number}")
        await peer.drop()


@AREA.case(9, f"{CROWD} silent connections keep nobody out", "2.5")
async def _(h: RelayHarness) -> None:
    for _ in range(CROWD):
        await h.tcp()
    await h.user()


@AREA.case(
    10, f"{N_MUTANTS} damaged frames are each refused or understood, and do no harm", "2.3", "3.2"
)
async def _(h: RelayHarness) -> Ending:
    n_refused = 0
    for _ in range(N_MUTANTS):
        user = await h.user()
        frame = bytearray(user.sealed(PairRequest(n_pulses=1000, peer="absent", request=1)))
        at = h.rng.randrange(len(frame))
        frame[at] ^= 1 << h.rng.randrange(8)
        await user.send(bytes(frame))
        with suppress(trio.TooSlowError):
            if await user.next(h.deadlines.quiet_s / 10) is not None:
                n_refused += 1
        await user.leave()
    return Ending(found=f"{n_refused} of {N_MUTANTS} refused")


@AREA.case(
    11,
    "frames that a user says it has not got come again byte for byte",
    "4.4",
    needs=[SECOND_USER],
)
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (_, frame), _ = await h.ready(users)
    await users[0].drop()
    again = await h.back(users[0], positions=[[frame.stream, 0]])
    try:
        repeated = await again.next()
    except trio.TooSlowError:
        raise Broken(f"{again.label}: nothing is sent again") from None
    if repeated is None or repeated.raw != frame.raw:
        raise Broken(f"{again.label}: other bytes than before")


@AREA.case(
    12, "a session outlives 8 lost connections of each user", "4.4", "5.7", needs=[SECOND_USER]
)
async def _(h: RelayHarness) -> None:
    users = await h.two_users()
    (ready, frame), _ = await h.ready(users)
    for _ in range(8):
        for user in users:
            await user.drop()
        first, second = await h.back(users[0]), await h.back(users[1])
        users = await h.taken_up(first), await h.taken_up(second)
    await users[0].tell(PairArmed(session=ready.session), frame.stream)
    for user in users:
        await user.quiet("the session stands, and only one of its users is armed")
