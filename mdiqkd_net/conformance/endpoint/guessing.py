"""Somebody who tries one tag after another (spec 8.2)."""

from typing import Final

import msgspec

from mdiqkd_net.conformance.cases import Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import as_it_is, instead, spoiled
from mdiqkd_net.conformance.endpoint.pairing import Pairing
from mdiqkd_net.wire.messages import Commit, Committed, Prepare, Verified, Vote

FAILED: Final = 0x0502
MOST: Final = 8
"""Failed tags of a peer after which nothing more is accepted from it."""


async def nothing_after_8_failed_tags(
    p: Pairing, good: Vote | Commit, answer: type[Commit | Committed]
) -> Ending:
    """Say `good` with a wrong tag, over and over; then as it is, which nobody may answer.

    A node that is started again by somebody or something counts from 0: that was an operator, as
    far as can be seen from here. So a node that has another epoch afterwards passes.
    """
    bad = msgspec.structs.replace(good, tag=spoiled(good.tag))
    epoch = p.epoch
    for n_failed in range(1, MOST + 1):
        await p.link.tell(bad)
        await p.refused(FAILED)
        try:
            await p.link_up()
        except Broken as error:
            return Ending(found=f"after {n_failed} failed tags: {error}")
        if p.epoch != epoch:
            return Ending(found=f"after {n_failed} failed tags it has begun anew")
    await p.link.tell(good)
    await p.silent(answer)
    return Ending(found="it is there, and does not answer")


async def nothing_after_8_failed_prepares(p: Pairing) -> Ending:
    """The same with the tag of `Prepare`, which costs a block each time."""
    p.alter = instead(Prepare, lambda m: msgspec.structs.replace(m, tag=spoiled(m.tag)))
    for n_failed in range(MOST):
        if why := await _why_no_block(p):
            return Ending(found=f"after {n_failed} failed tags: {why}")
        await p.given_up(n=n_failed + 1)
    p.alter = as_it_is
    if why := await _why_no_block(p):
        return Ending(found=f"after {MOST} failed tags: {why}")
    await p.expect(Verified, n=MOST + 1)
    await p.silent(Vote)
    return Ending(found="it goes on, and does not vote")


async def _why_no_block(p: Pairing) -> str:
    """Make another block; why that is not possible, if the node has stopped."""
    try:
        if p.ended:
            await p.link_up()
        await p.block()
    except Broken as error:
        return str(error)
    return ""
