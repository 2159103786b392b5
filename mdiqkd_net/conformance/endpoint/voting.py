"""Commit, as a participant must keep to it (spec 7)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import as_it_is, instead, keeping, spoiled, without
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.guessing import (
    nothing_after_8_failed_prepares,
    nothing_after_8_failed_tags,
)
from mdiqkd_net.conformance.endpoint.harness import LESSER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import Pairing, pairing
from mdiqkd_net.wire.messages import (
    BlockAborted,
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    Message,
    Prepare,
    Resume,
    Verified,
    Vote,
)

FAILED: Final = 0x0502
WRONG_STATE: Final = 0x0301
OTHER_REASON: Final = 0x0503
NOT_GRANTED: Final = 2**40
AREA: Final = Area[EndpointHarness]("CT-EP-V", "Commit, for a participant", "L2")

replace = msgspec.structs.replace


async def _voted(p: Pairing) -> Vote:
    """A block that the node has voted for, of which its peer has not heard."""
    p.keep_from_peer(Vote)
    await p.block()
    return await p.expect(Vote)


async def _still_commits(p: Pairing, vote: Vote) -> None:
    """Over a new connection the node is asked about the block, and commits."""
    await p.settled()
    p.keep_from_peer()
    await p.link_again()
    await _asks_and_commits(p, vote)


async def _asks_and_commits(p: Pairing, vote: Vote) -> None:
    resume = await p.expect(Resume)
    if vote.block_id not in resume.blocks:
        raise Broken("it has given up a block that it voted for")
    await p.expect(Committed)


@AREA.case(
    1,
    "a block of sound users is voted for and committed",
    "7.2",
    "7.3",
    "8.1",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.block()
        vote = await p.expect(Vote)
        await p.expect(Committed)
        await p.settled()
        if not p.user.records.offers(vote.block_id):
            raise Broken("the tag of its Committed does not hold")


@AREA.case(2, "nothing is voted for before Prepare", "7.2", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = without(Prepare)
        await p.block()
        await p.expect(Verified)
        await p.silent(Vote)


async def _ends_the_block(h: EndpointHarness, change: Callable[[Prepare], Prepare]) -> Ending:
    prepared: list[Prepare] = []
    async with pairing(h) as p:
        p.alter = instead(Prepare, lambda m: prepared.append(m) or change(m))  # type: ignore[func-returns-value]
        await p.block()
        ending = await p.given_up()
        await p.link_again()
        (prepare,) = prepared
        n_before = len(p.frames(CommitUnknown))
        await p.link.tell(Resume(blocks=[prepare.block_id], next_block=1))
        await p.expect(CommitUnknown, n=n_before + 1)
        p.never_said(Vote)
        return ending


for _number, _text, _clauses, _change in (
    (3, "whose tag does not hold", ("7.2", "8.2"), lambda m: replace(m, tag=spoiled(m.tag))),
    (4, "under a pad that was not granted", ("7.2", "8.2"), lambda m: replace(m, pad=NOT_GRANTED)),
    (5, "that names another block", ("7.2",), lambda m: replace(m, block_id=spoiled(m.block_id))),
    (6, "of another length", ("7.2",), lambda m: replace(m, bits=m.bits - 8)),
):
    AREA.add(
        _number,
        f"Prepare {_text} ends the block, and nothing is voted for",
        _clauses,
        partial(_ends_the_block, change=_change),
        needs=[LESSER],
    )


@AREA.case(
    7,
    "over a new connection its vote is said again with the same bytes",
    "7.1",
    "7.4",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await _voted(p)
        await p.link_again()
        await p.expect(Vote, n=2)
        p.same_bodies(Vote)


async def _refuses_and_waits(h: EndpointHarness, change: Callable[[Commit], Commit]) -> Ending:
    async with pairing(h) as p:
        p.alter = instead(Commit, change)
        await p.block()
        vote = await p.expect(Vote)
        ending = await p.refused(FAILED)
        p.never_said(Committed)
        p.alter = as_it_is
        await p.link_up()
        await _asks_and_commits(p, vote)
        return ending


for _number, _text, _told in (
    (8, "whose tag does not hold", lambda m: replace(m, tag=spoiled(m.tag))),
    (9, "under a pad that was not granted", lambda m: replace(m, pad=NOT_GRANTED)),
):
    AREA.add(
        _number,
        f"Commit {_text} is refused, and the block waits for a better one",
        ("7.3", "8.2"),
        partial(_refuses_and_waits, change=_told),
        needs=[LESSER],
    )


@AREA.case(
    10, "Commit that comes again is answered by the same bytes", "7.1", "7.3", needs=[LESSER]
)
async def _(h: EndpointHarness) -> None:
    commits: list[Commit] = []
    async with pairing(h) as p:
        p.alter = instead(Commit, lambda m: commits.append(m) or m)  # type: ignore[func-returns-value]
        await p.block()
        await p.expect(Committed)
        await p.link.tell(commits[0])
        await p.expect(Committed, n=2)
        p.same_bodies(Committed)


@AREA.case(
    11,
    "a coordinator that still waits for Committed is told again, with the same bytes",
    "7.1",
    "7.4",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.keep_from_peer(Committed)
        await p.block()
        await p.expect(Committed)
        await p.link_again()
        await p.expect(Committed, n=2)
        p.same_bodies(Committed)


async def _moved_by_nothing(
    h: EndpointHarness, say: Callable[[Pairing, Vote], Message], stream: int | None
) -> None:
    async with pairing(h) as p:
        vote = await _voted(p)
        await p.tell(say(p, vote), stream)
        await _still_commits(p, vote)


for _number, _text, _clauses, _say, _stream in (
    (12, "BlockAborted", ("7.3",), lambda *_: BlockAborted(code=OTHER_REASON), None),
    (13, "CommitUnknown", ("7.3", "7.4"), lambda _, vote: CommitUnknown(block_id=vote.block_id), 0),
    (
        14,
        "CommitAborted whose tag does not hold",
        ("7.3",),
        lambda p, vote: CommitAborted(
            block_id=vote.block_id, pad=p.user.pads.high_water, tag=bytes(16)
        ),
        0,
    ),
):
    AREA.add(
        _number,
        f"{_text} does not end a block that it voted for",
        _clauses,
        partial(_moved_by_nothing, say=_say, stream=_stream),
        needs=[LESSER],
    )


@AREA.case(
    15,
    "a coordinator that begins anew does not end a block that it voted for",
    "4.4",
    "7.3",
    needs=[LESSER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        vote = await _voted(p)
        p.keep_from_peer()
        await p.peer_begins_anew()
        await _asks_and_commits(p, vote)


@AREA.case(16, "CommitAborted whose tag holds ends it", "7.3", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        vote = await _voted(p)
        await p.hear(CommitUnknown(block_id=vote.block_id))  # so that the peer gives it up
        await p.hear(vote)  # and says so
        await p.asked()
        await p.link_again()
        if vote.block_id in (await p.expect(Resume)).blocks:
            raise Broken("it still asks about the block")
        await p.link.tell(Commit(block_id=vote.block_id, pad=0, tag=bytes(16)))
        await p.silent(Committed)


@AREA.case(17, "Commit of a block that it has no record of moves nothing", "7.4", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        unknown = h.rng.randbytes(16)
        await p.link.tell(Commit(block_id=unknown, pad=0, tag=bytes(16)))
        if (await p.expect(CommitUnknown)).block_id != unknown:
            raise Broken("CommitUnknown names another block")
        p.never_said(Committed)


async def _not_the_coordinators(h: EndpointHarness, kind: type[Vote | Committed]) -> Ending:
    async with pairing(h) as p:
        vote = await _voted(p)
        await p.link.tell(kind(block_id=vote.block_id, pad=vote.pad, tag=vote.tag))
        return await p.refused(WRONG_STATE)


for _number, _kind in ((18, Vote), (19, Committed)):
    AREA.add(
        _number,
        f"{_kind.__name__} is the participant's alone: from its peer it is refused",
        ("7.3",),
        partial(_not_the_coordinators, kind=_kind),
        needs=[LESSER],
    )


@AREA.case(
    20, "after 8 failed tags nothing more is accepted from the coordinator", "8.2", needs=[LESSER]
)
async def _(h: EndpointHarness) -> Ending:
    commits: list[Commit] = []
    async with pairing(h) as p:
        vote = await _voted(p)
        p.alter = keeping(Commit, commits)
        await p.hear(vote)
        return await nothing_after_8_failed_tags(p, commits[0], Committed)


@AREA.case(
    21, "after 8 Prepare whose tags fail nothing more is voted for", "7.2", "8.2", needs=[LESSER]
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        return await nothing_after_8_failed_prepares(p)
