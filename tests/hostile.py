"""The triangle with a hostile relay, whose links may carry anything; and users whose patience ends.

A user that refuses the relay's link, or a frame, is deaf to it from then on, as a real link would
be closed. `lose_patience` is what the shells' timers do: each user that still waits ends its block.
"""

import hashlib
from collections import defaultdict

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from triangle import RECEIVER, Triangle

from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.relay import HostileRelay
from mdiqkd_net.errors import ProtocolError, WireError
from mdiqkd_net.protocol import effects as fx
from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.wire.codec import CAPS
from mdiqkd_net.wire.frames import FrameReader, Sequencer
from mdiqkd_net.wire.messages import Sift


class HostileTriangle(Triangle):
    """Charles behaves as `name` says, within `extent`."""

    def __init__(self, name, n_pulses=40_000_000, *, extent=None, seed=1, **options):
        conduct = BEHAVIOURS[name]
        receiver = msgspec.structs.replace(RECEIVER, attack=conduct.attack)
        self.relay_reports = []
        super().__init__(n_pulses, seed=seed, receiver=receiver, **options)
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"relay").digest())
        honest = Relay(
            pulse_rate_hz=10**9,
            segment_pulses=options.get("segment_pulses", 1_000_000),
            entropy=self.random,
            key=key,
        )
        behaviour = conduct.behaviour(extent or Extent(), key, np.random.default_rng(seed))
        self.relay = HostileRelay(honest, behaviour, name)
        self.refused = {}
        self.relay_reports.clear()  # of the honest relay that was there first
        self._readers = defaultdict(lambda: FrameReader(CAPS))
        self._deaf = set()
        for user in self.users:
            self._perform_relay(self.relay.connected(user, Sequencer()))

    def run(self):
        super().run()
        for _ in range(4):  # the peer hears of it, and a next block may have to be given up, too
            self.lose_patience()
        return self

    @property
    def revealed(self):
        """Whether a setting has left a user."""
        return any(kind == Sift.TYPE for _, _, kind in self.trace)

    def lose_patience(self):
        for user in self.users.values():
            if user.core.block is not None and not user.core.block.ended:
                self._perform(user, user.core.abort("nobody says anything any more"))
        self.pump()

    def pump(self):
        while self._flight:
            source, target, raw = self._flight.popleft()
            if source == "charles" and target in self._deaf:
                continue
            try:
                frames = self._readers[source, target].receive_data(raw)
            except WireError as error:
                self._refuse(target, error)
                continue
            for frame in frames:
                self.trace.append((source, target, frame.kind))
                self._hear(source, target, frame)

    def _hear(self, source, target, frame):
        if target == "charles":
            self._perform_relay(self.relay.receive(source, frame))
            return
        user = self.users[target]
        handle = user.core.receive_relay if source == "charles" else user.core.receive_peer
        try:
            effects = handle(frame)
        except (ProtocolError, WireError) as error:
            self._refuse(target, error)
            return
        self._perform(user, effects)

    def _refuse(self, target, error):
        user = self.users[target]
        self.refused.setdefault(target, error)
        self._deafen(target)
        self._perform(user, user.core.abort(str(error)))

    def _deafen(self, user):
        self._deaf.add(user)
        self._perform_relay(self.relay.disconnected(user))

    def _perform_relay(self, effects):
        for effect in effects:
            match effect:
                case fx.Cut(node=user):
                    self._cut(user)
                case fx.Report():
                    self.relay_reports.append((effect.event, effect.fields))
                case _:
                    super()._perform_relay([effect])

    def _cut(self, user):
        """What was said before the cut still arrives; nothing comes after it."""
        self._perform_relay(self.relay.disconnected(user))
