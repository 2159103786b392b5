"""Statistical tests use fixed seeds and false-alarm probabilities of at most 1e-6."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import Drift, FreeSpace, Process
from mdiqkd_net.params import Fiber
from mdiqkd_net.physics.drift import HORIZON_S, NOMINAL, ArmDrift, standard_process
from mdiqkd_net.physics.fluctuation import gamma_gamma_shapes

FALSE_ALARM = 1e-6
TIMES_S = np.array([0.5, 3.0, 3.25, 40.0])


def sampled(process, n=200):
    return np.array([[standard_process(process, (seed,), t) for t in TIMES_S] for seed in range(n)])


def covariance_of(kind, s, t, time_s):
    if kind == "random_walk":
        return min(s, t) / time_s
    # Ornstein-Uhlenbeck from rest: the stationary covariance less what the start has fixed.
    return math.exp(-abs(s - t) / time_s) - math.exp(-(s + t) / time_s)


@pytest.mark.parametrize("kind", ["random_walk", "ornstein_uhlenbeck"])
def test_processes_are_gaussian_with_the_covariance_of_their_kind(kind):
    """Whitened by the Cholesky factor, samples are independent standard normal numbers."""
    process = Process(kind=kind, size=1.0, time_s=10.0)
    samples = sampled(process)
    covariance = np.array([[covariance_of(kind, s, t, 10.0) for t in TIMES_S] for s in TIMES_S])
    white = np.linalg.solve(np.linalg.cholesky(covariance), samples.T)
    assert kstest(white.ravel(), norm.cdf).pvalue > FALSE_ALARM
    # The sum of squares of n normal numbers is chi-square, each product of two has variance 1.
    squares = (white**2).sum(axis=1)
    p = 2 * np.minimum(chi2.cdf(squares, 200), chi2.sf(squares, 200))
    assert p.min() > FALSE_ALARM / 4
    products = (white @ white.T)[np.triu_indices(4, 1)] / math.sqrt(200)
    assert np.abs(products).max() < 6.0


def test_a_long_time_after_the_start_a_process_is_stationary():
    process = Process(kind="ornstein_uhlenbeck", size=1.0, time_s=1e-3)
    values = [standard_process(process, (seed,), 1e6 + 0.1) for seed in range(300)]
    assert kstest(values, norm.cdf).pvalue > FALSE_ALARM


def test_a_day_is_a_sine_of_a_seeded_phase():
    process = Process(kind="diurnal", size=1.0, time_s=86_400.0)
    for seed in range(3):
        noon, night = (standard_process(process, (seed,), t) for t in (21_600.0, 64_800.0))
        start = standard_process(process, (seed,), 86_400.0)
        assert start == pytest.approx(0.0, abs=1e-9)
        # A quarter and three quarters of a period lie opposite each other about -sin θ.
        sine = -(noon + night) / 2
        assert abs(sine) <= 1.0
        assert abs((noon - night) / 2) == pytest.approx(math.sqrt(1 - sine**2), abs=1e-9)


DRIFTING = Fiber(
    length_km=50.0,
    attenuation_db_per_km=0.2,
    drift=Drift(
        preset="buried",
        loss_db=Process(kind="random_walk", size=0.1, time_s=60.0),
        intensity=Process(kind="ornstein_uhlenbeck", size=0.05, time_s=60.0),
    ),
    free_space=FreeSpace(
        length_km=1.0, beam_waist_m=0.02, receiver_radius_m=0.02, rytov_variance=0.3
    ),
)


def test_conditions_depend_on_seed_and_time_alone():
    drift = ArmDrift(DRIFTING, (1, 2))
    forwards = [drift.at(t) for t in (0.0, 10.0, 1e5)]
    again = ArmDrift(DRIFTING, (1, 2))
    assert [again.at(t) for t in (1e5, 10.0, 0.0)] == forwards[::-1]
    assert ArmDrift(DRIFTING, (1, 3)).at(10.0) != forwards[1]
    start = forwards[0]
    assert (start.delay_ps, start.frequency_hz, start.loss_db, start.brightness) == (0, 0, 0, 1)
    assert start.rotation_rad == (0.0, 0.0, 0.0)
    later = forwards[1]
    assert 0.0 not in (later.delay_ps, later.frequency_hz, later.loss_db, *later.rotation_rad)


def test_parts_of_a_rotation_share_its_size():
    """Sum of squares over size² is a third of a chi-square of 3 n degrees of freedom."""
    fiber = Fiber(
        length_km=1.0,
        attenuation_db_per_km=0.2,
        drift=Drift(polarization_rad=Process(kind="random_walk", size=0.5, time_s=7.0)),
    )
    turns = np.array([ArmDrift(fiber, (seed,)).at(7.0).rotation_rad for seed in range(100)])
    statistic = 3 * (turns**2).sum() / 0.25
    assert min(chi2.cdf(statistic, 300), chi2.sf(statistic, 300)) > FALSE_ALARM


def test_fades_follow_their_law_and_last_for_their_time():
    drift = ArmDrift(DRIFTING, (4,))
    path = DRIFTING.free_space
    assert drift.at(0.0201).fade == drift.at(0.0299).fade
    fades = np.array([drift._fade(0.01 * (k + 0.5)) for k in range(10_000)])
    large, small = gamma_gamma_shapes(path.rytov_variance)
    variance = (1 + 1 / large) * (1 + 1 / small) - 1
    fourth = math.prod((1 + 2 / s) * (1 + 3 / s) * (1 + 1 / s) for s in (large, small))
    # Mean and second moment, each within 4.9 of its own standard deviations.
    assert abs(fades.mean() - 1) < 4.9 * math.sqrt(variance / fades.size)
    second = 1 + variance
    assert abs((fades**2).mean() - second) < 4.9 * math.sqrt((fourth - second**2) / fades.size)


def test_a_quiet_arm_does_not_change():
    fiber = Fiber(length_km=10.0, attenuation_db_per_km=0.2)
    assert not ArmDrift(fiber, (1,)).changes
    assert ArmDrift(fiber, (1,)).at(1e6) == NOMINAL
    assert ArmDrift(DRIFTING, (1,)).changes


@pytest.mark.parametrize("time_s", [-1.0, HORIZON_S, math.nan])
def test_times_without_a_value_are_refused(time_s):
    with pytest.raises(DeviceError, match="time of a drift: found"):
        ArmDrift(DRIFTING, (1,)).at(time_s)
