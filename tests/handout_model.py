"""Every history of a hand-out: an explicit-state search over the tables that the nodes run on.

A world is what both stores hold of a few keys of one owner, who waits, what is in flight, and how
many faults may come. Messages go through the tables of `protocol.handout`; nothing of them is
written down here a second time. Faults: a cut connection, a crash of either user (which may hit
between the durable step and its message: the message is lost with the connection), somebody who
does not wait any more, and one store put back to an earlier state. Programs take keys whenever the
stores let them: at the owner while its node runs, at the holder by name at any time, for a name is
known from whoever had the key at the owner.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from state_space import StateSpace

from mdiqkd_net.protocol.handout import (
    HOLDER_MOVES,
    OWNER_MOVES,
    HandoutSays,
    Holder,
    HolderHears,
    Owner,
    OwnerHears,
)

FREE, DELIVERED, GONE = "free", "delivered", "gone"
A, B = 0, 1
"""The users; A owns every key, unless the variant says that both do."""

RESUME = "resume"

Key = tuple[object, int | None]
"""What a store holds of a key: a state (a phase of its request or a word), and the request."""


@dataclass(frozen=True)
class World:
    """One state of the search, users in the order A, B.

    Attributes:
        keys: What the stores hold.
        went: What they have held, so that it can be put back.
        taken: Requests under which programs have had the keys, first one first, per user and key.
        awaited: Requests that somebody waits for, per user; known to the process only.
        up: Whether the processes have done what they do at their start.
        volatile: Requests that are burned in memory alone, per user (a variant).
        n_requests: How many there have been.
        broken: A fault has come, or somebody stopped waiting.
    """

    keys: tuple[tuple[Key, ...], tuple[Key, ...]]
    went: tuple[tuple[tuple[Key, ...], ...], tuple[tuple[Key, ...], ...]]
    taken: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
    awaited: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    volatile: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    up: tuple[bool, bool] = (True, True)
    flight: tuple[tuple[object, ...], tuple[object, ...]] = ((RESUME,), (RESUME,))
    linked: bool = True
    n_requests: int = 0
    faults: int = 0
    restores: int = 0
    restored: bool = False
    broken: bool = False
    alarmed: bool = False


def put(pair, user, value):
    """A pair with one of its two changed."""
    return (pair[0], value) if user == B else (value, pair[1])


class Search(StateSpace):
    """All worlds that can be reached.

    Args:
        faults: How many may come.
        n_keys: How many keys there are.
        restores: How often one store may be put back.
        n_requests: How often somebody may ask.
        owners, holders: The tables; the real ones, or variants that must fail.
        deliverable: In which states of a key the owner delivers.
        both_own: Both users reserve any key (a variant).
        alone: While its node does not run, the owner delivers free keys.
        burns_durably: Burned keys are erased from the store (or, in a variant, in memory alone).
    """

    def __init__(
        self,
        faults,
        *,
        n_keys=1,
        restores=0,
        n_requests=2,
        owners=OWNER_MOVES,
        holders=HOLDER_MOVES,
        deliverable=(Owner.ASSIGNED,),
        both_own=False,
        alone=False,
        burns_durably=True,
    ):
        self.owners, self.holders = owners, holders
        self.deliverable, self.burns_durably = deliverable, burns_durably
        self.who_owns = (A, B) if both_own else (A,)
        self.n_requests, self.alone = n_requests, alone
        self.missing: set[tuple[object, object]] = set()
        self.used: set[tuple[object, object]] = set()
        free = ((FREE, None),) * n_keys
        self.explore(
            World(
                keys=(free, free),
                went=((free,), (free,)),
                taken=(((),) * n_keys, ((),) * n_keys),
                faults=faults,
                restores=restores,
            )
        )

    def _progress(self, world: World) -> Iterator[World]:
        for user in (A, B):
            if not world.up[user]:
                started = replace(world, up=put(world.up, user, True))
                yield self._for_all(started, user, OwnerHears.STARTED)
            elif world.flight[user]:
                yield self._deliver(world, user)
        if not world.linked and all(world.up):
            yield replace(world, linked=True, flight=((RESUME,), (RESUME,)))

    def _events(self, world: World) -> Iterator[World]:
        yield from self._asks(world)
        yield from self._takes(world)
        yield from self._faults(world)

    def _asks(self, world: World) -> Iterator[World]:
        if world.n_requests == self.n_requests or not world.linked:
            return
        for user in self.who_owns:
            free = [i for i, (state, _) in enumerate(world.keys[user]) if state == FREE]
            for size in range(1, len(free) + 1):
                request, chosen = world.n_requests, tuple(free[:size])
                asked = replace(
                    world,
                    n_requests=request + 1,
                    awaited=put(world.awaited, user, world.awaited[user] | {request}),
                )
                asked = self._store(asked, user, chosen, (Owner.RESERVED, request))
                yield self._send(asked, 1 - user, (HandoutSays.ASSIGN, request, chosen))

    def _takes(self, world: World) -> Iterator[World]:
        for user in (A, B):
            for index, (state, serves) in enumerate(world.keys[user]):
                had_there = world.taken[1 - user][index]
                named = state == FREE and user == B and bool(had_there)
                request = had_there[0] if named else serves
                ours = world.up[user] and state in self.deliverable
                alone = self.alone and user == A and not world.up[user] and state == FREE
                if state is Holder.ASSIGNED or named or ours or alone:
                    had = world.taken[user]
                    now = (*had[:index], (*had[index], request), *had[index + 1 :])
                    taken = replace(world, taken=put(world.taken, user, now))
                    yield self._store(taken, user, (index,), (DELIVERED, request))

    def _faults(self, world: World) -> Iterator[World]:
        for user in (A, B):
            for request in world.awaited[user]:
                fewer = world.awaited[user] - {request}
                yield replace(world, broken=True, awaited=put(world.awaited, user, fewer))
        if not world.faults:
            return
        cut = replace(world, faults=world.faults - 1, broken=True, linked=False, flight=((), ()))
        if world.linked:
            yield cut
        for user in (A, B):
            crashed = replace(
                cut,
                up=put(world.up, user, False),
                awaited=put(world.awaited, user, frozenset()),
                volatile=put(world.volatile, user, frozenset()),
            )
            yield crashed
            for keys in world.went[user][:-1] if world.restores else ():
                yield replace(crashed, keys=put(world.keys, user, keys), restores=0, restored=True)

    def _deliver(self, world: World, user: int) -> World:
        message, *rest = world.flight[user]
        world = replace(world, flight=put(world.flight, user, tuple(rest)))
        if message == RESUME:
            return self._for_all(world, user, OwnerHears.LINKED)
        says, request, keys = message
        match says:
            case HandoutSays.ASSIGN:
                return self._hold(world, user, request, keys)
            case HandoutSays.BURN:
                held = self._held(world, user, request)
                return self._move_held(world, user, request, keys, held, HolderHears.BURN)
            case HandoutSays.ASSIGNED:
                wanted = request in world.awaited[user]
                heard = OwnerHears.ASSIGNED if wanted else OwnerHears.UNWANTED
            case HandoutSays.REFUSED:
                heard = OwnerHears.REFUSED
            case HandoutSays.BURNED:
                heard = OwnerHears.BURNED
        return self._move_owned(world, user, request, heard)

    def _for_all(self, world: World, user: int, heard: OwnerHears) -> World:
        open_requests = {
            request
            for state, request in world.keys[user]
            if request is not None and isinstance(state, Owner)
        }
        for request in sorted(open_requests):
            world = self._move_owned(world, user, request, heard)
        return world

    def _move_owned(self, world: World, user: int, request: int, heard: OwnerHears) -> World:
        phase, left = self._owned(world, user, request)
        self.used.add((phase, heard))
        move = self.owners.get((phase, heard))
        if move is None:
            self.missing.add((phase, heard))
            return world
        if move.phase is not Owner.RESERVED:
            awaited = world.awaited[user] - {request}
            world = replace(world, awaited=put(world.awaited, user, awaited))
        if move.phase is Owner.BURNING and not self.burns_durably:
            volatile = world.volatile[user] | {request}
            world = replace(world, volatile=put(world.volatile, user, volatile))
        elif move.phase is Owner.BURNED:
            world = self._store(world, user, left, (GONE, None))
        elif move.phase is not phase:
            world = self._store(world, user, left, (move.phase, request))
        return self._say(world, user, move, request, left)

    def _owned(self, world: World, user: int, request: int):
        states = [
            state
            for state, serves in world.keys[user]
            if serves == request and not isinstance(state, Holder)
        ]
        if request in world.volatile[user]:
            states.append(Owner.BURNING)
        left = tuple(
            index
            for index, (state, serves) in enumerate(world.keys[user])
            if serves == request and isinstance(state, Owner)
        )
        for phase in (Owner.RESERVED, Owner.BURNING, Owner.ASSIGNED):
            if phase in states:
                return phase, left
        return (Owner.ASSIGNED if states else None), left

    def _held(self, world: World, user: int, request: int):
        return tuple(
            index
            for index, (state, serves) in enumerate(world.keys[user])
            if serves == request and (state is Holder.ASSIGNED or state == DELIVERED)
        )

    def _hold(self, world: World, user: int, request: int, keys) -> World:
        held = self._held(world, user, request)
        free = all(world.keys[user][index][0] == FREE for index in keys)
        fits = held == keys if held else free
        heard = HolderHears.ASSIGN if fits else HolderHears.MISFIT
        return self._move_held(world, user, request, keys, held, heard)

    def _move_held(self, world: World, user: int, request: int, keys, held, heard) -> World:
        phase = Holder.ASSIGNED if held else None
        self.used.add((phase, heard))
        move = self.holders.get((phase, heard))
        if move is None:
            self.missing.add((phase, heard))
            return world
        if move.phase is Holder.ASSIGNED and phase is None:
            world = self._store(world, user, keys, (Holder.ASSIGNED, request))
        elif move.phase is Holder.BURNED:
            dropped = [
                index for index in keys if world.keys[user][index] == (Holder.ASSIGNED, request)
            ]
            world = self._store(world, user, dropped, (GONE, None))
        return self._say(world, user, move, request, keys)

    def _say(self, world: World, user: int, move, request: int, keys) -> World:
        if move.alarm:
            world = replace(world, alarmed=True)
        if move.says is HandoutSays.NOTHING:
            return world
        return self._send(world, 1 - user, (move.says, request, keys))

    def _send(self, world: World, to: int, message: object) -> World:
        if not world.linked:
            return world
        return replace(world, flight=put(world.flight, to, (*world.flight[to], message)))

    def _store(self, world: World, user: int, which, now: Key) -> World:
        keys = tuple(now if i in which else key for i, key in enumerate(world.keys[user]))
        went = world.went[user]
        if world.restores and keys not in went:
            world = replace(world, went=put(world.went, user, (*went, keys)))
        return replace(world, keys=put(world.keys, user, keys))


def quiet(world: World) -> bool:
    """Nothing is under way, and no owner waits for an answer."""
    waiting = (Owner.RESERVED, Owner.BURNING)
    return (
        world.linked
        and not any(world.flight)
        and not any(state in waiting for keys in world.keys for state, _ in keys)
    )


def settled(world: World) -> bool:
    """And every key is free, agreed upon or done with at both users alike.

    What one user's programs have had before it could be burned is done with, too.
    """
    done = (DELIVERED, GONE)
    return quiet(world) and all(
        (at_a != FREE or at_b == FREE)
        and (at_b != FREE or at_a in (FREE, DELIVERED))
        and (at_b in done or at_a != GONE)
        and (at_a in done or at_b != GONE)
        for (at_a, _), (at_b, _) in zip(*world.keys, strict=True)
    )


def delivered_twice(world: World) -> bool:
    """A user's programs had a key twice, or the two users' programs under two requests.

    At the owner every delivery is somebody else's. At the holder a program names the key, which it
    knows from the request: if that store is put back, the same may be named again.
    """
    return any(
        len(at_a) > 1 or len({*at_a, *at_b}) > 1 or (len(at_b) > 1 and not world.restored)
        for at_a, at_b in zip(*world.taken, strict=True)
    )


def missing_there(world: World) -> bool:
    """A key that was delivered at its owner was not had at the holder, and cannot be."""
    return any(
        had and not had_there and there not in ((FREE, None), (Holder.ASSIGNED, had[0]))
        for had, had_there, there in zip(*world.taken, world.keys[B], strict=True)
    )


def burned(world: World) -> bool:
    """A key was lost."""
    return any(state == GONE for keys in world.keys for state, _ in keys)
