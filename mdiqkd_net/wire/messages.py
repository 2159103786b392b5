"""Every message: one frozen class, one type number, one size cap, one clause of the spec.

The wire carries no floats. Intensities and probabilities are integers of 1e-9; the three numbers
of the security budget travel as the bits of an IEEE 754 binary64.
"""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from mdiqkd_net.params import MAX_PULSES
from mdiqkd_net.units import NANO
from mdiqkd_net.wire.bulk import Bulk, Ranked, Rice
from mdiqkd_net.wire.frames import MAX_STREAMS

KIB: Final = 1 << 10
MIB: Final = 1 << 20
MAX_GROUPS: Final = 4096
MAX_UNSETTLED: Final = 512
"""Blocks of one pair that may wait for the peer's word."""

NodeName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}\Z")]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Pulses = Annotated[int, Meta(ge=1, le=MAX_PULSES)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Nano = Annotated[int, Meta(ge=0, le=100 * NANO)]
Share = Annotated[int, Meta(ge=0, le=NANO)]
KeyNumber = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Code = Annotated[int, Meta(ge=0, le=0xFFFF)]
Float64Bits = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Position = Annotated[list[Natural], Meta(min_length=2, max_length=2)]
"""A stream, and how many frames of it have come."""


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all messages."""

    TYPE: ClassVar[int] = 0
    CAP: ClassVar[int] = 256


class Hello(Message, frozen=True):
    """First message of either side of any link: who I am, and where we were (spec 4.1, 4.4)."""

    TYPE: ClassVar[int] = 0x8001
    CAP: ClassVar[int] = 4 * KIB

    epoch: Bytes16
    impl: Annotated[str, Meta(max_length=64)]
    node: NodeName
    nonce: Bytes32
    positions: Annotated[list[Position], Meta(max_length=MAX_STREAMS)]
    role: Literal["endpoint", "relay", "transmitter", "receiver"]
    seen: Annotated[bytes, Meta(max_length=16)]  # the epoch that `positions` speak of, or nothing
    versions: Annotated[list[Code], Meta(min_length=1, max_length=16)]


class Ping(Message, frozen=True):
    """Either side of any link: a question whether the other one is there (spec 4.6)."""

    TYPE: ClassVar[int] = 0x0003
    CAP: ClassVar[int] = 64

    n: Natural


class Pong(Message, frozen=True):
    """The answer to `Ping`, with its number (spec 4.6)."""

    TYPE: ClassVar[int] = 0x0004
    CAP: ClassVar[int] = 64

    n: Natural


class Error(Message, frozen=True):
    """The sender refuses something and closes the link; codes in spec 10."""

    TYPE: ClassVar[int] = 0x800F
    CAP: ClassVar[int] = 128

    code: Code


class PairRequest(Message, frozen=True):
    """Endpoint to relay: I want a block with this peer (spec 5.1).

    `request` counts a user's requests for the pair, so that a repetition is known as one.
    """

    TYPE: ClassVar[int] = 0x8101
    CAP: ClassVar[int] = KIB

    n_pulses: Pulses
    peer: NodeName
    request: Natural


class PairReady(Message, frozen=True):
    """Relay to both users: your session is next; these are its parameters (spec 5.2)."""

    TYPE: ClassVar[int] = 0x8102
    CAP: ClassVar[int] = 4 * KIB

    n_pulses: Pulses
    pulse_rate_hz: Natural
    relay_key: Bytes32
    segment_pulses: Pulses
    session: Bytes16
    users: Annotated[list[NodeName], Meta(min_length=2, max_length=2)]


class PairArmed(Message, frozen=True):
    """Endpoint to relay: my transmitter is ready for the session (spec 5.3)."""

    TYPE: ClassVar[int] = 0x8103

    session: Bytes16


class PairAborted(Message, frozen=True):
    """Relay to a user: the session ends here, there will be no more announcements (spec 5.6)."""

    TYPE: ClassVar[int] = 0x8104

    code: Code
    session: Bytes16


class Announcement(Message, frozen=True):
    """Relay to both users: which pulses of [base, covered), and which Bell state (spec 5.4)."""

    TYPE: ClassVar[int] = 0x8105
    CAP: ClassVar[int] = 2 * MIB

    base: Natural
    batch: Natural
    covered: Natural
    outcomes: Bulk  # b1: 0 = psi_minus, 1 = psi_plus
    pulses: Rice
    segment: Natural
    signature: Signature


class AnnouncementsClosed(Message, frozen=True):
    """Relay to both users: that was all of the session (spec 5.5)."""

    TYPE: ClassVar[int] = 0x8106

    batches: Natural
    count: Natural
    signature: Signature


class Credit(Message, frozen=True):
    """Endpoint to relay: so many more bytes of announcements may come (spec 5.7)."""

    TYPE: ClassVar[int] = 0x8107

    n_bytes: Natural


class DeclaredBounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a user's source may be from its settings, each in 1e-9, rounded up (spec 3.5)."""

    intensity_correlation: Nano
    phase_nonuniformity: Nano
    relative: Annotated[list[Nano], Meta(min_length=3, max_length=3)]
    trojan_photons: Nano
    vacuum_intensity: Nano
    vacuum_light: Literal["any", "x"]


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's x, y, z: mean photon number and probability, each in 1e-9; and their bounds."""

    bounds: DeclaredBounds
    intensities: Annotated[list[Nano], Meta(min_length=3, max_length=3)]
    probabilities: Annotated[list[Nano], Meta(min_length=3, max_length=3)]


