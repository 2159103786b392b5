"""Coordinators with one defect each towards their peer, or towards a relay that lies."""

from dataclasses import replace
from types import SimpleNamespace

from conformance.broken.users import BrokenUser, ids

from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.keys import pads
from mdiqkd_net.params import Setting, Source
from mdiqkd_net.protocol import endpoint as core
from mdiqkd_net.protocol import stages
from mdiqkd_net.protocol.committing import _SAYS, Commits
from mdiqkd_net.protocol.credit import Unread
from mdiqkd_net.protocol.effects import Say, Settle, Tell
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.numbering import BlockNumbers
from mdiqkd_net.protocol.states import State
from mdiqkd_net.runtime import pair as runtime_pair
from mdiqkd_net.wire.codec import decode, encode
from mdiqkd_net.wire.messages import AnnouncementsClosed, BlockAborted, Gate, PadLease, PairArmed


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


class TaglessCommits(Commits):
    def _step(self, record, move, message):
        answer = None
        if move.says in _SAYS:
            answer = self._tag(_SAYS[move.says], record.block_id, record.bits)
        said = b"" if answer is None else encode(answer)
        effects = [Settle(record.block_id, move.phase, said)]
        return effects if answer is None else [*effects, Say(answer)]


class ForgetfulCommits(Commits):
    def _repeat(self, record, move):
        effects = super()._repeat(replace(record, said=b""), move)
        return [effect for effect in effects if not isinstance(effect, Settle)]


def with_commits(commits):
    class Changed(Endpoint):
        def __init__(self, plan, **parts):
            super().__init__(plan, **parts)
            self._commits = commits(self.users, self.role, parts["pads"], parts["records"])

    return Changed


class Lenient(Endpoint):
    """Passes over what its peer must not say."""

    def receive_peer(self, frame):
        try:
            return super().receive_peer(frame)
        except RemoteProtocolError:
            if frame.stream:
                self._sequencer.accept(frame)
            return []


class Credulous(Endpoint):
    """Passes over what a relay must not say."""

    def receive_relay(self, frame):
        try:
            return super().receive_relay(frame)
        except (RemoteProtocolError, WireError):
            return []


class ArmsAtOnce(Endpoint):
    """Says that it is armed as soon as it hears of a session."""

    def _ready(self, ready, stream):
        return [*super()._ready(ready, stream), Tell(PairArmed(session=ready.session), stream)]


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


real_peer_source = stages.peer_source
SOME_SOURCE = Source(
    x=Setting(intensity=0.1, probability=0.3),
    y=Setting(intensity=0.3, probability=0.2),
    z=Setting(intensity=0.5, probability=0.4),
)


def any_source(settings):
    try:
        return real_peer_source(settings)
    except RemoteProtocolError:
        return SOME_SOURCE


class NoCredit(Unread):
    """Lets a relay send what it likes."""

    def came(self, frame):
        pass


COORDINATORS = {
    "reveals its settings before the gate": BrokenUser(
        ids("G", 1, 3, 4, 5, 6), ids("G", 2), endpoint=Hasty
    ),
    "takes any digest for its own": BrokenUser(
        ids("G", 3), ids("G", 1, 2, 4, 5, 6), endpoint=Trusting
    ),
    "does not check what a relay signs": BrokenUser(
        ids("R", 4, 9), ids("R", *range(1, 4), *range(5, 9), *range(10, 15)), endpoint=Unverifying
    ),
    "passes over what a relay must not say": BrokenUser(
        ids("R", *range(1, 12), 13, 14), ids("R", 12), endpoint=Credulous
    ),
    "passes over what its peer must not say": BrokenUser(
        ids("B", *range(1, 18), 21, 22, 23, 24, 25) | ids("C", 12) | ids("P", 1, 3) | ids("S", 6),
        ids("B", 19, 20, 26) | ids("P", 2) | ids("S", 1, 2),
        endpoint=Lenient,
    ),
    "takes more announcements than it has granted": BrokenUser(
        ids("R", 15), ids("R", 1, 2), patches={(runtime_pair, "Unread"): NoCredit}
    ),
    "takes a vote whatever its tag": BrokenUser(
        ids("C", 3, 4, 10, 14), ids("C", 1), endpoint=with_commits(TaglessCommits)
    ),
    "tags its decision anew each time": BrokenUser(
        ids("C", 5, 6, 9), ids("C", 2), endpoint=with_commits(ForgetfulCommits)
    ),
    "takes a lease that it has not asked for": BrokenUser(
        ids("P", 1), ids("P", 2, 3), endpoint=TakesAnyLease
    ),
    "takes a lease of pads that it has used": BrokenUser(
        ids("P", 4), ids("S", 1), patches={(pads, "check_lease"): lambda *_: None}
    ),
    "goes on with a block that was given up": BrokenUser(
        ids("C", 7), ids("C", 1, 8), endpoint=Stubborn
    ),
    "never tires of failed tags": BrokenUser(
        ids("C", 14), ids("C", 3), patches={(core, "MAX_TAG_FAILURES"): 10**9}
    ),
    "believes any source": BrokenUser(
        ids("B", 12, 22, 23, 24, 25),
        ids("B", 10, 11),
        patches={(stages, "peer_source"): any_source},
    ),
    "is armed before it has agreed": BrokenUser(ids("B", 26), ids("B", 19), endpoint=ArmsAtOnce),
    "does not hear how far its peer is": BrokenUser(
        ids("S", 5, 6),
        ids("S", 1, 2, 4),
        patches={(BlockNumbers, "hear"): lambda *_: None},
    ),
}
