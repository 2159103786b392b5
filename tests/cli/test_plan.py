"""`mdiqkd plan` from files to tables, JSON and plots."""

import json
import re
from pathlib import Path

import pytest

from mdiqkd_net.cli import main

SCENARIOS = Path(__file__).parents[2] / "scenarios"

USER = """\
x = { intensity = 0.05, probability = 0.2 }
y = { intensity = 0.2, probability = 0.05 }
z = { intensity = 0.5, probability = 0.7 }
attenuation_db_per_km = 0.2
length_km = 15.0
"""
STAR = f"""\
title = "A [small] star"
topology = "star"
n_pulses = 1_000_000_000_000
pulse_rate_hz = 1_000_000_000
eps_sec = 1e-10
eps_cor = 1e-15
bell_states = ["psi_minus", "psi_plus"]
[users.ann]
{USER}
[users.ben]
{USER}
[users.cid]
{USER}
[receiver]
efficiency = 0.5
dark_probability = 1e-7
misalignment = 0.01
mode_overlap = 0.98
"""
DEMAND = '[[demand]]\nusers = ["ben", "ann"]\nkeys_per_hour = {}\n'


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "star.toml"
    path.write_text(STAR)
    return path


def ask(capsys, *arguments):
    code = main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def ask_json(capsys, *arguments):
    code, out, _ = ask(capsys, *arguments, "--json")
    return code, json.loads(out, parse_constant=pytest.fail)


def test_a_star_takes_turns_at_its_relay(capsys, star):
    code, plan = ask_json(capsys, star, "--as-configured")
    assert code == 0
    (only,) = plan["plans"]
    assert only["detectors"] == "file"
    assert [pair["users"] for pair in only["pairs"]] == [
        ["ann", "ben"], ["ann", "cid"], ["ben", "cid"],
    ]  # fmt: skip
    assert {pair["relay"] for pair in only["pairs"]} == {"charles"}
    assert {pair["share"] for pair in only["pairs"]} == {1 / 3}
    assert plan["enough"]


