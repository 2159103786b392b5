"""How much a relay may announce before a user has taken it in (spec 5.7).

The window bounds what a relay keeps for a user that is slow or away, and what a hostile relay can
make a user buffer.
"""

from collections import Counter
from typing import Final

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Announcement, Credit

WINDOW_BYTES: Final = 4 << 20
GRANT_BYTES: Final = WINDOW_BYTES // 4
"""A user grants in portions, so that credit costs next to nothing."""

OVERDRAWN: Final = 0x0401


class Granted:
    """A user's side, of one session: what it has granted and not seen yet."""

    def __init__(self) -> None:
        self._left = WINDOW_BYTES
        self._taken = 0

    def require(self, n_bytes: int) -> None:
        """Return if a frame of so many bytes was allowed for.

        Raises:
            RemoteProtocolError: The relay sends more than it may.
        """
        if n_bytes > self._left:
            raise RemoteProtocolError(
                f"announcements: found a frame of {n_bytes} bytes; allowed: {self._left} bytes "
                "before the next credit",
                OVERDRAWN,
            )

    def take(self, n_bytes: int) -> list[Credit]:
        """Take a frame in; what to tell the relay, if it is time to."""
        self._left -= n_bytes
        self._taken += n_bytes
        if self._taken < GRANT_BYTES:
            return []
        grant, self._taken = self._taken, 0
        self._left += grant
        return [Credit(n_bytes=grant)]


class Unread:
    """Announcements that have come to a user and wait to be taken in, in bytes per session.

    `Granted` judges what is taken in, in its turn. This one judges on arrival, because a relay that
    sends without credit fills whatever stands between the link and the core.

    Args:
        most: That may wait, of one session.
    """

    def __init__(self, most: int = WINDOW_BYTES) -> None:
        self._most = most
        self._n_bytes: Counter[int] = Counter()

    def came(self, frame: Frame) -> None:
        """Count a frame that waits.

        Raises:
            RemoteProtocolError: No relay that keeps to its credit can have sent so much.
        """
        if frame.kind != Announcement.TYPE:
            return
        waiting = self._n_bytes[frame.stream] + len(frame.raw)
        if waiting > self._most:
            raise RemoteProtocolError(
                f"announcements: found {waiting} bytes that wait to be taken in; "
                f"allowed: {self._most}",
                OVERDRAWN,
            )
        self._n_bytes[frame.stream] = waiting

    def taken(self, frame: Frame) -> None:
        """A frame that was counted waits no longer."""
        if frame.kind == Announcement.TYPE:
            self._n_bytes[frame.stream] -= len(frame.raw)
            if not self._n_bytes[frame.stream]:
                del self._n_bytes[frame.stream]


class Outstanding:
    """The relay's side, of one session and user: what it has sent on credit."""

    def __init__(self) -> None:
        self._n_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether the largest batch that there can be may still be sent."""
        return self._n_bytes + Announcement.CAP <= WINDOW_BYTES

    def sent(self, n_bytes: int) -> None:
        """Count a frame."""
        self._n_bytes += n_bytes

    def granted(self, n_bytes: int) -> None:
        """Take credit from the user.

        Raises:
            RemoteProtocolError: It grants more than was sent.
        """
        if n_bytes > self._n_bytes:
            raise RemoteProtocolError(
                f"credit: found {n_bytes} bytes; allowed: {self._n_bytes}, which were sent",
                OVERDRAWN,
            )
        self._n_bytes -= n_bytes
