"""Tables of flaws: what they default to, and what they refuse."""

import math

import msgspec
import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.imperfections import Drift, Process, TransmitterParams
from mdiqkd_net.params import Fiber, Link, UserLink
from mdiqkd_net.structs import parse_toml

USER = """
length_km = 25.0
attenuation_db_per_km = 0.2
x = { intensity = 0.04, probability = 0.13 }
y = { intensity = 0.16, probability = 0.024 }
z = { intensity = 0.5,  probability = 0.82 }
"""
EVERY_TABLE = (
    USER
    + """
splices = 12
splice_loss_db = 0.05
polarization_rotation_rad = [0.1, 0.0, -0.2]

[drift]
preset = "buried"
loss_db = { kind = "random_walk", size = 0.1, time_s = 3600.0 }

[coexistence]
filter_bandwidth_nm = 0.8
gate_width_ps = 300.0
channels = [{ launch_power_dbm = 0.0, raman_per_km_nm = 2e-9, isolation_db = 90.0 }]

[free_space]
length_km = 1.5
beam_waist_m = 0.02
receiver_radius_m = 0.04
rytov_variance = 0.2

[transmitter]
encoding = "time_bin"
vacuum_extinction_db = 30.0
mode_extinction_db = 25.0
phase_randomization = "discrete"
coherence_time_s = 1e-4
intensity_noise = 0.02
pattern_effect = { z = 0.03, o = -0.01 }
pulse_width_ps = 100.0
delay_ps = 5.0
frequency_offset_hz = 1e7
angle_errors = { x1 = { azimuth_rad = 0.03 }, z0 = { polar_rad = 0.02 } }
"""
)


def test_every_table_is_read_and_written_again():
    user = parse_toml(EVERY_TABLE, UserLink, "user.toml")
    assert user.fiber.loss_db == pytest.approx(5.6)
    assert user.transmittance == pytest.approx(10**-0.56)
    assert user.transmitter.angle_errors.x1.azimuth_rad == 0.03
    assert user.transmitter.pattern_effect.factors == (0.99, 1.0, 1.0, 1.03)
    assert user.transmitter.phase_levels == 16
    again = msgspec.convert(msgspec.to_builtins(user.fiber), Fiber)
    assert again == user.fiber
    transmitter = msgspec.to_builtins(user.transmitter)
    assert msgspec.convert(transmitter, TransmitterParams) == user.transmitter
    assert set(transmitter["angle_errors"]) == {"x1", "z0"}


def test_a_plain_user_is_ideal():
    user = parse_toml(USER, UserLink, "user.toml")
    assert user.transmitter == TransmitterParams()
    assert msgspec.to_builtins(user.fiber) == {"length_km": 25.0, "attenuation_db_per_km": 0.2}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('transmitter = { encoding = "colour" }', "found 'colour'; allowed: 'phase' or 'polari"),
        ("transmitter = { intensity_noise = 0.25 }", "intensity_noise: found 0.25; allowed: float"),
        ("transmitter = { intensity_noise = -0.1 }", "intensity_noise: found -0.1"),
        ("transmitter = { vacuum_extinction_db = -1.0 }", "vacuum_extinction_db: found -1.0"),
        ("transmitter = { phase_levels = 1 }", "phase_levels: found 1; allowed: int >= 2"),
        ("transmitter = { pattern_effect = { z = -1.0 } }", "pattern_effect.z: found -1.0"),
        ("transmitter = { pattern_effect = { q = 1.0 } }", "found unknown key `q`; allowed: o, x"),
        ("transmitter = { angle_errors = { x0 = { polar_rad = 4.0 } } }", "polar_rad: found 4.0"),
        ("transmitter = { delay_ps = 5.0 }", "delay_ps: needs `pulse_width_ps`, which is missing"),
        (
            "transmitter = { frequency_offset_hz = 5.0 }",
            "frequency_offset_hz: needs `pulse_width_ps`, which is missing",
        ),
        (
            'transmitter = { encoding = "phase", mode_extinction_db = 20.0 }',
            "mode_extinction_db: found a value with encoding 'phase'; allowed: with 'time_bin'",
        ),
        (
            "transmitter = { coherence_time_s = 1e-3 }",
            "coherence_time_s: found a value with phase_randomization 'uniform'; allowed",
        ),
        ('drift = { preset = "aerial" }', "drift.delay_ps: needs `pulse_width_ps`"),
        ('drift = { preset = "lunar" }', "drift.preset: found 'lunar'; allowed: 'aerial' or"),
        (
            'drift = { loss_db = { kind = "random_walk", size = 1.0, time_s = 0.0 } }',
            "drift.loss_db.time_s: found 0.0; allowed: float >= 0.001",
        ),
        (
            "coexistence = { channels = [{ launch_power_dbm = 60.0 }], gate_width_ps = 1.0, "
            "filter_bandwidth_nm = 1.0 }",
            "launch_power_dbm: found 60.0",
        ),
        (
            "free_space = { length_km = 1.0, beam_waist_m = 0.0, receiver_radius_m = 0.1 }",
            "free_space.beam_waist_m: found 0.0; allowed: float > 0.0",
        ),
        ("splices = -1", "splices: found -1"),
        ("polarization_rotation_rad = [0.0, 0.0]", "polarization_rotation_rad: found [0.0, 0.0]"),
        ("polarization_rotation_rad = [0.0, 0.0, 7.0]", "[2]: found 7.0"),
    ],
)
def test_what_no_device_is_is_refused(lines, words):
    with pytest.raises(ConfigError) as refusal:
        parse_toml(USER + lines + "\n", UserLink, "user.toml")
    assert words in str(refusal.value)


