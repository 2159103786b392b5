"""What each level represents, and what it refuses with the name of the level that can."""

import pytest
from light_checks import LINKS, level, params, with_

from mdiqkd_net.errors import ConfigError, DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.clicks import ClickLevel
from mdiqkd_net.physics.coincidences import CoincidenceLevel
from mdiqkd_net.physics.levels import AVAILABLE
from mdiqkd_net.physics.receiver import LEVELS
from mdiqkd_net.physics.tagging import TagLevel
from mdiqkd_net.structs import parse_toml

DIM = (params(), (1e-3, 1e-3), LINKS["20 dB"][2])


def test_levels_are_chosen_by_name():
    assert set(LEVELS) == set(AVAILABLE)
    assert isinstance(level(DIM), CoincidenceLevel)
    assert isinstance(level(with_(DIM, level="click")), ClickLevel)
    assert isinstance(level(with_(DIM, level="tag")), TagLevel)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"level": "photon"}, "level: found 'photon'; allowed: coincidence, click, tag"),
        (
            {"afterpulse_probability": 0.01},
            "afterpulse_probability: found 0.01 at the level coincidence; allowed: 0, or the "
            "levels click and tag",
        ),
        ({"detector": "spad_ingaas"}, "allowed: 0, or the levels click"),
        (
            {"recovery_s": 1e-9},
            "recovery_s: found 1e-09 at the level coincidence; allowed: 0, or the level click",
        ),
        (
            {"detector": "snspd_recovering"},
            "recovery_s: found 7.9e-09 at the level coincidence; allowed: 0, or the level click",
        ),
        (
            {"level": "tag", "recovery_s": 1e-9},
            "recovery_s: found 1e-09 at the level tag; allowed: 0, or the level click",
        ),
        ({"level": "click", "jitter_s": 1e-9}, "or the level tag, which has times"),
        (
            {"level": "click", "afterpulse_probability": 1.5},
            "afterpulse_probability: found 1.5; allowed: 0 to 0.9",
        ),
    ],
)
def test_what_a_level_cannot_represent_is_refused(changes, word):
    with pytest.raises(DeviceError, match=word):
        level(with_(DIM, **changes))


def test_light_that_latches_a_nanowire_is_refused():
    bright = (params(detector="snspd"), (0.9, 0.9), LINKS["20 dB"][2])
    with pytest.raises(DeviceError, match=r"detector 0: found up to .* above which snspd latches"):
        level(bright)
    assert level((bright[0], (1e-2, 1e-2), bright[2])).memory == 20
    # The same light at a hundredth of the rate gives the wire time to recover.
    assert level(bright, pulse_rate_hz=1e7).memory == 0


BASE = "efficiency = 0.5\ndark_probability = 1e-7\nmisalignment = 0.0\nmode_overlap = 1.0\n"


def test_files_without_the_new_keys_stay_valid_and_ideal():
    receiver = parse_toml(BASE, ReceiverParams, "x.toml")
    assert receiver.level == "coincidence"
    assert level((receiver, *DIM[1:])).memory == 0


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('level = "photon"', "level: found 'photon'; allowed: 'click' or 'coincidence' or 'tag'"),
        ("dead_time_s = -1e-9", "dead_time_s: found -1e-09; allowed: "),
        ("recovery_s = -1e-9", "recovery_s: found -1e-09; allowed: "),
        ("efficiency_ratio = 2.5", "efficiency_ratio: found 2.5; allowed: at most 2"),
        ("splitter_transmittance = 1.1", "splitter_transmittance: found 1.1"),
        ("afterpulse_probability = 0.95", "afterpulse_probability: found 0.95"),
        ("dead_time = 1e-9", "found unknown key `dead_time`; allowed: efficiency, "),
    ],
)
def test_files_with_other_numbers_are_refused(line, word):
    with pytest.raises(ConfigError, match=word):
        parse_toml(BASE + line, ReceiverParams, "x.toml")


def test_a_ratio_of_efficiencies_above_one_is_fine_while_the_better_detector_is_possible():
    receiver = parse_toml(BASE + "efficiency_ratio = 2.0", ReceiverParams, "x.toml")
    assert receiver.efficiency_ratio * receiver.efficiency == 1.0
