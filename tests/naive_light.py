"""Compiled loops over every pulse: the peer of the light benches, and the oracle of the receivers.

The oracle knows nothing of skipping, of tables or of dead time counted in pulses: it draws the
phase and four clicks of every pulse, and decides by the times of gates in seconds.
"""

import math
import time

import numpy as np
from numba import njit

from mdiqkd_net.params import ReceiverParams, Setting, Source
from mdiqkd_net.physics._kernels import next_word
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.optics import FLIPPED

SOURCE = Source(
    x=Setting(intensity=0.08, probability=0.35),
    y=Setting(intensity=0.30, probability=0.15),
    z=Setting(intensity=0.45, probability=0.45),
)
RECEIVER = ReceiverParams(
    efficiency=0.8, dark_probability=2e-8, misalignment=0.0, mode_overlap=0.99
)
KEY_SOURCE = Source(
    x=Setting(intensity=0.04, probability=0.13),
    y=Setting(intensity=0.16, probability=0.024),
    z=Setting(intensity=0.5, probability=0.82),
)
KEY_RECEIVER = ReceiverParams(
    efficiency=0.4, dark_probability=1e-7, misalignment=0.015, mode_overlap=1.0
)
LINKS = {
    "20 dB": (20, SOURCE, RECEIVER, 50),
    "30 dB": (30, SOURCE, RECEIVER, 500),
    "40 dB": (40, SOURCE, RECEIVER, 5000),
    "25 + 25 km": (10, KEY_SOURCE, KEY_RECEIVER, 20),
}
"""Loss of both arms together in dB, settings, receiver, and how often faster than the loop."""


@njit
def uniform(state):
    return np.float64(next_word(state) >> np.uint64(11)) * 2.0**-53


@njit
def choice(state, cuts):
    u = uniform(state)
    chosen = 0
    for cut in cuts:
        chosen += u >= cut
    return chosen


@njit
def naive(state, n_pulses, cuts, light, efficiency, dark, overlap, misalignment, flipped):
    """Events of a loop that draws the settings, the phase and four clicks of every pulse."""
    n_events = 0
    visibility = efficiency * math.sqrt(overlap)
    for _ in range(n_pulses):
        a, b = choice(state, cuts), choice(state, cuts)
        if misalignment > 0.0 and uniform(state) < misalignment:
            b = flipped[b]
        cos_phase = math.cos(2.0 * math.pi * uniform(state))
        both = True
        for m in range(2):
            base = 0.5 * efficiency * (light[a, m] ** 2 + light[b, m] ** 2)
            swing = visibility * light[a, m] * light[b, m] * cos_phase
            click_0 = uniform(state) >= (1.0 - dark) * math.exp(-(base + swing))
            click_1 = uniform(state) >= (1.0 - dark) * math.exp(-(base - swing))
            both = both and (click_0 or click_1)
        n_events += both
    return n_events


def run_naive(link, n_pulses):
    """Events and CPU seconds of the loop."""
    loss_db, source, receiver, _ = link
    o, x, y, z = source.probabilities
    cuts = np.cumsum([o, x / 2, x / 2, y / 2, y / 2, z / 2])
    light = light_table(source).real * math.sqrt(10 ** (-loss_db / 20))
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    start = time.process_time()
    n_events = naive(
        state,
        n_pulses,
        cuts,
        light,
        receiver.efficiency,
        receiver.dark_probability,
        receiver.mode_overlap,
        receiver.misalignment,
        FLIPPED.astype(np.int64),
    )
    return n_events, time.process_time() - start


