import math

import numpy as np
import pytest
from light_checks import params

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import TaggerParams
from mdiqkd_net.physics.gates import check_untimed, first_gates, gates_of


@pytest.mark.parametrize(
    ("dead_time_s", "separation_s", "reach"),
    [
        (0.0, None, [[0, 0], [1, 0]]),
        (0.4e-9, None, [[1, 0], [1, 1]]),  # over before the late bin opens
        (0.5e-9, None, [[1, 0], [1, 1]]),  # just over
        (0.6e-9, None, [[1, 1], [2, 1]]),
        (20e-9, None, [[20, 20], [21, 20]]),
        (3.1e-9, 0.2e-9, [[4, 3], [4, 4]]),
        (1e-6, 0.25e-9, [[1000, 1000], [1001, 1000]]),
    ],
)
def test_a_click_reaches_as_far_as_the_dead_time(dead_time_s, separation_s, reach):
    gates = gates_of(params(dead_time_s=dead_time_s, bin_separation_s=separation_s), 1e9)
    assert gates.reach.tolist() == reach
    assert gates.memory == max(0, max(map(max, reach)) - 1)


@pytest.mark.parametrize("dead_time_s", [0.0, 0.3e-9, 7.7e-9])
def test_reach_is_the_comparison_of_times(dead_time_s):
    period_s, separation_s = 1 / 7e8, 0.37e-9
    receiver = params(dead_time_s=dead_time_s, bin_separation_s=separation_s)
    gates = gates_of(receiver, 7e8)
    first = first_gates(gates.reach)
    for m in range(2):
        for n in range(2):
            later = [
                k
                for k in range(50)
                if (k, n) > (0, m) and k * period_s + (n - m) * separation_s >= dead_time_s
            ]
            assert first[m, n] == later[0]


def test_the_recovery_begins_where_the_dead_time_ends():
    """Counted in pulses, between the times of the gates themselves."""
    receiver = params(dead_time_s=2.3e-9, recovery_s=3e-9, bin_separation_s=0.4e-9)
    gates = gates_of(receiver, 5e8)
    for m in range(2):
        for n in range(2):
            live_s = [k * 2e-9 + (n - m) * 0.4e-9 - 2.3e-9 for k in range(10)]
            of_gates = np.arange(10) - gates.dead_pulses[m, n]
            assert (of_gates * 2e-9).tolist() == pytest.approx(live_s)
    assert gates.recovery_pulses == pytest.approx(1.5)
    assert gates_of(params(dead_time_s=2e-8), 1e9).recovery_pulses == 0.0


def test_afterpulse_gates_are_weighted_by_their_delays():
    receiver = params(
        dead_time_s=2.3e-9,
        afterpulse_probability=0.1,
        afterpulse_decay_s=1.7e-9,
        bin_separation_s=0.4e-9,
    )
    gates = gates_of(receiver, 1e9)
    for m in range(2):
        delays = {(k, n): k - m * 0.4 + n * 0.4 for k in range(100) for n in range(2)}
        weights = {gate: math.exp(-t / 1.7) for gate, t in delays.items() if t >= 2.3}
        total = sum(weights.values())
        early = sum(w for (_, n), w in weights.items() if n == 0) / total
        assert gates.afterpulse_cuts[m].tolist() == pytest.approx([early, 1.0], rel=1e-12)
    assert gates.afterpulse_scales.tolist() == pytest.approx([1.7])
    assert gates.afterpulse_probability == 0.1


@pytest.mark.parametrize(
    ("change", "rate", "word"),
    [
        ({"bin_separation_s": 1e-9}, 1e9, "bin_separation_s: found 1e-09; allowed: above 0 and"),
        ({"bin_separation_s": 0.0}, 1e9, r"bin_separation_s: found 0.0"),
        ({}, 0.0, "pulse_rate_hz: found 0.0; allowed: greater than 0"),
        ({"dead_time_s": -1e-9}, 1e9, "dead_time_s: found -1e-09; allowed: 0 or greater"),
        ({"dead_time_s": math.nan}, 1e9, "dead_time_s: found nan"),
    ],
)
def test_what_gates_cannot_hold_is_refused(change, rate, word):
    with pytest.raises(DeviceError, match=word):
        gates_of(params(**change), rate)


@pytest.mark.parametrize(
    ("change", "rate", "word"),
    [
        ({"jitter_s": 300e-12}, 1e9, "jitter_s: found 3e-10, which carries .* or the level tag"),
        ({"jitter_s": 100e-12, "bin_separation_s": 0.9e-9}, 1e9, "a bin 1e-10 s from the next"),
        ({"detector": "spad_silicon"}, 2e9, "jitter_s: found 3.5e-10"),
        ({"jitter_tail_share": 0.1}, 1e9, "jitter_tail_share: found .* or the level tag"),
        ({"dark_rate_hz": 100.0}, 1e9, "dark_rate_hz: found .* level coincidence; .* level tag"),
        ({"tagger": TaggerParams(veto=True)}, 1e9, "tagger: found .* or the level tag"),
    ],
)
def test_what_needs_times_is_refused(change, rate, word):
    with pytest.raises(DeviceError, match=word):
        check_untimed(params(**change), rate)


def test_jitter_within_the_bins_is_accepted():
    """A thousandth of the clicks may stray: a full width of 0.35 times the bins' distance."""
    check_untimed(params(jitter_s=0.178e-9), 1e9)
    with pytest.raises(DeviceError, match=r"carries 0\.001"):
        check_untimed(params(jitter_s=0.1795e-9), 1e9)


def test_cuts_end_at_one():
    gates = gates_of(params(detector="spad_ingaas"), 1e8)
    assert (gates.afterpulse_cuts[:, -1] == 1.0).all()
    assert (np.diff(gates.afterpulse_cuts, axis=1) >= 0.0).all()


@pytest.mark.parametrize("dead_time_s", [1.0001e6, 1e292])
def test_a_dead_time_longer_than_any_block_is_refused(dead_time_s):
    with pytest.raises(DeviceError, match=r"dead_time_s: found .*; allowed: at most 1e\+06"):
        gates_of(params(dead_time_s=dead_time_s), 1e9)
