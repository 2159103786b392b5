"""Files that cannot be used are refused by key, with what was found and what is allowed."""

import pickle

import msgspec
import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Fiber, Link, Setting, Source, SourceBounds
from mdiqkd_net.structs import parse_toml, plain

GOOD = """
n_pulses = 1_000_000_000_000
eps_sec = 1e-10
eps_cor = 1e-15
f_ec = 1.16
bell_states = ["psi_minus", "psi_plus"]
[alice]
length_km = 25.0
attenuation_db_per_km = 0.2
x = { intensity = 0.04, probability = 0.13 }
y = { intensity = 0.16, probability = 0.024 }
z = { intensity = 0.5,  probability = 0.82 }
[bob]
length_km = 20
attenuation_db_per_km = 0.2
insertion_loss_db = 1.0
x = { intensity = 0.04, probability = 0.13 }
y = { intensity = 0.16, probability = 0.024 }
z = { intensity = 0.5,  probability = 0.82 }
[receiver]
efficiency = 0.4
dark_probability = 1e-7
misalignment = 0.015
mode_overlap = 1.0
"""


def test_a_good_link():
    link = parse_toml(GOOD, Link, "link.toml")
    assert link.alice.transmittance == pytest.approx(10**-0.5)
    assert link.bob.fiber == Fiber(length_km=20.0, attenuation_db_per_km=0.2, insertion_loss_db=1.0)
    assert link.bob.transmittance == pytest.approx(10**-0.5)
    assert link.alice.source.intensities == (0.0, 0.04, 0.16, 0.5)
    assert link.alice.probabilities == pytest.approx((0.026, 0.13, 0.024, 0.82))
    assert link.security.eps_cor == 1e-15


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("efficiency = 0.4", "efficiency = 1.4", "receiver.efficiency: found 1.4; allowed: float"),
        ("efficiency = 0.4", "efficiency = nan", "receiver.efficiency: found nan; allowed: a fin"),
        ("dark_prob", "dork_prob", "receiver: found unknown key `dork_probability`; allowed: eff"),
        ("efficiency = 0.4\n", "", "receiver: key `efficiency` is missing"),
        ("length_km = 25.0", "length_km = -1.0", "alice.length_km: found -1.0; allowed: float >="),
        ("length_km = 25.0", 'length_km = "x"', "alice.length_km: found 'x'; allowed: float"),
        ("probability = 0.82 }\n[bob]", "probability = 0.92 }\n[bob]", "found 1.074; allowed: at"),
        ("intensity = 0.16", "intensity = 0.04", "x.intensity: found 0.04; allowed: below y.int"),
        ("0.13 }", "1.13 }", "alice.x.probability: found 1.13; allowed: float <= 1.0"),
        ('["psi_minus", "psi_plus"]', '["phi"]', "bell_states[0]: found 'phi'; allowed: 'psi_"),
        ('["psi_minus", "psi_plus"]', "[]", "bell_states: found []; allowed"),
        ('["psi_minus", "psi_plus"]', '["psi_plus", "psi_plus"]', "allowed: "),
        ("[alice]", "[alice", "not TOML"),
        ("= 1_000_000_000_000", "= 0", "n_pulses: found 0; allowed: int >= 1"),
        ("eps_sec = 1e-10", "eps_sec = 0.0", "eps_sec: found 0.0; allowed: float > 0.0"),
    ],
)
def test_a_bad_link_is_refused_in_words(old, new, words):
    assert old in GOOD
    with pytest.raises(ConfigError) as refused:
        parse_toml(GOOD.replace(old, new, 1), Link, "link.toml")
    assert str(refused.value).startswith("link.toml: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "key", [line.split(" =")[0] for line in GOOD.splitlines() if " =" in line and "{" not in line]
)
def test_every_missing_key_is_named(key):
    lines = GOOD.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"{key} ="))
    text = "\n".join(lines[:first] + lines[first + 1 :])
    if key == "insertion_loss_db":
        assert parse_toml(text, Link, "link.toml").bob.insertion_loss_db == 0.0
        return
    with pytest.raises(ConfigError, match=f"key `{key}` is missing"):
        parse_toml(text, Link, "link.toml")


def test_probabilities_may_use_up_everything():
    setting = {"intensity": 0.1, "probability": 1 / 3}
    *source, bounds = Source.__struct_fields__
    assert source == ["x", "y", "z"]
    assert bounds == "bounds"
    text = "\n".join(
        f"{name} = {{ intensity = {0.1 * (i + 1)}, probability = {setting['probability']} }}"
        for i, name in enumerate(source)
    )
    parsed = parse_toml(text, Source, "s.toml")
    assert parsed.probabilities[0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "value"),
    [("x_relative", -0.1), ("z_relative", 1.0), ("vacuum_intensity", float("nan")),
     ("phase_nonuniformity", 1.5), ("trojan_photons", float("inf")), ("vacuum_light", "z")],
)  # fmt: skip
def test_bounds_of_a_source_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=f"{name}: found"):
        SourceBounds(**{name: value})


def test_bounds_of_a_source_in_a_file():
    settings = "\n".join(
        f"{c} = {{ intensity = 0.{i + 1}, probability = 0.2 }}" for i, c in enumerate("xyz")
    )
    text = settings + "\nbounds = { y_relative = 0.1, vacuum_intensity = 1e-3 }"
    parsed = parse_toml(text, Source, "s.toml")
    assert parsed.bounds == SourceBounds(y_relative=0.1, vacuum_intensity=1e-3)
    o, x, y, z = parsed.intensity_intervals
    assert (o, x, z) == ((0.0, 1e-3), (0.1, 0.1), (0.3, 0.3))
    assert y == pytest.approx((0.18, 0.22))
    for wrong, words in (("y_relative = 1.0", "y_relative"), ("extinction = 3", "unknown key")):
        with pytest.raises(ConfigError, match=words):
            parse_toml(settings + f"\nbounds = {{ {wrong} }}", Source, "s.toml")


def test_equal_structs_are_plain_alike():
    """Also after a journey to another process, where no two floats are the same object."""
    source = Source(x=Setting(0.1, 0.2), y=Setting(0.2, 0.1), z=Setting(0.5, 0.6))
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301  # our own
    said = msgspec.convert({"bounds": {"x_relative": 0.0}} | plain(source), Source)
    assert plain(source) == plain(copy) == plain(said)
    assert set(plain(source)) == {"x", "y", "z"}
    bounded = msgspec.structs.replace(source, bounds=SourceBounds(x_relative=0.01))
    assert plain(bounded)["bounds"] == {"x_relative": 0.01}
    assert msgspec.convert(plain(bounded), Source) == bounded
