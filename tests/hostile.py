"""The triangle with a hostile relay, whose links may carry anything; and users whose patience ends.

As in the shells, a user that refuses the relay's link, or a frame of it, dials it again and begins
anew, and a user whose link was cut goes on where it broke off. `lose_patience` is what the shells'
timers do: each user that still waits ends its block.
"""

from collections import defaultdict

import msgspec
import numpy as np
from triangle import RECEIVER, RELAY_KEY, Triangle

from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.relay import HostileRelay
from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.credit import Unread
from mdiqkd_net.wire.codec import CAPS
from mdiqkd_net.wire.frames import FrameReader
from mdiqkd_net.wire.messages import Sift


class HostileTriangle(Triangle):
    """Charles behaves as `name` says, within `extent`."""

    def __init__(self, name, n_pulses=40_000_000, *, extent=None, seed=1, **options):
        conduct = BEHAVIOURS[name]
        receiver = msgspec.structs.replace(RECEIVER, attack=conduct.attack)
        super().__init__(n_pulses, seed=seed, receiver=receiver, **options)
        rng = np.random.default_rng(seed)
        behaviour = conduct.behaviour(extent or Extent(), RELAY_KEY, rng)
        self.relay = HostileRelay(self.relay, behaviour, name)
        self.relay_reports = []
        self.refused = {}
        self._awaited = []
        self.observed = {user: [] for user in self.users}
        self._unread = defaultdict(Unread)  # everything comes before anything is taken in

    def run(self):
        super().run()
        n_ended = -1
        while n_ended != (n_ended := sum(len(user.ended) for user in self.users.values())):
            self.lose_patience()
        return self

    @property
    def revealed(self):
        """Whether a setting has left a user."""
        return any(kind == Sift.TYPE for _, _, kind in self.trace)

    def lose_patience(self):
        for user in self.users.values():
            self._perform(user, user.core.abort("nobody says anything any more", end="relay"))
            if self._wires[frozenset((user.name, "charles"))].readers[user.name].mid_frame:
                user.relay.break_off()
                self.connect(user.name, "charles")
        for session in self._awaited:
            self._perform_relay(self.relay.arming_overdue(session))
        self.pump()

    def connect(self, a, b):
        if b == "charles":
            self._unread.pop(a, None)
        super().connect(a, b)

    def _put(self, source, target, raw):
        if source == "charles":
            try:
                for frame in FrameReader(CAPS).receive_data(raw):
                    self._unread[target].came(frame)
            except RemoteProtocolError as error:
                self._refuse(self.users[target], source, error)
                return
            except WireError:
                pass  # for the reader at the other end to say
        super()._put(source, target, raw)

    def _deliver(self, source, target, frame, wire):
        if source == "charles":
            self._unread[target].taken(frame)
        super()._deliver(source, target, frame, wire)

    def _perform(self, user, effects):
        self.observed[user.name] += [e.block for e in effects if isinstance(e, fx.Observe)]
        super()._perform(user, effects)

    def _refuse(self, user, source, error):
        self.refused.setdefault(user.name, error)
        if source != "charles":
            super()._refuse(user, source, error)
            return
        user.relay.break_off()
        self._perform(user, user.core.relay_failed(f"the relay: {error}"))
        self.connect(user.name, "charles")

    def _perform_relay(self, effects):
        super()._perform_relay(effects)
        for effect in effects:
            match effect:
                case fx.Cut(node=user, anew=anew):
                    if anew:
                        self._at_relay[user].break_off()
                    self.connect(user, "charles")
                case fx.AwaitArmed(session=session):
                    self._awaited = [session]
                case fx.Report(event=event, fields=fields):
                    self.relay_reports.append((event, fields))
