"""The proposal of a block, as a participant must hold the coordinator to it (spec 6.1)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import trio

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import as_it_is, instead, keeping, then_nothing
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import LESSER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import HANDLE, Pairing, pairing
from mdiqkd_net.conformance.endpoint.sources import UNBELIEVABLE
from mdiqkd_net.conformance.headers import header
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.messages import (
    BlockAborted,
    BlockOpen,
    BlockOpened,
    Error,
    PairAborted,
    Resume,
)

DIFFERENT: Final = 0x0203
WRONG_STATE: Final = 0x0301
OTHER_REASON: Final = 0x0503
FAR_AHEAD: Final = 2**62
AREA: Final = Area[EndpointHarness]("CT-EP-O", "Proposal of a block", "L2")

replace = msgspec.structs.replace


@AREA.case(1, "a proposal that fits is answered by BlockOpened", "6.1", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        _check_answer(p, await p.expect(BlockOpened))


def _check_answer(p: Pairing, answer: BlockOpened) -> None:
    block = p.user.core.block
    if block is None or (answer.block, answer.session_digest) != (p.number, block.session_digest):
        raise Broken(f"BlockOpened names block {answer.block}, or another session")


async def _refuses(
    h: EndpointHarness, change: Callable[[BlockOpen], BlockOpen], codes: tuple[int, ...]
) -> Ending:
    async with pairing(h) as p:
        p.alter = then_nothing(BlockOpen, change)
        await _told_in_order(p)
        ending = await p.refused(*codes)
        p.never_said(BlockOpened)
        return ending


async def _told_in_order(p: Pairing) -> None:
    """The node hears of the session first, and then of the block: its links race."""
    await p.session(**SHORT)
    await p.settled()
    await p.agree()


def _another(agreed: str, one: str, other: str) -> str:
    return other if agreed == one else one


def _next(bits: int) -> int:
    """The bits of the next greater binary64."""
    return bits + 1


_DIFFERENCES: Final[tuple[tuple[str, Callable[[BlockOpen], BlockOpen]], ...]] = (
    ("eps_sec", lambda m: replace(m, eps_sec=_next(m.eps_sec))),
    ("eps_cor", lambda m: replace(m, eps_cor=_next(m.eps_cor))),
    ("f_ec", lambda m: replace(m, f_ec=_next(m.f_ec))),
    (
        "bell_states",
        lambda m: replace(m, bell_states=[_another(m.bell_states[-1], "psi_minus", "psi_plus")]),
    ),
    ("reconciler", lambda m: replace(m, reconciler=_another(m.reconciler, "ldpc", "cascade"))),
    ("method", lambda m: replace(m, method=_another(m.method, "tangent_lp", "double_scan"))),
    ("tail", lambda m: replace(m, tail=_another(m.tail, "poisson", "chernoff"))),
    ("accounting", lambda m: replace(m, accounting=m.accounting[:-1] + "?")),
    (
        "design",
        lambda m: replace(m, design=bytes(32) if m.design != bytes(32) else bytes([1] * 32)),
    ),
)
for _number, (_field, _change) in enumerate(_DIFFERENCES, start=2):
    AREA.add(
        _number,
        f"another `{_field}` than its own is refused",
        ("6.1",),
        partial(_refuses, change=_change, codes=(DIFFERENT,)),
        needs=[LESSER],
    )
for _number, (_text, _clause, _source) in enumerate(UNBELIEVABLE, start=11):
    AREA.add(
        _number,
        f"refused: BlockOpen with {_text}",
        (_clause,),
        partial(_refuses, change=_source, codes=(DIFFERENT,)),
        needs=[LESSER],
    )
AREA.add(
    16,
    "another block than that of its stream is refused",
    ("2.2", "6.1"),
    partial(
        _refuses, change=lambda m: replace(m, block=m.block + 1), codes=(DIFFERENT, WRONG_STATE)
    ),
    needs=[LESSER],
)


@AREA.case(17, "the digest of another session ends the block", "6.1", needs=[LESSER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        p.alter = instead(BlockOpen, lambda m: replace(m, session_digest=bytes(32)))
        await _told_in_order(p)
        ending = await p.given_up(DIFFERENT)
        p.never_said(BlockOpened)
        return ending


@AREA.case(
    18, "a proposal that is not the first frame of its stream is refused", "6.1", needs=[LESSER]
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.session(**SHORT)
        await p.link.tell(BlockAborted(code=OTHER_REASON), p.user.records.next_block())
        await p.agree()
        return await p.refused(WRONG_STATE)


@AREA.case(19, "a proposal whose number is below the least is refused", "7.4", needs=[LESSER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.session(**SHORT)
        least = p.user.records.next_block() + 5
        await p.link.tell(Resume(blocks=[], next_block=least))
        await p.agree()
        return await p.refused(WRONG_STATE)


@AREA.case(20, "a second proposal is refused", "6", needs=[LESSER])
async def _(h: EndpointHarness) -> Ending:
    proposals: list[BlockOpen] = []
    async with pairing(h) as p:
        p.alter = instead(BlockOpen, lambda m: proposals.append(m) or m)  # type: ignore[func-returns-value]
        await p.open(**SHORT)
        await p.tell(proposals[0])
        return await p.refused(WRONG_STATE)


@AREA.case(
    21, "a proposal that comes before the relay's word waits for it", "4.4", "6.1", needs=[LESSER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.choose_session(**SHORT)
        await p.agree()
        await p.settled()
        await p.relay.tell(p.ready, HANDLE)
        _check_answer(p, await p.expect(BlockOpened))


async def _overtaken(p: Pairing) -> bytes:
    """A session that is over before its proposal comes; the frame of the proposal."""
    proposals: list[BlockOpen] = []
    p.alter = keeping(BlockOpen, proposals)
    await p.session(**SHORT)
    await p.agree()
    await p.relay.tell(PairAborted(code=OTHER_REASON, session=p.ready.session), HANDLE)
    p.alter = lambda _: ()
    await p.abort()
    p.alter = as_it_is
    (proposal,) = proposals
    body = encode(proposal)
    return header(len(body), BlockOpen.TYPE, stream=proposal.block, seq=0, ack=0) + body


@AREA.case(
    22,
    "a proposal of a session that is over is passed over while there is no other",
    "6.1",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        late = await _overtaken(p)
        await p.choose_session(**SHORT)
        await p.link.send(late)
        await p.settled()
        await p.relay.tell(p.ready, HANDLE)
        await p.settled()
        await p.agree()
        _check_answer(p, await p.expect(BlockOpened))


@AREA.case(23, "a proposal of a session that is over ends no later block", "6.1", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        late = await _overtaken(p)
        await p.session(**SHORT)
        await p.link.send(late)
        await p.settled()
        await p.agree()
        _check_answer(p, await p.expect(BlockOpened))


@AREA.case(
    24,
    "another budget that waited for the relay's word is the coordinator's fault, not the relay's",
    "4.3",
    "6.1",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        p.alter = instead(BlockOpen, lambda m: replace(m, eps_sec=_next(m.eps_sec)))
        await p.choose_session(**SHORT)
        await p.agree()
        await p.settled()
        await p.relay.tell(p.ready, HANDLE)
        ending = await p.refused(DIFFERENT)
        with trio.move_on_after(h.deadlines.quiet_s):
            while frame := await p.relay.next():
                if frame.kind == Error.TYPE:
                    raise Broken("it refuses the relay")
        return ending


@AREA.case(
    25, "a proposal whose number leaves none for later ones is refused", "7.4", needs=[LESSER]
)
async def _(h: EndpointHarness) -> Ending:
    proposals: list[BlockOpen] = []
    async with pairing(h) as p:
        p.alter = keeping(BlockOpen, proposals)
        await _told_in_order(p)
        await p.link.tell(replace(proposals[0], block=FAR_AHEAD), FAR_AHEAD)
        return await p.refused(WRONG_STATE)