RECEIVER = """
n_pulses = 1000
eps_sec = 1e-10
eps_cor = 1e-15
f_ec = 1.16
bell_states = ["psi_minus"]
[receiver]
efficiency = 0.4
dark_probability = 1e-7
misalignment = 0.015
mode_overlap = 1.0
"""


@pytest.mark.parametrize(
    ("alice", "bob", "words"),
    [
        ('encoding = "phase"', "", "transmitter.encoding: found 'phase' and 'time_bin'; allowed:"),
        ("pulse_width_ps = 1.0", "", "pulse_width_ps: found for one user of a pair alone"),
    ],
)
def test_users_that_do_not_fit_are_refused(alice, bob, words):
    users = [
        f"[{name}]{USER}[{name}.transmitter]\n{keys}\n"
        for name, keys in (("alice", alice), ("bob", bob))
    ]
    with pytest.raises(ConfigError) as refusal:
        parse_toml(RECEIVER + "".join(users), Link, "link.toml")
    assert words in str(refusal.value)


WALKING = 'phase_randomization = "none"\ncoherence_time_s = 1e-6'
DETUNED = "pulse_width_ps = 100.0\nfrequency_offset_hz = 1e6"
DRIFTING = 'pulse_width_ps = 100.0\n[alice.drift]\npreset = "buried"'


@pytest.mark.parametrize(
    ("keys", "separation", "words"),
    [
        (WALKING, "bin_separation_s = 1e-9", "coherence_time_s: found 1e-06; allowed: 1e-05 or "),
        (WALKING, "bin_separation_s = 1e-10", None),
        (DETUNED, "", "needs `receiver.bin_separation_s`, which is missing"),
        (DETUNED, "bin_separation_s = 1e-9", None),
        (DETUNED + '\nencoding = "polarization"', "", None),
        (DRIFTING, "", "frequency of a laser: found an offset or a drift; needs `receiver.bin_se"),
        (DRIFTING, "bin_separation_s = 1e-9", None),
    ],
)
def test_phases_between_the_bins_must_be_known(keys, separation, words):
    """The receiver has the one key that says how far apart they are."""
    bob = "pulse_width_ps = 100.0" if "pulse" in keys else ""
    bob += '\nencoding = "polarization"' if "polarization" in keys else ""
    text = f"{RECEIVER}{separation}\n[bob]{USER}[bob.transmitter]\n{bob}\n"
    text += f"[alice]{USER}[alice.transmitter]\n{keys}\n"
    if words is None:
        assert parse_toml(text, Link, "link.toml").alice.transmitter != TransmitterParams()
        return
    with pytest.raises(ConfigError) as refusal:
        parse_toml(text, Link, "link.toml")
    assert words in str(refusal.value)


def test_presets_have_the_published_rates():
    """Reference figures: delay per day, turn of the polarization, walk of the frequency."""
    buried, aerial = Drift(preset="buried"), Drift(preset="aerial")
    # 50 km: 0.8 ns per day buried, 16 ns per day aerial, from one extreme to the other.
    assert 2 * buried.process("delay_ps", 50.0).size == pytest.approx(825.0)
    assert 2 * aerial.process("delay_ps", 50.0).size == pytest.approx(16_500.0)
    # A QBER of 9 % in 16 hours.
    turn = buried.process("polarization_rad", 50.0)
    assert math.sin(turn.size / 2) ** 2 == pytest.approx(0.09, abs=0.01)
    assert turn.time_s == pytest.approx(16.6 * 3600, rel=0.01)
    # 0.1 rad within a window of 8 ms.
    fast = aerial.process("polarization_rad", 50.0)
    turn_rad = fast.size * math.sqrt(2 * (1 - math.exp(-0.008 / fast.time_s)))
    assert turn_rad == pytest.approx(0.1, rel=0.01)
    assert buried.process("frequency_hz", 1.0).size == pytest.approx(3e7)
    assert buried.process("loss_db", 50.0) is None
    assert Drift().process("delay_ps", 50.0) is None


def test_a_table_of_its_own_wins_over_the_preset():
    own = Process(kind="diurnal", size=1.0, time_s=60.0)
    drift = Drift(preset="aerial", polarization_rad=own)
    assert drift.process("polarization_rad", 10.0) is own
    assert drift.process("delay_ps", 10.0) is not None
