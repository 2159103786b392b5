"""What two nodes keep of each other while connections come and go (spec 4.4)."""

from collections.abc import Callable
from typing import Final

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.wire.frames import Frame, Sequencer
from mdiqkd_net.wire.messages import Hello

LINK_LOST: Final = 0x0403


class Correspondence:
    """One node's side: its epoch, the peer's, and the frames that the peer may not have.

    An epoch names a run of a process, or what is left of it after the peer broke the protocol. As
    long as both epochs stand, a new connection goes on where the last one broke off.

    Args:
        entropy: Source of epochs; two of them never are the same.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self.epoch = entropy(16)
        self.sequencer = Sequencer()
        self.n_meetings = 0
        self._peer_epoch = b""

    @property
    def seen(self) -> bytes:
        """The peer's epoch, which our positions refer to; nothing before we have met."""
        return self._peer_epoch

    def meet(self, ours: Hello, theirs: Hello, n_meetings: int) -> tuple[bool, list[Frame]]:
        """Take up a connection by the words that were exchanged on it.

        Args:
            ours: Our first message on the connection.
            theirs: The peer's.
            n_meetings: How many meetings there had been when `ours` was made.

        Returns:
            Whether everything goes on, and if so the frames that the peer has not got. If not,
            all streams are forgotten here as they are there.

        Raises:
            RemoteProtocolError: Another connection was taken up in the meantime.
        """
        if n_meetings != self.n_meetings:
            raise RemoteProtocolError("overtaken by another connection", LINK_LOST)
        self.n_meetings += 1
        self._peer_epoch = theirs.epoch
        # Both sides compare the same four numbers, so both come to the same end.
        if (ours.epoch, ours.seen) == (theirs.seen, theirs.epoch):
            return True, self.sequencer.unacknowledged(theirs.positions)
        self.sequencer.start_anew()
        return False, []

    def break_off(self) -> None:
        """Go on with nothing of what was: the peer broke the protocol, or we did."""
        self.epoch = self._entropy(16)
        self.sequencer.start_anew()
        self.n_meetings += 1
