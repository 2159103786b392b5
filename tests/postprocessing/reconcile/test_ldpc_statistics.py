import re

import pytest
from scipy.stats import binomtest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.reconcile.ldpc_statistics import main, try_frames


def test_frames_told_too_little_ask_and_frames_told_enough_do_not():
    enough = try_frames(0.05, 6, seed=1, hint=0.065, n_bits=2**14)
    assert (enough.frames, enough.at_once, enough.requests, enough.wrong) == (6, 6, 0, 0)
    little = try_frames(0.05, 6, seed=1, hint=0.042, n_bits=2**14)
    assert (little.at_once, little.wrong) == (0, 0)
    assert little.requests >= 6
    assert 1 <= little.most_requests <= little.requests
    assert 1.0 < little.f < enough.f < 1.5
    assert little.cpu_s > 0.0


def test_as_many_frames_succeed_at_once_as_in_the_documents():
    """992 of 1000 or more at 5 %; the false-alarm probability is 1e-6."""
    found = try_frames(0.05, 8, seed=2)
    assert binomtest(found.at_once, found.frames, 0.992, alternative="less").pvalue > 1e-6


@pytest.mark.parametrize("sizes", [(0, 100), (1, 0), (1, 2**17 + 1)])
def test_frames_that_are_none_are_refused(sizes):
    with pytest.raises(LocalProtocolError, match=r"frames: found .* allowed"):
        try_frames(0.05, sizes[0], seed=1, n_bits=sizes[1])


def test_the_command_prints_a_row_for_each_rate(capsys):
    main(["0.06", "0.08", "--frames", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(":")[0] for row in rows] == ["0.06", "0.08"]
    for row in rows:
        assert re.search(r"f = 1\.1\d\d\d, 1 of 1 frames at once, 0 requests, .* 0 wrong, ", row)


def test_the_command_tells_users_more_or_less_than_the_truth(capsys):
    main(["0.05", "--frames", "1", "--told", "0.6", "1.6"])
    less, more = capsys.readouterr().out.splitlines()
    assert re.match(r"0\.05: told 0\.6 of it, f = 1\.[01]", less)
    assert " 0 of 1 frames at once, " in less
    assert more.startswith("0.05: told 1.6 of it, f = 1.5")
    assert " 1 of 1 frames at once, 0 requests" in more
