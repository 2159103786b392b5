"""What the key store takes and gives: blocks, keys and how they are named."""

import datetime
import hashlib
import math
import uuid
from dataclasses import dataclass, field
from typing import Final, Literal

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.identity import check_pair
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.secret import SecretBuffer

Origin = Literal["simulated", "measured"]
ORIGINS: Final[tuple[Origin, ...]] = ("simulated", "measured")
KeyState = Literal["prepared", "available", "reserved", "assigned", "delivered", "burned"]

BLOCK_ID_BYTES: Final = 16
KEY_SIZE_BITS: Final = 256


class NoKeyError(KeyStoreError):
    """There is no key to take; another time there may be."""

    exit_code = 1


class MissingStoreError(KeyStoreError):
    """There is no key store under that name."""

    exit_code = 2


class SimulatedKeyError(KeyStoreError):
    """Keys are there, but they come from simulated light and nobody asked for such keys."""

    exit_code = 2


def utc_now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMeta:
    """Where a block of key comes from; all of it is bound to the sealed keys.

    Attributes:
        block_id: 16 bytes that both users derive alike.
        pair: Both users, the lower node id first.
        owner: The user whose store this is.
        peer: The other user.
        block_no: Number of the block in this pair.
        origin: "simulated" or "measured".
        eps: The block's whole security parameter, tags included; it holds for all keys together.
        leak_model: Which bits of reconciliation were charged, and what that assumes; by name.
            After a semicolon the standing of the proof that the length rests on, if it needs one.
        created_utc: ISO 8601.
    """

    block_id: bytes
    pair: tuple[str, str]
    owner: str
    peer: str
    block_no: int
    origin: str
    eps: float
    leak_model: str
    created_utc: str = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if len(self.block_id) != BLOCK_ID_BYTES:
            raise KeyStoreError(
                f"block_id: found {len(self.block_id)} bytes; allowed: {BLOCK_ID_BYTES}"
            )
        if self.pair != check_pair(*self.pair):
            raise KeyStoreError(f"pair: found {self.pair}; allowed: the lower node id first")
        if {self.owner, self.peer} != set(self.pair):
            raise KeyStoreError(
                f"owner and peer: found {self.owner!r} and {self.peer!r}; allowed: {self.pair}"
            )
        if self.origin not in ORIGINS:
            raise KeyStoreError(f"origin: found {self.origin!r}; allowed: {', '.join(ORIGINS)}")
        if not 0 <= self.block_no < 2**63:
            raise KeyStoreError(f"block_no: found {self.block_no}; allowed: 0 to 2^63 - 1")
        if not (math.isfinite(self.eps) and 0.0 <= self.eps <= 1.0):
            raise KeyStoreError(f"eps: found {self.eps}; allowed: 0 to 1")

    @property
    def role(self) -> Role:
        """Of the owner in this pair."""
        return Role.COORDINATOR if self.owner == self.pair[0] else Role.PARTICIPANT


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """One key without its value. `eps` is that of the whole block it was cut from."""

    key_id: str
    peer: str
    origin: str
    state: KeyState
    size_bits: int
    block_id: bytes
    block_no: int
    index: int
    eps: float
    leak_model: str
    created_utc: str
    delivered_utc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredKey:
    """A key that has left the store for good; whoever has it wipes `value` after use.

    `eps` is that of the whole block.
    """

    key_id: str
    peer: str
    origin: str
    size_bits: int
    block_no: int
    index: int
    eps: float
    value: SecretBuffer = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """The stock of keys with one peer, of one origin.

    Attributes:
        available: Keys that can be taken now.
        prepared: Keys that wait for the peer's word.
        delivered: Keys that have been taken.
        bits: Sum of the sizes of the available keys.
        surplus_bits: Bits that were dropped because they did not fill a key.
    """

    peer: str
    origin: str
    available: int
    prepared: int
    delivered: int
    bits: int
    surplus_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInfo:
    """A block and where its commit stands.

    Attributes:
        block_id: In hex.
        peer: The other user.
        block_no: Number of the block in this pair.
        origin: "simulated" or "measured".
        role: Of this user in the commit.
        phase: Of the commit at this user.
        in_doubt: Whether the commit waits for the peer's word.
        free: Keys that are neither asked for nor gone.
        free_bits: Their size.
        created_utc: ISO 8601.
    """

    block_id: str
    peer: str
    block_no: int
    origin: str
    role: str
    phase: str
    in_doubt: bool
    free: int
    free_bits: int
    created_utc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """Where every bit of key with one peer, of one origin, has gone; all numbers are bits.

    Attributes:
        made: All that blocks brought.
        prepared: Waits for the peer's word on its block.
        available: Can be handed out.
        reserved: The peer has been asked to set it aside for a request of ours.
        assigned: Set aside by both users for one request.
        delivered: Has left the store.
        burned: Erased without a delivery.
        discarded: Erased because its block was aborted.
        surplus: Dropped because it did not fill a key.
        balances: Whether every block of `made` bits is accounted for to the bit.
    """

    peer: str
    origin: str
    made: int
    prepared: int
    available: int
    reserved: int
    assigned: int
    delivered: int
    burned: int
    discarded: int
    surplus: int
    balances: bool


def key_id_of(block_id: bytes, index: int, size_bits: int) -> str:
    """Name of a key, alike at both users and without any information on its value.

    A UUID of version 8 (RFC 9562) from the first 16 bytes of
    SHA-256("mdiqkd1 keyid" | block_id | index u32 | size u32), integers big-endian.
    """
    digest = hashlib.sha256(
        b"mdiqkd1 keyid" + block_id + index.to_bytes(4, "big") + size_bits.to_bytes(4, "big")
    ).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)  # version 8
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    return str(uuid.UUID(int=number))
