"""Pad leases: why no pad is used for two tags, even after a file was set back (spec 7).

The receiver of tags keeps, durably, how far it has *granted* pads to the sender. The sender keeps,
durably, its *high-water mark*: the index after the last pad that it has burnt. A new tag takes the
next pad of the lease in hand; a restart abandons the lease, a lost connection keeps it.

A grant begins at the greater of both numbers, and is durable before it leaves; the sender refuses
one below its own mark, and burns what a grant skips. So every pad that was ever used lies below
the greater of the two numbers. Whoever sets *one* file back, the other one still tells; after the
next grant both do again. Two files set back without a grant in between are not protected, and
neither is a process that is copied while it runs.

Nothing authenticates the exchange but the transport: there is no safe pad before it. Who breaks
the transport can burn pads, not use one twice.
"""

from collections import deque
from typing import Final

from mdiqkd_net.errors import KeyStoreError, RemoteProtocolError

WINDOW: Final = 16
"""Pads in a lease: what a restart costs at most."""

MAX_GRANTS: Final = 60
"""Per `PERIOD_S`, of leases whose forerunner was not put to use. At the limit, somebody who asks
all the time burns 960 pads an hour."""

IN_USE: Final = WINDOW // 2
"""Tags that fit, since the last grant: who makes so many has the pads, and needs the next lease."""

PERIOD_S: Final = 3600.0


class NoLeaseError(KeyStoreError):
    """There is no pad in the lease for another tag: ask the peer for a new lease."""


def next_lease(granted: int, high_water: int, n_pads: int) -> tuple[int, int]:
    """Receiver: base and count of the next lease. `base + count` is what it has then granted.

    Args:
        granted: All pads below have been granted before.
        high_water: All pads below are burnt, the sender says.
        n_pads: Pads of this direction; at the end a lease is short, or empty.

    Raises:
        RemoteProtocolError: The sender names a mark beyond the last pad.
    """
    if not 0 <= high_water <= n_pads:
        raise RemoteProtocolError(
            f"pad lease: found a high-water mark of {high_water}; allowed: 0 to {n_pads}"
        )
    base = max(granted, high_water)
    return base, min(WINDOW, n_pads - base)


def check_lease(high_water: int, base: int, count: int, n_pads: int) -> None:
    """Sender: return if a lease may be used.

    Raises:
        RemoteProtocolError: It begins among burnt pads, or ends beyond the last one.
    """
    if not (high_water <= base and 0 <= count <= WINDOW and base + count <= n_pads):
        raise RemoteProtocolError(
            f"pad lease: found {count} pads from {base}; "
            f"allowed: at most {WINDOW} from {high_water} or later, of {n_pads}"
        )


class GrantLimit:
    """Receiver: how often it grants. Kept in memory only, so a restart begins anew."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._n_tags = 0

    def count_tags(self, n_tags: int) -> None:
        """Tags of the peer have been accepted."""
        self._n_tags += n_tags

    def admit(self, now_s: float) -> None:
        """Count a grant at `now_s`, seconds of a clock that never goes back.

        Raises:
            RemoteProtocolError: There were `MAX_GRANTS` within the last `PERIOD_S`, besides those
                that followed `IN_USE` accepted tags.
        """
        n_tags, self._n_tags = self._n_tags, 0
        if n_tags >= IN_USE:
            return
        while self._times and now_s - self._times[0] >= PERIOD_S:
            self._times.popleft()
        if len(self._times) >= MAX_GRANTS:
            raise RemoteProtocolError(
                f"pad lease: found more than {MAX_GRANTS} requests within {PERIOD_S:g} s"
            )
        self._times.append(now_s)
