"""Tags, commits, leases and resumption, as a coordinator must keep to them (spec 7, 8)."""

from typing import Final

import msgspec

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import Pairing, instead, pairing
from mdiqkd_net.protocol.commit import Phase
from mdiqkd_net.wire.messages import (
    BlockAborted,
    Commit,
    CommitAborted,
    Committed,
    CommitUnknown,
    PadLease,
    PadLeaseRequest,
    Prepare,
    Resume,
    Vote,
)

FAILED: Final = 0x0502
WRONG_STATE: Final = 0x0301
WINDOW: Final = 16
COMMIT: Final = Area[EndpointHarness]("CT-EP-C", "Commit", "L2")
PADS: Final = Area[EndpointHarness]("CT-EP-P", "Leases of pads", "L2")
RESUME: Final = Area[EndpointHarness]("CT-EP-S", "Resumption", "L2")

replace = msgspec.structs.replace


def _spoiled(tag: bytes) -> bytes:
    return bytes([tag[0] ^ 1]) + tag[1:]


async def _prepared(p: Pairing) -> tuple[Prepare, Vote]:
    """A block whose vote is kept back; what the node prepared, and the vote."""
    votes: list[Vote] = []
    p.alter = instead(Vote, votes.append)
    await p.block()
    prepare = await p.expect(Prepare)
    await p.settled()
    if not votes:
        raise Broken("the tag of its Prepare does not hold, or its key is longer than ours")
    p.alter = lambda message: (message,)
    return prepare, votes[0]


