"""Links, samples and chi-square for the tests of the receiver's levels."""

import math

import msgspec
import numpy as np
from scipy.stats import chi2

from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.receiver import level_of

FALSE_ALARM = 1e-6
BOTH_BINS = [p for p in range(16) if p & 3 and p & 12]


def params(efficiency=0.8, dark=2e-8, misalignment=0.0, overlap=0.99, **others):
    return ReceiverParams(
        efficiency=efficiency,
        dark_probability=dark,
        misalignment=misalignment,
        mode_overlap=overlap,
        **others,
    )


def with_(link, **changes):
    """The same link with other keys of its receiver."""
    return (msgspec.structs.replace(link[0], **changes), *link[1:])


def amplitudes(x: float, y: float, z: float):
    plus, minus = np.array([1, 1]) / math.sqrt(2), np.array([1, -1]) / math.sqrt(2)
    rows = [0 * plus]
    rows += [math.sqrt(x) * plus, math.sqrt(x) * minus, math.sqrt(y) * plus, math.sqrt(y) * minus]
    rows += [math.sqrt(z) * np.array([1, 0]), math.sqrt(z) * np.array([0, 1])]
    return np.array(rows, dtype=np.complex128)


def arbitrary(seed: int):
    """Amplitudes of any size and phase: states that no protocol uses, for the interference."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(7, 2)) + 1j * rng.normal(size=(7, 2))


USUAL = amplitudes(0.08, 0.30, 0.45)
LINKS = {
    "20 dB": (params(), (0.1, 0.1), (USUAL, USUAL)),
    "unequal arms": (
        params(0.65, 8e-5, 0.005, 0.96),
        (0.5, 0.02),
        (amplitudes(0.02, 0.1, 0.4), amplitudes(0.2, 0.9, 0.5)),
    ),
    "misaligned, dark, dull": (params(0.3, 1e-2, 0.1, 0.9), (0.7, 0.6), (USUAL, USUAL)),
    "bright": (params(0.9, 1e-3, 0.03, 0.9), (0.9, 0.5), (10 * USUAL, 4 * USUAL)),
    "any amplitudes": (params(0.8, 1e-4, 0.02, 0.7), (0.6, 0.3), (arbitrary(1), arbitrary(2))),
    "no interference": (params(overlap=0.0), (0.3, 0.3), (USUAL, USUAL)),
    "darks only": (params(dark=3e-3), (0.1, 0.1), (0 * USUAL, 0 * USUAL)),
    "unequal detectors": (
        params(0.8, 1e-4, 0.02, 0.95, efficiency_ratio=0.5, splitter_transmittance=0.35),
        (0.5, 0.2),
        (USUAL, arbitrary(3)),
    ),
}


def level(link, pulse_rate_hz=1e9):
    receiver, transmittances, light = link
    return level_of(
        receiver=receiver,
        pulse_rate_hz=pulse_rate_hz,
        transmittances=transmittances,
        light=light,
    )


def uniform_states(rng, n):
    return rng.integers(0, 7, n, dtype=np.uint8), rng.integers(0, 7, n, dtype=np.uint8)


def draws(link, n_pulses, seed, *, states_of=uniform_states, batch=50_000, pulse_rate_hz=1e9):
    """Every batch of a segment with its states and the detection, in turn."""
    made = level(link, pulse_rate_hz)
    drawing, detecting = np.random.SeedSequence(seed).spawn(2)
    candidates, detection = made.drawing(drawing, n_pulses), made.detection(detecting, n_pulses)
    rng = np.random.default_rng(seed)
    covered = 0
    while covered < n_pulses:
        draw = candidates.next(batch)
        covered = draw.n_covered
        yield draw, *states_of(rng, draw.pulses.size), detection


def simulate(link, n_pulses, seed, **how):
    """Events per pair of states and pattern, (49, 16).

    An event of afterpulses alone is left out: nobody has asked for its states.
    """
    counts = np.zeros(49 * 16, dtype=np.int64)
    for draw, alice, bob, detection in draws(link, n_pulses, seed, **how):
        clicked, patterns = detection.detect(draw, alice, bob)
        asked = np.isin(clicked, draw.pulses)
        index = np.searchsorted(draw.pulses, clicked[asked])
        cells = (7 * alice[index].astype(int) + bob[index]) * 16 + patterns[asked]
        counts += np.bincount(cells, minlength=counts.size)
    return counts.reshape(49, 16)


def fit(counts, expected, n_pulses, least=25.0):
    """P-value of event counts against expectations, and the number of cells.

    Cells with less than `least` are pooled, and the pool joins the pulses without an event if it
    stays below `least` itself. Pulses count as independent, as they are but for the memory of the
    detectors: dead time makes counts a little more even than that.
    """
    assert not counts[expected == 0].any()
    large = expected >= least
    observed, mean = counts[large].tolist(), expected[large].tolist()
    pool = expected[~large].sum()
    if pool >= least:
        observed.append(counts[~large].sum())
        mean.append(pool)
    observed, mean = np.array(observed), np.array(mean)
    rest, rest_mean = n_pulses - observed.sum(), n_pulses - mean.sum()
    statistic = ((observed - mean) ** 2 / mean).sum() + (rest - rest_mean) ** 2 / rest_mean
    return chi2.sf(statistic, mean.size), mean.size
