"""From raw bits to a committed key: reconcile, verify, amplify, commit (spec 6.5 to 7.2)."""

from typing import Final

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.errors import AuthenticationError, RemoteProtocolError
from mdiqkd_net.estimation.engine import Estimate
from mdiqkd_net.monitoring.public import End
from mdiqkd_net.postprocessing.amplify import seed_bits
from mdiqkd_net.postprocessing.verify import (
    VerificationError,
    check_verification,
    verification_epsilon,
)
from mdiqkd_net.protocol import verifying
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.context import (
    FAILED_CHECK,
    NOT_ENOUGH_DATA,
    ORIGIN,
    BlockContext,
)
from mdiqkd_net.protocol.effects import (
    BurnReceived,
    Continue,
    Effect,
    Finished,
    Hold,
    Observe,
    Say,
)
from mdiqkd_net.protocol.observing import public_block
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.protocol.stages import Step
from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire.codec import decode_body
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    BlockAborted,
    Prepare,
    Reconcile,
    ReconcileStart,
    Verified,
    Verify,
    Vote,
)

SEED_PART_BYTES: Final = 4 * (1 << 20) - 128


def on_reconcile_start(ctx: BlockContext, message: ReconcileStart) -> Step:
    """Participant: the coordinator opens a chunk."""
    messages = _reconciliation(ctx).started(message)
    effects: list[Effect] = []
    if message.chunk == 0:
        effects.append(ctx.report("block.stage", stage="reconcile"))
    return State.RECONCILING, [*effects, *map(ctx.send, messages)]


def on_reconcile(ctx: BlockContext, message: Reconcile) -> Step:
    """Either: one round; after the last, the coordinator asks for verification."""
    reconciliation = _reconciliation(ctx)
    effects: list[Effect] = [*map(ctx.send, reconciliation.step(message))]
    if not reconciliation.done:
        return State.RECONCILING, effects
    ctx.key_bits = reconciliation.bits
    ctx.errors["zz"] = reconciliation.n_corrected
    effects.append(ctx.report("block.stage", stage="verify"))
    if ctx.is_coordinator:
        effects += verifying.begin(ctx)
    return State.VERIFYING, effects


def on_verify(ctx: BlockContext, message: Verify) -> Step:
    """Participant: compare; say only whether."""
    same = message.bits == ctx.key_bits.size
    verifying.charge(ctx, 1)
    try:
        check_verification(ctx.key_bits, message.hash_key, message.digest)
    except VerificationError:
        same = False
    answer = ctx.send(Verified(corrected=ctx.errors["zz"], ok=same))
    if not same:
        state, effects = ctx.abort("verification: the reconciled keys differ", None)
        return state, [answer, *effects]
    ctx.estimate = _final_estimate(ctx)
    return State.AMPLIFYING, [answer, *_reports(ctx), ctx.report("block.stage", stage="amplify")]


