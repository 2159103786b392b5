"""The hand-out of keys at one user, by the tables of `handout` (spec 13)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Protocol

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.effects import Agreed, Effect, HandOut, HandStep, Report, Say
from mdiqkd_net.protocol.handout import (
    HOLDER_MOVES,
    MAX_KEYS,
    NOT_FREE,
    OWNER_MOVES,
    HandoutMove,
    HandoutSays,
    Holder,
    HolderHears,
    Keys,
    Numbers,
    OwnedRequest,
    Owner,
    OwnerHears,
    count,
    owned_by,
)
from mdiqkd_net.protocol.states import WRONG_STATE, Role
from mdiqkd_net.wire.messages import (
    BlockKeys,
    KeyAssign,
    KeyAssigned,
    KeyBurn,
    KeyBurned,
    KeyRefused,
    Message,
)

HANDOUT_MESSAGES: Final = (KeyAssign, KeyAssigned, KeyRefused, KeyBurn, KeyBurned)
HandoutMessage = KeyAssign | KeyAssigned | KeyRefused | KeyBurn | KeyBurned

_OWNER_STEPS = {
    (Owner.RESERVED, Owner.ASSIGNED): (HandStep.AGREE,),
    (Owner.RESERVED, Owner.BURNING): (HandStep.BURN,),
    (Owner.RESERVED, Owner.BURNED): (HandStep.BURN, HandStep.FORGET),
    (Owner.ASSIGNED, Owner.BURNING): (HandStep.BURN,),
    (Owner.BURNING, Owner.BURNED): (HandStep.FORGET,),
}


class Shelf(Protocol):
    """What a user's store knows of the keys shared with one peer; blocks come by their ids."""

    def choose(self, n_keys: int, *, allow_simulated: bool) -> Keys:
        """The oldest free keys that this user owns.

        Raises:
            KeyStoreError: There are not so many.
        """

    def owned(self, request: bytes) -> OwnedRequest | None:
        """A request of this user's own; None if it is unknown or forgotten."""

    def open_requests(self) -> list[OwnedRequest]:
        """All of them that have keys which are neither delivered nor forgotten, oldest first."""

    def held(self, request: bytes) -> Keys | None:
        """The keys that are set aside for a request of the peer, delivered or not."""

    def fits(self, keys: Keys) -> bool:
        """Whether all of these keys are here, decided upon, and free."""


