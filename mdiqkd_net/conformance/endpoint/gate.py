"""The gate, and a relay that announces what it must not (spec 5.4 to 5.6, 6.2)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.endpoint.altering import instead, without
from mdiqkd_net.conformance.endpoint.harness import GREATER, LESSER, PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.overdrawing import overdraws
from mdiqkd_net.conformance.endpoint.pairing import HANDLE, Change, pairing
from mdiqkd_net.conformance.endpoint.session import Told
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import (
    Announcement,
    AnnouncementsClosed,
    BlockAborted,
    EstimationBits,
    Gate,
    PairAborted,
    Sift,
    SiftDone,
)

WRONG_STATE: Final = 0x0301
SHORT: Final = {"n_pulses": 40_000, "segment_pulses": 10_000}
"""Enough pulses for some events in every segment; too few for a key, which is not needed here."""
REVEALS: Final = (Sift, SiftDone, EstimationBits)
GATE: Final = Area[EndpointHarness]("CT-EP-G", "Gate", "L2")
RELAYED: Final = Area[EndpointHarness]("CT-EP-R", "A relay that lies", "L3")

replace = msgspec.structs.replace


@GATE.case(1, "nothing is revealed before the participant's gate has come", "6.2", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = without(Gate, *REVEALS)
        await p.block(**SHORT)
        await p.expect(Gate)
        await p.silent(*REVEALS)


@GATE.case(2, "with both gates proven the settings are revealed", "6.2", "6.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.block(**SHORT)
        await p.expect(SiftDone)


async def _aborts(h: EndpointHarness, change: Callable[[Gate], Gate]) -> None:
    async with pairing(h) as p:
        p.alter = instead(Gate, change)
        await p.block(**SHORT)
        await p.expect(BlockAborted)
        await p.silent(*REVEALS)


for _number, _text, _change in (
    (3, "a wrong digest", lambda g: replace(g, digest=bytes(16))),
    (4, "another number of batches", lambda g: replace(g, batches=g.batches + 1)),
    (5, "another number of events", lambda g: replace(g, count=g.count + 1)),
):
    GATE.add(
        _number,
        f"{_text} in the peer's gate ends the block, and nothing is revealed",
        ("6.2",),
        partial(_aborts, change=_change),
        needs=[PEER],
    )


@GATE.case(
    7,
    "nothing is revealed, and no gate is said, before the coordinator's gate has come",
    "6.2",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = without(Gate, *REVEALS)
        await p.block(**SHORT)
        await p.silent(Gate, *REVEALS)


@GATE.case(
    8,
    "a gate that comes before all announcements is compared once they are complete",
    "6.2",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    closes: list[Told] = []

    def without_the_close(said: list[Told]) -> list[Told]:
        closes.append(said.pop())
        return said

    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.light(without_the_close, signed=False)
        await p.silent(Gate, *REVEALS)
        await p.relay.tell(closes[0], HANDLE)
        await p.expect(SiftDone)


def _first_outcome_flipped(said: list[Told]) -> list[Told]:
    for at, batch in enumerate(said):
        if isinstance(batch, Announcement) and batch.pulses.n:
            states = bulk.unpack_bits(batch.outcomes)
            states[0] ^= 1
            said[at] = replace(batch, outcomes=bulk.pack_bits(states))
            return said
    return said


@GATE.case(
    6,
    "nothing is revealed if the relay tells the users one Bell state differently",
    "6.2",
    needs=[PEER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.light(_first_outcome_flipped)
        await p.asked()
        await p.silent(*REVEALS)


def _batch(at: int, change: Callable[[Announcement], Announcement]) -> Change:
    def changed(said: list[Told]) -> list[Told]:
        batch = said[at]
        assert isinstance(batch, Announcement)  # noqa: S101  # by `SHORT`
        said[at] = change(batch)
        return said

    return changed


def _close(change: Callable[[AnnouncementsClosed], AnnouncementsClosed]) -> Change:
    def changed(said: list[Told]) -> list[Told]:
        close = said[-1]
        assert isinstance(close, AnnouncementsClosed)  # noqa: S101  # by `measure`
        return [*said[:-1], change(close)]

    return changed


def _past_the_range(batch: Announcement) -> Announcement:
    pulses = bulk.unpack_gaps(batch.pulses, batch.base, batch.covered)
    late = pulses + (batch.covered - int(pulses[-1]))
    return replace(batch, pulses=bulk.pack_gaps(late, batch.base))


def _one_state_short(batch: Announcement) -> Announcement:
    states = bulk.unpack_bits(batch.outcomes)
    return replace(batch, outcomes=bulk.pack_bits(states[:-1]))


def _too_early(said: list[Told]) -> list[Told]:
    batches = [m for m in said[:-2] if isinstance(m, Announcement)]
    count = sum(batch.pulses.n for batch in batches)
    close = AnnouncementsClosed(batches=len(batches), count=count, signature=bytes(64))
    return [*batches, close]


async def _refuses(
    h: EndpointHarness, change: Change, codes: tuple[int, ...], sign: bool
) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.lie(change, signed=sign)
        return await p.relay.refused(*codes)


for _number, _text, _told, _codes, _sign in (
    (1, "a gap in the batches", lambda said: said[:1] + said[2:], (WRONG_STATE,), True),
    (2, "a batch that comes again", lambda said: said[:1] + said, (WRONG_STATE,), True),
    (3, "a pulse outside the range", _batch(0, _past_the_range), (0x0104, WRONG_STATE), True),
    (
        4,
        "a signature that does not fit",
        _batch(1, lambda b: replace(b, signature=bytes(64))),
        (WRONG_STATE,),
        False,
    ),
    (5, "fewer Bell states than pulses", _batch(0, _one_state_short), (WRONG_STATE,), True),
    (
        6,
        "a range that leaves pulses out",
        _batch(1, lambda b: replace(b, base=b.base + 1)),
        (WRONG_STATE,),
        True,
    ),
    (7, "a close before every pulse is covered", _too_early, (WRONG_STATE,), True),
    (
        8,
        "a close that counts other events",
        _close(lambda c: replace(c, count=c.count + 1)),
        (WRONG_STATE,),
        True,
    ),
    (
        9,
        "a close whose signature does not fit",
        _close(lambda c: replace(c, signature=bytes(64))),
        (WRONG_STATE,),
        False,
    ),
):
    RELAYED.add(
        _number,
        f"refused: {_text}",
        ("5.4",) if _number < 7 else ("5.5",),
        partial(_refuses, change=_told, codes=_codes, sign=_sign),
        needs=[PEER],
    )


@RELAYED.case(10, "nothing of a session is accepted after its close", "5.5", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        p.alter = without(Gate, *REVEALS)
        await p.open(**SHORT)
        await p.light(lambda said: [*said, *said[-2:-1]])
        return await p.relay.refused(WRONG_STATE)


@RELAYED.case(11, "PairAborted after the close is refused", "5.6", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        p.alter = without(Gate, *REVEALS)
        await p.block(**SHORT)
        await p.relay.tell(PairAborted(code=0x0503, session=p.ready.session), HANDLE)
        return await p.relay.refused(WRONG_STATE)


@RELAYED.case(
    12, "PairAborted before the close ends the block at the peer, too", "5.6", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.relay.tell(PairAborted(code=0x0503, session=p.ready.session), HANDLE)
        await p.expect(BlockAborted)


@RELAYED.case(13, "a session of more pulses than asked for is refused", "5.1", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.session(n_pulses=10**12)
        return await p.relay.refused(WRONG_STATE)


@RELAYED.case(14, "a second session while a block is under way is refused", "5.1", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.relay.tell(replace(p.ready, session=h.rng.randbytes(16)), HANDLE + 1)
        return await p.relay.refused(WRONG_STATE)


RELAYED.add(
    15, "more announcements than it has granted are refused", ("5.7",), overdraws, needs=[PEER]
)
