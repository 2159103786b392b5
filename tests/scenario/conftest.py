import sys
from pathlib import Path

import pytest

from mdiqkd_net.scenario.config import Scenario, read

USERS = {"alice": 5.0, "bob": 10.0, "carol": 15.0}

HEAD = """\
title = "A test"
topology = "{topology}"
n_pulses = 1_000_000_000
pulse_rate_hz = 1_000_000_000
eps_sec = 1e-10
eps_cor = 1e-15
bell_states = ["psi_minus", "psi_plus"]
seed = 7
{more}
[receiver]
efficiency = 0.65
dark_probability = 1e-7
misalignment = 0.005
mode_overlap = 0.98
"""

USER = """
[users.{name}]
length_km = {length_km}
attenuation_db_per_km = 0.2
x = {{ intensity = 0.04, probability = 0.3 }}
y = {{ intensity = 0.17, probability = 0.05 }}
z = {{ intensity = 0.26, probability = 0.57 }}
"""


def scenario_text(topology="pair", users=("alice", "bob"), more=""):
    """TOML of a small scenario; `more` goes between the head and the tables."""
    text = HEAD.format(topology=topology, more=more)
    for name in users:
        text += USER.format(name=name, length_km=USERS.get(name, 20.0))
    return text


@pytest.fixture
def write_scenario(tmp_path):
    """Write a scenario file; same arguments as `scenario_text`, or the text itself."""

    def write(text=None, **options) -> Path:
        path = tmp_path / "scenario.toml"
        path.write_text(scenario_text(**options) if text is None else text)
        return path

    return write


@pytest.fixture
def make_scenario(write_scenario):
    def make(**options) -> Scenario:
        return read(write_scenario(**options))

    return make


@pytest.fixture
def fake_command():
    """How to start a fake node instead of a real one."""
    return (sys.executable, str(Path(__file__).with_name("fake_node.py")))
