"""Settings that a transmitter keeps, whoever it speaks to: of each user, or of the whole network.

A node sends with one set of settings to all its peers, so this is what a network of such nodes can
be set to. The search climbs the key of the worst pair or the sum over all pairs, each pair at the
relay that serves it best at the settings that are tried.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mdiqkd_net.estimation.ascent import Ascent
from mdiqkd_net.estimation.optimize import KeyBits, optimize_settings
from mdiqkd_net.estimation.settings_space import SettingsSpace
from mdiqkd_net.params import Source
from mdiqkd_net.planning.network import Pair
from mdiqkd_net.planning.prediction import as_sent
from mdiqkd_net.planning.route import RouteTask

Floats = NDArray[np.float64]
GoalName = Literal["worst", "sum"]
Worths = Mapping[Pair, float]

_ITERATIONS: Final = 60
_LEAST_DIFFERENCE: Final = 1e-6
_GREATEST_DIFFERENCE: Final = 1e-2
_RESOLUTION_BITS: Final = 1e-4
_RATIO: Final = 1
"""The coordinate ln (y / x) of a user."""

GOALS: Final[Mapping[GoalName, Callable[[Worths], float]]] = {
    "worst": lambda worths: min(worths.values()),
    "sum": lambda worths: sum(max(0.0, bits) for bits in worths.values()) or max(worths.values()),
}
"""What a network's settings are worth, from the secret bits of each pair's block."""


class SharedTask(Struct, frozen=True, kw_only=True):
    """What to set a network to.

    Attributes:
        routes: All pairs at all their relays, with one set of detectors and the same limits.
        per_user: Each user has settings of its own; if not, all have the same.
        goal: "worst" for the worst pair, "sum" for the sum.
    """

    routes: tuple[RouteTask, ...]
    per_user: bool
    goal: GoalName


def shared_settings(task: SharedTask) -> dict[str, Source]:
    """The settings of every user; local and deterministic like the search of a single link.

    If no settings give the worst pair a key, those with the greatest sum.
    """
    sources = _users(task.routes)
    worths = _worths(task.routes)
    search = _per_user if task.per_user else _equal
    found = search(task, sources, worths, GOALS[task.goal])
    if task.goal == "worst" and GOALS["worst"](worths(found, None)) <= 0.0:
        found = search(task, sources, worths, GOALS["sum"])
    return {user: as_sent(source) for user, source in found.items()}


_WorthsAt = Callable[[Mapping[str, Source], float | None], dict[Pair, float]]
_Goal = Callable[[Worths], float]


def _users(routes: Sequence[RouteTask]) -> dict[str, Source]:
    sources = {}
    for task in routes:
        for user, arm in zip(task.users, (task.link.alice, task.link.bob), strict=True):
            sources[user] = arm.source
    return sources


def _worths(routes: Sequence[RouteTask]) -> _WorthsAt:
    """Bits of each pair at settings and a length of the block; that of the link if it is None."""
    keys: dict[Pair, list[KeyBits]] = {}
    for task in routes:
        # Whatever judges in the end: the double scan is quick and smooth.
        analysis = msgspec.structs.replace(task.analysis, method="double_scan")
        keys.setdefault(task.users, []).append(task.key_bits(task.link, analysis))
    n_sent = routes[0].link.n_pulses
    known: dict[tuple[Pair, Source, Source, float], float] = {}

    def worth(pair: Pair, alice: Source, bob: Source, n_pulses: float) -> float:
        # A slope moves one user at a time; pairs without that user stay as they are.
        key = (pair, alice, bob, n_pulses)
        if key not in known:
            known[key] = max(bits(alice, bob, n_pulses) for bits in keys[pair])
        return known[key]

    return lambda settings, n_pulses: {
        pair: worth(pair, settings[pair[0]], settings[pair[1]], n_pulses or n_sent) for pair in keys
    }


def _equal(
    task: SharedTask, sources: dict[str, Source], worths: _WorthsAt, goal: _Goal
) -> dict[str, Source]:
    def bits(alice: Source, _bob: Source, n_pulses: float) -> float:
        return goal(worths(dict.fromkeys(sources, alice), n_pulses))

    first = next(iter(sources.values()))
    limits = replace(task.routes[0].limits, equal=True)
    found = optimize_settings(bits, task.routes[0].link.n_pulses, limits, start=(first, first))
    return dict.fromkeys(sources, found.alice)


def _per_user(
    task: SharedTask, sources: dict[str, Source], worths: _WorthsAt, goal: _Goal
) -> dict[str, Source]:
    """One climb for all users, from the best of: as they are, all equal, equal at the relay.

    The ratio y / x is the same for all: where two users' ratios differ, the decoy bounds of their
    pair have a kink (see `optimize`).
    """
    space = SettingsSpace(replace(task.routes[0].limits, equal=True))

    def encode(settings: Mapping[str, Source]) -> Floats:
        each = np.array([space.encode(settings[user], settings[user]) for user in sources])
        each[:, _RATIO] = each[0, _RATIO]
        flat: Floats = each.ravel()
        return flat

    def decode(coordinates: Floats) -> dict[str, Source]:
        each = coordinates.reshape(len(sources), -1).copy()
        each[:, _RATIO] = each[0, _RATIO]
        return {user: space.decode(c)[0] for user, c in zip(sources, each, strict=True)}

    def height(coordinates: Floats) -> float:
        bits = goal(worths(decode(coordinates), None))
        return math.log(bits) if bits > 0.0 else -math.inf

    def difference(at_height: float) -> float:
        fine = math.sqrt(_RESOLUTION_BITS * math.exp(-at_height))
        return min(max(fine, _LEAST_DIFFERENCE), _GREATEST_DIFFERENCE)

    def project(coordinates: Floats) -> Floats:
        return encode(decode(coordinates))

    equal = _equal(task, sources, worths, goal)
    starts = [encode(start) for start in (sources, equal, _balanced(task, space, equal))]
    free = np.ones(starts[0].size, dtype=bool)
    each = starts[0].size // len(sources)
    free[each + _RATIO :: each] = False
    best = max(starts, key=height)
    return decode(Ascent(height, project, difference).climb(best, free, _ITERATIONS)[0])


def _balanced(
    task: SharedTask, space: SettingsSpace, settings: Mapping[str, Source]
) -> dict[str, Source]:
    """Each user's x and y scaled so that the same light arrives at the relay from all."""
    reach: dict[str, float] = {}
    for route in task.routes:
        for user, arm in zip(route.users, (route.link.alice, route.link.bob), strict=True):
            reach[user] = max(reach.get(user, 0.0), arm.transmittance)
    middle = math.exp(float(np.mean([math.log(max(t, 1e-300)) for t in reach.values()])))
    scaled = {}
    for user, source in settings.items():
        scale = middle / max(reach[user], 1e-300)
        _, x, y, z = source.intensities
        scaled[user] = space.limits.source(x * scale, y * scale, z, source.probabilities[1:])
    return scaled
