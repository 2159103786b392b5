"""What outlives a connection, and what is said on a new one (spec 4.4, 7.4)."""

from typing import Final

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import GREATER, PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import pairing
from mdiqkd_net.wire.messages import BlockOpen, CommitUnknown, Resume

WRONG_STATE: Final = 0x0301
AREA: Final = Area[EndpointHarness]("CT-EP-S", "Resumption", "L2")


@AREA.case(1, "its first word to its peer after Hello is Resume", "7.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        first, _ = p.heard[0]
        if not isinstance(first, Resume):
            raise Broken(f"its first word is {type(first).__name__}")


@AREA.case(2, "it answers CommitUnknown for a block that it has no record of", "7.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        unknown = h.rng.randbytes(16)
        await p.link.tell(Resume(blocks=[unknown], next_block=1))
        if (await p.expect(CommitUnknown)).block_id != unknown:
            raise Broken("CommitUnknown names another block")


@AREA.case(3, "a block outlives a lost connection to the peer", "4.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open()
        await p.link_again()
        if not p.link.kept:
            raise Broken("it does not go on, though neither epoch has changed")
        await p.light()
        await p.expect(p.decided)


@AREA.case(4, "a Resume that lists 513 blocks is refused", "3.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.link.tell(Resume(blocks=[bytes(16)] * 513, next_block=1))
        return await p.refused(0x0104)


@AREA.case(
    5, "of the two least numbers of the next block the greater counts", "7.4", needs=[GREATER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        least = p.number + 5
        await p.link.tell(Resume(blocks=[], next_block=least))
        await p.settled()  # the relay has a connection of its own, and its word could come first
        await p.open(**SHORT)
        opened = await p.expect(BlockOpen)
        if opened.block < least:
            raise Broken(f"block {opened.block}; its peer's next is {least} at least")


@AREA.case(
    6, "a next block whose number leaves none for later ones is refused", "7.4", needs=[PEER]
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.link.tell(Resume(blocks=[], next_block=2**62))
        return await p.refused(WRONG_STATE)
