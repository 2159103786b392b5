"""The simulate verb: what it prints, and its exit codes."""

import json

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.simulation import seeds
from mdiqkd_net.simulation.seeds import Outcome


@pytest.fixture
def one_bad_seed(monkeypatch):
    def run_seed(seed, allowed):
        violations = ("K1: planted",) if seed == 3 else ()
        return Outcome(seed, tuple(allowed), violations, ("0.1 alice starts",), "ab", 2, 1, 0.5)

    monkeypatch.setattr(seeds, "run_seed", run_seed)


def test_a_real_seed_holds(capsys):
    assert main(["simulate", "--seeds", "2", "--faults", "cut,stall"]) == 0
    assert capsys.readouterr().out == "1 seeds, 0 failed\n"


def test_a_seed_that_fails_is_printed_with_its_history(capsys, one_bad_seed):
    assert main(["simulate", "--seeds", "2:5", "--faults", "cut"]) == 1
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "seed 3  FAILED  faults cut  trace ab",
        "  K1: planted",
        "    0.1 alice starts",
        "3 seeds, 1 failed",
    ]


def test_history_is_printed_when_asked_for(capsys, one_bad_seed):
    assert main(["simulate", "--seeds", "2", "--faults", "none", "--history"]) == 0
    assert "seed 2  held  faults none  trace ab\n    0.1 alice starts\n" in capsys.readouterr().out


def test_json_is_a_row_per_seed(capsys, one_bad_seed):
    assert main(["simulate", "--seeds", "2:4", "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["seed"], row["violations"]) for row in rows] == [(2, []), (3, ["K1: planted"])]
    assert "history" not in rows[0]
    assert rows[1]["history"] == ["0.1 alice starts"]
    assert {"crash", "torn", "stall"} <= set(rows[0]["faults"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "5:5"], "which is no seed"),
        (["--seeds", "x"], "found 'x'; allowed: A:B"),
        (["--seeds", "1", "--faults", "rain"], "found rain; allowed: none, or some of crash"),
        (["--seeds", "1", "--jobs", "0"], "allowed: a number from 1 on"),
        ([], "--seeds"),
    ],
)
def test_arguments_that_cannot_be_used(capsys, arguments, words):
    assert main(["simulate", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_help_names_every_fault(capsys):
    assert main(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  slow_disk " in out
    assert "Exit codes" in out
