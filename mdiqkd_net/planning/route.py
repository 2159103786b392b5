"""One pair at one relay with one set of detectors: loss budget, settings, key, margins."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Struct

from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.optimize import KeyBits, optimize_settings, pulses_at_settings
from mdiqkd_net.estimation.settings_space import Limits
from mdiqkd_net.params import Link, ReceiverParams, Source, UserLink
from mdiqkd_net.physics.pair_optics import Arm, arm_transmittance
from mdiqkd_net.planning.detectors import Detectors, Seen, seen
from mdiqkd_net.planning.network import Pair
from mdiqkd_net.planning.prediction import Result, as_sent, predict
from mdiqkd_net.planning.task import at, key_bits, searched
from mdiqkd_net.structs import plain

FIRST_KEY_BITS: Final = 256
"""What "first key" means."""

_SMOOTH_BITS: Final = 1e-4
_ROUGH_BITS: Final = 10.0
"""How finely the keys of a scan and of a certificate resolve."""

_GREATEST_MARGIN_DB: Final = 200.0
_MARGIN_STEP_DB: Final = 0.005


class RouteTask(Struct, frozen=True, kw_only=True):
    """What to find out about a pair at a relay. Plain data, like `Task`.

    Attributes:
        users: The lower id, which is Alice, first.
        relay: Name of the relay.
        link: Between them, with the file's receiver and settings.
        choice: Name of the set of detectors.
        detectors: The set.
        pulse_rate_hz: Of the transmitters, before the detectors limit it.
        analysis: How its block is judged.
        optimize: Whether to look for the best settings of this pair, starting at those of the link.
        limits: Of the settings, if they are optimised.
    """

    users: Pair
    relay: str
    link: Link
    choice: str
    detectors: Detectors
    pulse_rate_hz: float
    analysis: Analysis
    optimize: bool
    limits: Limits = Limits()

    def seen_at(self, link: Link) -> Seen:
        """This or a similar link through the detectors."""
        return seen(link, self.detectors, self.pulse_rate_hz)

    def key_bits(self, link: Link, analysis: Analysis) -> KeyBits:
        """What settings are worth on this or a similar link, from the pulses that are sent.

        The load of the detectors follows the settings, so that a search sees what brighter light
        costs.
        """
        known: dict[ReceiverParams, KeyBits] = {}

        def bits(alice: Source, bob: Source, n_pulses: float) -> float:
            now = self.seen_at(at(link, alice, bob))
            receiver = now.link.receiver
            if receiver not in known:  # afterpulses make another receiver of every load
                known.clear()
                known[receiver] = key_bits(now.link, analysis)
            return known[receiver](alice, bob, n_pulses * now.live)

        return bits


def route(task: RouteTask) -> Result:
    """Carry out the task; the names are those of docs/reference/plan.md."""
    link, stops = _tuned(task) if task.optimize else (task.link, ())
    light = task.seen_at(link)
    found = predict(light.link, task.analysis)
    bits, n_pulses = found["key_length_bits"], link.n_pulses
    block_s = n_pulses / light.pulse_rate_hz
    sources = link.alice.source, link.bob.source
    # The search does not round; a few bits more than asked for are enough after rounding, too.
    wanted = FIRST_KEY_BITS + (12 if task.analysis.rules.frozen else 2)
    needed = pulses_at_settings(task.key_bits(link, task.analysis), *sources, bits=wanted)
    first_s = None if needed is None else needed / light.pulse_rate_hz
    return {
        "users": list(task.users),
        "relay": task.relay,
        "loss_db": {
            user: _budget(arm, light.link.receiver.efficiency)
            for user, arm in zip(task.users, (link.alice, link.bob), strict=True)
        },
        "settings": {user: plain(source) for user, source in zip(task.users, sources, strict=True)},
        "at_limits": list(stops),
        "reason": found["reason"],
        "qber_z": found["qber_z"],
        "qber_x": found["qber_x"],
        "pulse_rate_hz": light.pulse_rate_hz,
        "live_fraction": light.live,
        "bell_states": list(light.link.bell_states),
        "block_s": block_s,
        "key_length_bits": bits,
        "rate_per_pulse": bits / n_pulses,
        "key_bits_per_s": bits / block_s,
        "first_key_s": first_s,
        "margin_db": _margin_db(task, link) if bits > 0 else None,
        "margin_time_factor": None if first_s is None else block_s / first_s,
    }


def _tuned(task: RouteTask) -> tuple[Link, tuple[str, ...]]:
    """The link with the best settings of its own, and the limits that stopped the search."""
    light = task.link.alice.transmittance, task.link.bob.transmittance
    best = optimize_settings(
        task.key_bits(task.link, searched(task.analysis)),
        task.link.n_pulses,
        replace(task.limits, equal=True) if light[0] == light[1] else task.limits,
        start=(task.link.alice.source, task.link.bob.source),
        imbalance=light[0] / light[1] if min(light) > 0.0 else 1.0,
        resolution_bits=_ROUGH_BITS if task.analysis.rules.frozen else _SMOOTH_BITS,
    )
    return at(task.link, as_sent(best.alice), as_sent(best.bob)), best.at_limits


def _budget(arm: UserLink, efficiency: float) -> Result:
    fiber = arm.length_km * arm.attenuation_db_per_km
    arrives = _loss_db(arm_transmittance(Arm.of(arm)))
    detector = _loss_db(efficiency)
    return {
        "fiber": fiber,
        "insertion": None if arrives is None else max(0.0, arrives - fiber),
        "detector": detector,
        "total": None if arrives is None or detector is None else arrives + detector,
    }


def _loss_db(transmittance: float) -> float | None:
    return -10.0 * math.log10(transmittance) if transmittance > 0.0 else None


def _margin_db(task: RouteTask, link: Link) -> float:
    """Loss, half of it in each arm, that the block still has a key with; to 0.01 dB."""
    sources = link.alice.source, link.bob.source

    def has_key(extra_db: float) -> bool:
        alice, bob = (
            msgspec.structs.replace(arm, insertion_loss_db=arm.insertion_loss_db + 0.5 * extra_db)
            for arm in (link.alice, link.bob)
        )
        worse = msgspec.structs.replace(link, alice=alice, bob=bob)
        return task.key_bits(worse, task.analysis)(*sources, link.n_pulses) > 0.0

    return _last(has_key)


def _last(holds: Callable[[float], bool]) -> float:
    """Greatest value up to which a property holds that holds at 0, by doubling and bisection."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2.0 * high
        if high > _GREATEST_MARGIN_DB:
            return low
    while high - low > _MARGIN_STEP_DB:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
