from pathlib import Path

import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.scenario import config

MEASURED = """
[measured]
source = "A paper"
n_pulses = 1000
counts = {{ {counts} }}
errors = {{ {errors} }}
"""


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def test_defaults_and_pairs(make_scenario):
    scenario = make_scenario(users=("bob", "alice"))
    assert scenario.pairs == [("alice", "bob")]
    assert (scenario.blocks, scenario.measured, scenario.f_ec) == (1, None, 1.16)
    link = scenario.link(("alice", "bob"))
    assert link.alice is scenario.users["alice"]
    assert link.n_pulses == scenario.n_pulses


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"more": "speed = 3"}, "found unknown key `speed`"),
        ({"topology": "ring"}, 'topology: found "ring"; allowed: "pair" or "star"'),
        ({"users": ("alice",)}, "users: found 1 (alice)"),
        ({"users": ()}, "users"),
        ({"users": ("alice", "bob", "carol")}, "users: found 3 (alice, bob, carol); allowed: 2"),
        ({"users": ("alice", "charles")}, "'charles', which is the relay"),
        ({"users": ("alice", "authority")}, "'authority', which is the authority"),
        ({"users": ("Alice", "bob")}, "'Alice'"),
        ({"users": ("a" * 33, "bob")}, "allowed: a small letter"),
        ({"more": "blocks = 0"}, "blocks: found 0"),
        ({"more": "[users.eve]\nlength_km = 1.0"}, "users"),
    ],
)
def test_what_cannot_be_run_is_refused_by_file_and_key(write_scenario, options, expected):
    assert expected in refusal(write_scenario(**options))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "dead_time_s = 1e6",
            "dead time: found 1000000000000000 pulses; allowed: less than the 1000000000 of a",
        ),
        (
            'level = "tag"\ndark_rate_hz = 1e6',
            "receiver: dark_rate_hz: found 1e+06, with a dark_probability of 1e-07 in a gate",
        ),
        ('level = "tag"\ntagger = { gate_width_ps = 600.0 }', "receiver: gate_width_ps: found 600"),
        ("tagger = { veto = true }", "receiver: tagger: found a value at the level coincidence"),
        ('detector = "spad_ingaas"', "receiver: afterpulse_probability: found 0.02 at the level"),
        ('detector = "eye"', "receiver: detector: found 'eye'; allowed: ideal, "),
        ("bin_separation_s = 2e-9", "receiver: bin_separation_s: found 2e-09; allowed: above 0"),
    ],
)
def test_a_receiver_that_cannot_be_simulated_is_refused_before_anything_starts(
    write_scenario, line, expected
):
    text = write_scenario().read_text()
    text = text.replace("mode_overlap = 0.98", f"mode_overlap = 0.98\n{line}")
    assert expected in refusal(write_scenario(text))


@pytest.mark.parametrize(
    ("counts", "errors", "expected"),
    [
        ("qq = 3", "", "counts: found category 'qq'"),
        ("zz = 3", "zz = 4", "errors.zz: found 4; allowed: at most the 3 counts"),
        ("zz = -3", "", "measured.counts"),
    ],
)
def test_published_counts_are_checked(write_scenario, counts, errors, expected):
    more = MEASURED.format(counts=counts, errors=errors)
    assert expected in refusal(write_scenario(more=more))


def test_published_counts_belong_to_one_pair(write_scenario):
    more = MEASURED.format(counts="zz = 3", errors="")
    path = write_scenario(topology="star", users=("alice", "bob", "carol"), more=more)
    assert "for 3 pairs; allowed: for one pair" in refusal(path)


def test_bell_states_must_be_some(write_scenario):
    path = write_scenario()
    path.write_text(path.read_text().replace('["psi_minus", "psi_plus"]', "[]"))
    assert "bell_states: found []" in refusal(path)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_a_configuration_error(tmp_path):
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refusal(path)


def test_the_command_line_replaces_pulses_and_seed(write_scenario):
    scenario = config.read(write_scenario(), n_pulses=123, seed=99)
    assert (scenario.n_pulses, scenario.seed) == (123, 99)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_pulses": 0}, "--n-pulses: found 0; allowed: 1 to"),
        ({"n_pulses": 10**16}, "--n-pulses: found"),
        ({"seed": -1}, "--seed: found -1; allowed: 0 to"),
    ],
)
def test_replacements_are_checked(write_scenario, options, expected):
    with pytest.raises(ConfigError, match=expected):
        config.read(write_scenario(), **options)


@pytest.mark.parametrize("name", ["pair", "star4"])
def test_the_scenarios_of_the_project_promise_a_key_for_every_pair(name):
    from mdiqkd_net.scenario.report import predicted_bits

    path = Path(__file__).parents[2] / "scenarios" / f"{name}.toml"
    scenario = config.read(path)
    assert all(predicted_bits(scenario, pair) > 200_000 for pair in scenario.pairs)
