"""Presets against the measured curves they come from, and numbers that no detector has."""

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from light_checks import params

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.detectors import DETECTORS, Afterpulses, Detector, detector_of
from mdiqkd_net.physics.detectors.snspd import FAST, RECOVERING, RECOVERY_S, Nanowire
from mdiqkd_net.physics.detectors.spad import SILICON_3605H

REAL = Path(__file__).parents[2] / "../shared/data/real"
measured = pytest.mark.skipif(
    not REAL.is_dir(), reason="the recordings of real devices are not beside this checkout"
)


def columns(path):
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows, dtype=float).T


def test_the_ideal_detector_forgets():
    ideal = detector_of(params(efficiency=0.3))
    assert ideal == Detector(efficiency=0.3)
    assert (ideal.dead_time_s, ideal.jitter_s, ideal.afterpulses.probability) == (0.0, 0.0, 0.0)
    assert ideal.latching_rate_hz == math.inf


@pytest.mark.parametrize("name", DETECTORS)
def test_a_receiver_says_what_its_preset_does_not_know_better(name):
    preset, own = DETECTORS[name], params(efficiency=0.11, detector=name)
    assert detector_of(own).efficiency == 0.11
    assert detector_of(own).dead_time_s == preset.dead_time_s
    changed = detector_of(
        params(
            detector=name,
            dead_time_s=0.0,
            recovery_s=5e-9,
            jitter_s=1e-12,
            afterpulse_probability=0.05,
            afterpulse_decay_s=3e-7,
        )
    )
    assert detector_of(own).recovery_s == preset.recovery_s
    assert (changed.dead_time_s, changed.recovery_s, changed.jitter_s) == (0.0, 5e-9, 1e-12)
    assert changed.afterpulses == Afterpulses(0.05, ((1.0, 3e-7),))
    assert changed.latching_rate_hz == preset.latching_rate_hz


def test_darks_are_a_poisson_process():
    detector = Detector(efficiency=0.5, dark_rate_hz=2e3)
    assert detector.dark_probability(0.5e-9) == pytest.approx(1e-6, rel=1e-6)
    assert detector.dark_probability(1.0) == 1.0
    with pytest.raises(DeviceError, match="gate_s: found -1; allowed: 0 or greater"):
        detector.dark_probability(-1)


@measured
def test_the_silicon_preset_has_the_measured_afterpulses():
    """Cumulative distribution of a recorded 3605H from 1 ns up, within 2 %; published constants."""
    chances = np.loadtxt(REAL / "spad/apDist_3605H.txt")
    facts = json.loads((REAL / "spad/apDist_3605H.txt.expected.json").read_text())
    delays_s = np.arange(1, chances.size + 1) * facts["bin_width_s"]
    of_preset = sum(
        share * -np.expm1(-delays_s / decay_s)
        for share, decay_s in SILICON_3605H.afterpulses.decays
    )
    late = delays_s > 1e-9
    assert abs(of_preset - np.cumsum(chances))[late].max() < 0.02
    constants = json.loads((REAL / "spad/constants.expected.json").read_text())
    published = constants["detector_constants_published_with_the_model"]["SPCM 3605H"]
    assert SILICON_3605H.afterpulses.probability == published["mean_number_of_afterpulses"]
    assert SILICON_3605H.dead_time_s == published["recovery_time_s"]


@measured
def test_the_nanowire_preset_has_the_measured_curves():
    facts = json.loads((REAL / "snspd/expected.json").read_text())
    assert FAST.jitter_s == pytest.approx(facts["jitter_fwhm_ps"] * 1e-12, rel=0.01)
    assert pytest.approx(facts["pulse_1_over_e_recovery_ns"], rel=1e-3) == RECOVERY_S * 1e9
    wavelength_nm, efficiency_percent = columns(REAL / "snspd/efficiency.csv")
    at_1550 = np.interp(1550.0, wavelength_nm, efficiency_percent)
    assert FAST.efficiency * 100 == pytest.approx(at_1550, abs=0.05)


@measured
def test_the_nanowire_has_its_bias_back_when_its_dead_time_is_over():
    """94 % of the pulse has gone, and with it 94 % of the bias is back."""
    time_ns, amplitude = columns(REAL / "snspd/pulse_trace.csv")
    peak = amplitude.argmax()
    left = np.interp(time_ns[peak] + FAST.dead_time_s * 1e9, time_ns[peak:], amplitude[peak:])
    assert left / amplitude[peak] == pytest.approx(0.06, abs=0.005)


