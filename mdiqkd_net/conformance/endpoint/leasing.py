"""Leases of pads (spec 8.3)."""

from typing import Final

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import keeping
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import pairing
from mdiqkd_net.protocol.endpoint import PADS_PER_BLOCK
from mdiqkd_net.wire.messages import PadLease, PadLeaseRequest

WRONG_STATE: Final = 0x0301
WINDOW: Final = 16
AREA: Final = Area[EndpointHarness]("CT-EP-P", "Leases of pads", "L2")


@AREA.case(1, "a lease that nobody asked for is refused", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.link.tell(PadLease(base=0, count=WINDOW))
        return await p.refused(WRONG_STATE)


@AREA.case(2, "a lease begins where the one before ended, and at no used pad", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.open(**SHORT)
        n_before = len(p.frames(PadLease))
        mark = p.user.pads.high_water
        p.keep_from_peer(PadLease)
        for _ in range(2):
            await p.link.tell(PadLeaseRequest(high_water=mark))
        first = await p.expect(PadLease, n=n_before + 1)
        second = await p.expect(PadLease, n=n_before + 2)
        if first.base < mark or second.base < first.base + first.count:
            raise Broken(f"leases from {first.base} and {second.base}; {mark} pads are used")
        if not 0 < first.count <= WINDOW:
            raise Broken(f"a lease of {first.count} pads")


@AREA.case(3, "a mark beyond the last pad is refused", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.open(**SHORT)
        await p.link.tell(PadLeaseRequest(high_water=2**40))
        return await p.refused(WRONG_STATE)


@AREA.case(4, "a window that begins below its own index is refused", "8.3", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    leases: list[PadLease] = []
    async with pairing(h, keeping(PadLease, leases)) as p:
        for n_blocks in range(1, WINDOW):
            requests = [message for message, _ in p.heard if isinstance(message, PadLeaseRequest)]
            if requests and requests[-1].high_water:
                await p.link.tell(PadLease(base=requests[-1].high_water - 1, count=WINDOW))
                return await p.refused(WRONG_STATE)
            if requests and n_blocks == 1:  # it has used none, so that no window is too low
                await p.link.tell(PadLease(base=leases[0].base, count=PADS_PER_BLOCK + 1))
            await p.block()
            await p.expect(p.decided, n=n_blocks)
            await p.settled()
        raise Broken(f"{WINDOW - 1} blocks, and it asks for no pads")
