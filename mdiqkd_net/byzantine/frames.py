"""Lies below the messages: frames that are none."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgpack

from mdiqkd_net.byzantine.behaviour import Behaviour, Body, Noise, Said, Word
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import HEADER, WIRE_VERSION
from mdiqkd_net.wire.messages import Announcement, PairReady

NESTED = 200
"""Arrays in arrays: more than any message has."""


class Oversize(Behaviour):
    """In place of a batch comes a header that promises more than a batch may have."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """A header alone: nobody should wait for the rest."""
        if not isinstance(honest.message, Announcement):
            return [honest]
        header = (Announcement.CAP + 1, Announcement.TYPE, WIRE_VERSION, 0, honest.stream, 0, 0)
        return [Noise(honest.user, HEADER.pack(*header))]


class WrongTypes(Behaviour):
    """In place of a batch comes a frame of arrays in arrays."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """A body that is MessagePack and no map."""
        if not isinstance(honest.message, Announcement):
            return [honest]
        nested: list[object] = []
        for _ in range(NESTED):
            nested = [nested]
        body: bytes = msgpack.packb(nested)
        return [Body(honest.user, Announcement.TYPE, body, honest.stream)]


class NotCanonical(Behaviour):
    """Every batch has a byte too many."""

    def lie(self, honest: Said) -> Sequence[Word]:
        """A body and one byte behind it."""
        if not isinstance(honest.message, Announcement):
            return [honest]
        body = encode(honest.message) + b"\xc0"
        return [Body(honest.user, Announcement.TYPE, body, honest.stream)]


@dataclass(eq=False)
class SlowLoris(Behaviour):
    """The first batch begins and never ends; nothing else comes on the link."""

    _begun: set[str] = field(default_factory=set, init=False)

    def say(self, honest: Said) -> Sequence[Word]:
        """Nothing, once a frame has begun, until a session begins on another link."""
        if isinstance(honest.message, PairReady):
            self._begun.discard(honest.user)
        return [] if honest.user in self._begun else super().say(honest)

    def lie(self, honest: Said) -> Sequence[Word]:
        """Half a frame."""
        if not isinstance(honest.message, Announcement):
            return [honest]
        self._begun.add(honest.user)
        body = encode(honest.message)
        header = (len(body), Announcement.TYPE, WIRE_VERSION, 0, honest.stream, 0, 0)
        return [Noise(honest.user, HEADER.pack(*header) + body[: len(body) // 2])]