def on_verified(ctx: BlockContext, message: Verified) -> Step:
    """Coordinator: keys are equal; fix the length, draw and send the seed."""
    if not message.ok:
        return ctx.abort("verification: the reconciled keys differ", None)
    if ctx.wrong_groups:
        # Only the participant knows how many errors there were in what we have disclosed.
        ctx.errors["zz"] = min(message.corrected, ctx.key_bits.size)
    elif message.corrected != ctx.errors["zz"]:
        raise RemoteProtocolError(
            f"verified: the peer corrected {message.corrected} bits; here: {ctx.errors['zz']}"
        )
    ctx.estimate = _final_estimate(ctx)
    effects: list[Effect] = [*_reports(ctx)]
    bits = ctx.estimate.key_length_bits
    eps = verification_epsilon(ctx.key_bits.size)
    reason = ctx.estimate.reason
    if not bits:
        reason = ctx.how_much_longer(reason, leak_bits=_leak_bits(ctx))
    if bits and eps > ctx.agreement.security.eps_cor:
        bits, reason = 0, f"eps_cor is below {eps:.1e}, what the verification hash gives"
    if not bits:
        state, more = ctx.abort(reason, NOT_ENOUGH_DATA)
        return state, effects + more
    seed = ctx.entropy((seed_bits(ctx.key_bits.size, bits) + 7) // 8)
    ctx.secret_bits = bits
    ctx.seed_parts = [
        seed[i : i + SEED_PART_BYTES] for i in range(0, max(1, len(seed)), SEED_PART_BYTES)
    ]
    parts = len(ctx.seed_parts)
    effects.append(ctx.report("block.stage", stage="amplify"))
    for part, data in enumerate(ctx.seed_parts):
        message_out = AmplifySeed(bits=bits, part=part, parts=parts, seed=data)
        effects.append(ctx.send(message_out))
    # The peer can amplify while we do.
    return State.AMPLIFYING, [*effects, Continue()]


def amplify_and_prepare(ctx: BlockContext) -> Step:
    """Coordinator: amplify, hold the key, propose to commit."""
    _amplify(ctx)
    bits = ctx.secret_bits
    pad, tag = ctx.transcript.seal(ctx.pads, ctx.prepare_context)
    prepare = Prepare(block_id=ctx.block_id, bits=bits, pad=pad, tag=tag)
    record = CommitRecord(ctx.block_id, ctx.role, Phase.PREPARED, bits)
    return State.PREPARED, [
        ctx.report("block.stage", stage="commit"),
        _hold(ctx, record),
        ctx.send(prepare),
    ]


def on_seed(ctx: BlockContext, message: AmplifySeed) -> Step:
    """Participant: a part of the seed; with the last, amplify."""
    assert ctx.estimate is not None  # noqa: S101  # by the table
    if not 0 < message.bits <= ctx.estimate.key_length_bits:
        raise RemoteProtocolError(
            f"seed: found a key of {message.bits} bits; "
            f"allowed: 1 to {ctx.estimate.key_length_bits}, our own bound"
        )
    needed = (seed_bits(ctx.key_bits.size, message.bits) + 7) // 8
    have = sum(map(len, ctx.seed_parts)) + len(message.seed)
    expected_parts = max(1, -(-needed // SEED_PART_BYTES))
    last = message.part == expected_parts - 1
    if (
        message.part != len(ctx.seed_parts)
        or message.parts != expected_parts
        or (have == needed) != last
        or ctx.secret_bits not in (0, message.bits)
    ):
        raise RemoteProtocolError(
            f"seed: found part {message.part} of {message.parts} that makes {have} bytes; "
            f"allowed: part {len(ctx.seed_parts)} of {expected_parts}, {needed} bytes in all"
        )
    ctx.secret_bits = message.bits
    ctx.seed_parts.append(message.seed)
    if last:
        _amplify(ctx)
    return State.AMPLIFYING, []


def on_prepare(ctx: BlockContext, message: Prepare) -> Step:
    """Participant: the coordinator holds the key. Hold it, too, and vote."""
    if ctx.secret is None or (message.block_id, message.bits) != (ctx.block_id, ctx.secret_bits):
        raise RemoteProtocolError(
            f"prepare: found block {message.block_id.hex()} of {message.bits} bits; "
            f"allowed: block {ctx.block_id.hex()} of {ctx.secret_bits} bits, after its seed"
        )
    try:
        ctx.transcript.check(ctx.pads, ctx.prepare_context, message.pad, message.tag)
    except AuthenticationError:
        ctx.secret_bits = 0
        ctx.tag_failures += 1
        return ctx.abort("authentication failed", FAILED_CHECK)
    record = ctx.commits.vote(ctx.block_id, message.bits)
    return State.PREPARED, [
        ctx.report("block.stage", stage="commit"),
        _hold(ctx, record),
        BurnReceived(message.pad),
        Say(decode_body(Vote.TYPE, record.said)),
    ]


def settle(ctx: BlockContext, phase: Phase) -> Step:
    """Either: the commit has come to its end here."""
    if phase is Phase.ABORTED:
        ctx.secret_bits = 0
        return ctx.abort("the commit was given up", None)
    effects: list[Effect] = [
        ctx.report("block.key", **ctx.summary()),
        Finished("key"),
        Observe(public_block(ctx, "key")),
    ]
    ctx.wipe()
    return State.DONE, effects


def on_aborted(ctx: BlockContext, message: BlockAborted, state: State) -> Step:
    """Either: the peer has ended the block; one that is prepared ends by its commit."""
    if state is State.PREPARED:
        return State.PREPARED, ctx.commits.give_up(ctx.block_id)
    ctx.secret_bits = 0
    end: End = "no key" if message.code == NOT_ENOUGH_DATA else "other"
    return ctx.abort(f"the peer ended the block (code {message.code:#06x})", None, end=end)


def _reconciliation(ctx: BlockContext) -> KeyReconciliation:
    assert ctx.reconciliation is not None  # noqa: S101  # by the table
    return ctx.reconciliation


def _final_estimate(ctx: BlockContext) -> Estimate:
    return ctx.judge(leak_bits=_leak_bits(ctx))


def _leak_bits(ctx: BlockContext) -> int:
    return verifying.ledger(ctx).total_bits


def _reports(ctx: BlockContext) -> list[Effect]:
    summary, found = ctx.summary(), ctx.estimate
    assert found is not None  # noqa: S101  # by the callers
    return [
        ctx.report(
            "block.reconciled",
            qber_z=summary["qber_z"],
            leak_ec_bits=summary["leak_ec_bits"],
            f_ec=summary["f_ec"],
            rounds=summary["rounds"],
            scheme=summary["scheme"],
            round_trip_s=ctx.round_trips.shortest_s if ctx.is_coordinator else None,
            sifted_bits=ctx.key_bits.size,
        ),
        ctx.report(
            "block.estimated",
            s11_lower=found.s11_lower,
            e11_upper=found.e11_upper,
            key_length_bits=found.key_length_bits,
            reason=found.reason,
            method=found.analysis.method,
            label=found.label,
        ),
    ]


def _amplify(ctx: BlockContext) -> None:
    seed = b"".join(ctx.seed_parts)
    ctx.secret = ctx.processor.amplify(ctx.key_bits, seed, ctx.secret_bits)
    ctx.seed_parts.clear()


def _hold(ctx: BlockContext, record: CommitRecord) -> Hold:
    security = ctx.agreement.security
    assert ctx.secret is not None  # noqa: S101  # by the callers
    value, ctx.secret = ctx.secret, None  # who holds the key wipes it
    return Hold(
        key=SecretKey(ctx.block_id, ctx.secret_bits, ORIGIN, value),
        users=ctx.users,
        block=ctx.block,
        eps=security.eps_sec + security.eps_cor + ctx.eps_hashes,
        leak_model="; ".join(
            filter(None, (verifying.ledger(ctx).model, ctx.agreement.analysis.rules.label))
        ),
        record=record,
    )
