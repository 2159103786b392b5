"""Every history of a commit: an explicit-state search over the tables that the nodes run on.

A world is both users' durable phases, what is in flight, whether the block is still in memory, and
how many faults may come. Messages go through the table of `protocol.commit`; nothing of it is
written down here a second time. Faults: a cut connection, a crash of either user (which may hit
between the durable step and its message: the message is lost with the connection), a participant
that gives the block up, somebody inside the encryption who forges what carries no tag, and one
store put back to an earlier phase.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from state_space import StateSpace

from mdiqkd_net.protocol.commit import COMMIT_MOVES, OFFERED, UNSETTLED, Heard, Phase, Said
from mdiqkd_net.protocol.states import Role

C, P = Role.COORDINATOR, Role.PARTICIPANT
OTHER = {C: P, P: C}

PREPARE = "prepare"
"""Not of the commit's table: part of the block's stream, which only a block in memory has."""

ANSWERS = {
    Said.VOTE: Heard.VOTE,
    Said.COMMIT: Heard.COMMIT,
    Said.COMMITTED: Heard.COMMITTED,
    Said.ABORTED: Heard.ABORTED,
    Said.UNKNOWN: Heard.UNKNOWN,
}
FORGEABLE = ((C, Heard.UNKNOWN), (P, Heard.UNKNOWN), (C, Heard.LISTED), (P, Heard.LISTED))


@dataclass(frozen=True)
class World:
    """One state of the search; `went` holds every phase that a user's store has been in."""

    phases: tuple[Phase | None, Phase | None] = (None, None)
    went: tuple[tuple[Phase | None, ...], tuple[Phase | None, ...]] = ((None,), (None,))
    in_memory: tuple[bool, bool] = (True, True)
    flight: tuple[tuple[object, ...], tuple[object, ...]] = ((), ())  # to C, to P
    linked: bool = True
    faults: int = 0
    restores: int = 0
    restored: bool = False
    forged: bool = False
    alarmed: bool = False

    def phase(self, role: Role) -> Phase | None:
        return self.phases[role is P]

    def offers(self, role: Role, offered: Mapping[Role, Phase]) -> bool:
        return self.phase(role) is offered[role]


def _set(pair, role, value):
    return (pair[0], value) if role is P else (value, pair[1])


class Search(StateSpace):
    """All worlds that can be reached.

    Args:
        moves: The tables; the real ones, or a variant that must fail.
        offered: In which phase a user hands keys out.
        lists: Whether a new connection begins with what is unsettled.
    """

    def __init__(self, faults, *, restores=0, moves=COMMIT_MOVES, offered=OFFERED, lists=True):
        self.moves, self.offered, self.lists = moves, offered, lists
        self.missing: set[tuple[Role, Phase | None, Heard]] = set()
        self.explore(World(faults=faults, restores=restores))

    def _progress(self, world: World) -> Iterator[World]:
        if world.phase(C) is None and world.in_memory[0] and world.went[0] == (None,):
            yield self._send(self._store(world, C, Phase.PREPARED), P, PREPARE)
        if not world.linked:
            yield self._link(world)
        for role in (C, P):
            if world.flight[role is P]:
                yield self._deliver(world, role)

    def _events(self, world: World) -> Iterator[World]:
        if world.faults:
            fewer = replace(world, faults=world.faults - 1)
            if world.linked:
                yield replace(fewer, linked=False, flight=((), ()))
            for role in (C, P):
                crashed = replace(
                    fewer,
                    linked=False,
                    flight=((), ()),
                    in_memory=_set(world.in_memory, role, False),
                )
                yield crashed
                for phase in world.went[role is P][:-1] if world.restores else ():
                    yield replace(
                        crashed,
                        phases=_set(world.phases, role, phase),
                        restores=0,
                        restored=True,
                    )
            if world.in_memory[1] and world.phase(P) is None:
                ended = replace(fewer, in_memory=(world.in_memory[0], False))
                yield self._send(ended, C, Heard.GIVE_UP) if world.linked else ended
            if world.linked:
                for role, heard in FORGEABLE:
                    yield replace(self._send(fewer, role, heard), forged=True)
                yield replace(self._send(fewer, C, Heard.GIVE_UP), forged=True)

    def _link(self, world: World) -> World:
        # A block that either side has lost from memory is lost at both.
        kept = all(world.in_memory)
        linked = replace(world, linked=True, in_memory=(kept, kept))
        if self.lists:
            for role in (C, P):
                if world.phase(role) in UNSETTLED[role]:
                    linked = self._send(linked, OTHER[role], Heard.LISTED)
        if kept and world.phase(C) is Phase.PREPARED and world.phase(P) is None:
            linked = self._send(linked, P, PREPARE)
        return linked

    def _deliver(self, world: World, role: Role) -> World:
        message, *rest = world.flight[role is P]
        world = replace(world, flight=_set(world.flight, role, tuple(rest)))
        if message == PREPARE:
            if not world.in_memory[1] or world.phase(P) is not None:
                return world
            return self._send(self._store(world, P, Phase.PREPARED), C, Heard.VOTE)
        assert isinstance(message, Heard)
        if message is Heard.GIVE_UP and world.phase(C) is not Phase.PREPARED:
            # Before it has prepared the block, a coordinator drops it as a whole.
            early = world.phase(C) is None
            return replace(world, in_memory=(False, world.in_memory[1])) if early else world
        if message is Heard.LISTED and world.phase(role) is None and all(world.in_memory):
            return world  # its Prepare is on the way
        move = self.moves[role].get((world.phase(role), message))
        if move is None:
            self.missing.add((role, world.phase(role), message))
            return world
        if move.phase is not world.phase(role):
            world = self._store(world, role, move.phase)
        if move.says is Said.ALARM:
            return replace(world, alarmed=True)
        if move.says is Said.NOTHING:
            return world
        return self._send(world, OTHER[role], ANSWERS[move.says])

    def _send(self, world: World, to: Role, message: object) -> World:
        queue = world.flight[to is P]
        return replace(world, flight=_set(world.flight, to, (*queue, message)))

    def _store(self, world: World, role: Role, phase: Phase | None) -> World:
        went = world.went[role is P]
        went = went if phase in went else (*went, phase)
        return replace(
            world, phases=_set(world.phases, role, phase), went=_set(world.went, role, went)
        )


def settled(world: World) -> bool:
    """Both users have come to the same end, and know it."""
    ends = (None, Phase.ABORTED)
    coordinator, participant = world.phases
    if world.phase(C) is None and world.went[0] == (None,) and all(world.in_memory):
        return False
    both_hold = (coordinator, participant) == (Phase.CONFIRMED, Phase.COMMITTED)
    return both_hold or (coordinator in ends and participant in ends)
