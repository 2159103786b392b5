"""What a message does to a block, stage by stage, up to the revealed test bits (spec 6.1 to 6.4).

Every function takes the context and a message that the table allows, checks it, and returns the
next state with the effects. What it refuses, it refuses before it changes anything.
"""

import hmac

import numpy as np

from mdiqkd_net.blocks import setting_of
from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.context import FAILED_CHECK, NOT_ENOUGH_DATA, BlockContext
from mdiqkd_net.protocol.effects import Answered, Arm, Asked, Begin, Disarm, Effect, Freeze, Tell
from mdiqkd_net.protocol.light import PARAMETERS_DIFFER, peer_source
from mdiqkd_net.protocol.observing import in_order
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.protocol.sifting import errors_of_test, sift
from mdiqkd_net.protocol.states import State
from mdiqkd_net.secret import wipe
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import (
    Announcement,
    AnnouncementsClosed,
    BlockOpen,
    BlockOpened,
    Credit,
    EstimationBits,
    Gate,
    PairArmed,
    Sift,
    SiftDone,
)

SIFT_EVENTS = 1 << 21
TEST_EVENTS = 1 << 22

Step = tuple[State, list[Effect]]


def open_block(ctx: BlockContext) -> Step:
    """Coordinator: propose the block."""
    proposal = ctx.agreement.open(ctx.block, ctx.session_digest)
    return State.OPENING, [
        Begin(ctx.block),
        ctx.report("block.stage", stage="opened"),
        Asked(),
        ctx.send(proposal),
    ]


def on_open(ctx: BlockContext, message: BlockOpen) -> Step:
    """Participant: compare parameters, answer, arm the transmitter."""
    if message.session_digest != ctx.session_digest:
        # No fault of the peer: the relay told it of another session, or this came too late.
        reason = "the peer was told of another session by the relay"
        return ctx.abort(reason, PARAMETERS_DIFFER, end="relay")
    answer = ctx.agreement.opened(message, ctx.block, ctx.session_digest)
    ctx.peer_source = peer_source(message.source)
    return State.COLLECTING, [
        Begin(ctx.block),
        ctx.report("block.stage", stage="opened"),
        ctx.send(answer),
        *_arm(ctx),
    ]


def on_opened(ctx: BlockContext, message: BlockOpened) -> Step:
    """Coordinator: parameters agree; arm the transmitter."""
    ctx.agreement.check_opened(message, ctx.block, ctx.session_digest)
    ctx.peer_source = peer_source(message.source)
    return State.COLLECTING, [Answered(), *_arm(ctx)]


def _arm(ctx: BlockContext) -> list[Effect]:
    session = ctx.ready.session
    digest = ctx.agreement.analysis.digest
    frozen = [] if digest is None else [Freeze(ctx.users, ctx.block, session, digest)]
    return [
        *frozen,
        Arm(session, ctx.light),
        Tell(PairArmed(session=session), ctx.stream_at_relay),
        ctx.report("block.stage", stage="light"),
    ]


def on_announcement(ctx: BlockContext, message: Announcement, frame: Frame, state: State) -> Step:
    """Either: note which pulses, and what we had sent there."""
    ctx.credit.require(len(frame.raw))
    segment, pulses, outcomes = ctx.log.add(message, frame.body)
    ctx.states.append(ctx.light.states_at(segment, pulses))
    ctx.outcomes.append(outcomes)
    return state, [Tell(m, ctx.stream_at_relay) for m in ctx.credit.take(len(frame.raw))]


def on_closed(ctx: BlockContext, message: AnnouncementsClosed) -> Step:
    """Either: the list is complete. The coordinator opens the gate."""
    ctx.log.close(message)
    effects: list[Effect] = [
        # Its header tells the relay that all has come; it may forget what it kept for us.
        Tell(Credit(n_bytes=0), ctx.stream_at_relay),
        Disarm(ctx.ready.session),
        ctx.report("block.stage", stage="gate"),
    ]
    ctx.light.wipe()
    if ctx.is_coordinator:
        return State.CLOSED, [*effects, ctx.send(_proof(ctx))]
    if ctx.early_gate is None:
        return State.CLOSED, effects
    state, more = on_gate(ctx, ctx.early_gate)
    return state, effects + more


def on_early_gate(ctx: BlockContext, message: Gate) -> Step:
    """Participant: the coordinator's list is complete before ours."""
    ctx.early_gate = message
    return State.EARLY_GATE, []


def on_gate(ctx: BlockContext, message: Gate) -> Step:
    """Either: the peer's proof. Reveal only if both lists are the same, else end the block."""
    same = hmac.compare_digest(ctx.log.digest(message.hash_key), message.digest)
    if not same or (message.batches, message.count) != (ctx.log.n_batches, ctx.log.n_announced):
        reason = "the relay told the two users different things"
        return ctx.abort(reason, FAILED_CHECK, end="equivocation")
    ctx.peer_gate = message.hash_key
    answer: list[Effect] = [] if ctx.is_coordinator else [ctx.send(_proof(ctx))]
    return State.SIFTING, [*answer, *_reveal(ctx)]