def test_the_plan_says_what_keyrate_says(capsys, star, tmp_path):
    _, plan = ask_json(capsys, star, "--as-configured")
    link = tmp_path / "link.toml"
    head = STAR.split("[users.ann]", maxsplit=1)[0]
    head = re.sub(r"(title|topology|pulse_rate_hz).*\n", "", head) + "f_ec = 1.16\n"
    link.write_text(f"{head}[alice]\n{USER}[bob]\n{USER}[receiver]" + STAR.split("[receiver]")[1])
    assert main(["keyrate", "--link", str(link), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert plan["plans"][0]["pairs"][0]["key_length_bits"] == expected["key_length_bits"]


def test_pairs_of_like_arms_are_tuned(capsys, star):
    star.write_text(STAR.replace('topology = "star"', 'topology = "pair"').replace(
        f"[users.cid]\n{USER}", ""))  # fmt: skip
    _, plain = ask_json(capsys, star, "--as-configured")
    code, plan = ask_json(capsys, star)
    assert code == 0
    tuned, pair = plan["plans"][0]["pairs"][0], plain["plans"][0]["pairs"][0]
    assert tuned["key_length_bits"] > pair["key_length_bits"]
    assert tuned["settings"]["ann"] == tuned["settings"]["ben"]
    _, equal = ask_json(capsys, star, "--equal", "--goal", "sum")
    assert equal["goal"] == "sum"
    found = equal["plans"][0]["pairs"][0]["key_length_bits"]
    assert found == pytest.approx(tuned["key_length_bits"], rel=1e-3)


def test_demands_of_the_file_and_beside_it(capsys, star, tmp_path):
    star.write_text(STAR.replace("[receiver]", DEMAND.format(1) + "[receiver]"))
    code, plan = ask_json(capsys, star, "--as-configured")
    assert code == 0
    assert plan["plans"][0]["pairs"][0]["met"] is True
    other = tmp_path / "demand.toml"
    other.write_text(DEMAND.format("1e12"))
    code, plan = ask_json(capsys, star, "--as-configured", "--demand", other)
    assert code == 1
    assert plan["plans"][0]["pairs"][0]["met"] is False
    # One choice of detectors that is enough is enough.
    other.write_text(DEMAND.format(1) + "[detectors.blind]\nefficiency = 0.0\n")
    code, plan = ask_json(
        capsys, star, "--as-configured", "--demand", other, "--detectors", "blind,file"
    )
    assert (code, [one["enough"] for one in plan["plans"]]) == (0, [False, True])


def test_reports_for_people(capsys, star, tmp_path):
    other = tmp_path / "demand.toml"
    other.write_text(DEMAND.format(1))
    code, out, _ = ask(
        capsys, star, "--as-configured", "--demand", other, "--detectors", "file,snspd"
    )
    assert code == 0
    for words in (
        "A [small] star", "settings as in the file", "Loss in dB", "ann – ben", "charles", "1/3",
        "first key alone", "wanted", "✓", "EUR/Mbit", "Detectors compared", "placeholders",
        "Every demand is met with file, snspd. The cheapest: snspd.", "turns by demand would take",
    ):  # fmt: skip
        assert words in out
    star.write_text(STAR.replace("1_000_000_000_000", "1_000_000"))
    code, out, _ = ask(capsys, star, "--as-configured")
    assert code == 1
    assert "No key for ann – ben: " in out
    assert "Some pair has no key." in out


def test_a_method_without_review_says_so(capsys, star):
    _, out, _ = ask(capsys, star, "--as-configured", "--method", "certificate")
    assert "certificate (proof published with the code, not yet peer-reviewed)" in out
    _, plan = ask_json(capsys, star, "--as-configured")
    assert not plan["label"]


def test_the_examples_are_valid(capsys):
    mesh, demand = SCENARIOS / "mesh.toml", SCENARIOS / "mesh_demand.toml"
    if not mesh.exists():
        pytest.skip("the examples are not part of an installed package")
    code, plan = ask_json(capsys, mesh, "--as-configured", "--demand", demand)
    assert code == 0
    relays = {tuple(pair["users"]): pair["relay"] for pair in plan["plans"][0]["pairs"]}
    assert relays["bank", "ministry"] == "center"
    assert relays["clinic", "datacenter"] == "north"
    assert relays["ministry", "works"] is None


def test_jobs_change_nothing(capsys, star):
    _, one = ask_json(capsys, star, "--as-configured")
    assert ask_json(capsys, star, "--as-configured", "--jobs", 2)[1] == one


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plots(capsys, star, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plan.{suffix}"
    other = tmp_path / "demand.toml"
    other.write_text(DEMAND.format(1))
    code, _, _ = ask(capsys, star, "--as-configured", "--demand", other, "--plot", path)
    assert code == 0
    start = path.read_bytes()[:8]
    assert start.startswith({"png": b"\x89PNG", "svg": b"<?xml"}[suffix])
    if suffix == "svg":
        assert path.read_text().count('id="line2d_') > 10


def test_a_plot_without_any_key(capsys, star, tmp_path):
    pytest.importorskip("matplotlib")
    star.write_text(STAR.replace("1_000_000_000_000", "1_000_000"))
    path = tmp_path / "plan.png"
    assert ask(capsys, star, "--as-configured", "--plot", path)[0] == 1
    assert path.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--detectors", "none"), "--detectors: found 'none'; allowed: file, spad, snspd"),
        (("--goal", "sum"), "--goal: found alone; allowed: with --per-user or --equal"),
        (("--equal", "--goal", "best"), "--goal: found 'best'; allowed: worst, sum"),
        (("--as-configured", "--min-step", "0.1"), "--min-step: found with --as-configured"),
        (("--jobs", "0"), "--jobs: found 0"),
        (("--plot", "x.gif"), "found 'x.gif'; allowed: a name in .png, .svg, .pdf"),
        (("--method", "guess"), "guess"),
        (("--demand", "missing.toml"), "missing.toml: No such file"),
    ],
)
def test_options_that_do_not_go(capsys, star, options, words):
    code, out, err = ask(capsys, star, *options)
    assert (code, out) == (2, "")
    assert words in err


def test_files_that_are_refused(capsys, star, tmp_path):
    other = tmp_path / "demand.toml"
    other.write_text(DEMAND.format(1).replace("ben", "eve"))
    code, _, err = ask(capsys, star, "--demand", other)
    assert code == 2
    assert "demand.toml: demand[0].users: found ['eve', 'ann']; allowed: two of ann, ben" in err
    star.write_text(
        STAR.replace("[receiver]", DEMAND.format(1).replace("ben", "eve") + "[receiver]")
    )
    assert ask(capsys, star)[0] == 2
    star.write_text("relays = 3\n")
    assert ask(capsys, star)[0] == 2
    star.write_text("this is no TOML")
    code, _, err = ask(capsys, star)
    assert code == 2
    assert "star.toml: not TOML" in err
