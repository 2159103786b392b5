"""Run a link's light through a simulated receiver, and count every pair of states and pattern."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import (
    CATEGORIES,
    N_STATES,
    SETTING_O,
    SETTING_Z,
    Segment,
    bit_of,
    setting_of,
)
from mdiqkd_net.devices.simulated import SimulatedReceiver
from mdiqkd_net.params import Link, Source
from mdiqkd_net.physics.expected import ACCEPTED, state_click_probabilities
from mdiqkd_net.physics.optics import N_PATTERNS
from mdiqkd_net.physics.pair_optics import Arm, PairOptics, pair_optics
from mdiqkd_net.physics.settings import SegmentSettings

Floats = NDArray[np.float64]

Seed = tuple[int, ...]

PULSE_RATE_HZ: Final = 1e9
"""Of all experiments."""

_PAIRS = N_STATES * N_STATES

IN_BOTH_BINS: NDArray[np.bool_] = np.array([p & 3 > 0 and p & 12 > 0 for p in range(N_PATTERNS)])
"""Patterns that a receiver reports: one click early and one late, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Events of a run.

    Attributes:
        n_pulses: Pulse pairs simulated.
        n_candidates: Pulses that the transmitters were asked about.
        counts: (7, 7, 16) int64: Alice's state, Bob's state, click pattern.
    """

    n_pulses: int
    n_candidates: int
    counts: NDArray[np.int64]


def optics_of(link: Link) -> PairOptics:
    """What the link's light is, if nothing drifts."""
    arms = Arm.of(link.alice), Arm.of(link.bob)
    return pair_optics(link.receiver, arms, pulse_rate_hz=PULSE_RATE_HZ)


def at_level(link: Link, level: str) -> Link:
    """The link with its receiver simulated at another level."""
    receiver = msgspec.structs.replace(link.receiver, level=level)
    return msgspec.structs.replace(link, receiver=receiver)


def receiver_of(
    link: Link, seed: Seed, drifting: Callable[[Segment], PairOptics] | None = None
) -> SimulatedReceiver:
    """The simulated receiver of a link; `drifting` gives the optics of each segment."""
    nominal = optics_of(link)
    return SimulatedReceiver(
        receiver=nominal.receiver,
        transmittances=nominal.transmittances,
        light=nominal.light,
        phase=nominal.phase,
        optics_of=drifting,
        seed=seed,
        pulse_rate_hz=PULSE_RATE_HZ,
    )


def settings_of(source: Source, who: str, seed: Seed) -> SegmentSettings:
    """Settings of a user, reproducible from the seed: no key is ever made of them."""
    return SegmentSettings(hashlib.sha256(f"{who} {seed}".encode()).digest(), source)


def run(link: Link, seed: Seed) -> Tally:
    """Simulate a block of the link; the same seed gives the same counts."""
    return run_segment(link, receiver_of(link, seed), Segment(0, 0, link.n_pulses), seed)


def run_segment(link: Link, receiver: SimulatedReceiver, segment: Segment, seed: Seed) -> Tally:
    """Simulate one segment."""
    alice = settings_of(link.alice.source, "alice", (*seed, segment.number))
    bob = settings_of(link.bob.source, "bob", (*seed, segment.number))
    counts = np.zeros(_PAIRS * N_PATTERNS, dtype=np.int64)
    n_candidates = 0
    receiver.begin(segment)
    while (batch := receiver.next_candidates()) is not None:
        n_candidates += batch.pulses.size
        states = alice.states_at(batch.asked), bob.states_at(batch.asked)
        clicks = receiver.detect(batch, *states)
        at = alice.states_at(clicks.pulses).astype(np.int64), bob.states_at(clicks.pulses)
        cells = (N_STATES * at[0] + at[1]) * N_PATTERNS
        counts += np.bincount(cells + clicks.patterns, minlength=counts.size)
    shape = N_STATES, N_STATES, N_PATTERNS
    return Tally(segment.n_pulses, n_candidates, counts.reshape(shape))


def expected_counts(link: Link) -> Floats:
    """Closed form of `Tally.counts`; zero for patterns that are not reported."""
    return weighted(link, link.n_pulses, state_click_probabilities(link))


def weighted(link: Link, n_pulses: int, patterns: Floats) -> Floats:
    """Expected counts of click patterns by pair of states, (7, 7, 16) in and out."""
    shares = np.outer(_shares(link.alice.source), _shares(link.bob.source))
    mean: Floats = n_pulses * shares[..., None] * patterns * IN_BOTH_BINS
    return mean


def pulses_for(link: Link, n_events: int) -> int:
    """Pulse pairs that give about so many events."""
    per_pulse = float(expected_counts(link).sum()) / link.n_pulses
    return max(1, round(n_events / per_pulse))


def by_category(cells: Floats | NDArray[np.int64]) -> dict[str, float]:
    """Accepted Bell states of each pair of settings; (7, 7, 16) in."""
    accepted = cells[:, :, [p for patterns in ACCEPTED.values() for p in patterns]].sum(axis=-1)
    setting = setting_of(np.arange(N_STATES, dtype=np.uint8))
    return {
        category: float(accepted[np.ix_(setting == i // 4, setting == i % 4)].sum())
        for i, category in enumerate(CATEGORIES)
    }


def wrong() -> Floats:
    """Share of events that are errors after the flip rule, (7, 7, 16); half if unrelated."""
    states = np.arange(N_STATES, dtype=np.uint8)
    basis_z, vacuum = setting_of(states) == SETTING_Z, setting_of(states) == SETTING_O
    equal = bit_of(states)[:, None] == bit_of(states)[None, :]
    unrelated = vacuum[:, None] | vacuum[None, :] | (basis_z[:, None] != basis_z[None, :])
    both_z = basis_z[:, None] & basis_z[None, :]
    share = np.zeros((N_STATES, N_STATES, N_PATTERNS))
    for bell, patterns in ACCEPTED.items():
        is_wrong = equal if bell == "psi_minus" else np.where(both_z, equal, ~equal)
        for pattern in patterns:
            share[:, :, pattern] = np.where(unrelated, 0.5, is_wrong)
    return share


def _shares(source: Source) -> Floats:
    o, x, y, z = source.probabilities
    return np.array([o, x / 2, x / 2, y / 2, y / 2, z / 2, z / 2])
