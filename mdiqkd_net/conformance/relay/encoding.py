"""The profile of MessagePack at a relay (spec 3)."""

from functools import partial
from typing import Final

from mdiqkd_net.conformance.bodies import BAD_BODIES, BadBody, Subject
from mdiqkd_net.conformance.cases import Area, Ending
from mdiqkd_net.conformance.relay.harness import RelayHarness
from mdiqkd_net.wire.messages import PairRequest

AREA: Final = Area[RelayHarness]("CT-RL-M", "Encoding", "L1")


async def _refuses(bad: BadBody, h: RelayHarness) -> Ending:
    user = await h.user()
    subject = Subject(h.request(user), number="n_pulses", name="peer")
    await user.send(user.sequencer.seal(PairRequest.TYPE, bad.build(subject)).raw)
    return await user.refused(*bad.codes)


for _bad in BAD_BODIES:
    AREA.add(_bad.number, f"refused: {_bad.text}", ("3.1", "3.2"), partial(_refuses, _bad))
