import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.runtime.config import CharlesConfig, attacked
from mdiqkd_net.runtime.limits import Limits
from mdiqkd_net.structs import parse_toml

TEXT = """
node = "charles"
listen = "127.0.0.1:0"
pulse_rate_hz = 1_000_000_000
tls = {{ authority = "a", certificate = "b", private_key = "c" }}

[device]
type = "simulated"
light_listen = "127.0.0.1:0"
fibers = {{}}

[device.receiver]
efficiency = 0.5
dark_probability = 1e-7
misalignment = 0.0
mode_overlap = 1.0
{more}
"""


def test_a_relay_with_a_detector_that_forgets_nothing():
    config = parse_toml(TEXT.format(more="dead_time_s = 20e-9"), CharlesConfig, "c.toml")
    assert config.device.receiver.dead_time_s == 20e-9


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ('level = "tag"\ndark_rate_hz = 9.0', "device.receiver: dark_rate_hz: found 9, with a da"),
        ("jitter_s = 1e-9", "device.receiver: jitter_s: found 1e-09"),
        ("afterpulse_probability = 0.1", "device.receiver: .* or the levels click"),
    ],
)
def test_a_relay_refuses_what_it_cannot_simulate_when_it_starts(more, word):
    with pytest.raises(ConfigError, match=word):
        parse_toml(TEXT.format(more=more), CharlesConfig, "c.toml")


def hostile(more, tail=""):
    return parse_toml(more + "\n" + TEXT.format(more=tail), CharlesConfig, "c.toml")


def test_a_relay_may_be_hostile_and_says_how_far():
    text = 'relay = "byzantine:equivocate"\nbyzantine = { first_session = 2, share = 0.1 }'
    config = hostile(text)
    assert (config.relay, config.byzantine.first_session) == ("byzantine:equivocate", 2)
    assert hostile("").relay == "honest"
    assert attacked(hostile('relay = "byzantine:z_only"').device.receiver, "byzantine:z_only")


@pytest.mark.parametrize(
    ("more", "tail", "word"),
    [
        ('relay = "byzantine:kind"', "", "relay: found 'byzantine:kind'; allowed: honest, byz"),
        ("byzantine = { share = 0.1 }", "", "found an extent; allowed with relay = 'honest': none"),
        ('relay = "byzantine:late"\nbyzantine = { share = 0.1 }', "", "byzantine.share: found 0.1"),
        ('relay = "byzantine:equivocate"\nbyzantine = { sessions = 0 }', "", "byzantine.sessions"),
        ('relay = "byzantine:z_only"', 'attack = "blinding"', "receiver.attack: found 'blinding'"),
    ],
)
def test_a_relay_refuses_to_be_hostile_in_a_way_that_is_none(more, tail, word):
    with pytest.raises(ConfigError, match=word):
        hostile(more, tail)


def test_commissioned_figures_name_categories():
    with pytest.raises(ValueError, match="gains: found category 'zq'; allowed: oo, ox"):
        Commissioned(gains={"zq": 0.1})


def test_limits_are_set_one_by_one():
    text = TEXT.format(more="") + "[limits]\nlinks = 40\nhandshake_s = 3.0\n"
    limits = parse_toml(text, CharlesConfig, "c.toml").limits
    assert limits == Limits(links=40, handshake_s=3.0)
    with pytest.raises(ConfigError, match="limits"):
        parse_toml(text + "links_per_day = 7\n", CharlesConfig, "c.toml")
    with pytest.raises(ConfigError, match=r"limits\.frames_per_s"):
        parse_toml(text + "frames_per_s = 0.0\n", CharlesConfig, "c.toml")
