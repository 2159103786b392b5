"""First words at a relay (spec 4.1)."""

from typing import Final

import trio

from mdiqkd_net.conformance.cases import Area, Broken, Close, Ending
from mdiqkd_net.conformance.greetings import (
    BAD_IDENTITY,
    BAD_VERSION,
    OTHER_VERSIONS,
    WRONG_STATE,
    check_introduction,
    check_nonces,
)
from mdiqkd_net.conformance.headers import noise
from mdiqkd_net.conformance.identity import of_old, without_certificate
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.relay.harness import SECOND_USER, RelayHarness
from mdiqkd_net.protocol.handshake import PROTOCOL_VERSION
from mdiqkd_net.wire.messages import Hello

AREA: Final = Area[RelayHarness]("CT-RL-H", "Hello", "L1")


@AREA.case(1, "its Hello names the node of its certificate, the role relay, and version 1", "4.1")
async def _(h: RelayHarness) -> None:
    check_introduction(await h.user(), "relay")


@AREA.case(2, "every Hello has a nonce of its own", "4.1")
async def _(h: RelayHarness) -> None:
    await check_nonces(h.user)


async def _unwelcome(
    h: RelayHarness, *codes: int, role: str = "endpoint", **hello: object
) -> Ending:
    user = await h.secured()
    await user.greet(h.identities[0].node, role, **hello)  # type: ignore[arg-type]  # any role
    return await user.refused(*codes)


@AREA.case(3, "a Hello without a version that it speaks is refused", "4.1")
async def _(h: RelayHarness) -> Ending:
    return await _unwelcome(h, BAD_VERSION, versions=OTHER_VERSIONS)


@AREA.case(
    4,
    "versions that it does not know are no obstacle beside one that it knows",
    "4.1",
    needs=[SECOND_USER],
)
async def _(h: RelayHarness) -> None:
    users = [await h.user(number, versions=[PROTOCOL_VERSION, 99]) for number in (0, 1)]
    first, second = sorted(users, key=lambda user: user.label)
    await h.ready((first, second))


@AREA.case(5, "a name other than the certificate's is refused", "4.1")
async def _(h: RelayHarness) -> Ending:
    return await _unwelcome(h, BAD_IDENTITY, node="somebody-else")


@AREA.case(6, "the role transmitter is refused where users belong", "4.1")
async def _(h: RelayHarness) -> Ending:
    return await _unwelcome(h, BAD_IDENTITY, role="transmitter")


@AREA.case(7, "the role relay is refused where users belong", "4.1")
async def _(h: RelayHarness) -> Ending:
    return await _unwelcome(h, BAD_IDENTITY, role="relay")


@AREA.case(8, "a first message other than Hello is refused", "4.1")
async def _(h: RelayHarness) -> Ending:
    user = await h.secured()
    await user.tell(h.request(user))
    return await user.refused(WRONG_STATE)


@AREA.case(9, "a second Hello is refused", "4.1")
async def _(h: RelayHarness) -> Ending:
    user = await h.user()
    await user.greet(h.identities[0].node, "endpoint")
    return await user.refused(WRONG_STATE)


async def _not_let_in(peer: Peer, who: str) -> None:
    """The other side must end the link without a Hello."""
    try:
        while (frame := await peer.next()) is not None:
            if frame.kind == Hello.TYPE:
                raise Broken(f"{who} is greeted")
    except trio.TooSlowError:
        raise Broken(f"{who}: the link stays open") from None


@AREA.case(10, "who shows no certificate is not let in", "4.1")
async def _(h: RelayHarness) -> None:
    await _not_let_in(
        await h.secured(context=without_certificate(), label="nobody"), "who shows no certificate"
    )


@AREA.case(11, "who is certified by another authority is not let in", "4.1")
async def _(h: RelayHarness) -> None:
    context = h.foreign().client
    await _not_let_in(
        await h.secured(context=context, label="a stranger"), "a stranger's certificate"
    )


@AREA.case(12, "TLS 1.2 is refused", "4.1")
async def _(h: RelayHarness) -> Ending:
    tcp = await h.tcp()
    stream = trio.SSLStream(tcp, of_old(h.certificate), https_compatible=True)
    try:
        with trio.fail_after(h.deadlines.reaction_s):
            await stream.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError) as error:
        return Ending(Close.NOT_JUDGED, str(error.__cause__ or error))
    raise Broken("TLS 1.2 is spoken")


@AREA.case(13, "a second link of a user takes the place of the first", "4.5")
async def _(h: RelayHarness) -> None:
    first = await h.taken_up(await h.user(label="the first link"))
    second = await h.user(label="the second link")
    try:
        while await first.next() is not None:
            pass
    except trio.TooSlowError:
        raise Broken("the first link stays open") from None
    await second.quiet("it has taken the place of the first")


@AREA.case(14, "its epoch stays while nobody breaks the protocol", "4.4")
async def _(h: RelayHarness) -> None:
    epochs = {(await h.user()).greeting.epoch for _ in range(3)}
    if len(epochs) > 1:
        raise Broken(f"3 links, {len(epochs)} epochs")


@AREA.case(15, "after a user broke the protocol it has a new epoch for it", "4.5")
async def _(h: RelayHarness) -> None:
    user = await h.user()
    before = user.greeting.epoch
    await user.send(noise(h.rng))
    await user.refused()
    if (await h.user()).greeting.epoch == before:
        raise Broken("it goes on with the epoch from before")


@AREA.case(16, "its Hello names the epoch that it has seen last", "4.4")
async def _(h: RelayHarness) -> None:
    for _ in range(2):
        user = await h.taken_up(await h.user())
        again = await h.taken_up(await h.back(user))  # or it may be overtaken by the next
        if again.greeting.seen != user.correspondence.epoch:
            raise Broken("it names another epoch than that of the last link")
