"""Order and contents of a block's stages, as a participant must hold the coordinator to them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from mdiqkd_net.conformance.cases import Area, Broken, Ending, Skipped
from mdiqkd_net.conformance.endpoint.altering import instead, spoiled, then_nothing
from mdiqkd_net.conformance.endpoint.harness import LESSER, EndpointHarness
from mdiqkd_net.conformance.endpoint.order import refuse_too_soon
from mdiqkd_net.conformance.endpoint.pairing import pairing
from mdiqkd_net.params import Setting, Source
from mdiqkd_net.protocol.light import source_settings
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    BlockOpened,
    Disclose,
    EstimationBits,
    Message,
    Prepare,
    Reconcile,
    ReconcileStart,
    Sift,
    SiftDone,
    Verified,
    Verify,
    VerifyGroups,
    Vote,
)

WRONG_STATE: Final = 0x0301
AUTO: Final = "auto"
AREA: Final = Area[EndpointHarness]("CT-EP-J", "Stages of a block, for a participant", "L2")

replace = msgspec.structs.replace
_NO_BITS: Final = bulk.pack_bits(np.empty(0, np.uint8))


_SOURCE: Final = Source(
    x=Setting(intensity=0.1, probability=0.3),
    y=Setting(intensity=0.3, probability=0.2),
    z=Setting(intensity=0.5, probability=0.4),
)
_TOO_SOON: Final[tuple[Message, ...]] = (
    BlockOpened(block=1, session_digest=bytes(32), source=source_settings(_SOURCE)),
    Sift(chunk=0, settings=bulk.pack_ranked(np.zeros(4, np.uint8))),
    SiftDone(count=4, nonce=bytes(16)),
    EstimationBits(bits=_NO_BITS, chunk=0, last=True),
    ReconcileStart(bits=8, chunk=0, qber=0, scheme="cascade", seed=bytes(32)),
    Reconcile(chunk=0, payload=b"", round=0),
    VerifyGroups(digests=bytes(16), hash_key=bytes(16)),
    Disclose(bits=_NO_BITS, group=0),
    Verify(bits=8, digest=bytes(16), hash_key=bytes(16)),
    AmplifySeed(bits=8, part=0, parts=1, seed=bytes(4)),
    Prepare(block_id=bytes(16), bits=8, pad=0, tag=bytes(16)),
)


refuse_too_soon(AREA, _TOO_SOON, LESSER)


async def _refuses(h: EndpointHarness, kind: type[Any], change: Callable[[Any], Any]) -> Ending:
    async with pairing(h) as p:
        p.alter = then_nothing(kind, change)
        await p.block()
        ending = await p.refused(WRONG_STATE)
        p.never_said(Vote)
        return ending


def _more_bits(message: AmplifySeed) -> AmplifySeed:
    """More than a tenth above the bound, which is the same for both."""
    return replace(message, bits=message.bits + message.bits // 10 + 8)


for _number, _text, _clause, _changed, _change in (
    (
        12,
        "a scheme that is none of this version",
        "6.5",
        ReconcileStart,
        lambda m: replace(m, scheme="guess"),
    ),
    (14, "a key longer than its own bound", "6.7", AmplifySeed, _more_bits),
    (
        15,
        "a seed that is too short",
        "6.7",
        AmplifySeed,
        lambda m: replace(m, seed=m.seed[:-1]),
    ),
):
    AREA.add(
        _number,
        f"refused: {_text}",
        (_clause,),
        partial(_refuses, kind=_changed, change=_change),
        needs=[LESSER],
    )


@AREA.case(13, "refused: another scheme than the one agreed on", "6.5", needs=[LESSER])
async def _(h: EndpointHarness) -> Ending:
    agreed = h.played_user().plan.agreement.reconciler
    if agreed == AUTO:
        raise Skipped(f"`reconciler` is {AUTO!r}: the coordinator may take any scheme")
    other = "cascade" if agreed == "ldpc" else "ldpc"
    return await _refuses(h, ReconcileStart, lambda m: replace(m, scheme=other))


@AREA.case(16, "keys that differ end the block, and nothing is voted for", "6.6", needs=[LESSER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = instead(Verify, lambda m: replace(m, digest=spoiled(m.digest)))
        await p.block()
        if (await p.expect(Verified)).ok:
            raise Broken("it takes another hash for that of its own key")
        await p.asked()
        await p.silent(Vote)
