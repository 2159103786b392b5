"""Framing at a relay (spec 2)."""

from functools import partial
from typing import Final

from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.headers import BAD_FRAMES, BadFrame, noise, unknown_frame
from mdiqkd_net.conformance.relay.harness import SECOND_USER, RelayHarness
from mdiqkd_net.wire.frames import BAD_HEADER, BAD_SEQUENCE, HEADER_BYTES
from mdiqkd_net.wire.messages import Hello, PairAborted, PairReady

WRONG_STATE: Final = 0x0301
AREA: Final = Area[RelayHarness]("CT-RL-F", "Framing", "L1")


async def _refuses(bad: BadFrame, h: RelayHarness) -> Ending:
    user = await h.user()
    await user.send(bad.build(user, h.request(user)))
    return await user.refused(*bad.codes)


for _bad in BAD_FRAMES:
    AREA.add(_bad.number, _bad.text, (_bad.clause,), partial(_refuses, _bad))


@AREA.case(14, "the first frame of a link with SEQ 1 is refused", "2.2", "2.4")
async def _(h: RelayHarness) -> Ending:
    user = await h.secured()
    user.sequencer.seal(Hello.TYPE, b"")  # number 0, which is never sent
    await user.greet(h.identities[0].node, "endpoint")
    return await user.refused(BAD_SEQUENCE)


@AREA.case(15, "random bytes in place of a header are refused", "2.3")
async def _(h: RelayHarness) -> Ending:
    user = await h.user()
    await user.send(noise(h.rng))
    return await user.refused(BAD_HEADER, *range(0x0102, 0x0107))


@AREA.case(16, "a known type that has no place on this link is refused", "6")
async def _(h: RelayHarness) -> Ending:
    user = await h.user()
    await user.send(user.sealed(PairAborted(code=0x0503, session=bytes(16))))
    return await user.refused(WRONG_STATE)


@AREA.case(17, "frames that arrive byte by byte are read", "2.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await second.tell(h.request(second))
    for byte in first.sealed(h.request(first)):
        await first.send(bytes([byte]))
    await first.expect(PairReady)
    await second.expect(PairReady)


@AREA.case(18, "frames that arrive together are all read", "2.1", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await first.send(b"".join(first.sealed(h.request(first)) for _ in range(3)))
    await second.tell(h.request(second))
    await first.expect(PairReady)
    await second.expect(PairReady)


@AREA.case(19, "an unknown type without bit 15 is skipped", "2.3", needs=[SECOND_USER])
async def _(h: RelayHarness) -> None:
    first, second = await h.two_users()
    await first.send(unknown_frame())
    await h.ready((first, second))


@AREA.case(20, "a link that ends inside a header or a body disturbs nobody", "2.5")
async def _(h: RelayHarness) -> None:
    for cut in (1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3):
        user = await h.user()
        await user.send(user.sealed(h.request(user))[:cut])
        await user.leave()
