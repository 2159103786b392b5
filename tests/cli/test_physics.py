"""`mdiqkd physics` as a user meets it."""

import json

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.laboratory.experiments import EXPERIMENTS
from mdiqkd_net.physics import expected


def ask(capsys, *args):
    code = main(["physics", *(str(a) for a in args)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_check_says_what_it_found(capsys):
    code, out, _ = ask(capsys, "check", "overlap", "--events", 5000, "--seed", 7)
    assert code == 0
    assert "Seed 7." in out
    assert "The light agrees with the closed forms." in out
    assert "coincidence" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_check_as_json(capsys):
    code, out, _ = ask(capsys, "check", "gains", "--events", 2000, "--json", "--repeats", 2)
    result = json.loads(out)
    assert code == 0
    assert result["verdict"] == "agrees"
    assert [f["case"] for f in result["findings"]] == 2 * ["20 dB", "30 dB", "40 dB"]
    assert result["pooled"]["n_events"] == sum(f["n_events"] for f in result["findings"])
    assert result["findings"][0]["counts"]["zz events"]["expected"] > 100
    again = json.loads(ask(capsys, "check", "gains", "--events", 2000, "--json", "--repeats", 2)[1])
    assert again == result


def test_light_that_disagrees_fails(capsys, monkeypatch):
    right = expected.error_gains
    monkeypatch.setattr(
        expected, "error_gains", lambda link: {c: 0.9 * m for c, m in right(link).items()}
    )
    code, out, _ = ask(capsys, "check", "overlap", "--events", 50_000)
    assert code == 1
    assert "DISAGREES" in out


def test_curves_are_drawn(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "check.svg"
    code, _, _ = ask(capsys, "check", "overlap", "gains", "--events", 2000, "--plot", path)
    assert code == 0
    assert path.read_text().startswith("<?xml")


def test_speeds(capsys):
    code, out, _ = ask(capsys, "bench", "--events", 500, "--level", "coincidence", "--json")
    assert code == 0
    speeds = json.loads(out)["speeds"]
    assert [s["loss_db"] for s in speeds] == [20.0, 30.0, 40.0]
    assert all(s["pulses_per_cpu_s"] > 0 and s["ns_per_event"] > 0 for s in speeds)
    code, out, _ = ask(capsys, "bench", "--events", 500, "--level", "coincidence")
    assert code == 0
    assert "ns/event" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("check", "color"), f"experiment: found 'color'; allowed: {', '.join(EXPERIMENTS)}"),
        (("check", "--events", 0), "--events: found 0; allowed: 1 or more"),
        (("check", "--seed", -1), "--seed: found -1; allowed: 0 or greater"),
        (("check", "--level", "photon"), "--level: found 'photon'; allowed: coincidence"),
        (("check", "dead_time", "--level", "coincidence"), "allowed for dead_time: click"),
        (("check", "--plot", "x.gif"), "--plot: found 'x.gif'; allowed: a name in .png"),
        (("bench", "--level", "photon"), "--level: found 'photon'"),
        (("bench", "--processes", 0), "--processes: found 0"),
    ],
)
def test_options_that_do_not_go(capsys, options, message):
    code, out, err = ask(capsys, *options)
    assert code == 2
    assert message in err
    assert not out
