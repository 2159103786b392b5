"""Verification of the reconciled key: per group of bits, then once as a whole (spec 6.6).

Groups are there so that an error that reconciliation has missed costs one group and not the block:
the coordinator discloses its bits of a wrong group, which are charged like parities, and the
participant takes them over. Correctness rests on the last tag alone, which covers everything.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.postprocessing.leak import LeakLedger
from mdiqkd_net.postprocessing.verify import (
    TAG_BYTES,
    VERIFICATION_LEAK_BITS,
    VerificationError,
    check_verification,
    verification_tag,
)
from mdiqkd_net.protocol.context import BlockContext
from mdiqkd_net.protocol.effects import Effect
from mdiqkd_net.protocol.stages import Step
from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import Disclose, GroupsVerified, Verify, VerifyGroups

GROUP_BITS: Final = 1 << 20
"""As many bits share a tag: 16 frames of Cascade. A key of one group has the last tag only."""

VERDICT_LEAK_BITS: Final = 1


def begin(ctx: BlockContext) -> list[Effect]:
    """Coordinator: both keys are fixed; draw a hash key, and send the tags."""
    if n_groups(ctx) < 2:
        return [whole(ctx)]
    hash_key = ctx.entropy(16)
    tags = [verification_tag(group, hash_key) for group in _groups(ctx)]
    charge(ctx, len(tags))
    return [ctx.send(VerifyGroups(digests=b"".join(tags), hash_key=hash_key))]


def on_verify_groups(ctx: BlockContext, message: VerifyGroups) -> Step:
    """Participant: compare group by group; say which differ."""
    groups = _groups(ctx)
    if ctx.wrong_groups is not None or len(groups) < 2:
        raise RemoteProtocolError("tags of groups: found some; allowed: once, if there are groups")
    if len(message.digests) != TAG_BYTES * len(groups):
        raise RemoteProtocolError(
            f"tags of groups: found {len(message.digests)} bytes; "
            f"allowed: {TAG_BYTES * len(groups)}"
        )
    ctx.wrong_groups = []
    for number, group in enumerate(groups):
        tag = message.digests[TAG_BYTES * number : TAG_BYTES * (number + 1)]
        try:
            check_verification(group, message.hash_key, tag)
        except VerificationError:
            ctx.wrong_groups.append(number)
    charge(ctx, len(groups))
    return State.VERIFYING, [ctx.send(GroupsVerified(wrong=ctx.wrong_groups))]


def on_groups_verified(ctx: BlockContext, message: GroupsVerified) -> Step:
    """Coordinator: disclose what is wrong, then ask for the verification of the whole."""
    count = n_groups(ctx)
    legal = sorted(set(message.wrong)) == message.wrong and all(w < count for w in message.wrong)
    if ctx.wrong_groups is not None or count < 2 or not legal:
        raise RemoteProtocolError(
            f"wrong groups: found {message.wrong[:8]}; allowed: rising numbers below {count}, once"
        )
    ctx.wrong_groups = message.wrong
    effects: list[Effect] = []
    for number in message.wrong:
        bits = _groups(ctx)[number]
        ledger(ctx).disclosed_bits += bits.size
        effects.append(ctx.send(Disclose(bits=bulk.pack_bits(bits), group=number)))
    return State.VERIFYING, [*effects, whole(ctx)]


def on_disclose(ctx: BlockContext, message: Disclose) -> Step:
    """Participant: take over a group that was found to be wrong."""
    if not ctx.wrong_groups or ctx.wrong_groups[0] != message.group:
        raise RemoteProtocolError(f"disclosed: found group {message.group}; it was not wrong")
    group = _groups(ctx)[message.group]
    bits = bulk.unpack_bits(message.bits)
    if bits.size != group.size:
        raise RemoteProtocolError(
            f"disclosed: found {bits.size} bits; allowed: {group.size}, all of the group"
        )
    group[:] = bits
    ctx.wrong_groups = ctx.wrong_groups[1:]
    ledger(ctx).disclosed_bits += bits.size
    assert ctx.sifted is not None  # noqa: S101  # by the table
    ctx.errors["zz"] = int(np.count_nonzero(ctx.sifted.key_bits != ctx.key_bits))
    return State.VERIFYING, []


def whole(ctx: BlockContext) -> Effect:
    """Coordinator: the tag of the whole key under a hash key that is drawn now."""
    hash_key = ctx.entropy(16)
    digest = verification_tag(ctx.key_bits, hash_key)
    charge(ctx, 1)
    return ctx.send(Verify(bits=ctx.key_bits.size, digest=digest, hash_key=hash_key))


def charge(ctx: BlockContext, n_tags: int) -> None:
    """Enter tags and their verdicts in the ledger."""
    ledger(ctx).tag_bits += n_tags * VERIFICATION_LEAK_BITS
    ledger(ctx).verdict_bits += n_tags * VERDICT_LEAK_BITS


def ledger(ctx: BlockContext) -> LeakLedger:
    """The ledger of the block."""
    assert ctx.reconciliation is not None  # noqa: S101  # by the table
    return ctx.reconciliation.ledger


def n_groups(ctx: BlockContext) -> int:
    """How many tags of groups the key has, if more than one."""
    return -(-ctx.key_bits.size // GROUP_BITS)


def _groups(ctx: BlockContext) -> list[NDArray[np.uint8]]:
    bits = ctx.key_bits
    return [bits[i : i + GROUP_BITS] for i in range(0, bits.size, GROUP_BITS)]
