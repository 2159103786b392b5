"""A plan: which pair meets at which relay, how pairs take turns, what keys cost, who has enough.

A relay measures one pair at a time and its pairs take turns, a block each (`protocol.relay`). As
all blocks have as many pulses, each pair that has a key has an equal share of its relay's time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from mdiqkd_net import __version__
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.settings_space import Limits
from mdiqkd_net.params import Source
from mdiqkd_net.planning.detectors import Detectors
from mdiqkd_net.planning.network import Demand, Network, Pair
from mdiqkd_net.planning.prediction import Result
from mdiqkd_net.planning.route import FIRST_KEY_BITS, RouteTask
from mdiqkd_net.planning.shared import GoalName, SharedTask
from mdiqkd_net.planning.task import at

SettingsName = Literal["pair", "user", "equal", "file"]
"""Best of each pair, of each user for all its peers, one for all, or as in the file."""

SECONDS_PER_HOUR: Final = 3600.0
_MBIT: Final = 1e6


class PlanTask(Struct, frozen=True, kw_only=True):
    """What to plan.

    Attributes:
        network: Users, arms and relays.
        pairs: Who shares keys; the others do not take turns.
        detectors: The sets to compare, by name.
        demand: What pairs want.
        analysis: How blocks are judged.
        settings: What is optimised.
        goal: What settings that several pairs share are good for.
        limits: Of optimised settings.
    """

    network: Network
    pairs: tuple[Pair, ...]
    detectors: Mapping[str, Detectors]
    demand: tuple[Demand, ...]
    analysis: Analysis
    settings: SettingsName = "pair"
    goal: GoalName = "worst"
    limits: Limits = Limits()


def route_tasks(task: PlanTask) -> list[RouteTask]:
    """Every pair at every relay that both reach, with every set of detectors."""
    network = task.network
    return [
        RouteTask(
            users=pair,
            relay=relay,
            link=network.link(pair, relay),
            choice=choice,
            detectors=detectors,
            pulse_rate_hz=network.pulse_rate_hz,
            analysis=task.analysis,
            optimize=task.settings == "pair",
            limits=task.limits,
        )
        for choice, detectors in task.detectors.items()
        for pair in task.pairs
        for relay in network.relays_of(pair)
    ]


def shared_tasks(task: PlanTask) -> list[SharedTask]:
    """Settings to find before the routes can be judged: one task for each set of detectors."""
    if task.settings not in ("user", "equal"):
        return []
    routes = route_tasks(task)
    return [
        SharedTask(
            routes=tuple(route for route in routes if route.choice == choice),
            per_user=task.settings == "user",
            goal=task.goal,
        )
        for choice in task.detectors
    ]


def settled(routes: Iterable[RouteTask], settings: Mapping[str, Source]) -> list[RouteTask]:
    """The routes with settings that were found for their users."""
    return [
        msgspec.structs.replace(
            route, link=at(route.link, *(settings[user] for user in route.users))
        )
        for route in routes
    ]


def assemble(task: PlanTask, routes: Sequence[RouteTask], results: Sequence[Result]) -> Result:
    """The whole plan, from what every route was found to give; ready for JSON."""
    network = task.network
    plans = []
    for choice, detectors in task.detectors.items():
        mine = [r for route, r in zip(routes, results, strict=True) if route.choice == choice]
        plans.append(_with_detectors(task, choice, detectors, mine))
    return {
        "title": network.title,
        "version": __version__,
        "n_pulses": network.n_pulses,
        "pulse_rate_hz": network.pulse_rate_hz,
        "eps_sec": network.eps_sec,
        "eps_cor": network.eps_cor,
        "f_ec": network.f_ec,
        "method": task.analysis.method,
        "label": task.analysis.rules.label,
        "tail": task.analysis.tail,
        "accounting": task.analysis.accounting,
        "settings": task.settings,
        "goal": task.goal if task.settings in ("user", "equal") else None,
        "first_key_bits": FIRST_KEY_BITS,
        "plans": plans,
        "enough": any(plan["enough"] for plan in plans),
        "cheapest": _cheapest(plans),
    }


def _with_detectors(
    task: PlanTask, choice: str, detectors: Detectors, results: Sequence[Result]
) -> Result:
    wanted = {entry.pair: entry for entry in task.demand}
    chosen: dict[Pair, Result] = {}
    others: dict[Pair, dict[str, float]] = {}
    for result in results:
        pair = (result["users"][0], result["users"][1])
        others.setdefault(pair, {})[result["relay"]] = result["key_bits_per_s"]
        if pair not in chosen or _worth(result) > _worth(chosen[pair]):
            chosen[pair] = result
    turns: dict[str, list[Result]] = {relay: [] for relay in task.network.relays}
    for result in chosen.values():
        if result["key_length_bits"] > 0:
            turns[result["relay"]].append(result)
    cost = detectors.cost_per_hour_eur
    pairs = [
        _pair(pair, chosen.get(pair), others.get(pair, {}), turns, wanted.get(pair), cost)
        for pair in task.pairs
    ]
    relays = [
        {
            "relay": relay,
            "n_pairs": len(taken),
            "round_s": sum(result["block_s"] for result in taken),
            "load": _load(taken, wanted) if wanted else None,
            "cost_per_hour_eur": cost,
        }
        for relay, taken in turns.items()
    ]
    total = sum(pair["key_bits_per_s"] for pair in pairs)
    spent = None if cost is None else cost * len(turns)
    return {
        "detectors": choice,
        "parameters": msgspec.to_builtins(detectors),
        "pairs": pairs,
        "relays": relays,
        "key_bits_per_s": total,
        "cost_per_hour_eur": spent,
        "cost_per_mbit_eur": _per_mbit(spent, total),
        "enough": all(
            pair["met"] if wanted else pair["key_bits_per_s"] > 0.0
            for pair in pairs
            if not wanted or tuple(pair["users"]) in wanted
        ),
    }


def _worth(result: Result) -> tuple[float, float]:
    """Rate first; of two relays without a key the one that is closest to one."""
    first_s = result["first_key_s"]
    return result["key_bits_per_s"], 0.0 if first_s is None else 1.0 / first_s


def _pair(
    pair: Pair,
    result: Result | None,
    rates: Mapping[str, float],
    turns: Mapping[str, Sequence[Result]],
    wanted: Demand | None,
    cost_per_hour: float | None,
) -> Result:
    has_key = result is not None and result["key_length_bits"] > 0
    taken = turns[result["relay"]] if result is not None and has_key else []
    share = 1.0 / len(taken) if taken else 0.0
    alone = result["key_bits_per_s"] if result is not None else 0.0
    in_turn = alone * share
    key_bits = FIRST_KEY_BITS if wanted is None else wanted.key_bits
    hourly = in_turn * SECONDS_PER_HOUR
    spent = None if cost_per_hour is None else cost_per_hour * share
    nothing: Result = {"users": list(pair), "relay": None, "reason": "no relay in common"}
    return (nothing if result is None else result) | {
        "relays": dict(rates),
        "share": share,
        "key_bits_per_s_alone": alone,
        "key_bits_per_s": in_turn,
        "keys_per_hour_alone": alone * SECONDS_PER_HOUR / key_bits,
        "keys_per_hour": hourly / key_bits,
        "key_bits": key_bits,
        "first_key_s_alone": result["first_key_s"] if result is not None else None,
        "first_key_s": sum(other["block_s"] for other in taken) if taken else None,
        "cost_per_mbit_eur": _per_mbit(spent, in_turn),
        "keys_per_hour_wanted": None if wanted is None else wanted.keys_per_hour,
        "demand_factor": None if wanted is None else hourly / key_bits / wanted.keys_per_hour,
        "met": None if wanted is None else hourly / key_bits >= wanted.keys_per_hour,
    }


def _load(taken: Sequence[Result], wanted: Mapping[Pair, Demand]) -> float:
    """Fraction of a relay's time that meets the demand of its pairs, if turns went by demand."""
    load = 0.0
    for result in taken:
        pair = (result["users"][0], result["users"][1])
        if pair in wanted:
            load += wanted[pair].bits_per_s / result["key_bits_per_s"]
    return load


def _per_mbit(cost_per_hour: float | None, bits_per_s: float) -> float | None:
    if cost_per_hour is None or bits_per_s <= 0.0:
        return None
    return cost_per_hour / (bits_per_s * SECONDS_PER_HOUR / _MBIT)


def _cheapest(plans: Sequence[Result]) -> str | None:
    """The detectors that are enough for the least money, of those whose cost is known."""
    costs = {
        plan["detectors"]: plan["cost_per_hour_eur"]
        for plan in plans
        if plan["enough"] and plan["cost_per_hour_eur"] is not None
    }
    return min(costs, key=lambda name: costs[name]) if costs else None
