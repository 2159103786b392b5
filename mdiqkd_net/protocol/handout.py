"""Hand-out of keys between the two stores of a pair, as tables (spec 13).

Every key has one *owner*: the coordinator owns even numbers of a block, the participant odd ones.
Only the owner gives out a key that nobody has named yet, and only after the other user, its
*holder*, has durably set the same key aside for the same request. So one key never serves two
requests, and no key that was delivered here is missing there.

A request is a random name for some keys. What a user hears about a request, together with its own
phase, gives its next phase and what it says. A phase is durable before what it says leaves;
whatever is said may be said again.

An agreement does not outlive the process that asked for it. After a restart, and if nobody waits
any more, the owner lets the holder set the keys aside all the same, so that both know their fate,
and then both erase them. That is also why an older copy of one store, which may cost keys, never
delivers one again: keys that come back as free are refused by the holder, and keys that come back
as agreed are burned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mdiqkd_net.protocol.states import Role

MAX_KEYS: Final = 128
"""In one request."""

NOT_FREE: Final = 0x0601
"""A key is unknown to the holder, or serves another request."""

OWNED_PARITY: Final[Mapping[Role, int]] = {Role.COORDINATOR: 0, Role.PARTICIPANT: 1}
"""A user owns the keys whose number is 2n + this."""


class Owner(Enum):
    """Of a request at the user that made it, durable."""

    RESERVED = "reserved"  # the holder has been asked
    ASSIGNED = "assigned"  # the holder has agreed; keys may be delivered here
    BURNING = "burning"  # keys are erased here; the holder has not confirmed yet
    BURNED = "burned"  # and there; the request is forgotten


class Holder(Enum):
    """Of a request at the other user, durable."""

    ASSIGNED = "assigned"  # keys may be delivered here, by name
    BURNED = "burned"  # keys are erased; the request is forgotten


class OwnerHears(Enum):
    """What moves a request at its owner."""

    ASSIGNED = "key assigned"  # and somebody waits for it
    UNWANTED = "key assigned, unwanted"  # and nobody waits for it any more
    REFUSED = "key refused"
    BURNED = "key burned"
    LINKED = "linked"  # a new connection to the holder
    STARTED = "started"  # this process has begun; who asked is gone


class HolderHears(Enum):
    """What moves a request at its holder."""

    ASSIGN = "key assign"  # of keys that are all free, or are those set aside for this request
    MISFIT = "key assign, misfit"  # of others
    BURN = "key burn"


class HandoutSays(Enum):
    """What a user says about a request."""

    NOTHING = "nothing"
    ASSIGN = "key assign"
    ASSIGNED = "key assigned"
    REFUSED = "key refused"
    BURN = "key burn"
    BURNED = "key burned"


@dataclass(frozen=True, slots=True)
class HandoutMove:
    """Where a request goes, and what is said. `phase` None: there is no record.

    `alarm` tells the operator that one of the two stores has lost state.
    """

    phase: Owner | Holder | None
    says: HandoutSays
    alarm: bool = False


_OH, _HH, _S = OwnerHears, HolderHears, HandoutSays

OWNER_MOVES: Final[Mapping[tuple[Owner | None, OwnerHears], HandoutMove]] = {
    (None, _OH.REFUSED): HandoutMove(None, _S.NOTHING),
    (None, _OH.BURNED): HandoutMove(None, _S.NOTHING),
    (Owner.RESERVED, _OH.ASSIGNED): HandoutMove(Owner.ASSIGNED, _S.NOTHING),
    (Owner.RESERVED, _OH.UNWANTED): HandoutMove(Owner.BURNING, _S.BURN),
    (Owner.RESERVED, _OH.REFUSED): HandoutMove(Owner.BURNED, _S.NOTHING, alarm=True),
    (Owner.RESERVED, _OH.LINKED): HandoutMove(Owner.RESERVED, _S.ASSIGN),
    (Owner.RESERVED, _OH.STARTED): HandoutMove(Owner.RESERVED, _S.NOTHING),
    (Owner.ASSIGNED, _OH.UNWANTED): HandoutMove(Owner.ASSIGNED, _S.NOTHING),
    (Owner.ASSIGNED, _OH.LINKED): HandoutMove(Owner.ASSIGNED, _S.NOTHING),
    (Owner.ASSIGNED, _OH.STARTED): HandoutMove(Owner.BURNING, _S.NOTHING),
    (Owner.BURNING, _OH.UNWANTED): HandoutMove(Owner.BURNING, _S.BURN),
    (Owner.BURNING, _OH.BURNED): HandoutMove(Owner.BURNED, _S.NOTHING),
    (Owner.BURNING, _OH.LINKED): HandoutMove(Owner.BURNING, _S.BURN),
    (Owner.BURNING, _OH.STARTED): HandoutMove(Owner.BURNING, _S.NOTHING),
}

HOLDER_MOVES: Final[Mapping[tuple[Holder | None, HolderHears], HandoutMove]] = {
    (None, _HH.ASSIGN): HandoutMove(Holder.ASSIGNED, _S.ASSIGNED),
    (None, _HH.MISFIT): HandoutMove(None, _S.REFUSED, alarm=True),
    (None, _HH.BURN): HandoutMove(None, _S.BURNED),
    (Holder.ASSIGNED, _HH.ASSIGN): HandoutMove(Holder.ASSIGNED, _S.ASSIGNED),
    (Holder.ASSIGNED, _HH.MISFIT): HandoutMove(Holder.ASSIGNED, _S.REFUSED, alarm=True),
    (Holder.ASSIGNED, _HH.BURN): HandoutMove(Holder.BURNED, _S.BURNED),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Some keys of one block."""

    block_id: bytes
    numbers: tuple[int, ...]


Keys = tuple[Numbers, ...]


@dataclass(frozen=True, slots=True)
class OwnedRequest:
    """What the owner keeps of a request.

    Attributes:
        request: 16 random bytes.
        phase: Never `BURNED`: such a request is forgotten.
        keys: Those that have not been delivered here.
    """

    request: bytes
    phase: Owner
    keys: Keys


def owned_by(role: Role, keys: Sequence[Numbers]) -> bool:
    """Whether all of these keys belong to a user of that role."""
    parity = OWNED_PARITY[role]
    return all(number % 2 == parity for block in keys for number in block.numbers)


def count(keys: Sequence[Numbers]) -> int:
    """How many keys these are."""
    return sum(len(block.numbers) for block in keys)
