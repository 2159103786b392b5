"""The number of the next block: above all before it, and not so far that none is left (7.4)."""

from typing import Final

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.committing import Records

MAX_AHEAD: Final = 1 << 32
"""How far a peer may be ahead of what is durable here. Honest users are closer even if one store
was lost: ten blocks a second make so many in thirteen years. And a peer that lies with every block
needs 2^31 of them to leave no number."""


class BlockNumbers:
    """What a user knows of the numbers of a pair's blocks.

    Args:
        records: What its store knows. Only a block that has begun moves that, so words alone get
            a peer nowhere.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._heard = 0

    @property
    def least(self) -> int:
        """The least number that the next block may have."""
        return max(self._heard, self._records.next_block())

    def hear(self, next_block: int) -> None:
        """Take the peer's own least number; both go on with the greater.

        Raises:
            RemoteProtocolError: It is too far ahead; nothing has changed.
        """
        most = self._records.next_block() + MAX_AHEAD
        if next_block > most:
            raise RemoteProtocolError(
                f"Resume: found {next_block} as the number of the next block; "
                f"allowed: at most {most}"
            )
        self._heard = max(self._heard, next_block)

    def require(self, number: int) -> None:
        """Return if the peer may open a block of this number.

        Raises:
            RemoteProtocolError: It has been used up, or is too far ahead.
        """
        least, most = self.least, self._records.next_block() + MAX_AHEAD
        if not least <= number <= most:
            raise RemoteProtocolError(
                f"BlockOpen: found block {number}; allowed: {least} to {most}"
            )
