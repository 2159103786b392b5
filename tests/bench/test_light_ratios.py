"""Speed of the simulated light against a compiled loop over every pulse, in the same run.

Run with -s for the figures: pytest -s tests/bench/test_light_ratios.py
"""

import time

import numpy as np
import pytest
from naive_light import LINKS, SOURCE, run_naive
from scipy.stats import poisson

from mdiqkd_net.blocks import Segment
from mdiqkd_net.devices.simulated import BATCH, SimulatedReceiver
from mdiqkd_net.physics.settings import SegmentSettings
from mdiqkd_net.physics.time_bin import light_table

N_NAIVE = 5_000_000


def optics_of(link):
    loss_db, source, receiver, _ = link
    return SimulatedReceiver(
        receiver=receiver,
        transmittances=(10 ** (-loss_db / 20),) * 2,
        light=(light_table(source),) * 2,
        seed=1,
    )


def run_fast(link, n_pulses):
    """Candidates, events, CPU seconds of everything a run needs: gaps, both settings, clicks."""
    optics, source = optics_of(link), link[1]
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
def test_skipping_beats_a_loop_over_every_pulse(name):
    """Goals leave a wide margin for busy machines; event rates agree (false alarm 1e-6)."""
    link = LINKS[name]
    n_fast = int(6e6 / optics_of(link).bound)
    run_naive(link, 1000)  # compile
    run_fast(link, 100_000)
    few, slow_s = run_naive(link, N_NAIVE)
    n_candidates, many, fast_s = run_fast(link, n_fast)
    slow, fast = N_NAIVE / slow_s, n_fast / fast_s
    print(  # noqa: T201
        f"\n{name}: loop {slow:.2e} pulses/s, skipping {fast:.2e} pulses/s, ratio "
        f"{fast / slow:.0f}; {n_candidates / n_fast:.4g} candidates and {many / n_fast:.4g} "
        f"events per pulse, {fast_s / n_candidates * 1e9:.0f} ns per candidate, "
        f"{1e10 / fast:.3g} s per 1e10 pulses"
    )
    assert fast / slow > link[3]
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
    """Each step on a candidate costs less than the loop spends on a pulse, or twice for clicks."""
    loop = run_naive(LINKS["20 dB"], N_NAIVE)[1] / N_NAIVE * 1e9
    chosen = SegmentSettings(b"a" * 32, SOURCE)
    # Both arms alike, y0 with y0 is accepted at a rate `share`; vacuum never is but for darks.
    vacuum, y0 = np.zeros(BATCH, dtype=np.uint8), np.full(BATCH, 3, dtype=np.uint8)
    events = []
    draw = ns_per_candidate(lambda optics, _: optics.next_candidates())
    settings = ns_per_candidate(lambda _, batch: chosen.states_at(batch.pulses))
    reject = ns_per_candidate(lambda optics, batch: optics.detect(batch, vacuum, vacuum))
    mixed = ns_per_candidate(
        lambda optics, batch: events.append(optics.detect(batch, y0, y0).pulses.size)
    )
    share = np.mean(events) / BATCH
    accept = (mixed - (1 - share) * reject) / share
    print(  # noqa: T201
        f"\nns per candidate: draw {draw:.1f}, settings of one user {settings:.1f}, reject "
        f"{reject:.1f}, accept with interference in both bins {accept:.0f}; "
        f"the loop's pulse {loop:.0f}"
    )
    assert max(draw, settings, reject) < loop
    assert accept < 2 * loop
