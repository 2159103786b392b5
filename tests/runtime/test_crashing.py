"""Crash points: who may ask for a crash, and that a real process dies exactly there."""

import signal
import subprocess
import sys

import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.runtime.crashing import crash_at, crash_points
from mdiqkd_net.runtime.world import RealWorld, durably

HOOKS = {"MDIQKD_TEST_HOOKS": "1"}


def test_every_durable_step_has_a_point_before_and_one_after():
    points = crash_points()
    assert {"hold.before", "hold.after", "freeze.before", "commit.after"} <= set(points)
    assert len(set(points)) == len(points)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MDIQKD_CRASH_AT": "hold.after:1"}, "only with MDIQKD_TEST_HOOKS=1"),
        ({"MDIQKD_CRASH_AT": "hold.after:1", "MDIQKD_TEST_HOOKS": "yes"}, "only with"),
        ({"MDIQKD_CRASH_AT": "nowhere:1", **HOOKS}, "found 'nowhere:1'; allowed: POINT:N.*hold"),
        ({"MDIQKD_CRASH_AT": "hold.after", **HOOKS}, "allowed: POINT:N"),
        ({"MDIQKD_CRASH_AT": "hold.after:0", **HOOKS}, "N from 1 on"),
    ],
)
def test_wishes_that_are_refused(environment, words):
    with pytest.raises(ConfigError, match=words):
        crash_at(environment)
    with pytest.raises(ConfigError, match=words):
        RealWorld.of(environment)


async def test_without_a_wish_points_are_passed():
    done = []
    await durably(RealWorld.of(HOOKS), "hold", done.append, 1)
    assert done == [1]


async def test_a_step_lies_between_its_points():
    seen = []
    await durably(RealWorld(crash=seen.append), "commit", seen.append, "work")
    assert seen == ["commit.before", "work", "commit.after"]


VISITS = """
import os, sys
from mdiqkd_net.runtime.world import RealWorld
world = RealWorld.of(os.environ)
for visit in range(3):
    for point in ("hold.before", "hold.after"):
        print(point, visit, flush=True)
        world.reach(point)
"""


def test_a_process_is_killed_at_the_visit_that_was_named():
    ended = subprocess.run(
        [sys.executable, "-c", VISITS],
        env={**HOOKS, "MDIQKD_CRASH_AT": "hold.after:2", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert ended.stdout.splitlines()[-1] == "hold.after 1"
