"""What one block knows while it ripens, and how it speaks to the peer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import Counts
from mdiqkd_net.estimation.engine import (
    Estimate,
    blocks_needed,
    estimate,
    in_words,
    more_light,
)
from mdiqkd_net.monitoring.public import End
from mdiqkd_net.params import Source
from mdiqkd_net.postprocessing.leak import efficiency
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.protocol.agreement import Agreement
from mdiqkd_net.protocol.announcing import AnnouncementLog
from mdiqkd_net.protocol.committing import Commits
from mdiqkd_net.protocol.credit import Granted
from mdiqkd_net.protocol.effects import Disarm, Effect, Finished, Observe, Report, Send
from mdiqkd_net.protocol.ids import block_id, pair_id, session_digest
from mdiqkd_net.protocol.light import Entropy, SessionLight
from mdiqkd_net.protocol.observing import public_block
from mdiqkd_net.protocol.reconciling import KeyReconciliation, RoundTrips
from mdiqkd_net.protocol.sifting import Sifted
from mdiqkd_net.protocol.states import Role, State
from mdiqkd_net.protocol.tags import Pads, Transcript, tag_context
from mdiqkd_net.secret import SecretBuffer, wipe
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import BlockAborted, Gate, Message, PairReady, Prepare

NOT_ENOUGH_DATA: Final = 0x0501
FAILED_CHECK: Final = 0x0502
LOCAL_REASON: Final = 0x0503

ORIGIN: Final = "simulated"
"""Every device of this version simulates its light; a real one will name itself in `PairReady`."""


def _no_bytes() -> NDArray[np.uint8]:
    return np.empty(0, np.uint8)


@dataclass(slots=True)
class BlockContext:
    """Everything about one block at one user. Fields fill up from top to bottom."""

    role: Role
    users: tuple[str, str]
    peer: str
    block: int
    stream_at_relay: int
    ready: PairReady
    agreement: Agreement
    light: SessionLight
    sequencer: Sequencer
    pads: Pads
    commits: Commits
    entropy: Entropy = field(repr=False)
    qber_hint: float
    qber_guessed: bool
    log: AnnouncementLog
    credit: Granted
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    processor: Processor = HERE
    transcript: Transcript = field(default_factory=Transcript)
    peer_source: Source | None = None
    states: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)
    outcomes: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)
    early_gate: Gate | None = None
    own_gate: bytes = b""
    peer_gate: bytes = b""
    peer_settings: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)
    peer_bits: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)
    settings: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = field(default=None, repr=False)
    sifted: Sifted | None = field(default=None, repr=False)
    errors: dict[str, int] = field(default_factory=dict)
    reconciliation: KeyReconciliation | None = field(default=None, repr=False)
    key_bits: NDArray[np.uint8] = field(default_factory=_no_bytes, repr=False)
    wrong_groups: list[int] | None = None
    estimate: Estimate | None = None
    seconds_more_needed: float | None = None
    seed_parts: list[bytes] = field(default_factory=list, repr=False)
    secret: SecretBuffer | None = field(default=None, repr=False)
    secret_bits: int = 0
    tag_failures: int = 0

    @property
    def is_coordinator(self) -> bool:
        """Whether this user is the first of the pair, the "Alice" of the formulas."""
        return self.role is Role.COORDINATOR

    @property
    def block_id(self) -> bytes:
        """Name of the key block, alike at both users once both gates are proven."""
        gates = (self.own_gate, self.peer_gate)
        in_order = gates if self.is_coordinator else gates[::-1]
        return block_id(self.users, self.ready.session, self.block, in_order)

    @property
    def session_digest(self) -> bytes:
        """Of everything that the relay said about the session."""
        return session_digest(self.ready)

    @property
    def light_s(self) -> float:
        """How long the block's pulses took, as the relay gives their rate; 0 if it does not."""
        rate_hz = self.ready.pulse_rate_hz
        return self.ready.n_pulses / rate_hz if rate_hz else 0.0

    @property
    def sources(self) -> tuple[Source, Source]:
        """Coordinator's and participant's."""
        ours, theirs = self.agreement.prepared_source, self.peer_source
        assert theirs is not None  # noqa: S101  # set before COLLECTING, by the table
        return (ours, theirs) if self.is_coordinator else (theirs, ours)

    def judge(self, *, leak_bits: int) -> Estimate:
        """What the block is worth if so many bits leaked."""
        agreed = self.agreement
        return estimate(
            self.counts, *self.sources, agreed.security, agreed.analysis, leak_ec_bits=leak_bits
        )

    def how_much_longer(self, reason: str, *, leak_bits: int) -> str:
        """Why there is no key, and how much more light would have given one.

        With nothing leaked yet, how much light it takes at least.
        """
        agreed = self.agreement
        factor = blocks_needed(
            self.counts, *self.sources, agreed.security, agreed.analysis, leak_ec_bits=leak_bits
        )
        if self.ready.pulse_rate_hz > 0:
            self.seconds_more_needed = more_light(
                factor, self.ready.n_pulses, self.ready.pulse_rate_hz
            )
            longer = in_words(self.seconds_more_needed)
            at_least = "at least " if leak_bits == 0 and self.seconds_more_needed else ""
            return f"{reason}; {at_least}{longer}"
        return reason

    @property
    def counts(self) -> Counts:
        """Of the sifted block; Z errors once the key is reconciled."""
        assert self.sifted is not None  # noqa: S101  # by the table
        # Until the key is reconciled its errors are not known; only the leak depends on them.
        errors = {"zz": 0, **self.errors}
        return Counts(n_pulses=self.ready.n_pulses, n=self.sifted.n, m=errors)

    def send(self, message: Message) -> Send:
        """Seal a message for the peer and enter it in the transcript."""
        frame = self.sequencer.seal(message.TYPE, encode(message), self.block)
        self.transcript.add_sent(frame)
        return Send(self.peer, frame.raw)

    @property
    def prepare_context(self) -> bytes:
        """What the tag of `Prepare` speaks of, besides the transcript."""
        pair = pair_id(self.users)
        return tag_context(Prepare.TYPE, pair, self.block_id, self.secret_bits, by_coordinator=True)

    @property
    def eps_hashes(self) -> float:
        """What the four tags and the two gates of a block add to its failure probability."""
        tags = (self.transcript.n_bytes + 64) // 16 + 1
        gates = self.log.n_bytes // 16 + 1
        return 8 * (4 * tags + 2 * gates) / 2.0**106

    def report(self, event: str, **fields: Any) -> Report:
        """An event about this block."""
        return Report(event, {"users": list(self.users), "block": self.block, **fields})

    def abort(
        self, reason: str, code: int | None, *, end: End = "other"
    ) -> tuple[State, list[Effect]]:
        """End the block without a key; tell the peer unless `code` is None."""
        if code == NOT_ENOUGH_DATA:
            end = "no key"
        effects: list[Effect] = [] if code is None else [self.send(BlockAborted(code=code))]
        effects += [
            Disarm(self.ready.session),
            self.report("block.aborted", **self.summary(), reason=reason),
            Finished("aborted"),
            Observe(public_block(self, end)),
        ]
        self.wipe()
        return State.ABORTED, effects

    def summary(self) -> Mapping[str, Any]:
        """All public figures of the block as far as they are known."""
        found: dict[str, Any] = {
            "block_id": self.block_id.hex() if self.peer_gate else None,
            "pulses": self.ready.n_pulses,
            "announced": self.log.n_announced,
            "origin": ORIGIN,
            "secret_bits": self.secret_bits,
            "tag_failures": self.tag_failures,
            "leak_ec_bits": 0,
            "f_ec": None,
            "scheme": None,
            "qber_x": None,
            "qber_z": None,
            "s11_lower": None,
            "e11_upper": None,
            "method": self.agreement.analysis.method,
            "label": self.agreement.analysis.rules.label,
            "design_sha256": self.agreement.analysis.digest,
            "seconds_more_needed": self.seconds_more_needed,
        }
        if self.sifted is not None:
            found |= {"n": dict(self.sifted.n), "m": dict(self.errors)}
            found["qber_x"] = _ratio(self.errors.get("xx"), self.sifted.n["xx"])
            found["qber_z"] = _ratio(self.errors.get("zz"), self.sifted.n["zz"])
        if self.reconciliation is not None:
            found["leak_ec_bits"] = self.reconciliation.leak_bits
            found["f_ec"] = self._f_ec(found["qber_z"])
            found["rounds"] = self.reconciliation.n_rounds
            found["scheme"] = self.reconciliation.scheme
        if self.estimate is not None:
            found["s11_lower"] = self.estimate.s11_lower
            found["e11_upper"] = self.estimate.e11_upper
        return found

    def _f_ec(self, qber_z: float | None) -> float | None:
        """Parities over the Shannon limit; None before the error rate is known, or without one."""
        if self.reconciliation is None or self.sifted is None or not qber_z:
            return None
        return efficiency(self.reconciliation.leak_bits, self.sifted.n["zz"], qber_z)

    def wipe(self) -> None:
        """Overwrite what is secret; docs/explanation/secrets.md says what this cannot reach."""
        self.light.wipe()
        wipe(*self.states, *self.peer_bits, self.key_bits)
        if self.sifted is not None:
            wipe(self.sifted.key_bits)
        self.states.clear()
        if self.secret is not None:
            self.secret.wipe()
            self.secret = None
        if self.reconciliation is not None:
            self.reconciliation.wipe()
            self.reconciliation = None


def _ratio(part: int | None, whole: int) -> float | None:
    return part / whole if part is not None and whole else None
