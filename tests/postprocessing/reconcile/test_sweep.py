import re

import pytest

from mdiqkd_net.postprocessing.reconcile import sweep
from mdiqkd_net.postprocessing.reconcile.parameters import Schedule


def test_a_trial_reports_efficiency_and_rounds():
    f, rounds, unequal, cpu_s = sweep.trial(0.02, Schedule((43, 200, 4096)), 2**16, seed=1)
    assert 1.0 < f < 1.1
    assert rounds > 10
    assert unequal == 0
    assert cpu_s > 0


@pytest.mark.parametrize("qber", [0.001, 0.02, 0.1])
def test_candidates_are_in_reach(qber):
    tried = list(sweep.candidates(qber))
    assert len(tried) == len(set(tried)) > 10
    assert all(0.5 <= qber * s.block_bits[0] <= 1.7 for s in tried)


def test_the_choices_are_rows_that_were_printed(capsys):
    sweep.main(["0.0005", "--frames", "1"])
    *rows, leak, rounds = capsys.readouterr().out.splitlines()
    assert leak.removeprefix("low_leak ") in rows
    assert rounds.removeprefix("low_rounds ") in rows
    found = [re.search(r"f=(\S+) rounds=(\d+) unequal=(\d+)", row).groups() for row in rows]
    cost = {
        row: float(f) + 1e-4 * int(n)
        for row, (f, n, bad) in zip(rows, found, strict=True)
        if bad == "0"
    }
    assert cost[rounds.removeprefix("low_rounds ")] == min(cost.values())


def test_the_limit_is_that_of_the_documentation():
    assert [sweep.f_limit(q) for q in (0.001, 0.02, 0.08)] == [1.031, 1.0348, 1.0692]
    assert sweep.f_limit(0.025) == pytest.approx(1.0372)


def test_the_table_in_use_can_be_measured(capsys):
    sweep.main(["0.02", "--table", "low_rounds", "--frames", "2", "--batches", "2"])
    row = capsys.readouterr().out
    assert re.fullmatch(
        r"0.02 f=1\.\d+ rounds=\d+\.\.\d+ frames=4 unequal=0 mbit_per_s=\d+\.\d\n", row
    )