@njit(cache=True)
def loop_over_gates(
    state,
    n_pulses,
    cuts_alice,
    cuts_bob,
    alice,
    bob,
    efficiencies,
    dark,
    overlap,
    through,
    misalignment,
    flipped,
    period_s,
    separation_s,
    dead_time_s,
    recovery_s,
    afterpulse_probability,
    afterpulse_cuts,
):
    """Registered patterns of every pulse by pair of states, (49, 16), and of the pulses in order.

    `afterpulse_cuts[m, g]` is the cumulative chance that an afterpulse of a click in bin m comes at
    most g + 1 gates later.
    """
    counts = np.zeros((49, 16), np.int64)
    registered = np.zeros(n_pulses, np.uint8)
    n_gates = afterpulse_cuts.shape[1] + 1
    due = np.zeros((2, n_gates), np.bool_)  # a ring of the gates to come
    last_s = np.full(2, -1.0)
    for t in range(n_pulses):
        a, b = choice(state, cuts_alice), choice(state, cuts_bob)
        sent = b
        if misalignment > 0.0 and uniform(state) < misalignment:
            b = flipped[b]
        turn = np.exp(2j * np.pi * uniform(state))
        pattern = 0
        for m in range(2):
            now_s = t * period_s + m * separation_s
            for d in range(2):
                share = through if d == 0 else 1.0 - through
                sign = 1.0 if d == 0 else -1.0
                # The part of Bob's light in Alice's mode interferes, the rest adds its photons.
                field = (
                    math.sqrt(share) * alice[a, m]
                    + sign * math.sqrt((1.0 - share) * overlap) * bob[b, m] * turn
                )
                photons = abs(field) ** 2 + (1.0 - share) * (1.0 - overlap) * abs(bob[b, m]) ** 2
                chance = 1.0 - (1.0 - dark) * math.exp(-efficiencies[d] * photons)
                gate = (2 * t + m) % n_gates
                if due[d, gate]:
                    chance = 1.0
                due[d, gate] = False
                if last_s[d] >= 0.0:
                    live_s = now_s - last_s[d] - dead_time_s
                    if live_s < -1e-6 * period_s:
                        chance = 0.0
                    elif recovery_s > 0.0:
                        chance *= 1.0 - math.exp(-live_s / recovery_s)
                if uniform(state) < 1.0 - chance:
                    continue
                last_s[d] = now_s
                pattern |= 1 << (2 * m + d)
                if uniform(state) < afterpulse_probability:
                    u, later = uniform(state), 1
                    while u >= afterpulse_cuts[m, later - 1]:
                        later += 1
                    due[d, (gate + later) % n_gates] = True
        counts[7 * a + sent, pattern] += 1
        registered[t] = pattern
    return counts, registered


def afterpulse_cuts_of(detector, period_s, separation_s, n_gates=20_000):
    """For `loop_over_gates`, gate by gate from the definition of `Afterpulses`."""
    g = np.arange(1, n_gates)
    cuts = np.empty((2, n_gates - 1))
    for m in range(2):
        bins = (m + g) % 2
        delays = (m + g) // 2 * period_s + (bins - m) * separation_s
        live = delays >= detector.dead_time_s - 1e-6 * period_s
        chances = np.zeros(g.size)
        for share, decay_s in detector.afterpulses.decays:
            weights = np.where(live, np.exp(-(delays - detector.dead_time_s) / decay_s), 0.0)
            chances += share * weights / weights.sum()
        cuts[m] = np.cumsum(chances)
        cuts[m, -1] = 1.0
    return cuts


def run_loop(link, n_pulses, seed, *, pulse_rate_hz=1e9):
    """`loop_over_gates` for (receiver, transmittances, light), states uniform."""
    receiver, transmittances, light = link
    detector = detector_of(receiver)
    period_s = 1.0 / pulse_rate_hz
    separation_s = receiver.bin_separation_s or period_s / 2.0
    return loop_over_gates(
        np.random.SeedSequence(seed).generate_state(4, np.uint64),
        n_pulses,
        np.arange(1, 7) / 7,
        np.arange(1, 7) / 7,
        light[0] * math.sqrt(transmittances[0]) + 0j,
        light[1] * math.sqrt(transmittances[1]) + 0j,
        np.array([1.0, receiver.efficiency_ratio]) * receiver.efficiency,
        receiver.dark_probability,
        receiver.mode_overlap,
        receiver.splitter_transmittance,
        receiver.misalignment,
        FLIPPED.astype(np.int64),
        period_s,
        separation_s,
        detector.dead_time_s,
        detector.recovery_s,
        detector.afterpulses.probability,
        afterpulse_cuts_of(detector, period_s, separation_s),
    )
