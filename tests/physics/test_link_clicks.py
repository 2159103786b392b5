"""What predictions know of a link, and what they admit to leave out."""

import msgspec
import pytest
from imperfect import make_link

from mdiqkd_net.imperfections import Drift, FreeSpace, PatternEffect, Process, TransmitterParams
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.link_clicks import left_out, reach_of, shares_matter

WALKING = TransmitterParams(phase_randomization="none", coherence_time_s=1e-4)
FADING = FreeSpace(length_km=1.0, beam_waist_m=0.05, receiver_radius_m=0.1, rytov_variance=0.2)
DRIFTING = Drift(loss_db=Process(kind="diurnal", size=0.1, time_s=86400.0))


def receiver(**changes):
    return ReceiverParams(
        efficiency=0.8, dark_probability=1e-4, misalignment=0.02, mode_overlap=0.97, **changes
    )


def clocked(link, rate_hz=1e9):
    return msgspec.structs.replace(link, pulse_rate_hz=rate_hz)


DEAD = receiver(dead_time_s=20e-9)
CASES = {
    "ideal": (make_link(), []),
    "dead time": (make_link(receiver=DEAD), []),
    "long dead time": (
        make_link(receiver=receiver(dead_time_s=1e-7 + 1e-9)),
        ["dead times of both detectors at once, beyond 100 pulses"],
    ),
    "afterpulses": (make_link(receiver=receiver(afterpulse_probability=0.02)), ["afterpulses"]),
    "recovery": (
        make_link(receiver=receiver(recovery_s=8e-9)),
        ["gradual recovery after a click"],
    ),
    "pattern effect alone": (
        make_link(TransmitterParams(pattern_effect=PatternEffect(y=0.1))),
        [],
    ),
    "pattern effect": (
        make_link(TransmitterParams(pattern_effect=PatternEffect(y=0.1)), receiver=DEAD),
        ["pattern effect before a dead time"],
    ),
    "fading": (
        make_link(receiver=DEAD, arm={"free_space": FADING}),
        ["fading before a dead time"],
    ),
    "drift": (make_link(arm={"drift": DRIFTING}), ["drift"]),
    "walking phase": (
        make_link(WALKING, WALKING, receiver=DEAD),
        ["phase shared by pulses before a dead time"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_prediction_leaves_out_is_named(name):
    link, names = CASES[name]
    assert left_out(clocked(link)) == names


def test_shares_matter_where_pulses_remember():
    assert not shares_matter(CASES["ideal"][0])
    assert shares_matter(CASES["dead time"][0])
    assert shares_matter(CASES["pattern effect alone"][0])


def test_reach_is_that_of_the_clock():
    assert reach_of(make_link()) is None
    assert reach_of(clocked(make_link(receiver=DEAD), 1e8)).tolist() == [[2, 2], [3, 2]]
