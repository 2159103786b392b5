"""A session's light as the harness measures it: it asks the node, and its own peer, for states."""

from typing import Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from mdiqkd_net.blocks import Segment
from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.relay.announced import chain, closing
from mdiqkd_net.devices import SimulatedReceiver
from mdiqkd_net.errors import WireError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.protocol.announcing import Announcer
from mdiqkd_net.protocol.endpoint import PairPlan
from mdiqkd_net.protocol.light import SessionLight
from mdiqkd_net.protocol.relay import segments
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed, Light, LightAsk, PairReady

RECEIVER: Final = ReceiverParams(
    efficiency=1.0, dark_probability=0.0, misalignment=0.0005, mode_overlap=1.0
)
"""So good that short sessions give keys: what is tested is the protocol."""

BATCH: Final = 1 << 17

Told = Announcement | AnnouncementsClosed


async def measure(
    fiber: Peer, ready: PairReady, ours: SessionLight, plan: PairPlan, key: Ed25519PrivateKey
) -> list[Told]:
    """What a sound relay says of a session, from its first batch to its close.

    Both users' sources are taken to be the peer's own, which is what the node must be configured
    with.
    """
    table = light_table(plan.agreement.source)
    receiver = SimulatedReceiver(
        receiver=RECEIVER, transmittances=(1.0, 1.0), light=(table, table), seed=7
    )
    announcer = Announcer(ready.session, key)
    said: list[Told] = []
    for segment in segments(ready.n_pulses, ready.segment_pulses):
        receiver.begin(segment)
        while batch := receiver.next_candidates(BATCH):
            states = {
                plan.node: ours.states_at(segment.number, batch.asked),
                plan.peer: await _ask(fiber, ready, segment, batch.asked),
            }
            alice, bob = (states[user] for user in ready.users)
            said.append(announcer.announce(receiver.detect(batch, alice, bob)))
    return [*said, announcer.close()]


async def _ask(
    fiber: Peer, ready: PairReady, segment: Segment, pulses: NDArray[np.int64]
) -> NDArray[np.uint8]:
    gaps = np.diff(pulses, prepend=-1) - 1
    question = LightAsk(
        base=0, gaps=bulk.pack_unsigned(gaps), segment=segment.number, session=ready.session
    )
    await fiber.tell(question)
    answer, _ = await fiber.expect(Light)
    try:
        states = bulk.unpack_unsigned(answer.states).astype(np.uint8)
    except WireError as error:
        raise Broken(f"its transmitter: {error}") from None
    if answer.session != ready.session or states.size != pulses.size:
        raise Broken(f"its transmitter: {states.size} states for {pulses.size} pulses")
    return states


def sign(told: list[Told], ready: PairReady, key: Ed25519PrivateKey) -> list[Told]:
    """The same, signed as the specification says, whatever it says itself."""
    batches: list[Announcement] = []
    signed: list[Told] = []
    for message in told:
        if isinstance(message, Announcement):
            batches.append(message)
            *_, link = chain(ready, batches)
        else:
            link = closing(ready, batches, message)
        signed.append(msgspec.structs.replace(message, signature=key.sign(link)))
    return signed
