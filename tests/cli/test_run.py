import importlib.util
import json
import sys
from pathlib import Path

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.scenario import runner

FAKE_NODE = Path(__file__).parents[1] / "scenario" / "fake_node.py"


def scenario_text(**options):
    """The text that the tests of scenarios use."""
    spec = importlib.util.spec_from_file_location(
        "scenario_conftest", FAKE_NODE.with_name("conftest.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.scenario_text(**options)


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(scenario_text())
    return path


@pytest.fixture
def run(scenario, monkeypatch):
    """Call `mdiqkd run` with fake nodes; returns the exit code."""
    monkeypatch.setitem(runner.run.__kwdefaults__, "command", (sys.executable, str(FAKE_NODE)))

    def run(*options, **behavior):
        monkeypatch.setenv("FAKE_NODES", json.dumps(behavior))
        return main(["run", str(scenario), *map(str, options)])

    return run


def test_a_run_reports_and_talks_apart(run, capsys):
    assert run() == 0
    captured = capsys.readouterr()
    assert "2,048 secret bits, 8 keys, identical in both stores" in captured.out
    assert "waiting for" in captured.err


def test_json_goes_to_a_file_beside_the_report(run, tmp_path, capsys):
    target = tmp_path / "out" / "report.json"
    target.parent.mkdir()
    assert run("--json", target, "--quiet", "--n-pulses", "2e9") == 0
    decoded = json.loads(target.read_text())
    assert decoded["pairs"][0]["keys_match"] is True
    assert decoded["pairs"][0]["pulses"] == 2 * 10**9
    assert list(target.parent.iterdir()) == [target]
    captured = capsys.readouterr()
    assert "secret bits" in captured.out
    assert captured.err == ""


def test_a_failed_run_leaves_an_older_report_alone(run, tmp_path, capsys):
    target = tmp_path / "report.json"
    target.write_text("old")
    assert run("--json", target, alice="die:4") == 4
    assert target.read_text() == "old"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "alice ended early (exit code 4)" in captured.err


def test_a_dash_prints_json_alone(run, capsys):
    assert run("--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["origin"] == "simulated"


def test_no_key_exits_with_1_and_still_writes(run, tmp_path):
    target = tmp_path / "report.json"
    assert run("--json", target, alice="abort", bob="abort") == 1
    assert json.loads(target.read_text())["pairs"][0]["secret_bits"] == 0


def test_stores_that_differ_exit_with_3(run, capsys):
    assert run(bob="forge") == 3
    assert "do not hold the same keys" in capsys.readouterr().out


def test_a_node_that_does_not_stop_is_mentioned(run, capsys, monkeypatch):
    from mdiqkd_net.scenario.processes import Patience

    monkeypatch.setitem(runner.run.__kwdefaults__, "patience", Patience(stop_s=0.5))
    assert run(bob="deaf") == 0
    assert "killed after the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--n-pulses", "many"), "found 'many'; allowed: a whole number"),
        (("--n-pulses", "1.5"), "found '1.5'; allowed: a whole number"),
        (("--n-pulses", "inf"), "found 'inf'"),
        (("--n-pulses", "0"), "--n-pulses: found 0"),
        (("--seed", "-3"), "--seed: found -3"),
        (("--json", "/nowhere/report.json"), "--json: found /nowhere/report.json"),
        (("--speed", "9"), "unrecognized arguments"),
    ],
)
def test_usage_errors_exit_with_2(run, capsys, options, expected):
    assert run(*options) == 2
    assert expected in capsys.readouterr().err


def test_a_bad_scenario_exits_with_2_and_names_the_file(run, scenario, capsys):
    scenario.write_text(scenario.read_text().replace("pair", "ring"))
    assert run() == 2
    captured = capsys.readouterr()
    assert str(scenario) in captured.err
    assert 'found "ring"' in captured.err
