import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.runtime.config import CharlesConfig
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


def test_limits_are_set_one_by_one():
    text = TEXT.format(more="") + "[limits]\nlinks = 40\nhandshake_s = 3.0\n"
    limits = parse_toml(text, CharlesConfig, "c.toml").limits
    assert limits == Limits(links=40, handshake_s=3.0)
    with pytest.raises(ConfigError, match="limits"):
        parse_toml(text + "links_per_day = 7\n", CharlesConfig, "c.toml")
    with pytest.raises(ConfigError, match=r"limits\.frames_per_s"):
        parse_toml(text + "frames_per_s = 0.0\n", CharlesConfig, "c.toml")
