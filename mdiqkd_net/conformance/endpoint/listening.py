"""What the node says to its peer: waited for, and judged."""

from collections.abc import Callable
from typing import TypeVar

import trio

from mdiqkd_net.conformance.cases import Broken, Close, Ending
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import BlockAborted, Message

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class Listening:
    """The ears of a pairing.

    Attributes:
        heard: What the node has said to its peer, with its frame, oldest first.
        refusal: The code of its Error on the connection at hand.
        deadlines: How long to wait.
        ended: Whether that connection has ended.
        changed: Where to wait for anything of this to change.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._n_old = 0
        self.heard: list[tuple[Message, Frame]] = []
        self.refusal: int | None = None
        self.ended = False
        self.changed = trio.lowlevel.ParkingLot()

    def news_begin(self) -> None:
        """What has been said so far is of no interest any more."""
        self._n_old = len(self.heard)

    async def expect(self, kind: type[M], within_s: float | None = None, *, n: int = 1) -> M:
        """The n-th message of a kind that the node says to its peer once both are there.

        Raises:
            Broken: It does not say it in time.
        """

        def found() -> M | None:
            of_kind = [message for message, _ in self._news if isinstance(message, kind)]
            return of_kind[n - 1] if len(of_kind) >= n else None

        return await self.wait(found, f"no {kind.__name__}", within_s)

    @property
    def _news(self) -> list[tuple[Message, Frame]]:
        return self.heard[self._n_old :]

    def frames(self, kind: type[Message]) -> list[Frame]:
        """Frames of a kind that the node has sent to its peer."""
        return [frame for message, frame in self._news if isinstance(message, kind)]

    def same_bodies(self, kind: type[Message]) -> None:
        """All that the node has said of a kind has the same bytes.

        Raises:
            Broken: It has not.
        """
        if len({frame.body for frame in self.frames(kind)}) > 1:
            raise Broken(f"its second {kind.__name__} has other bytes than the first")

    async def silent(self, *kinds: type[Message]) -> None:
        """Nothing of these kinds comes for a while.

        Raises:
            Broken: It came, now or before.
        """
        with trio.move_on_after(self.deadlines.quiet_s):
            while True:
                self.never_said(*kinds)
                await self.changed.park()

    def never_said(self, *kinds: type[Message]) -> None:
        """Nothing of these kinds has come.

        Raises:
            Broken: It has.
        """
        said = {type(message).__name__ for message, _ in self._news if isinstance(message, kinds)}
        if said:
            raise Broken(f"it says {' and '.join(sorted(said))}")

    async def given_up(self, *codes: int, n: int = 1) -> Ending:
        """The node ends the n-th block: it says so, or refuses what its peer said."""

        def found() -> bool | None:
            return len(self.frames(BlockAborted)) >= n or self.ended or None

        await self.wait(found, "it goes on with the block")
        return await self.refused(*codes) if self.ended else Ending(found="BlockAborted")

    async def refused(self, *codes: int) -> Ending:
        """The node refuses what its peer said, and closes."""
        await self.wait(lambda: self.ended or None, "not refused: still open")
        if self.refusal is None:
            return Ending(Close.NO_ERROR, "the link was closed without a word")
        if codes and self.refusal not in codes:
            allowed = " or ".join(f"{code:#06x}" for code in codes)
            return Ending(Close.WRONG_CODE, f"Error {self.refusal:#06x}; expected {allowed}")
        return Ending(Close.CLEAN, f"Error {self.refusal:#06x} and close")

    async def open_still(self) -> None:
        """The link to the peer stays for a while.

        Raises:
            Broken: The node closes it.
        """
        with trio.move_on_after(self.deadlines.quiet_s):
            while not self.ended:
                await self.changed.park()
            raise Broken("it closes the link to its peer")

    async def wait(
        self, found: Callable[[], T | None], why: str, within_s: float | None = None
    ) -> T:
        """Wait until `found` finds something; if it does not, `why` is what is wrong.

        Raises:
            Broken: It does not in time, or the link ends.
        """
        limit_s = self.deadlines.light_s if within_s is None else within_s
        with trio.move_on_after(limit_s):
            while True:
                value = found()
                if value is not None:
                    return value
                if self.ended:
                    told = "" if self.refusal is None else f" with code {self.refusal:#06x}"
                    raise Broken(f"{why}; it closes the link to its peer{told}")
                await self.changed.park()
        raise Broken(f"{why} within {limit_s:g} s")
