"""Commit, as a coordinator must keep to it (spec 7)."""

from typing import Final

import msgspec

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import as_it_is, instead, keeping, spoiled, without
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.guessing import nothing_after_8_failed_tags
from mdiqkd_net.conformance.endpoint.harness import GREATER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import Pairing, pairing
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.wire.messages import (
    BlockAborted,
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    Prepare,
    Resume,
    Vote,
)

FAILED: Final = 0x0502
WRONG_STATE: Final = 0x0301
AREA: Final = Area[EndpointHarness]("CT-EP-C", "Commit", "L2")

replace = msgspec.structs.replace


async def _prepared(p: Pairing) -> tuple[Prepare, Vote]:
    """A block whose vote is kept back; what the node prepared, and the vote."""
    votes: list[Vote] = []
    p.alter = keeping(Vote, votes)
    await p.block()
    prepare = await p.expect(Prepare)
    await p.settled()
    if not votes:
        raise Broken("the tag of its Prepare does not hold, or its key is longer than ours")
    p.alter = as_it_is
    return prepare, votes[0]


@AREA.case(
    1,
    "a block of sound users is prepared, voted for and committed",
    "7.2",
    "7.3",
    "8.1",
    needs=[GREATER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.block()
        commit = await p.expect(Commit)
        await p.settled()
        if not p.user.records.offers(commit.block_id):
            raise Broken("the tag of its Commit does not hold")


@AREA.case(2, "nothing is committed before the vote", "7.3", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await _prepared(p)
        await p.silent(Commit)


@AREA.case(3, "a vote whose tag does not hold is refused and burns nothing", "8.2", needs=[GREATER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        _, vote = await _prepared(p)
        await p.link.tell(replace(vote, tag=spoiled(vote.tag)))
        ending = await p.refused(FAILED)
        await p.silent(Commit)
        await p.link_up()  # the list of each makes the vote come again, with its tag
        await p.expect(Commit)
        return ending


@AREA.case(4, "a vote under a pad that was not granted is refused", "8.2", needs=[GREATER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        _, vote = await _prepared(p)
        await p.link.tell(replace(vote, pad=2**40))
        return await p.refused(FAILED)


@AREA.case(
    5, "a vote that comes again is answered by the same bytes", "7.1", "7.3", needs=[GREATER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        _, vote = await _prepared(p)
        p.alter = without(Committed)
        for n in (1, 2):
            await p.link.tell(vote)
            await p.expect(Commit, n=n)
        p.same_bodies(Commit)


@AREA.case(
    6,
    "over a new connection its decision is said again with the same bytes",
    "7.4",
    needs=[GREATER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        prepare, vote = await _prepared(p)
        p.alter = without(Committed)
        await p.link.tell(vote)
        await p.expect(Commit)
        await p.link_again()
        await p.link.tell(Resume(blocks=[prepare.block_id], next_block=1))
        await p.expect(Commit, n=2)
        p.same_bodies(Commit)


async def _given_up(p: Pairing, prepare: Prepare, vote: Vote) -> None:
    """A vote for a block that was given up gets CommitAborted, whose tag holds."""
    await p.link.tell(vote)
    await p.expect(CommitAborted)
    await p.settled()
    await p.silent(Commit)
    record = p.user.records.record(prepare.block_id)
    if record is None or record.phase is not Phase.ABORTED:
        raise Broken("the tag of its CommitAborted does not hold")


@AREA.case(7, "BlockAborted before the vote gives the block up", "6.8", "7.3", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        prepare, vote = await _prepared(p)
        await p.tell(BlockAborted(code=0x0503))
        await _given_up(p, prepare, vote)


@AREA.case(8, "a peer that has no record of the block gives it up", "7.4", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        prepare, vote = await _prepared(p)
        await p.link.tell(CommitUnknown(block_id=prepare.block_id))
        await _given_up(p, prepare, vote)


@AREA.case(9, "nothing without a tag moves what is committed", "7.4", needs=[GREATER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        prepare, vote = await _prepared(p)
        p.alter = without(Committed)
        await p.link.tell(vote)
        await p.expect(Commit)
        await p.link.tell(CommitUnknown(block_id=prepare.block_id))
        await p.link.tell(vote)
        await p.expect(Commit, n=2)
        p.same_bodies(Commit)


@AREA.case(
    10,
    "Committed whose tag does not hold is refused, and the block is still asked about",
    "7.3",
    "8.2",
    needs=[GREATER],
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        p.alter = instead(Committed, lambda m: replace(m, tag=spoiled(m.tag)))
        await p.block()
        commit = await p.expect(Commit)
        ending = await p.refused(FAILED)
        p.alter = as_it_is
        await p.link_up()
        resume = await p.expect(Resume)
        if commit.block_id not in resume.blocks:
            raise Broken("it takes the block for confirmed")
        return ending


@AREA.case(
    11, "a block that is confirmed is not asked about any more", "7.3", "7.4", needs=[GREATER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.block()
        commit = await p.expect(Commit)
        await p.asked()  # for the next block: this one is done
        await p.link_again()
        resume = await p.expect(Resume)
        if commit.block_id in resume.blocks:
            raise Broken("it asks about a block that is confirmed")


@AREA.case(
    12,
    "a decision is the coordinator's alone: Commit from its peer is refused",
    "7.3",
    needs=[GREATER],
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        prepare, _ = await _prepared(p)
        await p.link.tell(Commit(block_id=prepare.block_id, pad=0, tag=bytes(16)))
        return await p.refused(WRONG_STATE)


@AREA.case(
    13, "a vote for a block that it does not know is not answered by Commit", "7.5", needs=[GREATER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.link.tell(Vote(block_id=h.rng.randbytes(16), pad=0, tag=bytes(16)))
        await p.silent(Commit, CommitAborted)


@AREA.case(
    14, "after 8 failed tags nothing more is accepted from the participant", "8.2", needs=[GREATER]
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        _, vote = await _prepared(p)
        p.alter = without(Vote)
        return await nothing_after_8_failed_tags(p, vote, Commit)