def _proof(ctx: BlockContext) -> Gate:
    ctx.own_gate = ctx.entropy(32)  # drawn now, after the close: the list cannot depend on it
    return Gate(
        batches=ctx.log.n_batches,
        count=ctx.log.n_announced,
        digest=ctx.log.digest(ctx.own_gate),
        hash_key=ctx.own_gate,
    )


def _reveal(ctx: BlockContext) -> list[Effect]:
    states = np.concatenate([np.empty(0, np.uint8), *ctx.states])
    settings = setting_of(states)
    wipe(states)  # the settings are public from here on, the bits are not
    effects: list[Effect] = [ctx.report("block.stage", stage="sift")]
    for chunk, start in enumerate(range(0, settings.size, SIFT_EVENTS)):
        part = settings[start : start + SIFT_EVENTS]
        effects.append(ctx.send(Sift(chunk=chunk, settings=bulk.pack_ranked(part))))
    done = SiftDone(count=settings.size, nonce=ctx.entropy(16))
    return [*effects, ctx.send(done)]


def on_sift(ctx: BlockContext, message: Sift) -> Step:
    """Either: a part of the peer's settings."""
    have = sum(part.size for part in ctx.peer_settings)
    n_settings = message.settings.n  # before there is room for them: they may be few bytes
    if message.chunk != len(ctx.peer_settings) or have + n_settings > ctx.log.n_announced:
        raise RemoteProtocolError(
            f"sift: found chunk {message.chunk} with {n_settings} settings; allowed: "
            f"chunk {len(ctx.peer_settings)} with at most {ctx.log.n_announced - have}"
        )
    ctx.peer_settings.append(bulk.unpack_ranked(message.settings))
    return State.SIFTING, []


def on_sift_done(ctx: BlockContext, message: SiftDone) -> Step:
    """Either: all settings are known; sort events and reveal the bits of basis X."""
    have = sum(part.size for part in ctx.peer_settings)
    if not have == message.count == ctx.log.n_announced:
        raise RemoteProtocolError(
            f"sift: found {have} settings, {message.count} stated; allowed: {ctx.log.n_announced}"
        )
    none = np.empty(0, np.uint8)
    states = np.concatenate([none, *ctx.states])
    theirs = np.concatenate([none, *ctx.peer_settings])
    ctx.settings = in_order(ctx, setting_of(states), theirs)
    ctx.sifted = sift(
        states,
        np.concatenate([none, *ctx.outcomes]),
        theirs,
        is_alice=ctx.is_coordinator,
        bell_states=ctx.agreement.bell_states,
    )
    wipe(states, *ctx.states)
    ctx.states.clear()
    ctx.peer_settings.clear()
    bits = ctx.sifted.test_bits
    starts = range(0, max(1, bits.size), TEST_EVENTS)
    return State.TESTING, [
        ctx.send(
            EstimationBits(
                bits=bulk.pack_bits(bits[start : start + TEST_EVENTS]),
                chunk=chunk,
                last=chunk == len(starts) - 1,
            )
        )
        for chunk, start in enumerate(starts)
    ]


def on_estimation_bits(ctx: BlockContext, message: EstimationBits) -> Step:
    """Either: the peer's test bits; with the last, count errors and go on, or give up early."""
    assert ctx.sifted is not None  # noqa: S101  # by the table
    bits = bulk.unpack_bits(message.bits)
    have = sum(part.size for part in ctx.peer_bits) + bits.size
    n_test = ctx.sifted.test_bits.size
    complete = have == n_test if message.last else have < n_test
    if message.chunk != len(ctx.peer_bits) or not complete:
        raise RemoteProtocolError(
            f"test bits: found chunk {message.chunk} that makes {have} bits; "
            f"allowed: chunk {len(ctx.peer_bits)} of {n_test} bits in all"
        )
    ctx.peer_bits.append(bits)
    if not message.last:
        return State.TESTING, []
    ctx.errors = errors_of_test(ctx.sifted, np.concatenate(ctx.peer_bits))
    summary = ctx.summary()
    effects: list[Effect] = [
        ctx.report("block.sifted", n=summary["n"], m=summary["m"], qber_x=summary["qber_x"])
    ]
    ctx.reconciliation = KeyReconciliation(
        ctx.sifted.key_bits,
        corrects=not ctx.is_coordinator,
        reconciler=ctx.agreement.reconciler,
        qber=ctx.qber_hint,
        entropy=ctx.entropy,
        processor=ctx.processor,
    )
    if not ctx.is_coordinator:
        return State.RECONCILING, effects
    # With nothing leaked this is the most that the block can give: if it is nothing, stop here.
    best = ctx.judge(leak_bits=0)
    if best.key_length_bits == 0:
        ctx.estimate = best
        state, more = ctx.abort(ctx.how_much_longer(best.reason, leak_bits=0), NOT_ENOUGH_DATA)
        return state, effects + more
    ctx.reconciliation.choose(
        # A round takes half of a round trip, and then what the processor adds.
        rtt_s=ctx.round_trips.shortest_s + 2.0 * ctx.processor.round_s,
        light_s=ctx.light_s,
        budget_bits=best.key_length_bits,
        guessed=ctx.qber_guessed,
    )
    started = [ctx.send(m) for m in ctx.reconciliation.start()]
    return State.RECONCILING, [
        *effects,
        ctx.report("block.stage", stage="reconcile"),
        *started,
    ]