@measured
def test_the_recovering_nanowire_follows_the_bias_of_the_measured_one():
    """Within 0.07 of the share of the pulse that has gone, and no other times fit better."""
    time_ns, amplitude = columns(REAL / "snspd/pulse_trace.csv")
    peak = amplitude.argmax()
    since_s, gone = (
        (time_ns[peak:] - time_ns[peak]) * 1e-9,
        1.0 - amplitude[peak:] / amplitude.max(),
    )

    def deviations(dead_time_s, recovery_s):
        return -np.expm1(-np.maximum(since_s - dead_time_s, 0.0) / recovery_s) - gone

    own = deviations(RECOVERING.dead_time_s, RECOVERING.recovery_s)
    assert abs(own).max() < 0.07
    grid = [(d * 1e-10, r * 1e-10) for d in range(40) for r in range(40, 120)]
    best = min(grid, key=lambda times: np.square(deviations(*times)).sum())
    assert best == pytest.approx((RECOVERING.dead_time_s, RECOVERING.recovery_s), rel=1e-9)


def test_bias_buys_efficiency_with_darks_and_cold_helps():
    wire = Nanowire()
    biases = np.linspace(8e-6, 19e-6, 12)
    points = [wire.at(bias_a=bias, temperature_k=0.8) for bias in biases]
    for one, other in itertools.pairwise(points):
        assert one.efficiency <= other.efficiency
        assert one.dark_rate_hz < other.dark_rate_hz
    assert points[0].efficiency < 0.1 * wire.plateau
    assert points[-1].efficiency == pytest.approx(wire.plateau, rel=0.01)
    warm, cold = (wire.at(bias_a=15e-6, temperature_k=t) for t in (2.5, 0.8))
    assert warm.dark_rate_hz > 10 * cold.dark_rate_hz
    assert cold.dead_time_s == FAST.dead_time_s


def test_a_working_point_is_that_of_the_formulas():
    wire = Nanowire(
        critical_current_a=10e-6,
        critical_temperature_k=10.0,
        plateau=0.8,
        midpoint=0.5,
        width=0.1,
        dark_rate_hz=1e3,
        dark_scale=0.05,
    )
    # At 6 K the critical current is 10 µA times 0.64^1.5 = 0.512; half of it is the midpoint.
    point = wire.at(bias_a=2.56e-6, temperature_k=6.0)
    assert point.efficiency == pytest.approx(0.4, rel=1e-9)
    assert point.dark_rate_hz == pytest.approx(1e3 * math.exp(-10), rel=1e-9)


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: Detector(efficiency=1.1), "efficiency: found 1.1; allowed: 0 to 1"),
        (lambda: Detector(efficiency=math.nan), "efficiency: found nan"),
        (lambda: Detector(efficiency=0.5, dark_rate_hz=-1.0), "dark_rate_hz: found -1.0"),
        (lambda: Detector(efficiency=0.5, dead_time_s=math.inf), "dead_time_s: found inf"),
        (lambda: Detector(efficiency=0.5, recovery_s=-1e-9), "recovery_s: found -1e-09"),
        (lambda: Detector(efficiency=0.5, recovery_s=math.nan), "recovery_s: found nan"),
        (lambda: Detector(efficiency=0.5, jitter_s=-1e-12), "jitter_s: found -1e-12"),
        (lambda: Detector(efficiency=0.5, latching_rate_hz=0.0), "latching_rate_hz: found 0.0"),
        (lambda: Afterpulses(1.0), "afterpulse_probability: found 1.0; allowed: 0 to 0.9"),
        (lambda: Afterpulses(0.1, ()), r"afterpulse decays: found \(\)"),
        (lambda: Afterpulses(0.1, ((1.0, 0.0),)), "with a finite time above 0"),
        (lambda: Afterpulses(0.1, ((0.5, 1e-6),)), "found shares that sum to 0.5; allowed: 1"),
        (lambda: Nanowire(width=0.0), "width: found 0.0; allowed: greater than 0"),
        (lambda: Nanowire(plateau=1.5), "plateau: found 1.5"),
        (lambda: Nanowire().at(bias_a=1e-6, temperature_k=9.0), "where the wire is normal"),
        (lambda: Nanowire().at(bias_a=21e-6, temperature_k=1.0), "below the critical current"),
        (lambda: detector_of(params(detector="cat")), "detector: found 'cat'; allowed: ideal,"),
    ],
)
def test_numbers_that_no_detector_has_are_refused(build, word):
    with pytest.raises(DeviceError, match=word):
        build()