class Handouts:
    """All requests with one peer. Effects make the moves; only who waits is remembered here."""

    def __init__(
        self,
        users: tuple[str, str],
        role: Role,
        shelf: Shelf,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._users = users
        self._role = role
        self._shelf = shelf
        self._entropy = entropy
        self._awaited: set[bytes] = set()

    def start(self) -> list[Effect]:
        """This process begins: nobody waits for what an earlier one has asked for."""
        return self._for_all(OwnerHears.STARTED)

    def linked(self) -> list[Effect]:
        """There is a new connection: say again what waits for an answer."""
        return self._for_all(OwnerHears.LINKED)

    def ask(self, n_keys: int, *, allow_simulated: bool) -> tuple[bytes, list[Effect]]:
        """Somebody here wants keys; returns the name of the request, which `Agreed` will carry.

        Raises:
            KeyStoreError: There are not so many free keys of ours.
        """
        keys = self._shelf.choose(n_keys, allow_simulated=allow_simulated)
        request = self._entropy(16)
        self._awaited.add(request)
        return request, [HandOut(HandStep.RESERVE, request, keys), Say(_assign(request, keys))]

    def give_up(self, request: bytes) -> None:
        """Nobody waits for the request any more; its keys will be burned."""
        self._awaited.discard(request)

    def receive(self, message: HandoutMessage) -> list[Effect]:
        """Take a message about a request.

        Raises:
            RemoteProtocolError: It cannot be true.
        """
        match message:
            case KeyAssign(request=request):
                return self._hold(request, _keys_of(message.keys))
            case KeyBurn(request=request):
                keys = _keys_of(message.keys)
                held = self._shelf.held(request)
                return self._move_held(request, held, HolderHears.BURN, keys)
            case KeyAssigned(request=request):
                wanted = request in self._awaited
                heard = OwnerHears.ASSIGNED if wanted else OwnerHears.UNWANTED
            case KeyRefused(request=request):
                heard = OwnerHears.REFUSED
            case KeyBurned(request=request):
                heard = OwnerHears.BURNED
        return self._move_owned(request, self._shelf.owned(request), heard)

    def _for_all(self, heard: OwnerHears) -> list[Effect]:
        effects: list[Effect] = []
        for owned in self._shelf.open_requests():
            effects += self._move_owned(owned.request, owned, heard)
        return effects

    def _move_owned(
        self, request: bytes, owned: OwnedRequest | None, heard: OwnerHears
    ) -> list[Effect]:
        phase = None if owned is None else owned.phase
        move = OWNER_MOVES.get((phase, heard))
        if move is None:
            raise RemoteProtocolError(
                f"{heard.value} of a request that is {phase.value if phase else 'unknown'} here",
                WRONG_STATE,
            )
        effects: list[Effect] = []
        if owned is not None and isinstance(phase, Owner) and isinstance(move.phase, Owner):
            steps = _OWNER_STEPS.get((phase, move.phase), ())
            effects += [HandOut(step, request, owned.keys) for step in steps]
            effects += _say(move, request, owned.keys)
        if request in self._awaited and move.phase is not Owner.RESERVED:
            self._awaited.remove(request)
            effects.append(Agreed(request, agreed=move.phase is Owner.ASSIGNED))
        return [*effects, *self._alarm(move, request, heard.value)]

    def _hold(self, request: bytes, keys: Keys) -> list[Effect]:
        owner = Role.PARTICIPANT if self._role is Role.COORDINATOR else Role.COORDINATOR
        if not 1 <= count(keys) <= MAX_KEYS or not owned_by(owner, keys):
            raise RemoteProtocolError(
                f"KeyAssign: found {count(keys)} keys; "
                f"allowed: 1 to {MAX_KEYS}, all owned by the {owner.value}"
            )
        held = self._shelf.held(request)
        fits = self._shelf.fits(keys) if held is None else held == keys
        heard = HolderHears.ASSIGN if fits else HolderHears.MISFIT
        return self._move_held(request, held, heard, keys)

    def _move_held(
        self, request: bytes, held: Keys | None, heard: HolderHears, keys: Keys
    ) -> list[Effect]:
        phase = None if held is None else Holder.ASSIGNED
        move = HOLDER_MOVES[phase, heard]
        effects: list[Effect] = []
        if move.phase is not phase:
            step = HandStep.ASSIGN if move.phase is Holder.ASSIGNED else HandStep.DROP
            effects.append(HandOut(step, request, keys))
        effects += _say(move, request, keys)
        return [*effects, *self._alarm(move, request, heard.value)]

    def _alarm(self, move: HandoutMove, request: bytes, heard: str) -> list[Effect]:
        if not move.alarm:
            return []
        fields = {
            "users": list(self._users),
            "request": request.hex(),
            "heard": heard,
            "reason": "one of the two stores was put back to an older state, or somebody named a "
            "key before it was handed out; its keys are burned, and none is delivered twice",
        }
        return [Report("handout.alarm", fields)]


def _assign(request: bytes, keys: Keys) -> KeyAssign:
    return KeyAssign(keys=_block_keys(keys), request=request)


def _say(move: HandoutMove, request: bytes, keys: Keys) -> list[Effect]:
    message: Message
    match move.says:
        case HandoutSays.ASSIGN:
            message = _assign(request, keys)
        case HandoutSays.ASSIGNED:
            message = KeyAssigned(request=request)
        case HandoutSays.REFUSED:
            message = KeyRefused(code=NOT_FREE, request=request)
        case HandoutSays.BURN:
            message = KeyBurn(keys=_block_keys(keys), request=request)
        case HandoutSays.BURNED:
            message = KeyBurned(request=request)
        case _:
            return []
    return [Say(message)]


def _block_keys(keys: Keys) -> list[BlockKeys]:
    return [BlockKeys(block_id=block.block_id, numbers=list(block.numbers)) for block in keys]


def _keys_of(blocks: Sequence[BlockKeys]) -> Keys:
    if len({block.block_id for block in blocks}) != len(blocks):
        raise RemoteProtocolError("keys: found a block twice; allowed: each block once")
    for block in blocks:
        if any(one >= other for one, other in pairwise(block.numbers)):
            raise RemoteProtocolError("keys: found numbers out of order; allowed: rising numbers")
    keys = (Numbers(block.block_id, tuple(block.numbers)) for block in blocks)
    return tuple(sorted(keys, key=lambda block: block.block_id))
