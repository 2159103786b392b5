"""A transmitter of simulated light, as far as a relay's fiber needs one (spec 10)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.conformance.cases import Broken
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.messages import DeclaredBounds, Light, LightArm, LightAsk, SourceSettings

_STATES_OF_Z: Final = (5, 6)
_IDEAL: Final = DeclaredBounds(
    intensity_correlation=0,
    phase_nonuniformity=0,
    relative=[0, 0, 0],
    trojan_photons=0,
    vacuum_intensity=0,
    vacuum_light="any",
)
SOURCE: Final = SourceSettings(
    bounds=_IDEAL,
    intensities=[120_000_000, 380_000_000, 550_000_000],
    probabilities=[50_000_000, 50_000_000, 800_000_000],
)


class Transmitter:
    """Answers for one user's light; it always sends Z signals, which click best.

    Attributes:
        peer: Its connection.
        n_asked: Questions so far.
    """

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.n_asked = 0
        self._number = number

    async def arm(self, session: bytes) -> None:
        """Be ready for a session."""
        await self.peer.tell(LightArm(session=session, source=SOURCE))

    async def serve(self) -> None:
        """Answer every question until the link ends.

        Raises:
            Broken: It asks for what it may not.
        """
        while (frame := await self.peer.next(float("inf"))) is not None:
            self.n_asked += 1
            message = self.peer.read(frame)
            if not isinstance(message, LightAsk):
                raise Broken(f"light link: expected LightAsk; got {type(message).__name__}")
            await self.peer.tell(self.answer(message))

    def answer(self, ask: LightAsk) -> Light:
        """The states of the pulses that are asked for, the same whenever they are asked for."""
        gaps = bulk.unpack_unsigned(ask.gaps).astype(np.uint64)
        pulses = np.cumsum(gaps + np.uint64(1)) + np.uint64(ask.base)
        states = _states(pulses, ask.segment, self._number)
        return Light(
            session=ask.session, states=bulk.Bulk(n=states.size, t="u8", v=states.tobytes())
        )


def _states(pulses: NDArray[np.uint64], segment: int, number: int) -> NDArray[np.uint8]:
    """z0 or z1 for each pulse, by a hash of its number; shapes (n,)."""
    mixed = (pulses + np.uint64(segment << 40)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9) + np.uint64(2 * number)
    low, high = _STATES_OF_Z
    return np.where(mixed >> np.uint64(63), high, low).astype(np.uint8)
