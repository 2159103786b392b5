"""Devices: whatever turns light into clicks, behind one interface."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from mdiqkd_net.blocks import ClickBlock, Segment
from mdiqkd_net.devices.simulated import Candidates, LitReceiver, SimulatedReceiver

__all__ = ["ADAPTERS", "Candidates", "LitReceiver", "Receiver", "SimulatedReceiver"]


class Receiver(Protocol):
    """A Bell-state receiver, real or simulated. Its calls block; one thread uses it.

    The relay core is given `ClickBlock`s and nothing else, whichever receiver makes them.
    """

    def begin(self, segment: Segment) -> None:
        """Start a segment; what is left of an earlier one is dropped.

        Raises:
            DeviceError: If the receiver cannot.
        """
        ...

    def next_clicks(self) -> ClickBlock | None:
        """Wait for the next stretch of the segment; None after the block that is `last`.

        Blocks of a segment follow each other without a gap: `n_elapsed` never falls, pulses
        increase strictly from block to block, and the last block covers the whole segment.

        Raises:
            DeviceError: If no segment has begun, or the receiver fails.
        """
        ...


ADAPTERS: Final[Mapping[str, Callable[..., Receiver]]] = {
    "simulated": LitReceiver,
}
"""Receivers by name; arguments differ, since devices do."""
