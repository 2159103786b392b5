"""Endpoints with one defect each towards their peer, or towards a relay that lies.

The harness plays its peer with the same core, so a defect is a subclass that the node alone uses.
"""

from dataclasses import replace
from types import SimpleNamespace

from mdiqkd_net.protocol import stages
from mdiqkd_net.protocol.committing import _SAYS, Commits
from mdiqkd_net.protocol.effects import Say, Settle
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.messages import AnnouncementsClosed, BlockAborted, Gate, PadLease


class Hasty(Endpoint):
    """Reveals its settings as soon as its own list is closed."""

    def receive_relay(self, frame):
        effects = super().receive_relay(frame)
        if frame.kind == AnnouncementsClosed.TYPE and self._block.state is State.CLOSED:
            effects += stages._reveal(self._block._ctx)
        return effects

    def receive_peer(self, frame):
        reveal = stages._reveal
        stages._reveal = lambda _ctx: []  # it has been done
        try:
            return super().receive_peer(frame)
        finally:
            stages._reveal = reveal


class Trusting(Endpoint):
    """Takes any digest in the peer's gate for its own."""

    def receive_peer(self, frame):
        if frame.kind == Gate.TYPE and self._block is not None:
            digest = decode(frame).digest
            self._block._ctx.log.digest = lambda _key: digest
        return super().receive_peer(frame)


class Unverifying(Endpoint):
    """Does not check what a relay signs."""

    def receive_relay(self, frame):
        effects = super().receive_relay(frame)
        self._block._ctx.log._key = SimpleNamespace(verify=lambda *_: None)
        return effects


class _TaglessCommits(Commits):
    def _step(self, record, move, message):
        answer = None
        if move.says in _SAYS:
            answer = self._tag(_SAYS[move.says], record.block_id, record.bits)
        said = b"" if answer is None else encode(answer)
        effects = [Settle(record.block_id, move.phase, said)]
        return effects if answer is None else [*effects, Say(answer)]


class _ForgetfulCommits(Commits):
    def _repeat(self, record, move):
        return super()._repeat(replace(record, said=b""), move)


def with_commits(commits):
    class Changed(Endpoint):
        def __init__(self, plan, **parts):
            super().__init__(plan, **parts)
            self._commits = commits(self.users, self.role, parts["pads"], parts["records"])

    return Changed


class TakesAnyLease(Endpoint):
    """Takes a lease that it has not asked for."""

    def _receive_about_pair(self, message):
        if isinstance(message, PadLease) and not self._asks_pads:
            return []
        return super()._receive_about_pair(message)


class Stubborn(Endpoint):
    """Goes on with a prepared block that its peer has given up."""

    def receive_peer(self, frame):
        block = self._block
        if frame.kind == BlockAborted.TYPE and block is not None and block.state is State.PREPARED:
            self._sequencer.accept(frame)
            return []
        return super().receive_peer(frame)


def ids(prefix, *numbers):
    return frozenset(f"CT-EP-{prefix}-{number:02}" for number in numbers)


COORDINATORS = {
    "reveals its settings before the gate": (Hasty, ids("G", 1, 3, 4, 5, 6)),
    "takes any digest for its own": (Trusting, ids("G", 3)),
    "does not check what a relay signs": (Unverifying, ids("R", 4, 9)),
    "takes a vote whatever its tag": (with_commits(_TaglessCommits), ids("C", 3, 4, 10)),
    "tags its decision anew each time": (with_commits(_ForgetfulCommits), ids("C", 5, 6, 9)),
    "takes a lease that it has not asked for": (TakesAnyLease, ids("P", 1)),
    "goes on with a block that was given up": (Stubborn, ids("C", 7)),
}
