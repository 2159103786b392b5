"""How long what takes."""

import trio


class Stages:
    """How long each stage of a block took."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._stage = ""
        self._since = 0.0

    def enter(self, stage: str) -> None:
        """A stage begins, and ends the one before."""
        self.leave()
        self._stage, self._since = stage, trio.current_time()

    def leave(self) -> dict[str, float]:
        """The last stage ends; returns seconds by stage."""
        if self._stage:
            spent = trio.current_time() - self._since
            self._seconds[self._stage] = round(self._seconds.get(self._stage, 0.0) + spent, 6)
            self._stage = ""
        return self._seconds
