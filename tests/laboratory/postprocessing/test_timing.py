import time
import tracemalloc

import numpy as np
import pytest

from mdiqkd_net.laboratory.postprocessing.timing import cpu_s, median_cpu_s, peak_bytes, per_s


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_cpu_time_is_that_of_the_task():
    result, seconds = cpu_s(lambda: [spin(0.02), 7])
    assert result == [None, 7]
    assert seconds >= 0.02


def test_a_long_task_runs_twice_and_a_short_one_often():
    runs = []
    assert median_cpu_s(lambda: runs.append(spin(0.31))) >= 0.31
    assert len(runs) == 2
    runs.clear()
    median_cpu_s(lambda: runs.append(None))
    assert len(runs) == 26


def test_peak_memory_is_that_of_the_task():
    before = np.zeros(5_000_000, np.uint8)

    def copy_twice():
        for _ in range(3):
            first, second = before[:1_000_000].copy(), before[:1_000_000].copy()
            del first, second

    assert 2_000_000 <= peak_bytes(copy_twice) < 2_200_000
    with pytest.raises(ZeroDivisionError):
        peak_bytes(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()


def test_nothing_measured_is_no_speed():
    assert per_s(10, 2.0) == 5.0
    assert per_s(10, 0.0) is None
