"""A sweep in several processes or on a cluster: the rows of one process, and a clean end."""

import json
import os
import signal
import subprocess
import sys

import link_text
import pytest
from dask_here import local_cluster

from mdiqkd_net.cli import main

LINK = link_text.LINK.replace(', "psi_plus"', "")
SWEEP = ("--sweep", "length_km=0:100:25")


@pytest.fixture
def link_file(tmp_path):
    path = tmp_path / "link.toml"
    path.write_text(LINK)
    return path


def rows_of(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def sweep(capsys, link_file, *options):
    assert main(["keyrate", "--link", str(link_file), *SWEEP, "--json", *map(str, options)]) == 0
    return rows_of(capsys.readouterr().out)


def test_rows_do_not_depend_on_the_number_of_processes(capsys, link_file, tmp_path):
    one = sweep(capsys, link_file)
    path = tmp_path / "rows.jsonl"
    # What is there already is neither computed again nor out of order.
    path.write_text(json.dumps(one[2]) + "\n")
    assert sweep(capsys, link_file, "--jobs", 2, "--rows", path) == one
    kept = {row["id"]: row["key_length_bits"] for row in rows_of(path.read_text())}
    assert kept == {row["id"]: row["key_length_bits"] for row in one}


def test_rows_of_a_cluster_are_the_same(capsys, link_file):
    with local_cluster(threads_per_worker=2) as cluster:
        one = sweep(capsys, link_file)
        assert sweep(capsys, link_file, "--scheduler", cluster.scheduler_address) == one


def test_an_interrupt_keeps_the_rows_and_leaves_no_process(link_file, tmp_path):
    path = tmp_path / "rows.jsonl"
    command = [
        sys.executable, "-m", "mdiqkd_net", "keyrate", "--link", str(link_file), "--optimize",
        "--sweep", "length_km=0:100:0.1", "--jobs", "2", "--rows", str(path), "--json",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout.readline()
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, err = running.communicate(timeout=60)  # returns when no process holds the pipes
    assert running.returncode == 130
    assert [line for line in err.splitlines() if "points" not in line] == [
        "mdiqkd keyrate: interrupted"
    ]
    assert rows_of(path.read_text())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--jobs", "2"), "--jobs: found alone; allowed: with --sweep"),
        (("--scheduler", "x"), "--scheduler: found alone; allowed: with --sweep"),
        ((*SWEEP, "--jobs", "0"), "--jobs: found 0; allowed: 1 or more"),
        ((*SWEEP, "--jobs", "2", "--scheduler", "x"), "--jobs: found with --scheduler"),
    ],
)
def test_options_that_do_not_go(capsys, link_file, options, words):
    assert main(["keyrate", "--link", str(link_file), *options]) == 2
    assert words in capsys.readouterr().err