class BlockOpen(Message, frozen=True):
    """Coordinator to participant: this block, on this session, with these parameters (spec 6.1)."""

    TYPE: ClassVar[int] = 0x8202
    CAP: ClassVar[int] = 16 * KIB

    accounting: Annotated[str, Meta(max_length=32)]
    bell_states: Annotated[list[Literal["psi_minus", "psi_plus"]], Meta(max_length=2)]
    block: Natural
    design: Annotated[bytes, Meta(max_length=32)]  # SHA-256, or nothing for a method without
    eps_cor: Float64Bits
    eps_sec: Float64Bits
    f_ec: Float64Bits
    method: Annotated[str, Meta(max_length=32)]
    reconciler: Annotated[str, Meta(max_length=32)]
    session_digest: Bytes32
    source: SourceSettings
    tail: Annotated[str, Meta(max_length=32)]


class BlockOpened(Message, frozen=True):
    """Participant to coordinator: the same session and parameters, and my own source (spec 6.1)."""

    TYPE: ClassVar[int] = 0x8203
    CAP: ClassVar[int] = 4 * KIB

    block: Natural
    session_digest: Bytes32
    source: SourceSettings


class Gate(Message, frozen=True):
    """Either endpoint: proof that I hold this announcement list, under a fresh key (spec 6.2)."""

    TYPE: ClassVar[int] = 0x8204

    batches: Natural
    count: Natural
    digest: Bytes16
    hash_key: Bytes32


class Sift(Message, frozen=True):
    """Either endpoint, after the gate only: settings of the announced pulses (spec 6.3)."""

    TYPE: ClassVar[int] = 0x8301
    CAP: ClassVar[int] = 2 * MIB

    chunk: Natural
    settings: Ranked  # 0 = o, 1 = x, 2 = y, 3 = z


class SiftDone(Message, frozen=True):
    """Either endpoint: all settings are out; fresh randomness fixes the order (spec 6.3)."""

    TYPE: ClassVar[int] = 0x8302

    count: Natural
    nonce: Bytes16


class EstimationBits(Message, frozen=True):
    """Either endpoint: my bits of events where both users chose x or y (spec 6.4)."""

    TYPE: ClassVar[int] = 0x8303
    CAP: ClassVar[int] = 2 * MIB

    bits: Bulk
    chunk: Natural
    last: bool


class ReconcileStart(Message, frozen=True):
    """Coordinator: scheme, public seed and error rate estimate of one key chunk (spec 6.5)."""

    TYPE: ClassVar[int] = 0x8401
    CAP: ClassVar[int] = 4 * KIB

    bits: Natural
    chunk: Natural
    qber: Share
    scheme: Annotated[str, Meta(max_length=32)]
    seed: Bytes32


class Reconcile(Message, frozen=True):
    """Either endpoint: one round of the scheme; the payload is the scheme's own (spec 6.5)."""

    TYPE: ClassVar[int] = 0x8402
    CAP: ClassVar[int] = 4 * MIB

    chunk: Natural
    payload: bytes
    round: Natural


class Verify(Message, frozen=True):
    """Coordinator: universal hash of the reconciled key under a fresh public key (spec 6.6)."""

    TYPE: ClassVar[int] = 0x8501

    bits: Natural
    digest: Bytes16
    hash_key: Bytes16


class Verified(Message, frozen=True):
    """Participant: whether my hash is the same, and how many bits I corrected (spec 6.6)."""

    TYPE: ClassVar[int] = 0x8502

    corrected: Natural
    ok: bool


class VerifyGroups(Message, frozen=True):
    """Coordinator: hashes of all groups of the reconciled key, one after another (spec 6.6)."""

    TYPE: ClassVar[int] = 0x8504
    CAP: ClassVar[int] = 4 * MIB

    digests: bytes
    hash_key: Bytes16


class GroupsVerified(Message, frozen=True):
    """Participant: the groups whose hash is another one here, rising (spec 6.6)."""

    TYPE: ClassVar[int] = 0x8505
    CAP: ClassVar[int] = MIB

    wrong: Annotated[list[Natural], Meta(max_length=MAX_GROUPS)]


class Disclose(Message, frozen=True):
    """Coordinator: my bits of a wrong group, which are charged in full (spec 6.6)."""

    TYPE: ClassVar[int] = 0x8506
    CAP: ClassVar[int] = MIB

    bits: Bulk
    group: Natural


class AmplifySeed(Message, frozen=True):
    """Coordinator: the length, and a part of the public seed, drawn after verification (6.7)."""

    TYPE: ClassVar[int] = 0x8503
    CAP: ClassVar[int] = 4 * MIB

    bits: Natural
    part: Natural
    parts: Natural
    seed: bytes


