"""What to find out about a link: predict at its settings, optimise them, lengthen the block.

The key of every answer is the estimate's own: the search only proposes settings. It climbs on the
double scan or on the certificate, whichever judges in the end; for any other method on the double
scan, with the chosen tails and accounting.
A task and a link are plain data, so that answers can be computed anywhere and kept by identity.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypedDict

import msgspec
from msgspec import Struct

from mdiqkd_net import __version__
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import designed_key_bits, estimate
from mdiqkd_net.estimation.optimize import (
    KeyBits,
    optimize_settings,
    pulses_at_settings,
    pulses_for_bits,
    smooth_key_bits,
)
from mdiqkd_net.estimation.settings_space import Limits
from mdiqkd_net.params import Link, Setting, Source, UserLink
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.link_clicks import shares_matter
from mdiqkd_net.planning.prediction import NOT_FROZEN, Result, as_sent, predict
from mdiqkd_net.structs import plain

SEARCHED: Final = ("double_scan", "certificate")
"""Methods whose key is fast and smooth enough to climb on; the first stands in for all others."""

_SMOOTH, _ROUGH = 1e-4, 10.0
"""How finely the keys of a scan and of a certificate resolve, in bits."""


class _Hints(TypedDict):
    """What the search is told besides the limits."""

    start: tuple[Source, Source]
    imbalance: float
    resolution_bits: float


class Task(Struct, frozen=True, kw_only=True):
    """What to find out about a link.

    Attributes:
        analysis: How its block is judged.
        optimize: Whether to look for the best settings, starting at those of the link.
        limits: Of the settings, if they are optimised; users with like arms always share settings.
        bits: Make the block as long as this many bits of key take; None keeps its length.
        pulse_rate_hz: For times.
    """

    analysis: Analysis
    optimize: bool = False
    limits: Limits = Limits()
    bits: int | None = None
    pulse_rate_hz: float = 1e9


def identity(link: Link, task: Task) -> str:
    """What an answer depends on, hashed: the link, the task and the version that computed it."""
    whole = {"link": plain(link), "task": plain(task), "version": __version__}
    text = json.dumps(whole, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def answer(link: Link, task: Task) -> Result:
    """Carry out a task: a prediction, and what was found on the way to it."""
    started = time.perf_counter()
    extra: Result = {}
    alice, bob = link.alice.source, link.bob.source
    # The search does not round; a few bits more than asked for are enough after rounding, too.
    wanted = None if task.bits is None else task.bits + (12 if task.analysis.rules.frozen else 2)
    needed: float | None = None
    if task.optimize:
        limits = task.limits
        if link.alice.transmittance == link.bob.transmittance:
            limits = replace(limits, equal=True)
        worth = key_bits(link, searched(task.analysis))
        light = link.alice.transmittance, link.bob.transmittance
        imbalance = light[0] / light[1] if min(light) > 0.0 else 1.0
        hints = _Hints(
            start=(alice, bob),
            imbalance=imbalance,
            resolution_bits=_ROUGH if task.analysis.rules.frozen else _SMOOTH,
        )
        found = None
        if wanted is not None:
            found = pulses_for_bits(worth, wanted, limits, **hints)
            needed = None if found is None else found.n_pulses
        if found is None:
            found = optimize_settings(worth, link.n_pulses, limits, **hints)
        alice, bob = as_sent(found.alice), as_sent(found.bob)
        extra = {
            "settings": {"alice": plain(alice), "bob": plain(bob)},
            "at_limits": list(found.at_limits),
            "infinite_decoy_limit_per_pulse": max(0.0, infinite_decoy_limit(link, limits)),
        }
    if wanted is not None and not (task.optimize and task.analysis.method in SEARCHED):
        needed = pulses_at_settings(key_bits(link, task.analysis), alice, bob, wanted)
    n_pulses = link.n_pulses if needed is None else int(needed)
    result = predict(
        msgspec.structs.replace(at(link, alice, bob), n_pulses=n_pulses), task.analysis
    )
    if task.bits is not None:
        extra |= {
            "bits_wanted": task.bits,
            "pulses_needed": None if needed is None else n_pulses,
            "seconds_needed": None if needed is None else n_pulses / task.pulse_rate_hz,
            "pulse_rate_hz": task.pulse_rate_hz,
        }
    if task.optimize:
        extra["seconds"] = time.perf_counter() - started
    return result | extra


def succeeded(result: Result) -> bool:
    """Whether there is a key, and as many bits as were asked for."""
    if "bits_wanted" in result and result["pulses_needed"] is None:
        return False
    return bool(result["key_length_bits"] > 0 and result["verdict"] != NOT_FROZEN)


def at(link: Link, alice: Source, bob: Source) -> Link:
    """The link with other settings."""
    return msgspec.structs.replace(link, alice=_with(link.alice, alice), bob=_with(link.bob, bob))


def searched(analysis: Analysis) -> Analysis:
    """The analysis that the search for settings climbs on."""
    if analysis.method in SEARCHED:
        return analysis
    return msgspec.structs.replace(analysis, method=SEARCHED[0])


def key_bits(link: Link, analysis: Analysis) -> KeyBits:
    """What settings are worth on this link, as the optimiser wants to know it."""
    security = link.security
    designs = analysis.rules.frozen and analysis.design is None
    in_turn = shares_matter(link)
    gains: dict[object, tuple[dict[str, float], dict[str, float]]] = {}

    def bits(alice: Source, bob: Source, n_pulses: float) -> float:
        alice, bob = _bounded(alice, link.alice), _bounded(bob, link.bob)
        # Half of the search moves probabilities alone, which mostly leaves the gains as they are.
        key: tuple[object, ...] = (alice.intensities, bob.intensities)
        if in_turn:
            key += (alice.probabilities, bob.probabilities)
        if key not in gains:
            gains[key] = expected.gains_and_errors(at(link, alice, bob))
        gain, error_gain = gains[key]
        p_alice, p_bob = alice.probabilities, bob.probabilities
        pairs = {c: n_pulses * p_alice[i // 4] * p_bob[i % 4] for i, c in enumerate(gain)}
        tallies = Tallies(
            n_pulses=n_pulses,
            n={c: pairs[c] * gain[c] for c in gain},
            m={c: pairs[c] * error_gain[c] for c in gain},
        )
        if designs:
            return designed_key_bits(tallies, alice, bob, security, analysis)
        found = estimate(tallies, alice, bob, security, analysis)
        return smooth_key_bits(found, tallies, security)

    return bits


def infinite_decoy_limit(link: Link, limits: Limits) -> float:
    """Greatest infinite-decoy rate at z intensities of its own, by golden section in turns."""

    def rate(z_alice: float, z_bob: float) -> float:
        alice, bob = (
            msgspec.structs.replace(user, z=Setting(math.exp(z), user.z.probability))
            for user, z in ((link.alice, z_alice), (link.bob, z_bob))
        )
        return expected.infinite_decoy_rate(msgspec.structs.replace(link, alice=alice, bob=bob))

    low, high = math.log(max(0.01, limits.min_intensity)), math.log(limits.max_intensity)
    if limits.equal:
        z = _golden(lambda t: rate(t, t), low, high)
        return rate(z, z)
    z_alice = z_bob = math.log(min(0.6, limits.max_intensity))
    for _ in range(3):
        z_alice = _golden(partial(rate, z_bob=z_bob), low, high)
        z_bob = _golden(partial(rate, z_alice), low, high)
    return rate(z_alice, z_bob)


def _golden(height: Callable[[float], float], low: float, high: float) -> float:
    ratio = 0.5 * (math.sqrt(5.0) - 1.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = height(left), height(right)
    while high - low > 0.01:
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = height(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = height(right)
    return 0.5 * (low + high)


def _bounded(source: Source, user: UserLink) -> Source:
    """The settings within the bounds that the user's transmitter has at any settings."""
    return msgspec.structs.replace(source, bounds=user.bounds)


def _with(user: UserLink, source: Source) -> UserLink:
    return msgspec.structs.replace(user, x=source.x, y=source.y, z=source.z)
