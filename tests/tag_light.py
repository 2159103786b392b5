"""Links at the tag level for the tests: how to run one, and what its gates must see."""

import itertools
import math

import numpy as np
from light_checks import USUAL
from scipy.stats import chisquare

from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.clicks import ClickDrawing
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.detectors import Afterpulses, Detector
from mdiqkd_net.physics.optics import raw_patterns
from mdiqkd_net.physics.tags import TagMaker, tag_tables

BINS_PS = (250.0, 750.0)
CLOCK = PulseClock(((0, 1000.0),))
FWHM = math.sqrt(8.0 * math.log(2.0))


def detector(efficiency, *, sigma_s=0.0, afterpulses=(), **keys):
    """A detector with jitter by its standard deviation and afterpulses (chance, mean delay)."""
    chance = sum(c for c, _ in afterpulses)
    traps = Afterpulses()
    if chance:
        traps = Afterpulses(chance, tuple((c / chance, delay_s) for c, delay_s in afterpulses))
    return Detector(efficiency=efficiency, jitter_s=FWHM * sigma_s, afterpulses=traps, **keys)


PERFECT = detector(1.0)


def link(detectors=(PERFECT, PERFECT), transmittances=(0.1, 0.1), light=(USUAL, USUAL), **rest):
    return {
        "detectors": detectors,
        "transmittances": transmittances,
        "light": light,
        "bins_ps": BINS_PS,
        **rest,
    }


def tables_of(description):
    """The tables of a link, whose keys are those of `link`."""
    first, second = description["detectors"]
    receiver = ReceiverParams(
        efficiency=first.efficiency,
        efficiency_ratio=second.efficiency / first.efficiency,
        dark_probability=0.0,
        misalignment=description.get("misalignment", 0.0),
        mode_overlap=description.get("mode_overlap", 1.0),
        splitter_transmittance=description.get("splitter", 0.5),
    )
    patterns = raw_patterns(
        receiver=receiver,
        transmittances=description["transmittances"],
        light=description["light"],
    )
    return tag_tables(
        patterns,
        detectors=description["detectors"],
        bins_ps=description["bins_ps"],
        skews_ps=description.get("skews_ps", (0.0, 0.0)),
    )


def uniform_states(rng, pulses):
    return rng.integers(0, 7, (2, pulses.size), dtype=np.uint8)


def fixed_states(alice, bob):
    def states_of(rng, pulses):
        return np.full((2, pulses.size), np.array([[alice], [bob]]), dtype=np.uint8)

    return states_of


def hashed_states(rng, pulses):
    """A function of the pulse number alone, for runs that must agree however they are cut."""
    mixed = (pulses.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return np.array([(mixed >> np.uint64(k)) % np.uint64(7) for k in (40, 20)]).astype(np.uint8)


def batches(description, n_pulses, seed, *, states_of=uniform_states, clock=CLOCK, sizes=(50_000,)):
    """Yield (pulses, states, tags) until the segment is over; sizes of batches repeat."""
    tables = tables_of(description)
    drawing, making = np.random.SeedSequence(seed).spawn(2)
    candidates = ClickDrawing(tables.bound, drawing, n_pulses)
    maker = TagMaker(tables, clock=clock, n_pulses=n_pulses, seed=making)
    rng = np.random.default_rng(seed)
    size, at = itertools.cycle(sizes), 0
    while at < n_pulses:
        draw = candidates.next(next(size))
        at = draw.n_covered
        states = states_of(rng, draw.pulses)
        yield draw.pulses, states, maker.detect(draw.pulses, *states, at)


def all_tags(*args, **kwargs):
    tags = [tags for _, _, tags in batches(*args, **kwargs)]
    return (
        np.concatenate([batch.times_ps for batch in tags]),
        np.concatenate([batch.channels for batch in tags]),
        tags[-1].watermark_ps,
    )


def gate_patterns(description, gate_ps, n_phases=128):
    """Chance of each of the 16 click patterns per pair of states, (7, 7, 16), by integration.

    Detectors at rest, no jitter: light, and dark counts of a gate's width.
    """
    splitter = description.get("splitter", 0.5)
    overlap = description.get("mode_overlap", 1.0)
    e_d = description.get("misalignment", 0.0)
    alice, bob = (
        table * math.sqrt(t)
        for table, t in zip(description["light"], description["transmittances"], strict=True)
    )
    phases = np.exp(2j * np.pi * (np.arange(n_phases) + 0.37) / n_phases)
    patterns = np.zeros((7, 7, 16))
    # What the splitter does to a mode that Alice and Bob share, detector by detector.
    ports = [
        (math.sqrt(splitter), math.sqrt(1 - splitter)),
        (math.sqrt(1 - splitter), -math.sqrt(splitter)),
    ]
    for a, b in itertools.product(range(7), range(7)):
        silent = {}
        for m, s in itertools.product(range(2), range(2)):
            from_alice, from_bob = ports[s]
            # The part of Bob's light in Alice's mode interferes, the rest adds its photons.
            same = from_alice * alice[a, m] + from_bob * math.sqrt(overlap) * bob[b, m] * phases
            other = (1 - overlap) * abs(from_bob * bob[b, m]) ** 2
            detector = description["detectors"][s]
            darks = detector.dark_rate_hz * gate_ps * 1e-12
            silent[2 * m + s] = np.exp(-detector.efficiency * (np.abs(same) ** 2 + other) - darks)
        for pattern in range(16):
            chance = np.ones(n_phases)
            for k in range(4):
                chance *= 1 - silent[k] if pattern >> k & 1 else silent[k]
            patterns[a, b, pattern] = chance.mean()
    return (1 - e_d) * patterns + e_d * patterns[:, [0, 2, 1, 4, 3, 6, 5]]


def fit(counts, expected, least=25.0):
    """P-value of counts against the shares of the expectations, and the number of cells.

    Cells with an expectation below `least` are pooled.
    """
    assert not counts[expected == 0].any()
    large = expected >= least
    observed, mean = counts[large], expected[large]
    rest = expected.sum() - mean.sum()
    if rest >= least:
        observed, mean = np.append(observed, counts[~large].sum()), np.append(mean, rest)
    mean = mean * (observed.sum() / mean.sum())
    return chisquare(observed, mean).pvalue, mean.size
