"""Charles: pairs take turns on one receiver; clicks become announcements.

He is untrusted. Nothing here sees a setting, a bit or a key; everything he needs from the users
is who wants a block with whom, and that their transmitters are ready.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdiqkd_net.blocks import ClickBlock, Segment
from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.protocol.announcing import Announcer
from mdiqkd_net.protocol.credit import Outstanding
from mdiqkd_net.protocol.effects import (
    AwaitArmed,
    AwaitReturn,
    Effect,
    HasRoom,
    Report,
    Send,
    StartLight,
    StopLight,
)
from mdiqkd_net.protocol.ids import ordered
from mdiqkd_net.protocol.states import RELAY_MOVES, WRONG_STATE, RelayState
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.frames import SPENT_FRAMES, Frame, Sequencer
from mdiqkd_net.wire.messages import (
    Announcement,
    Credit,
    Message,
    PairAborted,
    PairArmed,
    PairReady,
    PairRequest,
)

QUOTA: Final = 0x0401
PEER_GONE: Final = 0x0503
LIGHT_FAILED: Final = 0x0501
MAX_REQUESTS: Final = 256
"""Open requests of one user."""

Pair = tuple[str, str]


@dataclass(slots=True)
class _User:
    sequencer: Sequencer
    state: RelayState = RelayState.IDLE
    requests: dict[Pair, deque[int]] = field(default_factory=dict)
    n_requested: dict[Pair, int] = field(default_factory=dict)
    outstanding: dict[int, Outstanding] = field(default_factory=dict)
    is_here: bool = True
    n_visits: int = 1


@dataclass(slots=True)
class _Session:
    handle: int
    ready: PairReady
    users: Pair
    announcer: Announcer
    measuring: bool = False


class Relay:
    """The relay core: any number of users, one session at a time, pairs in plain round robin.

    Args:
        pulse_rate_hz: Of the users' sources; only told, not used.
        segment_pulses: How much light the device measures at a stretch.
        entropy: Source of session numbers.
        key: Signs announcements.
    """

    def __init__(
        self,
        *,
        pulse_rate_hz: int,
        segment_pulses: int,
        entropy: Callable[[int], bytes],
        key: Ed25519PrivateKey,
    ) -> None:
        self._pulse_rate_hz = pulse_rate_hz
        self._segment_pulses = segment_pulses
        self._entropy = entropy
        self._key = key
        self._users: dict[str, _User] = {}
        self._queue: deque[Pair] = deque()
        self._session: _Session | None = None
        self._handle = 0

    def connected(self, user: str, sequencer: Sequencer, *, kept: bool) -> list[Effect]:
        """A user's link is up.

        Args:
            user: Who.
            sequencer: Numbers the frames of the streams that outlive a connection.
            kept: Whether it goes on where the last connection broke off.
        """
        known = self._users.get(user)
        if known is not None and kept:
            known.is_here = True
            known.n_visits += 1
            effects: list[Effect] = []
        else:
            effects = self._leave(user)
            n_visits = 1 if known is None else known.n_visits + 1
            self._users[user] = _User(sequencer, n_visits=n_visits)
        effects.append(Report("user.connected", {"user": user, "n_users": self._n_here}))
        return effects

    def disconnected(self, user: str) -> list[Effect]:
        """A user's link is gone; what it was part of waits for its return."""
        known = self._users.get(user)
        if known is None or not known.is_here:
            return []
        known.is_here = False
        return [
            Report("user.disconnected", {"user": user, "n_users": self._n_here}),
            AwaitReturn(user, known.n_visits),
        ]

    def gone(self, user: str, n_visits: int) -> list[Effect]:
        """A user has had its time to return; whatever it was part of ends if it has not."""
        known = self._users.get(user)
        if known is None or known.is_here or known.n_visits != n_visits:
            return []
        return self._leave(user)

    def _leave(self, user: str) -> list[Effect]:
        if self._users.pop(user, None) is None:
            return []
        self._queue = deque(pair for pair in self._queue if user not in pair)
        if self._session is None or user not in self._session.users:
            return []
        return self._abort(PEER_GONE)

    @property
    def _n_here(self) -> int:
        return sum(user.is_here for user in self._users.values())

    def has_room(self, session: bytes) -> bool:
        """Whether both users have taken in enough for more to be announced."""
        current = self._session
        if current is None or current.ready.session != session:
            return True  # nothing will be announced
        return all(self._outstanding(user, current.handle).has_room for user in current.users)

    def receive(self, user: str, frame: Frame) -> list[Effect]:
        """Take one message of a user; on refusal stay exactly as before.

        Raises:
            RemoteProtocolError: A message that is not legal now.
            WireError: Not a message.
        """
        message = decode(frame)
        state = self._users[user].state
        if (state, type(message)) not in RELAY_MOVES:
            allowed = sorted({m.__name__ for s, m in RELAY_MOVES if s is state})
            raise RemoteProtocolError(
                f"{type(message).__name__} in state {state.value}; allowed: {', '.join(allowed)}",
                WRONG_STATE,
            )
        if isinstance(message, PairRequest):
            return self._request(user, message)
        if isinstance(message, PairArmed):
            return self._armed(user, message)
        if isinstance(message, Credit):
            self._outstanding(user, frame.stream).granted(message.n_bytes)
            return [HasRoom()]
        raise LocalProtocolError(f"the table allows {type(message).__name__}, nothing handles it")

    def clicks(self, session: bytes, block: ClickBlock) -> list[Effect]:
        """Announce what the device measured, the same to both users."""
        current = self._session
        if current is None or current.ready.session != session:
            return []  # a session that was aborted while the device was at work
        if current.announcer.n_batches >= SPENT_FRAMES:
            return self._abort(QUOTA)  # its stream has no numbers for more
        batch = current.announcer.announce(block)
        effects = self._to_both(current, batch)
        elapsed = block.segment * current.ready.segment_pulses + block.n_elapsed
        effects.append(
            Report(
                "light.progress",
                {
                    "users": list(current.users),
                    "pulses": elapsed,
                    "n_pulses": current.ready.n_pulses,
                    "announced": current.announcer.n_announced,
                },
            )
        )
        if elapsed == current.ready.n_pulses:
            effects += self._to_both(current, current.announcer.close())
            effects.append(
                Report(
                    "pair.finished",
                    {
                        "users": list(current.users),
                        "pulses": elapsed,
                        "announced": current.announcer.n_announced,
                    },
                )
            )
            self._release_users(current)
            effects += self._next_session()
        return effects

    def light_failed(self, session: bytes) -> list[Effect]:
        """The device could not measure a session to its end."""
        if self._session is None or self._session.ready.session != session:
            return []
        return self._abort(LIGHT_FAILED)

    def arming_overdue(self, session: bytes) -> list[Effect]:
        """A session's users have had their time; if they are not both ready, others go on."""
        current = self._session
        if current is None or current.ready.session != session or current.measuring:
            return []
        return self._abort(PEER_GONE)

    def _request(self, user: str, message: PairRequest) -> list[Effect]:
        if message.peer == user:
            raise RemoteProtocolError(f"{user} asks for a pair with itself")
        known = self._users[user]
        requests = known.requests
        if sum(map(len, requests.values())) >= MAX_REQUESTS:
            raise RemoteProtocolError(f"{user} has {MAX_REQUESTS} open requests", QUOTA)
        pair = ordered(user, message.peer)
        if message.request <= known.n_requested.get(pair, 0):
            return []  # said again after a reconnect
        known.n_requested[pair] = message.request
        requests.setdefault(pair, deque()).append(message.n_pulses)
        if self._both_want(pair) and pair not in self._queue:
            self._queue.append(pair)
        return self._next_session()

    def _both_want(self, pair: Pair) -> bool:
        return all(user in self._users and self._users[user].requests.get(pair) for user in pair)

    def _outstanding(self, user: str, handle: int) -> Outstanding:
        known = self._users.get(user)
        return Outstanding() if known is None else known.outstanding.get(handle, Outstanding())

    def _next_session(self) -> list[Effect]:
        if self._session is not None or not self._queue:
            return []
        pair = self._queue.popleft()
        n_pulses = min(self._users[user].requests[pair].popleft() for user in pair)
        if self._both_want(pair):
            self._queue.append(pair)  # to the end: plain round robin
        self._handle += 1
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        ready = PairReady(
            n_pulses=n_pulses,
            pulse_rate_hz=self._pulse_rate_hz,
            relay_key=public,
            segment_pulses=min(self._segment_pulses, n_pulses),
            session=self._entropy(16),
            users=list(pair),
        )
        self._session = _Session(self._handle, ready, pair, Announcer(ready.session, self._key))
        for user in pair:
            self._users[user].state = RelayState.READY
            self._users[user].outstanding = {self._handle: Outstanding()}
        started = {
            "users": list(pair),
            "session": ready.session.hex(),
            "n_pulses": ready.n_pulses,
        }
        return [
            *self._to_both(self._session, ready),
            Report("pair.started", started),
            AwaitArmed(ready.session),
        ]

    def _armed(self, user: str, message: PairArmed) -> list[Effect]:
        session = self._session
        if session is None or user not in session.users:
            return []
        if message.session != session.ready.session:
            return []  # it crossed with the end of that session
        self._users[user].state = RelayState.ARMED
        if any(self._users[u].state is not RelayState.ARMED for u in session.users):
            return []
        session.measuring = True
        return [
            StartLight(
                session.ready.session,
                session.users,
                segments(session.ready.n_pulses, session.ready.segment_pulses),
            )
        ]

    def _abort(self, code: int) -> list[Effect]:
        session = self._session
        if session is None:
            return []
        effects: list[Effect] = []
        if session.measuring:
            effects.append(StopLight(session.ready.session))
        effects += self._to_both(session, PairAborted(code=code, session=session.ready.session))
        effects.append(Report("pair.aborted", {"users": list(session.users), "code": code}))
        self._release_users(session)
        return effects + self._next_session()

    def _release_users(self, session: _Session) -> None:
        self._session = None
        for user in session.users:
            if user in self._users:
                self._users[user].state = RelayState.IDLE

    def _to_both(self, session: _Session, message: Message) -> list[Effect]:
        body = encode(message)
        effects: list[Effect] = []
        for user in session.users:
            if user in self._users:
                sequencer = self._users[user].sequencer
                frame = sequencer.seal(message.TYPE, body, session.handle)
                effects.append(Send(user, frame.raw))
                if isinstance(message, Announcement):
                    self._outstanding(user, session.handle).sent(len(frame.raw))
        return effects


def segments(n_pulses: int, segment_pulses: int) -> tuple[Segment, ...]:
    """Cut a block's light into segments; the last may be shorter."""
    starts = range(0, n_pulses, segment_pulses)
    return tuple(
        Segment(number, start, min(segment_pulses, n_pulses - start))
        for number, start in enumerate(starts)
    )
