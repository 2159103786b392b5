"""Order and contents of a block's stages, as a user must hold its peer to them (spec 6)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import instead, then_nothing, without
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import GREATER, PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import pairing
from mdiqkd_net.conformance.endpoint.sources import UNBELIEVABLE
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    BlockOpen,
    BlockOpened,
    EstimationBits,
    Gate,
    GroupsVerified,
    Message,
    Prepare,
    Reconcile,
    Sift,
    SiftDone,
    Verified,
)

DIFFERENT: Final = 0x0203
WRONG_STATE: Final = 0x0301
SCHEMA: Final = 0x0104
AREA: Final = Area[EndpointHarness]("CT-EP-B", "Stages of a block", "L2")

replace = msgspec.structs.replace
_NO_BITS: Final = bulk.pack_bits(np.empty(0, np.uint8))
_TOO_SOON: Final[tuple[Message, ...]] = (
    Gate(batches=1, count=1, digest=bytes(16), hash_key=bytes(32)),
    Sift(chunk=0, settings=bulk.pack_ranked(np.zeros(4, np.uint8))),
    SiftDone(count=4, nonce=bytes(16)),
    EstimationBits(bits=_NO_BITS, chunk=0, last=True),
    Reconcile(chunk=0, payload=b"", round=0),
    GroupsVerified(wrong=[]),
    Verified(corrected=0, ok=True),
    AmplifySeed(bits=8, part=0, parts=1, seed=bytes(4)),
    Prepare(block_id=bytes(16), bits=8, pad=0, tag=bytes(16)),
)


async def _too_soon(h: EndpointHarness, message: Message) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.tell(message)
        return await p.refused(WRONG_STATE)


def refuse_too_soon(area: Area[EndpointHarness], messages: Iterable[Message], role: str) -> None:
    """The first cases of an area: what is not legal while announcements come in."""
    for number, message in enumerate(messages, start=1):
        area.add(
            number,
            f"{type(message).__name__} while announcements come in is refused",
            ("6",),
            partial(_too_soon, message=message),
            needs=[role],
        )


refuse_too_soon(AREA, _TOO_SOON, GREATER)


async def _answers_wrongly(
    h: EndpointHarness, kind: type[Any], change: Callable[[Any], Any], codes: tuple[int, ...]
) -> Ending:
    async with pairing(h) as p:
        p.alter = then_nothing(kind, change)
        if kind is BlockOpened:
            await p.session(**SHORT)
            await p.agree()
        else:
            await p.block(**SHORT)
        return await p.refused(*codes)


def _longer(message: Sift) -> Sift:
    settings = bulk.unpack_ranked(message.settings)
    return replace(message, settings=bulk.pack_ranked(np.append(settings, settings[:1])))


def _shorter(message: EstimationBits) -> EstimationBits:
    return replace(message, bits=bulk.pack_bits(bulk.unpack_bits(message.bits)[:-1]))


for _number, _text, _clause, _kind, _change, _codes in (
    (
        10,
        "BlockOpened with the digest of another session",
        "6.1",
        BlockOpened,
        lambda m: replace(m, session_digest=bytes(32)),
        (DIFFERENT,),
    ),
    (
        11,
        "BlockOpened that names another block",
        "6.1",
        BlockOpened,
        lambda m: replace(m, block=m.block + 1),
        (DIFFERENT,),
    ),
    (
        13,
        "Sift that begins with another chunk",
        "6.3",
        Sift,
        lambda m: replace(m, chunk=m.chunk + 1),
        (WRONG_STATE,),
    ),
    (14, "more settings than there are events", "6.3", Sift, _longer, (WRONG_STATE,)),
    (
        15,
        "SiftDone that counts other settings",
        "6.3",
        SiftDone,
        lambda m: replace(m, count=m.count + 1),
        (WRONG_STATE,),
    ),
    (16, "fewer test bits than there are events", "6.4", EstimationBits, _shorter, (WRONG_STATE,)),
):
    AREA.add(
        _number,
        f"refused: {_text}",
        (_clause,),
        partial(_answers_wrongly, kind=_kind, change=_change, codes=_codes),
        needs=[GREATER if _kind is BlockOpened else PEER],
    )

for _number, (_text, _clause, _source) in zip((12, 22, 23, 24, 25), UNBELIEVABLE, strict=True):
    AREA.add(
        _number,
        f"refused: BlockOpened with {_text}",
        (_clause,),
        partial(_answers_wrongly, kind=BlockOpened, change=_source, codes=(DIFFERENT,)),
        needs=[GREATER],
    )


@AREA.case(17, "a second BlockOpened is refused", "6", needs=[GREATER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        answers: list[BlockOpened] = []
        p.alter = instead(BlockOpened, lambda m: answers.append(m) or m)  # type: ignore[func-returns-value]
        await p.open(**SHORT)
        await p.tell(answers[0])
        return await p.refused(WRONG_STATE)


@AREA.case(18, "keys that differ end the block, and nothing is prepared", "6.6", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = instead(Verified, lambda m: replace(m, ok=False))
        await p.block()
        await p.asked()
        await p.silent(AmplifySeed, Prepare)


@AREA.case(19, "BlockAborted ends the block, and another is asked for", "6.8", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.abort()
        await p.asked()


@AREA.case(20, "a block's number never comes twice", "7.4", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.abort()
        await p.open(**SHORT)
        first, second = await p.expect(BlockOpen), await p.expect(BlockOpen, n=2)
        if second.block <= first.block:
            raise Broken(f"block {second.block} after block {first.block}")


@AREA.case(21, "a message of a block that is not open is refused", "6", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.tell(SiftDone(count=1, nonce=bytes(16)), p.number + 5)
        return await p.refused(WRONG_STATE)


@AREA.case(26, "nothing is armed before both have agreed on the block", "5.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = without(BlockOpen, BlockOpened)
        await p.session(**SHORT)
        await p.agree()
        await p.relay.quiet("its peer has not agreed")
