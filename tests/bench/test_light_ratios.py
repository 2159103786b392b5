"""Speed of the simulated light against a compiled loop over every pulse, in the same run.

Run with -s for the figures: pytest -s tests/bench/test_light_ratios.py
"""

import math
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from naive_light import LINKS, SOURCE, run_naive
from scipy.stats import poisson

from mdiqkd_net.blocks import Segment
from mdiqkd_net.devices.simulated import BATCH, SimulatedReceiver
from mdiqkd_net.imperfections import AngleError, AngleErrors, PatternEffect, TransmitterParams
from mdiqkd_net.params import Fiber
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.physics.pair_optics import Arm, pair_optics
from mdiqkd_net.physics.settings import SegmentSettings

N_NAIVE = 5_000_000

LEVELS = {
    "coincidences, no memory": ({}, {name: link[3] for name, link in LINKS.items()}),
    "coincidences, 20 ns": (
        {"dead_time_s": 20e-9},
        {"20 dB": 300, "30 dB": 5_000, "40 dB": 50_000, "25 + 25 km": 30},
    ),
    "clicks, 20 ns, 2 % afterpulses": (
        {"level": "click", "dead_time_s": 20e-9, "afterpulse_probability": 0.02},
        {"20 dB": 8, "30 dB": 25, "40 dB": 80, "25 + 25 km": 5},
    ),
}
"""Keys of the receiver, and how many times faster than the loop each link must be, at 1 GHz. The
loop knows no memory: one that did would be slower."""


def optics_of(link, **changes):
    loss_db, source, receiver, _ = link
    return SimulatedReceiver(
        receiver=msgspec.structs.replace(receiver, **changes),
        transmittances=(10 ** (-loss_db / 20),) * 2,
        light=(light_table(source),) * 2,
        seed=1,
    )


def run_fast(link, n_pulses, **changes):
    """Candidates, events, CPU seconds of everything a run needs: gaps, both settings, clicks."""
    optics, source = optics_of(link, **changes), link[1]
    start = time.process_time()
    alice, bob = SegmentSettings(b"a" * 32, source), SegmentSettings(b"b" * 32, source)
    optics.begin(Segment(0, 0, n_pulses))
    n_candidates = n_events = 0
    while (batch := optics.next_candidates()) is not None:
        states = alice.states_at(batch.pulses), bob.states_at(batch.pulses)
        n_events += optics.detect(batch, *states).pulses.size
        n_candidates += batch.pulses.size
    return n_candidates, n_events, time.process_time() - start


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("what", LEVELS)
def test_skipping_beats_a_loop_over_every_pulse(what, name):
    """Best of three each. Without memory, event rates agree (false alarm 1e-6)."""
    link, (changes, goals) = LINKS[name], LEVELS[what]
    n_fast = int(2e6 / optics_of(link, **changes).bound)
    run_naive(link, 1000)  # compile
    run_fast(link, 100_000, **changes)
    few, slow_s = min((run_naive(link, N_NAIVE) for _ in range(3)), key=lambda run: run[1])
    runs = [run_fast(link, n_fast, **changes) for _ in range(3)]
    n_candidates, many, fast_s = min(runs, key=lambda run: run[2])
    slow, fast = N_NAIVE / slow_s, n_fast / fast_s
    print(  # noqa: T201
        f"\n{name}, {what}: loop {slow:.2e} pulses/s, skipping {fast:.2e} pulses/s, ratio "
        f"{fast / slow:.0f}; {n_candidates / n_fast:.4g} candidates and {many / n_fast:.4g} "
        f"events per pulse, {fast_s / n_candidates * 1e9:.0f} ns per candidate, "
        f"{1e10 / fast:.3g} s per 1e10 pulses"
    )
    assert fast / slow > goals[name]
    if not changes:
        # The skipping sample is so much larger that its own scatter does not matter.
        mean = many * N_NAIVE / n_fast
        assert min(poisson.cdf(few, mean), poisson.sf(few - 1, mean)) > 5e-7


def ns_per_candidate(work, repetitions=100):
    """CPU nanoseconds per candidate of `work(batch)`, batches drawn beforehand."""
    optics = optics_of(LINKS["20 dB"])
    optics.begin(Segment(0, 0, 10**15))
    batches = [optics.next_candidates() for _ in range(repetitions)]
    start = time.process_time()
    for batch in batches:
        work(optics, batch)
    return (time.process_time() - start) / (repetitions * BATCH) * 1e9


def test_costs_underneath():
    """Each step on a candidate costs less than the loop spends on a pulse."""
    loop = run_naive(LINKS["20 dB"], N_NAIVE)[1] / N_NAIVE * 1e9
    chosen = SegmentSettings(b"a" * 32, SOURCE)
    vacuum, y0 = np.zeros(BATCH, dtype=np.uint8), np.full(BATCH, 3, dtype=np.uint8)
    draw = ns_per_candidate(lambda optics, _: optics.next_candidates())
    settings = ns_per_candidate(lambda _, batch: chosen.states_at(batch.pulses))
    reject = ns_per_candidate(lambda optics, batch: optics.detect(batch, vacuum, vacuum))
    mixed = ns_per_candidate(lambda optics, batch: optics.detect(batch, y0, y0))
    print(  # noqa: T201
        f"\nns per candidate: draw {draw:.1f}, settings of one user {settings:.1f}, detect "
        f"vacuum {reject:.1f}, detect y0 with y0 {mixed:.1f}; the loop's pulse {loop:.0f}"
    )
    assert max(draw, settings, reject, mixed) < loop


FLAWED = TransmitterParams(
    angle_errors=AngleErrors(x1=AngleError(azimuth_rad=0.03)),
    vacuum_extinction_db=30.0,
    mode_extinction_db=30.0,
    phase_randomization="discrete",
    coherence_time_s=1e-4,
    intensity_noise=0.03,
    pattern_effect=PatternEffect(o=-0.01, z=0.02),
)


def test_flaws_cost_some_of_the_speed():
    """With every flaw on, light comes at a twentieth of the ideal rate or faster."""
    _, source, receiver, _ = LINKS["25 + 25 km"]
    arm = Arm(source, Fiber(length_km=25.0, attenuation_db_per_km=0.2), FLAWED)
    n_pulses, rates = 500_000_000, {}
    for name, transmitter in (("ideal", TransmitterParams()), ("flawed", FLAWED)):
        arms = (replace(arm, transmitter=transmitter),) * 2
        optics = pair_optics(receiver, arms, pulse_rate_hz=1e9)
        device = SimulatedReceiver(
            receiver=optics.receiver,
            transmittances=optics.transmittances,
            light=optics.light,
            phase=optics.phase,
            seed=1,
        )
        users = [SegmentSettings(key * 32, source) for key in (b"a", b"b")]
        best_s = math.inf
        for number in range(3):
            start, n = time.process_time(), 0
            device.begin(Segment(number, 0, n_pulses))
            while (batch := device.next_candidates()) is not None:
                device.detect(batch, *(user.states_at(batch.asked) for user in users))
                n += batch.pulses.size
            best_s = min(best_s, time.process_time() - start)
        rates[name] = n_pulses / best_s
        print(  # noqa: T201
            f"\n{name}: {rates[name]:.2e} pulses/s, {best_s / n * 1e9:.0f} ns per candidate"
        )
    assert rates["flawed"] > rates["ideal"] / 20
