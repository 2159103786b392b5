"""The pads of a pair as its core uses them: a crash point around every durable step."""

from mdiqkd_net.protocol.tags import Pads, Secret
from mdiqkd_net.runtime.world import World, between_points


class SteppedPads:
    """Pads that pass the points "grant", "lease" and "tag" of a world; else the same as `pads`.

    The core calls these in a thread, within its own work. Burning a pad that was received is an
    effect ("burn"), and no part of this.
    """

    def __init__(self, pads: Pads, world: World) -> None:
        self._pads = pads
        self._world = world

    @property
    def send_keys(self) -> tuple[Secret, Secret]:
        """See `Pads`, as all below."""
        return self._pads.send_keys

    @property
    def receive_keys(self) -> tuple[Secret, Secret]:  # noqa: D102
        return self._pads.receive_keys

    @property
    def high_water(self) -> int:  # noqa: D102
        return self._pads.high_water

    @property
    def lease_left(self) -> int:  # noqa: D102
        return self._pads.lease_left

    def take_send(self) -> tuple[int, Secret]:  # noqa: D102
        return between_points(self._world, "tag", self._pads.take_send)

    def read_receive(self, index: int) -> Secret:  # noqa: D102
        return self._pads.read_receive(index)

    def burn_receive(self, index: int) -> None:  # noqa: D102
        self._pads.burn_receive(index)

    def grant(self, high_water: int) -> tuple[int, int]:  # noqa: D102
        return between_points(self._world, "grant", self._pads.grant, high_water)

    def accept_lease(self, base: int, count: int) -> None:  # noqa: D102
        between_points(self._world, "lease", self._pads.accept_lease, base, count)
