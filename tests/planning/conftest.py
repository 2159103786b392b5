import pytest

from mdiqkd_net.planning.network import Network
from mdiqkd_net.structs import parse_toml

SETTINGS = """\
x = { intensity = 0.06, probability = 0.2 }
y = { intensity = 0.16, probability = 0.08 }
z = { intensity = 0.47, probability = 0.69 }
"""

NETWORK = f"""\
title = "Three users, two relays"
n_pulses = 100_000_000_000
pulse_rate_hz = 1_000_000_000
eps_sec = 1e-10
eps_cor = 1e-15
bell_states = ["psi_minus"]
[users.ann]
{SETTINGS}
arms.east = {{ length_km = 10.0, attenuation_db_per_km = 0.2 }}
arms.west = {{ length_km = 20.0, attenuation_db_per_km = 0.2, insertion_loss_db = 1.0 }}
[users.ben]
{SETTINGS}
arms.east = {{ length_km = 12.0, attenuation_db_per_km = 0.2 }}
arms.west = {{ length_km = 20.0, attenuation_db_per_km = 0.2 }}
[users.cid]
{SETTINGS}
arms.west = {{ length_km = 15.0, attenuation_db_per_km = 0.2 }}
[relays.west]
efficiency = 0.6
dark_probability = 1e-7
misalignment = 0.01
mode_overlap = 0.98
[relays.east]
efficiency = 0.6
dark_probability = 1e-7
misalignment = 0.01
mode_overlap = 0.98
"""


@pytest.fixture
def network_text():
    return NETWORK


@pytest.fixture
def network():
    return parse_toml(NETWORK, Network, "network.toml")
