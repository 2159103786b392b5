"""What each effect of a detector does to its tags, one at a time.

Statistical tests use fixed seeds; each fails by chance less often than FALSE_ALARM.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from light_checks import USUAL
from scipy.integrate import cumulative_trapezoid
from scipy.stats import binomtest, chisquare, expon, exponnorm, kstest, norm
from tag_light import (
    BINS_PS,
    CLOCK,
    FWHM,
    PERFECT,
    all_tags,
    batches,
    detector,
    fixed_states,
    link,
    tables_of,
)

from mdiqkd_net.blocks import Segment
from mdiqkd_net.physics.clock import PulseClock
from mdiqkd_net.physics.matching import Gates, Matcher
from mdiqkd_net.physics.tags import TagMaker

FALSE_ALARM = 1e-6
GATE_PS = 400.0
DARK = 0 * USUAL


@pytest.mark.parametrize("dead_time_s", [0.0, 3e-9, 50e-9])
def test_dark_counts_are_a_renewal_process(dead_time_s):
    """A detector of rate r and dead time τ clicks r / (1 + r τ) times per second."""
    rate, n_pulses = 1e8, 4_000_000
    darks = detector(0.5, dark_rate_hz=rate, dead_time_s=dead_time_s)
    times, channels, end = all_tags(link((darks, PERFECT), light=(DARK, DARK)), n_pulses, 8)
    assert not channels.any()
    seconds = (end - times[0]) * 1e-12
    mean = rate * seconds / (1 + rate * dead_time_s)
    # Cox, Renewal Theory (1962): the variance falls with the cube.
    sigma = math.sqrt(rate * seconds / (1 + rate * dead_time_s) ** 3)
    assert abs(times.size - mean) < norm.isf(FALSE_ALARM / 2) * sigma
    gaps = np.diff(times) - 1e12 * dead_time_s
    assert gaps.min() >= 0
    # Whole picoseconds of an exponential are geometric; smeared over them they are exponential.
    smeared = gaps - (dead_time_s == 0.0) + np.random.default_rng(1).random(gaps.size)
    assert kstest(smeared * rate * 1e-12, expon.cdf).pvalue > FALSE_ALARM


def test_a_dead_detector_does_not_see_the_next_bin():
    """Dazzling light in every bin, dead for one bin and a half: every other bin clicks."""
    dazzling = np.full((7, 2), 100.0 + 0j)
    made = detector(1.0, dead_time_s=750e-12)
    description = link((made, detector(0.0)), (1.0, 0.0), (dazzling, DARK), mode_overlap=0.0)
    times, _, _ = all_tags(description, 10, 9)
    assert times.tolist() == [1000 * k + 250 for k in range(10)]


def test_afterpulses_follow_their_chance_and_their_release_times():
    chances, releases = (0.05, 0.15), (20e-9, 300e-9)
    made = detector(0.5, dark_rate_hz=1e4, afterpulses=tuple(zip(chances, releases, strict=True)))
    quiet = detector(0.5)
    times, channels, end = all_tags(link((made, quiet), light=(DARK, DARK)), 4 * 10**9, 10)
    assert not channels.any()
    # A Galton-Watson process: each dark count has 1 / (1 - p) clicks on average, all told, with
    # a variance of p / (1 - p)³ around it.
    p = sum(chances)
    n_darks = 1e4 * (end - times[0]) * 1e-12
    mean = n_darks / (1 - p)
    sigma = math.sqrt(n_darks * (p / (1 - p) ** 3 + 1 / (1 - p) ** 2))
    assert abs(times.size - mean) < norm.isf(FALSE_ALARM / 2) * sigma
    # The next click is the release, unless the trap is empty: then it is the next dark count.
    gaps = np.diff(times) * 1e-12

    def silence(t):
        full = sum(c * np.exp(-t / r) for c, r in zip(chances, releases, strict=True))
        return (1 - p + full) * np.exp(-1e4 * t)

    # A dark count before the release breaks this law, three times in a thousand full traps.
    edges = np.geomspace(1e-9, 3e-6, 30)
    chance = -np.diff(np.concatenate([[1.0], silence(edges), [0.0]]))
    observed = np.bincount(np.searchsorted(edges, gaps), minlength=31)
    assert chisquare(observed, gaps.size * chance).pvalue > FALSE_ALARM


def test_afterpulses_wait_for_the_end_of_the_dead_time():
    """All of them come, and their delay is counted from there."""
    made = detector(0.5, dark_rate_hz=1e3, dead_time_s=50e-9, afterpulses=((0.3, 100e-9),))
    times, _, _ = all_tags(link((made, detector(0.5)), light=(DARK, DARK)), 3 * 10**10, 11)
    gaps = np.diff(times) * 1e-12 - 50e-9
    assert gaps.min() >= 0
    assert gaps.size > 20_000
    for limit_s in (50e-9, 200e-9, 2e-6):
        # Until then a release, or a dark count, or both.
        silence = (1 - 0.3 * -math.expm1(-limit_s / 100e-9)) * math.exp(-1e3 * limit_s)
        n_soon = int((gaps < limit_s).sum())
        assert binomtest(n_soon, gaps.size, 1 - silence).pvalue > FALSE_ALARM


def delays(description, seed):
    """From the center of the early bin to the tag, of light that is early only, smeared to 1 ps."""
    times, _, _ = all_tags(
        description,
        4_000_000,
        seed,
        states_of=fixed_states(5, 0),
        clock=PulseClock(((0, 10_000.0),)),
    )
    smear = np.random.default_rng(seed).random(times.size) - 0.5
    return (times + 5000) % 10_000 - 5000 - 250 + smear


@pytest.mark.parametrize("sigma_ps", [6.05, 80.0])
def test_jitter_costs_what_the_error_function_says(sigma_ps):
    made = detector(1.0, sigma_s=sigma_ps * 1e-12)
    delay = delays(link((made, made), (0.1, 0.0)), 12)
    assert kstest(delay, norm(0, sigma_ps).cdf).pvalue > FALSE_ALARM
    for half in (0.5, 1.0, 2.5):
        inside = math.erf(half / math.sqrt(2))
        n_inside = int((np.abs(delay) < half * sigma_ps).sum())
        assert binomtest(n_inside, delay.size, inside).pvalue > FALSE_ALARM


def test_jitter_with_a_tail_is_an_exponentially_modified_gaussian():
    made = detector(1.0, sigma_s=30e-12, jitter_tail_share=0.25, jitter_tail_s=120e-12)
    delay = delays(link((made, made), (0.1, 0.0), skews_ps=(40.0, 40.0)), 13) - 40

    def cdf(x):
        return 0.75 * norm.cdf(x, 0, 30) + 0.25 * exponnorm.cdf(x, 120 / 30, 0, 30)

    assert kstest(delay, cdf).pvalue > FALSE_ALARM


def test_clock_drift_shows_and_a_clock_that_knows_takes_it_away():
    """A tagger that runs 0.1 ppm fast moves pulses out of their gates after two million."""
    sigma_ps, n_pulses = 20.0, 2_700_000
    made = detector(0.8, sigma_s=sigma_ps * 1e-12)
    description = link((made, made), (0.05, 0.05))
    clock = PulseClock.drifting(1000.0, [(0, 1e-7), (1_000_000, 0.9e-7)])
    counts = {}
    for name, assumed in (("nominal", CLOCK), ("true", clock)):
        matcher = Matcher(Gates.at(BINS_PS, GATE_PS))
        matcher.begin(Segment(0, 0, n_pulses), assumed)
        for _, _, tags in batches(description, n_pulses, 14, clock=clock):
            matcher.feed(tags.times_ps, tags.channels, tags.watermark_ps)
        counts[name] = matcher.counts
    assert counts["true"].n_outside == 0
    k = np.arange(0, n_pulses, 100)
    late = 1e-4 * k - 1e-5 * np.maximum(0, k - 1_000_000)
    inside = norm.cdf((200 - late) / sigma_ps) + norm.sf((300 - late) / sigma_ps)
    kept = counts["nominal"]
    assert binomtest(kept.n_gated, kept.n_tags, inside.mean()).pvalue > FALSE_ALARM


def test_a_long_segment_keeps_its_picoseconds():
    """At pulse 10^14 of a broken period, tags are where exact arithmetic puts them."""
    clock, n_pulses = PulseClock(((0, 1000.1234567),)), 10**14
    tables = tables_of(link((PERFECT, PERFECT), (0.9, 0.0)))
    maker = TagMaker(tables, clock=clock, n_pulses=n_pulses, seed=np.random.SeedSequence(1))
    pulses = np.arange(n_pulses - 1000, n_pulses)
    z0 = np.full(1000, 5, dtype=np.uint8)
    tags = maker.detect(pulses, z0, 0 * z0, n_pulses)
    base = clock.arrival_ps(n_pulses - 1000)
    exact = np.array([float(clock.arrival_ps(int(k)) - base) + 250 for k in pulses])
    found = np.array([float(int(time) - base) for time in tags.times_ps])
    assert found.size > 500
    assert np.abs(found[:, None] - exact).min(axis=1).max() < 0.7


SNSPD_DATA = Path(__file__).resolve().parents[3] / "shared/data/real/snspd"


@pytest.mark.skipif(not SNSPD_DATA.exists(), reason="the recording is not here")
def test_a_measured_nanowire_is_a_gaussian_of_its_width():
    """The response of PRJ.437834, digitised: tags of the model have its shape and its width."""
    fwhm_ps = json.loads((SNSPD_DATA / "expected.json").read_text())["jitter_fwhm_ps"]
    measured = np.loadtxt(SNSPD_DATA / "timing_jitter.csv", delimiter=",", skiprows=1)
    center_ps, height = measured.T
    made = detector(0.6, sigma_s=fwhm_ps / FWHM * 1e-12)
    delay = np.sort(delays(link((made, made), (0.1, 0.0)), 15))
    area = cumulative_trapezoid(height, center_ps, initial=0.0)
    model = np.searchsorted(delay, center_ps) / delay.size
    # The measured curve itself is 0.7 % from the Gaussian of its width.
    assert np.abs(model - area / area[-1]).max() < 0.01
    above = center_ps[height > height.max() / 2]
    assert above[-1] - above[0] == pytest.approx(fwhm_ps, abs=0.6)
