"""Whom a pair waits for, and since when (spec 5.8)."""

import math
from enum import Enum
from typing import Final, Protocol

import trio

from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire.messages import Message, PairReady, PairRequest

RELAYS_TURN: Final = (State.ABORTED, State.DONE)
"""While other pairs have their turn at the relay, silence is nobody's fault."""

FED_BY_RELAY: Final = (State.OPENING, State.COLLECTING, State.EARLY_GATE, State.CLOSED)
"""In silence the relay may be keeping something back, from us or from the peer. So nobody is to
blame: the block ends, and the next one gets its chance."""


class Lack(Enum):
    """What a pair may be waiting for."""

    PEER = "a connection to the peer"
    RELAY = "a connection to the relay"
    WORD = "a word, while a block is under way"
    SESSION = "the session that the relay was asked for"


class Place(Protocol):
    """Where a node may be missed."""

    @property
    def away_since(self) -> float:
        """Since when there has been no link; infinity if there is one."""


class Patience:
    """The times of one pair, all of the monotonic clock.

    Attributes:
        away_since: Since when there has been no link to the peer; infinity if there is one.
        heard_at: When the peer or the relay has said something last.
    """

    def __init__(self, patience_s: float, relay: Place) -> None:
        self._patience_s = patience_s
        self._relay = relay
        self.away_since = self.heard_at = trio.current_time()
        self._n_requests = 0
        self._requested_at = math.inf

    def heard(self) -> None:
        """Somebody has said something."""
        self.heard_at = trio.current_time()

    def tell_relay(self, message: Message) -> None:
        """Remember when a session was asked for; it may be said again on another connection."""
        if isinstance(message, PairRequest) and message.request > self._n_requests:
            self._n_requests, self._requested_at = message.request, trio.current_time()

    def hear_relay(self, kind: int) -> None:
        """The relay says something, by its type; it may be the session that was asked for."""
        self.heard()
        if kind == PairReady.TYPE:
            self.forgo_session()

    def forgo_session(self) -> None:
        """Wait no longer for the session that was asked for last, or say so no more."""
        self._requested_at = math.inf

    @property
    def everybody_is_here(self) -> bool:
        """Whether there are links to the peer and to the relay."""
        return self.away_since == self._relay.away_since == math.inf

    def limit(self, state: State) -> tuple[float, Lack]:
        """When patience ends, and what has been lacking until then, in a state of the block."""
        fed = self._relay.away_since == math.inf or state not in FED_BY_RELAY
        is_owed_a_word = self.away_since == math.inf and fed and state not in RELAYS_TURN
        since = {
            Lack.PEER: self.away_since,
            Lack.RELAY: self._relay.away_since,
            Lack.WORD: self.heard_at if is_owed_a_word else math.inf,
            Lack.SESSION: self._requested_at,
        }
        lack = min(since, key=lambda what: since[what])
        return since[lack] + self._patience_s, lack
