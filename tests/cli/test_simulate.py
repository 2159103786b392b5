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
        return Outcome(
            seed,
            seeds.faults_of(seed, allowed),
            violations,
            ("0.1 alice starts",),
            "ab",
            2,
            1,
            7,
            0.5,
        )

    monkeypatch.setattr(seeds, "run_seed", run_seed)


def test_a_real_seed_holds(capsys):
    assert main(["simulate", "--seeds", "2", "--faults", "cut,stall"]) == 0
    assert capsys.readouterr().out.startswith("1 seeds, 0 failed, ")


def test_a_seed_that_fails_is_printed_with_its_history(capsys, one_bad_seed):
    assert main(["simulate", "--seeds", "2:5", "--faults", "crumble"]) == 1
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "seed 3  FAILED  faults crumble  trace ab",
        "  K1: planted",
        "    0.1 alice starts",
        "3 seeds, 1 failed, 21 events, 2 s of processor time",
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
    assert rows[0]["faults"] == list(seeds.faults_of(2, tuple(seeds.FAULTS)))


def test_a_campaign_goes_on_where_it_was_interrupted(capsys, one_bad_seed, tmp_path):
    file = tmp_path / "campaign"
    asked = ["simulate", "--results", str(file), "--seeds"]
    assert main([*asked, "1:3"]) == 0
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])  # killed while it wrote
    assert main([*asked, "1:5"]) == 1
    assert "4 seeds, 1 failed, 28 events" in capsys.readouterr().out
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [1, 2, 3, 4]
    assert [bool(row["history"]) for row in rows] == [False, False, True, False]
    assert main([*asked, "1:5"]) == 1  # what failed is tried again, and nothing else
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [1, 2, 3, 4, 3]
    assert main([*asked, "1:3", "--faults", "cut"]) == 0  # another campaign
    assert len(file.read_text().splitlines()) == 7
    assert "2 seeds, 0 failed" in capsys.readouterr().out


def test_progress_is_told_where_nobody_sees_a_line_change(capsys, one_bad_seed):
    main(["simulate", "--seeds", "100:300"])
    assert capsys.readouterr().err == "100 of 200 seeds, 0 failed\n200 of 200 seeds, 0 failed\n"


def test_a_file_that_holds_no_results(capsys, tmp_path):
    file = tmp_path / "campaign"
    file.write_text("seed 3 held\n")
    assert main(["simulate", "--seeds", "1", "--results", str(file)]) == 2
    assert f"{file}:1: no outcome of a seed" in capsys.readouterr().err
    assert main(["simulate", "--seeds", "1", "--results", str(tmp_path)]) == 2


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
