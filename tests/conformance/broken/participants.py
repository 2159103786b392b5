"""Participants with one defect each towards their coordinator."""

import dataclasses

import msgspec
from conformance.broken.coordinators import (
    ForgetfulCommits,
    Lenient,
    TaglessCommits,
    any_source,
    with_commits,
)
from conformance.broken.users import BrokenUser, ids

from mdiqkd_net.protocol import endpoint as core
from mdiqkd_net.protocol import ripening, stages
from mdiqkd_net.protocol.commit import Heard, Phase
from mdiqkd_net.protocol.committing import Commits
from mdiqkd_net.protocol.effects import Say, Settle
from mdiqkd_net.protocol.endpoint import Endpoint
from mdiqkd_net.protocol.ids import session_digest
from mdiqkd_net.protocol.numbering import BlockNumbers
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.protocol.states import State
from mdiqkd_net.protocol.tags import Transcript
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import (
    AmplifySeed,
    BlockAborted,
    BlockOpen,
    Committed,
    Gate,
    Prepare,
    Vote,
)

replace = msgspec.structs.replace


class TakesAnyProposal(Endpoint):
    """Takes a proposal for what it would have proposed itself."""

    def _receive_open(self, block, frame, message):
        if block is not None:
            message = self._ours(frame, message, block.session_digest)
        return super()._receive_open(block, frame, message)

    def _ready(self, ready, stream):
        if self._waiting is not None:
            frame, message = self._waiting
            self._waiting = frame, self._ours(frame, message, session_digest(ready))
        return super()._ready(ready, stream)

    def _ours(self, frame, message, digest):
        ours = self._plan.agreement.open(frame.stream, digest)
        return replace(ours, source=message.source)


class TakesAnyNumber(Endpoint):
    """Takes a proposal wherever it stands, and whatever was before it."""

    def _receive_open(self, block, frame, message):
        if block is not None and block.state is State.OPENING:
            return block.open_as(message.block, frame, message)
        self._waiting = frame, message
        return []


class ForgetsSessions(Endpoint):
    """Does not know which sessions are over."""

    def _remember(self, ended):
        pass


class DropsEarlyProposals(Endpoint):
    """Takes no proposal before the relay's word."""

    def _receive_open(self, block, frame, message):
        return [] if block is None else super()._receive_open(block, frame, message)


class BlamesTheRelay(Endpoint):
    """Takes what is wrong with a proposal that waited for the relay's fault."""

    def receive_relay(self, frame):
        effects = super().receive_relay(frame)
        for effect in effects:
            if type(effect) is core.Refuse:
                raise effect.error
        return effects


class EagerAtTheGate(Endpoint):
    """Reveals its settings at the coordinator's gate, before its own list is complete."""

    def receive_peer(self, frame):
        effects = super().receive_peer(frame)
        if frame.kind == Gate.TYPE and self._block.state is State.EARLY_GATE:
            effects = [*effects, *stages._reveal(self._block._ctx)]
        return effects


class NeedsNoGate(Endpoint):
    """Reveals its settings as soon as its own list is complete."""

    def receive_relay(self, frame):
        effects = super().receive_relay(frame)
        if self._block is not None and self._block.state is State.CLOSED:
            effects = [*effects, *stages._reveal(self._block._ctx)]
        return effects


def any_scheme(self, message):
    self.scheme = message.scheme
    return real_started(self, message)


real_started = KeyReconciliation.started


class Generous(Endpoint):
    """Takes a key of any length."""

    def receive_peer(self, frame):
        if frame.kind == AmplifySeed.TYPE:
            ctx = self._block._ctx
            ctx.estimate = dataclasses.replace(ctx.estimate, key_length_bits=10**9)
        return super().receive_peer(frame)


class TakesAnyName(Endpoint):
    """Does not look which key it is asked to vote for."""

    def _receive_in_block(self, frame):
        if frame.kind == Prepare.TYPE:
            ctx = self._block._ctx
            message = replace(decode(frame), block_id=ctx.block_id, bits=ctx.secret_bits)
            return self._settled(self._block.receive_peer(frame, message))
        return super()._receive_in_block(frame)


class VotesTooEarly(Endpoint):
    """Votes once it has the key, and not for a `Prepare`."""

    def receive_peer(self, frame):
        effects = super().receive_peer(frame)
        if frame.kind == AmplifySeed.TYPE:
            vote = Vote(block_id=self._block.block_id, pad=0, tag=bytes(16))
            effects = [*effects, Say(vote)]
        return effects


class Obedient(Endpoint):
    """Ends a block that it has voted for if it is told so, by whatever words."""

    def receive_peer(self, frame):
        block = self._block
        if frame.kind == BlockAborted.TYPE and block is not None and block.state is State.PREPARED:
            self._sequencer.accept(frame)
            return self._settled([Settle(block.block_id, Phase.ABORTED, b"")])
        return super().receive_peer(frame)


class ObedientCommits(Commits):
    def _hear(self, block_id, heard, message):
        record = self._records.record(block_id)
        if heard is Heard.UNKNOWN and record is not None and record.phase is Phase.PREPARED:
            return [Settle(block_id, Phase.ABORTED, b"")]
        return super()._hear(block_id, heard, message)


class StubbornCommits(Commits):
    """Does not end a block, whatever the coordinator says."""

    def _hear(self, block_id, heard, message):
        return [] if heard is Heard.ABORTED else super()._hear(block_id, heard, message)