@COMMIT.case(
    1,
    "a block of sound users is prepared, voted for and committed",
    "7.2",
    "7.3",
    "8.1",
    needs=[PEER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        await p.block()
        commit = await p.expect(Commit)
        await p.settled()
        if not p.user.records.offers(commit.block_id):
            raise Broken("the tag of its Commit does not hold")


@COMMIT.case(2, "nothing is committed before the vote", "7.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        await _prepared(p)
        await p.silent(Commit)


@COMMIT.case(3, "a vote whose tag does not hold is refused and burns nothing", "8.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, nursery):
        _, vote = await _prepared(p)
        await p.link.tell(replace(vote, tag=_spoiled(vote.tag)))
        ending = await p.refused(FAILED)
        await p.silent(Commit)
        await p.link_up(nursery)  # the list of each makes the vote come again, with its tag
        await p.expect(Commit)
        return ending


@COMMIT.case(4, "a vote under a pad that was not granted is refused", "8.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, _):
        _, vote = await _prepared(p)
        await p.link.tell(replace(vote, pad=2**40))
        return await p.refused(FAILED)


@COMMIT.case(5, "a vote that comes again is answered by the same bytes", "7.1", "7.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        _, vote = await _prepared(p)
        p.alter = instead(Committed, lambda _: None)
        for n in (1, 2):
            await p.link.tell(vote)
            await p.expect(Commit, n=n)
        _same_bodies(p)


def _same_bodies(p: Pairing) -> None:
    if len({frame.body for frame in p.frames(Commit)}) > 1:
        raise Broken("its second Commit has other bytes than the first")


@COMMIT.case(
    6, "over a new connection its decision is said again with the same bytes", "7.4", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, nursery):
        prepare, vote = await _prepared(p)
        p.alter = instead(Committed, lambda _: None)
        await p.link.tell(vote)
        await p.expect(Commit)
        await p.link.drop()
        await p.gone()
        await p.link_up(nursery)
        await p.link.tell(Resume(blocks=[prepare.block_id], next_block=1))
        await p.expect(Commit, n=2)
        _same_bodies(p)


async def _given_up(p: Pairing, prepare: Prepare, vote: Vote) -> None:
    """A vote for a block that was given up gets CommitAborted, whose tag holds."""
    await p.link.tell(vote)
    await p.expect(CommitAborted)
    await p.settled()
    await p.silent(Commit)
    record = p.user.records.record(prepare.block_id)
    if record is None or record.phase is not Phase.ABORTED:
        raise Broken("the tag of its CommitAborted does not hold")


@COMMIT.case(7, "BlockAborted before the vote gives the block up", "6.8", "7.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        prepare, vote = await _prepared(p)
        await p.tell(BlockAborted(code=0x0503))
        await _given_up(p, prepare, vote)


@COMMIT.case(8, "a peer that has no record of the block gives it up", "7.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        prepare, vote = await _prepared(p)
        await p.link.tell(CommitUnknown(block_id=prepare.block_id))
        await _given_up(p, prepare, vote)


@COMMIT.case(9, "nothing without a tag moves what is committed", "7.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        prepare, vote = await _prepared(p)
        p.alter = instead(Committed, lambda _: None)
        await p.link.tell(vote)
        await p.expect(Commit)
        await p.link.tell(CommitUnknown(block_id=prepare.block_id))
        await p.link.tell(vote)
        await p.expect(Commit, n=2)
        _same_bodies(p)


@COMMIT.case(
    10,
    "Committed whose tag does not hold is refused, and the block is still asked about",
    "7.3",
    "8.2",
    needs=[PEER],
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, nursery):
        p.alter = instead(Committed, lambda m: replace(m, tag=_spoiled(m.tag)))
        await p.block()
        commit = await p.expect(Commit)
        ending = await p.refused(FAILED)
        p.alter = lambda message: (message,)
        await p.link_up(nursery)
        resume = await p.expect(Resume)
        if commit.block_id not in resume.blocks:
            raise Broken("it takes the block for confirmed")
        return ending


@COMMIT.case(
    11, "a block that is confirmed is not asked about any more", "7.3", "7.4", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, nursery):
        await p.block()
        commit = await p.expect(Commit)
        await p.asked()  # for the next block: this one is done
        await p.link.drop()
        await p.gone()
        await p.link_up(nursery)
        resume = await p.expect(Resume)
        if commit.block_id in resume.blocks:
            raise Broken("it asks about a block that is confirmed")


@COMMIT.case(
    12,
    "a decision is the coordinator's alone: Commit from its peer is refused",
    "7.3",
    needs=[PEER],
)
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, _):
        prepare, _ = await _prepared(p)
        await p.link.tell(Commit(block_id=prepare.block_id, pad=0, tag=bytes(16)))
        return await p.refused(WRONG_STATE)


@COMMIT.case(
    13, "a vote for a block that it does not know is not answered by Commit", "7.5", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        await p.open(**SHORT)
        await p.link.tell(Vote(block_id=h.rng.randbytes(16), pad=0, tag=bytes(16)))
        await p.silent(Commit, CommitAborted)


@PADS.case(1, "a lease that nobody asked for is refused", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, _):
        await p.open(**SHORT)
        await p.link.tell(PadLease(base=0, count=WINDOW))
        return await p.refused(WRONG_STATE)


@PADS.case(2, "a lease begins where the one before ended, and at no used pad", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        await p.open(**SHORT)
        n_before = len(p.frames(PadLease))
        mark = p.user.pads.high_water
        p.keep_to_itself(PadLease)
        for _ in range(2):
            await p.link.tell(PadLeaseRequest(high_water=mark))
        first = await p.expect(PadLease, n=n_before + 1)
        second = await p.expect(PadLease, n=n_before + 2)
        if first.base < mark or second.base < first.base + first.count:
            raise Broken(f"leases from {first.base} and {second.base}; {mark} pads are used")
        if not 0 < first.count <= WINDOW:
            raise Broken(f"a lease of {first.count} pads")


@PADS.case(3, "a mark beyond the last pad is refused", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, _):
        await p.open(**SHORT)
        await p.link.tell(PadLeaseRequest(high_water=2**40))
        return await p.refused(WRONG_STATE)


@RESUME.case(1, "its first word to its peer after Hello is Resume", "7.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        first, _ = p.heard[0]
        if not isinstance(first, Resume):
            raise Broken(f"its first word is {type(first).__name__}")


@RESUME.case(
    2, "it answers CommitUnknown for a block that it has no record of", "7.4", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, _):
        unknown = h.rng.randbytes(16)
        await p.link.tell(Resume(blocks=[unknown], next_block=1))
        if (await p.expect(CommitUnknown)).block_id != unknown:
            raise Broken("CommitUnknown names another block")


@RESUME.case(3, "a block outlives a lost connection to the peer", "4.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as (p, nursery):
        await p.open()
        await p.link.drop()
        await p.gone()
        await p.link_up(nursery)
        if not p.link.kept:
            raise Broken("it does not go on, though neither epoch has changed")
        await p.light()
        await p.expect(Commit)


@RESUME.case(4, "a Resume that lists 513 blocks is refused", "3.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as (p, _):
        await p.link.tell(Resume(blocks=[bytes(16)] * 513, next_block=1))
        return await p.refused(0x0104)
