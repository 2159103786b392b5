"""Programs that wait until a pair has agreed on keys."""

import trio

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.asking import AwayError
from mdiqkd_net.protocol.effects import Effect
from mdiqkd_net.protocol.handing import Handouts


class Wish:
    """Somebody on this machine wants keys; `request` is empty until the peer is asked."""

    def __init__(self, n_keys: int, *, allow_simulated: bool) -> None:
        self.n_keys = n_keys
        self.allow_simulated = allow_simulated
        self.request = b""
        self.given_up = False
        self._answered = trio.Event()
        self._error: KeyStoreError | None = None

    def answer(self, error: KeyStoreError | None) -> None:
        """The keys are agreed upon, or are not."""
        self._error = error
        self._answered.set()

    async def wait(self, seconds: float) -> None:
        """Wait for the answer.

        Raises:
            TimeoutError: There was none in time.
            KeyStoreError: The keys are not agreed upon.
        """
        with trio.move_on_after(seconds):
            await self._answered.wait()
        if not self._answered.is_set():
            self.given_up = True
            raise TimeoutError
        if self._error is not None:
            raise self._error


class Wishes:
    """All that wait at one pair; used by the task that owns its core."""

    def __init__(self, handouts: Handouts, peer: str) -> None:
        self._handouts = handouts
        self._peer = peer
        self._waiting: dict[bytes, Wish] = {}

    def refuse(self, wish: Wish) -> None:
        """There is no connection to the peer; no key is spent on it."""
        away = f"{self._peer} is not connected, so nobody can agree with it on keys"
        wish.answer(AwayError(away))

    def ask(self, wish: Wish) -> list[Effect]:
        """Ask the peer; reads the store, so it is for a thread.

        Raises:
            KeyStoreError: There are not so many keys.
        """
        if wish.given_up:
            return []
        wish.request, effects = self._handouts.ask(
            wish.n_keys, allow_simulated=wish.allow_simulated
        )
        self._waiting[wish.request] = wish
        return effects

    def answer(self, request: bytes, *, agreed: bool) -> None:
        """The core knows what becomes of a request."""
        wish = self._waiting.pop(request, None)
        if wish is not None:
            refused = f"{self._peer} does not have all of these keys free; they are burned"
            wish.answer(None if agreed else KeyStoreError(refused))

    def give_up(self, wish: Wish) -> None:
        """Nobody waits any more."""
        self._waiting.pop(wish.request, None)
        self._handouts.give_up(wish.request)
