"""A relay that announces more than it has credit for (spec 5.7)."""

from typing import Final

import numpy as np
import trio

from mdiqkd_net.conformance.cases import Broken, Close, Ending, Skipped
from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import HANDLE, Pairing, pairing
from mdiqkd_net.conformance.endpoint.session import Told
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import Announcement, Credit, Error, Ping, Pong

QUOTA: Final = 0x0401
WINDOW_BYTES: Final = 4 << 20
PULSES_PER_BATCH: Final = 1 << 16
LOW_BITS: Final = bulk.MAX_RICE_BITS
"""Of every gap, so that a few pulses take many bytes."""
LEAST_PULSES: Final = 1_000_000
MOST_PULSES: Final = 4_000_000


async def overdraws(h: EndpointHarness) -> Ending:
    """More announcements at once than the node has granted; skipped if it keeps up with them."""
    async with pairing(h) as p:
        n_pulses = min(p.user.plan.n_pulses, MOST_PULSES)
        if n_pulses < LEAST_PULSES:
            raise Skipped(f"`n_pulses` is {n_pulses}; it takes {LEAST_PULSES} at both users")
        await p.open(n_pulses=n_pulses, segment_pulses=n_pulses)
        told = p.signed(_batches(n_pulses))
        # Its answer to Ping shows which frames have come, and what it had granted by then.
        said = b"".join(p.relay.sealed(batch, HANDLE) for batch in told)
        await p.relay.send(said + p.relay.sealed(Ping(n=1)))
        return await _judged(p, len(said))


def _batches(n_pulses: int) -> list[Told]:
    """A session in which every pulse is an event, and every event as long as can be."""
    told: list[Told] = []
    for number, base in enumerate(range(0, n_pulses, PULSES_PER_BATCH)):
        n = min(PULSES_PER_BATCH, n_pulses - base)
        event = np.zeros(LOW_BITS + 1, np.uint8)
        event[0] = 1  # a quotient of 0, and a remainder of 0: the very next pulse
        told.append(
            Announcement(
                base=base,
                batch=number,
                covered=base + n,
                outcomes=bulk.pack_bits(np.zeros(n, np.uint8)),
                pulses=bulk.Rice(k=LOW_BITS, n=n, v=bulk.pack_bits(np.tile(event, n)).v),
                segment=0,
                signature=bytes(64),
            )
        )
    return told


async def _judged(p: Pairing, n_sent: int) -> Ending:
    n_granted = 0
    try:
        while frame := await p.relay.next(p.deadlines.light_s):
            message = decode(frame)
            if isinstance(message, Error):
                return _refused(message)
            if isinstance(message, Credit):
                n_granted += message.n_bytes
            if isinstance(message, Pong):
                break
        else:
            # What we sent behind may have reset the connection, and lost its Error on the way.
            return Ending(Close.NOT_JUDGED, "the link was closed")
    except trio.TooSlowError:
        raise Broken("neither Error nor an answer to Ping") from None
    if n_sent - n_granted <= WINDOW_BYTES:
        raise Skipped("it takes announcements in as fast as they come, so none was too many")
    raise Broken(f"{n_sent} bytes have come, and {n_granted} were granted besides {WINDOW_BYTES}")


def _refused(error: Error) -> Ending:
    found = f"Error {error.code:#06x}"
    if error.code != QUOTA:
        return Ending(Close.WRONG_CODE, f"{found}; expected {QUOTA:#06x}")
    return Ending(Close.CLEAN, found)
