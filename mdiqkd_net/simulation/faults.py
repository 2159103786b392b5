"""What may go wrong in a simulated network. A fault is a task that keeps doing one kind of harm.

Every fault draws from a generator of its own, so that leaving one out changes as little as possible
of what the others do; that is how the history of a failing seed is made short.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final, Protocol

import trio

from mdiqkd_net.runtime.crashing import crash_points
from mdiqkd_net.simulation.disk import Contents
from mdiqkd_net.simulation.life import Life
from mdiqkd_net.simulation.net import Net

EVERY_S: Final = 1.5
"""Mean time between two harms of one kind."""

SHARE: Final = 0.4
"""Of the kinds of harm, in one seed."""

RESTORE: Final = "restore"


@dataclass(slots=True, eq=False)
class Wish:
    """That a node ends at a visit of a crash point.

    Attributes:
        node: Which one.
        point: Where.
        visits: How many visits are left.
        torn: Whether in the middle of the step that ends there.
    """

    node: str
    point: str
    visits: int
    torn: bool


class Site(Protocol):
    """What faults can reach."""

    net: Net
    names: tuple[str, ...]
    users: tuple[str, ...]
    wishes: list[Wish]

    def life_of(self, node: str) -> Life | None:
        """The present life of a node, if it lives."""

    def note(self, node: str, what: str) -> None:
        """Enter something into the history."""

    def crash(self, node: str, why: str, *, torn: bool = False) -> None:
        """End a node's process, if it lives."""

    def copy_of(self, node: str) -> Contents:
        """A node's files as they are."""

    def put_back(self, node: str, older: Contents, *, pads: bool, store: bool) -> None:
        """End a node's process, and put back some of its files as they were."""


Act = Callable[[Site, Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of harm.

    Attributes:
        what: In words.
        act: Does it again and again until cancelled.
    """

    what: str
    act: Act


async def _pause(rng: Random) -> None:
    await trio.sleep(rng.expovariate(1.0 / EVERY_S))


async def _crash(site: Site, rng: Random) -> None:
    while True:
        await _pause(rng)
        site.crash(rng.choice(site.names), "killed")


async def _crash_at_point(site: Site, rng: Random) -> None:
    await _wish(site, rng, torn=False)


async def _tear(site: Site, rng: Random) -> None:
    await _wish(site, rng, torn=True)


async def _wish(site: Site, rng: Random, *, torn: bool) -> None:
    points = [p for p in crash_points() if p.endswith(".after") or not torn]
    while True:
        wish = Wish(rng.choice(site.users), rng.choice(points), rng.choice((1, 1, 2)), torn)
        site.wishes.append(wish)
        await _pause(rng)
        if wish in site.wishes:
            site.wishes.remove(wish)


async def _cut(site: Site, rng: Random) -> None:
    while True:
        await _pause(rng)
        if site.net.ends:
            end = rng.choice(site.net.ends)
            site.note(end.own, f"connection to {end.peer} cut")
            end.cut()


async def _stall(site: Site, rng: Random) -> None:
    while True:
        await _pause(rng)
        one, other = rng.sample(site.names, 2)
        routes = [(one, other), (other, one)][: rng.choice((1, 2))]
        for route in routes:
            site.note(route[0], f"nothing arrives at {route[1]}")
            site.net.stall(*route)
        await _pause(rng)
        for route in routes:
            site.note(route[0], f"all arrives at {route[1]} again")
            site.net.heal(*route)


async def _refuse(site: Site, rng: Random) -> None:
    while True:
        await _pause(rng)
        if not site.net.listeners:
            continue
        address = rng.choice(sorted(site.net.listeners))
        site.note(address, "refuses connections")
        site.net.refused.add(address)
        await _pause(rng)
        site.note(address, "takes connections again")
        site.net.refused.discard(address)


async def _delay(site: Site, rng: Random) -> None:
    while True:
        site.net.latency_s = math.exp(rng.uniform(math.log(0.001), math.log(0.5)))
        site.note("net", f"latency about {site.net.latency_s:.3f} s")
        await _pause(rng)


async def _crumble(site: Site, rng: Random) -> None:
    while True:
        site.net.piece_bytes = int(math.exp(rng.uniform(math.log(400), math.log(100_000))))
        site.note("net", f"pieces of at most {site.net.piece_bytes} bytes")
        await _pause(rng)


async def _fill_disk(site: Site, rng: Random) -> None:
    while True:
        await _pause(rng)
        life = site.life_of(rng.choice(site.users))
        if life is None:
            continue
        site.note(life.node, "disk full")
        life.troubles.disk_full = True
        await _pause(rng)
        site.note(life.node, "disk not full any more")
        life.troubles.disk_full = False


async def _slow_disk(site: Site, rng: Random) -> None:
    while True:
        life = site.life_of(rng.choice(site.users))
        if life is not None:
            life.troubles.disk_delay_s = rng.uniform(0.01, 3.0)
            site.note(life.node, f"disk takes {life.troubles.disk_delay_s:.2f} s")
        await _pause(rng)


async def _restore(site: Site, rng: Random) -> None:
    node = rng.choice(site.users)  # one for all the time: for two nothing is promised
    copies: list[Contents] = []
    while True:
        copies.append(site.copy_of(node))
        await _pause(rng)
        pads, store = rng.choice(((True, False), (False, True), (True, True)))
        site.put_back(node, rng.choice(copies), pads=pads, store=store)
        await _pause(rng)


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "crash": Fault("a node is killed at any time", _crash),
        "crash_point": Fault("a user's node is killed beside a durable step", _crash_at_point),
        "torn": Fault("a user's node loses power in the middle of a durable step", _tear),
        "cut": Fault("a connection breaks, and loses what was under way", _cut),
        "stall": Fault("nothing arrives between two nodes, one way or both, for a time", _stall),
        "refuse": Fault("an address refuses connections for a time", _refuse),
        "delay": Fault("latencies from 1 ms to 0.5 s", _delay),
        "crumble": Fault("bytes come in pieces from 400 bytes on", _crumble),
        "disk_full": Fault("a user's durable steps fail for a time", _fill_disk),
        "slow_disk": Fault("a user's durable steps take up to 3 s", _slow_disk),
        RESTORE: Fault("older files are put back at one user: pads, store, or both", _restore),
    }
)
"""Kinds of harm, by name."""


def drawn(seed: int, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """A random part of the faults: runs with few kinds of harm get further into each of them.

    Each is drawn for itself: to allow fewer leaves out those, and changes nothing else.
    """
    return tuple(name for name in allowed if Random(f"{seed} draws {name}").random() < SHARE)
