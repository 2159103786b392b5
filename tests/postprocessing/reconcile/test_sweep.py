import re

import pytest

from mdiqkd_net.postprocessing.reconcile import sweep
from mdiqkd_net.postprocessing.reconcile.parameters import Schedule


def test_a_trial_reports_efficiency_and_rounds():
    f, rounds, unequal, cpu_s = sweep.trial(0.02, Schedule((5, 7, 13), 0, 0), 2**16, seed=1)
    assert 1.0 < f < 1.1
    assert rounds > 10
    assert unequal == 0
    assert cpu_s > 0


@pytest.mark.parametrize("qber", [0.001, 0.02, 0.1])
def test_candidates_are_in_reach(qber):
    tried = list(sweep.candidates(qber))
    assert len(tried) == len(set(tried)) > 10
    assert all(0.2 <= qber * 2 ** s.log_sizes[0] <= 1.3 for s in tried)


def test_the_best_row_is_one_of_those_printed(capsys):
    sweep.main(["0.15", "--frames", "1"])
    *rows, best = capsys.readouterr().out.splitlines()
    assert best.removeprefix("best ") in rows
    costs = [float(re.search(r"cost=(\S+)", row)[1]) for row in rows]
    assert float(re.search(r"cost=(\S+)", best)[1]) == min(costs)


def test_the_table_in_use_can_be_measured(capsys):
    sweep.main(["0.02", "--table", "--frames", "2", "--batches", "2"])
    row = capsys.readouterr().out
    assert re.fullmatch(
        r"0.02 f=1\.\d+ rounds=\d+\.\.\d+ frames=4 unequal=0 mbit_per_s=\d+\.\d\n", row
    )
