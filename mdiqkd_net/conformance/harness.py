"""What the harness of either role shares: deadlines, a log, and a clean slate for every case."""

import random
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Any

import trio

from mdiqkd_net.conformance.cases import Case
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.wirelog import WireLog


class Harness(ABC):
    """Base of the two harnesses.

    Args:
        deadlines: How long to wait.
        seed: Of what cases choose at random; each case starts from it anew.
    """

    def __init__(self, deadlines: Deadlines, seed: int) -> None:
        self.deadlines = deadlines
        self.log = WireLog()
        self.rng = random.Random(seed)  # noqa: S311  # chooses test inputs, which are public
        self._seed = seed
        self.opened = AsyncExitStack()

    def why_not(self, case: Case[Any]) -> str | None:  # noqa: ARG002  # nothing is missing here
        """Why a case cannot be run with what the harness was given; None if it can."""
        return None

    async def start(self) -> None:  # noqa: B027  # a relay's needs nothing
        """Get ready, before the first probe."""

    async def stop(self) -> None:  # noqa: B027  # likewise
        """Let go of what `start` took, after the last case."""

    @abstractmethod
    async def probe(self) -> str | None:
        """What is wrong with the node as such; None if it answers as it should."""

    def begin(self, case: Case[Any]) -> None:
        """Start a case with an empty log and its own random numbers."""
        self.log.clear()
        self.rng = random.Random(f"{self._seed} {case.id}")  # noqa: S311  # as above

    async def finish(self) -> None:
        """Close whatever the case left open."""
        opened, self.opened = self.opened, AsyncExitStack()
        with trio.CancelScope(shield=True):
            await opened.aclose()