class Prepare(Message, frozen=True):
    """Coordinator: final length; I hold the key durably (spec 7.2)."""

    TYPE: ClassVar[int] = 0x8601
    CAP: ClassVar[int] = 512

    block_id: Bytes16
    bits: Natural
    pad: Natural
    tag: Bytes16


class Vote(Message, frozen=True):
    """Participant: I hold the same key durably (spec 7.3)."""

    TYPE: ClassVar[int] = 0x8602

    block_id: Bytes16
    pad: Natural
    tag: Bytes16


class Commit(Message, frozen=True):
    """Coordinator: the key may be used (spec 7.3)."""

    TYPE: ClassVar[int] = 0x8603

    block_id: Bytes16
    pad: Natural
    tag: Bytes16


class Committed(Message, frozen=True):
    """Participant: so it is here (spec 7.3)."""

    TYPE: ClassVar[int] = 0x8604

    block_id: Bytes16
    pad: Natural
    tag: Bytes16


class CommitAborted(Message, frozen=True):
    """Coordinator, to a participant that has voted: there will be no key (spec 7.3)."""

    TYPE: ClassVar[int] = 0x8606

    block_id: Bytes16
    pad: Natural
    tag: Bytes16


class CommitUnknown(Message, frozen=True):
    """Either endpoint: I have no record of this block (spec 7.4)."""

    TYPE: ClassVar[int] = 0x8607

    block_id: Bytes16


class Resume(Message, frozen=True):
    """Either endpoint, on every new connection: what waits for your word (spec 7.4)."""

    TYPE: ClassVar[int] = 0x8701
    CAP: ClassVar[int] = 16 * KIB

    blocks: Annotated[list[Bytes16], Meta(max_length=MAX_UNSETTLED)]
    next_block: Natural


class PadLeaseRequest(Message, frozen=True):
    """Either endpoint: I need pads for my tags; below this index I have used them (spec 8.3)."""

    TYPE: ClassVar[int] = 0x8703

    high_water: Natural


class PadLease(Message, frozen=True):
    """Either endpoint: use these, and no others (spec 8.3)."""

    TYPE: ClassVar[int] = 0x8704

    base: Natural
    count: Natural


class BlockAborted(Message, frozen=True):
    """Either endpoint: this block ends without a key; the reason stays local (spec 6.8)."""

    TYPE: ClassVar[int] = 0x8605

    code: Code


class BlockKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some keys of one block, by their numbers, rising (spec 13.2)."""

    block_id: Bytes16
    numbers: Annotated[list[KeyNumber], Meta(min_length=1, max_length=128)]


class KeyAssign(Message, frozen=True):
    """Owner of keys: set these aside for this request (spec 13.2)."""

    TYPE: ClassVar[int] = 0x8801
    CAP: ClassVar[int] = 8 * KIB

    keys: Annotated[list[BlockKeys], Meta(min_length=1, max_length=128)]
    request: Bytes16


class KeyAssigned(Message, frozen=True):
    """Holder: they are set aside (spec 13.2)."""

    TYPE: ClassVar[int] = 0x8802

    request: Bytes16


class KeyRefused(Message, frozen=True):
    """Holder: not all of these keys are here and free (spec 13.3)."""

    TYPE: ClassVar[int] = 0x8803

    code: Code
    request: Bytes16


class KeyBurn(Message, frozen=True):
    """Owner: erase these keys of the request; nobody waits for them (spec 13.4)."""

    TYPE: ClassVar[int] = 0x8804
    CAP: ClassVar[int] = 8 * KIB

    keys: Annotated[list[BlockKeys], Meta(min_length=1, max_length=128)]
    request: Bytes16


class KeyBurned(Message, frozen=True):
    """Holder: they are erased (spec 13.4)."""

    TYPE: ClassVar[int] = 0x8805

    request: Bytes16


class LightArm(Message, frozen=True):
    """Transmitter to simulated fiber: the public description of my light (spec 12.1)."""

    TYPE: ClassVar[int] = 0x8901
    CAP: ClassVar[int] = 4 * KIB

    session: Bytes16
    source: SourceSettings


class LightAsk(Message, frozen=True):
    """Simulated fiber to transmitter: what did you send at these pulses (spec 12.2)."""

    TYPE: ClassVar[int] = 0x8902
    CAP: ClassVar[int] = 4 * MIB

    base: Natural
    gaps: Bulk
    segment: Natural
    session: Bytes16


class Light(Message, frozen=True):
    """Transmitter to simulated fiber: the states of those pulses, in order (spec 12.2).

    No states at all for a session that is not armed, or not any more.
    """

    TYPE: ClassVar[int] = 0x8903
    CAP: ClassVar[int] = 4 * MIB

    session: Bytes16
    states: Bulk


def _every_message(base: type[Message]) -> list[type[Message]]:
    return base.__subclasses__()


BY_TYPE: Final[dict[int, type[Message]]] = {m.TYPE: m for m in _every_message(Message)}
