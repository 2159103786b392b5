"""What a hostile relay may say: the words it chooses in place of the honest ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct

from mdiqkd_net.wire.messages import Message, PairReady


class Extent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of its work a hostile relay spoils. Sessions count from 1, over all pairs."""

    first_session: Annotated[int, Meta(ge=1)] = 1
    sessions: Annotated[int, Meta(ge=1)] | None = None
    """How many, from the first on; absent: all."""
    share: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Of the announced events; absent: what the behaviour does by itself."""

    def holds(self, session: int) -> bool:
        """Whether a session is among the spoiled ones."""
        after = session - self.first_session
        return after >= 0 and (self.sessions is None or after < self.sessions)


@dataclass(frozen=True, slots=True)
class Said:
    """A message for a user; the link will number it."""

    user: str
    message: Message
    stream: int


@dataclass(frozen=True, slots=True)
class Body:
    """A frame of a known type with any body; the link will number it."""

    user: str
    kind: int
    body: bytes
    stream: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes for a user's link, as they are."""

    user: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close a user's link, and perhaps claim to have started anew when it is back."""

    user: str
    anew: bool = False


Word = Said | Body | Noise | Hangup


@dataclass(eq=False)
class Behaviour:
    """The honest one: it hears everything and says what the relay core says.

    A behaviour knows what any relay knows: its own words, its key, and what users tell it.
    Whoever writes one overrides `lie` or `hears`.

    Attributes:
        keeps_credit: Whether it says no more than users grant.
        extent: Which sessions, and how much of them.
        share: Of the events that it touches.
        key: Signs announcements, lies too.
        rng: Of its choices; public, for simulation.
    """

    keeps_credit: ClassVar[bool] = True
    extent: Extent
    share: float
    key: Ed25519PrivateKey
    rng: np.random.Generator
    _sessions: dict[int, PairReady] = field(default_factory=dict, init=False)

    def hears(self, user: str, message: Message) -> bool:
        """Whether it takes notice of what a user says."""
        del user, message
        return True

    def say(self, honest: Said) -> Sequence[Word]:
        """What it says when an honest relay would say this."""
        if isinstance(honest.message, PairReady):
            self._sessions[honest.stream] = honest.message
        if not self.extent.holds(honest.stream):
            return self.behave(honest)
        return self.lie(honest)

    def behave(self, honest: Said) -> Sequence[Word]:
        """What it says in a session that it leaves alone."""
        return [honest]

    def lie(self, honest: Said) -> Sequence[Word]:
        """What it says in a session that it spoils."""
        return [honest]

    def ready(self, stream: int) -> PairReady:
        """What the honest relay had said of a session."""
        return self._sessions[stream]

    def is_second(self, said: Said) -> bool:
        """Whether this goes to the pair's user with the greater id."""
        return said.user == self.ready(said.stream).users[1]
