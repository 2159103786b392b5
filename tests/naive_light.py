"""The peer of the light benches: a compiled loop over every pulse, and the links it runs on."""

import math
import time

import numpy as np
from numba import njit

from mdiqkd_net.params import ReceiverParams, Setting, Source
from mdiqkd_net.physics._kernels import next_word
from mdiqkd_net.physics.receiver import FLIPPED
from mdiqkd_net.physics.time_bin import light_table

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
