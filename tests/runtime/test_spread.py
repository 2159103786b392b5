"""Computing in processes and on a cluster: the same answers, and clean ends."""

import math
import multiprocessing
import os

import pytest
from dask_here import local_cluster

from mdiqkd_net.errors import ConfigError, WorkerError
from mdiqkd_net.runtime import spread as spreading
from mdiqkd_net.runtime.spread import spread

CALLS = [(10, 3), (9, 4), (8, 5), (7, 6)]
ANSWERS = {0: 120, 1: 126, 2: 56, 3: 7}


def test_one_process_answers_in_order():
    assert list(spread(math.comb, CALLS)) == list(ANSWERS.items())
    assert list(spread(math.comb, [])) == []


def test_processes_answer_the_same():
    before = multiprocessing.active_children()
    assert dict(spread(math.comb, CALLS, jobs=2)) == ANSWERS
    assert multiprocessing.active_children() == before


def test_what_a_worker_raises_arrives_and_the_others_are_stopped():
    with pytest.raises(ValueError, match="non-negative"):
        list(spread(math.comb, [(1, -1), (2, 1)], jobs=2))
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_that_says_so():
    with pytest.raises(WorkerError, match=r"a worker process died.*--jobs 2"):
        list(spread(os._exit, [(1,), (1,)], jobs=2))


def test_an_iterator_that_is_closed_leaves_no_process():
    answers = spread(math.comb, CALLS * 50, jobs=2)
    next(answers)
    answers.close()
    assert multiprocessing.active_children() == []


def test_a_missing_distributed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'mdiqkd-net\[dask\]'"):
        list(spread(math.comb, CALLS, scheduler="tcp://127.0.0.1:1"))


@pytest.fixture
def cluster():
    """A scheduler and one worker on TCP, in threads of this process."""
    with local_cluster() as running:
        yield running.scheduler_address


def test_a_cluster_answers_the_same(cluster):
    assert dict(spread(math.comb, CALLS, scheduler=cluster)) == ANSWERS
    with pytest.raises(ValueError, match="non-negative"):
        list(spread(math.comb, [(1, -1)], scheduler=cluster))


def test_a_worker_of_another_version_is_refused(cluster, monkeypatch):
    # The worker is in this process, so it is the caller that is made another.
    stamped = spreading._stamped
    monkeypatch.setattr(spreading, "_stamped", lambda *call: ("0.0.0", stamped(*call)[1]))
    with pytest.raises(WorkerError, match=r"found a worker of version 0\.0\.0; allowed"):
        list(spread(math.comb, CALLS, scheduler=cluster))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no such thing"])
def test_a_scheduler_that_is_not_there(address, monkeypatch):
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    monkeypatch.setattr(spreading, "CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match=r"--scheduler: found .*where none answers.*tcp://host"):
        list(spread(math.comb, CALLS, scheduler=address))