class WillingCommits(Commits):
    """Says that it has committed, of whatever block it is told to."""

    def _hear(self, block_id, heard, message):
        if heard is Heard.COMMIT and self._records.record(block_id) is None:
            return [Say(Committed(block_id=block_id, pad=0, tag=bytes(16)))]
        return super()._hear(block_id, heard, message)


class Forgetful(Endpoint):
    """Forgets what it has voted for when the coordinator begins anew."""

    def linked(self, *, kept):
        effects = super().linked(kept=kept)
        if kept:
            return effects
        open_ones = [record.block_id for record in self._records.unsettled()]
        return [*(Settle(block_id, Phase.ABORTED, b"") for block_id in open_ones), *effects]


class Mute(Endpoint):
    """Never says that it has committed."""

    def receive_peer(self, frame):
        effects = super().receive_peer(frame)
        return [e for e in effects if not isinstance(getattr(e, "message", None), Committed)]


class NeverAnswers(Endpoint):
    """Answers no proposal."""

    def receive_peer(self, frame):
        return [] if frame.kind == BlockOpen.TYPE else super().receive_peer(frame)


PARTICIPANTS = {
    "answers no proposal": BrokenUser(ids("O", 1, 21, 22, 23), ids("B", 26), endpoint=NeverAnswers),
    "takes any proposal for its own": BrokenUser(
        ids("O", *range(2, 11), 16, 17, 24), ids("O", 1, 11, 18, 20), endpoint=TakesAnyProposal
    ),
    "believes any source": BrokenUser(
        ids("O", *range(11, 16)), ids("O", 1, 2), patches={(stages, "peer_source"): any_source}
    ),
    "takes a proposal wherever it stands": BrokenUser(
        ids("O", 16, 18, 19, 20, 22, 23, 25), ids("O", 1, 2, 17, 21), endpoint=TakesAnyNumber
    ),
    "does not know which sessions are over": BrokenUser(
        ids("O", 22, 23), ids("O", 1, 21), endpoint=ForgetsSessions
    ),
    "takes no proposal before the relay's word": BrokenUser(
        ids("O", 21), ids("O", 2, 23), endpoint=DropsEarlyProposals
    ),
    "blames the relay for its peer's words": BrokenUser(
        ids("O", 24), ids("O", 2, 21), endpoint=BlamesTheRelay
    ),
    "does not hear how far its peer is": BrokenUser(
        ids("O", 19) | ids("S", 6),
        ids("O", 1) | ids("S", 1),
        patches={(BlockNumbers, "hear"): lambda *_: None},
    ),
    "passes over what it should refuse": BrokenUser(
        ids("J", *range(1, 16))
        | ids("O", 18, 20)
        | ids("V", 18, 19)
        | ids("B", *range(13, 17), 21),
        ids("J", 16) | ids("O", 1) | ids("V", 1),
        endpoint=Lenient,
    ),
    "reveals its settings before any gate": BrokenUser(
        ids("G", 7), ids("R", 1), endpoint=NeedsNoGate
    ),
    "reveals its settings before it has compared": BrokenUser(
        ids("G", 8), ids("G", 7), endpoint=EagerAtTheGate
    ),
    "takes any scheme": BrokenUser(
        ids("J", 13), ids("J", 6), patches={(KeyReconciliation, "started"): any_scheme}
    ),
    "takes a key of any length": BrokenUser(ids("J", 14), ids("J", 13), endpoint=Generous),
    "takes any hash for that of its key": BrokenUser(
        ids("J", 16), ids("J", 9), patches={(ripening, "check_verification"): lambda *_: None}
    ),
    "votes before it is asked": BrokenUser(ids("V", 2), ids("J", 11), endpoint=VotesTooEarly),
    "takes Prepare whatever its tag": BrokenUser(
        ids("V", 3, 4, 21), ids("V", 5), patches={(Transcript, "check"): lambda *_: None}
    ),
    "does not look at the name of a key": BrokenUser(
        ids("V", 5, 6), ids("V", 3), endpoint=TakesAnyName
    ),
    "takes a decision whatever its tag": BrokenUser(
        ids("V", 8, 9, 14, 20), ids("V", 1), endpoint=with_commits(TaglessCommits)
    ),
    "tags its words anew each time": BrokenUser(
        ids("V", 7, 10, 11), ids("V", 1), endpoint=with_commits(ForgetfulCommits)
    ),
    "never says that it has committed": BrokenUser(
        ids("V", 1, 10, 11) | ids("S", 3), ids("S", 1), endpoint=Mute
    ),
    "ends what it has voted for at BlockAborted": BrokenUser(
        ids("V", 12), ids("V", 13), endpoint=Obedient
    ),
    "ends what it has voted for at CommitUnknown": BrokenUser(
        ids("V", 13), ids("V", 14), endpoint=with_commits(ObedientCommits)
    ),
    "forgets what it has voted for": BrokenUser(ids("V", 15), ids("V", 13), endpoint=Forgetful),
    "never ends what it has voted for": BrokenUser(
        ids("V", 16), ids("V", 15), endpoint=with_commits(StubbornCommits)
    ),
    "commits what it does not know": BrokenUser(
        ids("V", 17), ids("V", 1), endpoint=with_commits(WillingCommits)
    ),
    "never tires of failed tags": BrokenUser(
        ids("V", 20), ids("V", 8), patches={(core, "MAX_TAG_FAILURES"): 10**9}
    ),
}
