"""The runner with fake nodes: real processes, real sockets, real stores, no physics."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError, RemoteProtocolError
from mdiqkd_net.scenario import runner
from mdiqkd_net.scenario.processes import (
    MAX_LINE_BYTES,
    LineReader,
    NodeError,
    Patience,
    StoppedError,
)

SHORT = Patience(ready_s=20.0, silence_s=20.0, stop_s=5.0)


async def no_view(board):
    pass


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary directories of runs appear."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


@pytest.fixture
def run_fakes(make_scenario, fake_command, temporary, monkeypatch):
    def run(behavior=None, *, keep=None, patience=SHORT, view=no_view, **options):
        monkeypatch.setenv("FAKE_NODES", json.dumps(behavior or {}))
        try:
            return runner.run(
                make_scenario(**options),
                command_s=time.monotonic(),
                view=view,
                keep=keep,
                command=fake_command,
                patience=patience,
            )
        finally:
            assert nodes_under(temporary) == []
            assert list(temporary.iterdir()) == []

    return run


def nodes_under(directory):
    """Ids of live processes whose command line names a file in `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if entry.name.isdigit() and f"--config\0{directory}" in command:
            found.append(int(entry.name))
    return found


def test_a_pair_gets_its_keys(run_fakes):
    report = run_fakes()
    (pair,) = report.pairs
    assert (pair.secret_bits, pair.n_keys, pair.keys_match) == (2048, 8, True)
    assert pair.announced == 20
    assert report.every_pair_has_key
    assert report.stubborn == ()
    assert 0 < report.first_key_s <= report.wall_s


def test_a_star_gets_keys_for_every_pair(run_fakes):
    report = run_fakes(topology="star", users=("alice", "bob", "carol"), more="blocks = 2")
    assert len(report.pairs) == 3
    assert all(pair.keys_match and pair.secret_bits == 4096 for pair in report.pairs)


def test_what_is_kept_is_configurations_logs_and_stores(run_fakes, tmp_path):
    keep = tmp_path / "kept" / "here"
    run_fakes(keep=keep)
    assert (keep / "nodes" / "alice" / "stderr.log").read_text() == "alice is a fake\n"
    assert (keep / "nodes" / "bob" / "keys.db").exists()
    first, *_ = (keep / "nodes" / "charles" / "events.jsonl").read_text().splitlines()
    assert json.loads(first)["event"] == "ready"
    with pytest.raises(ConfigError, match="allowed: a new or an empty directory"):
        run_fakes(keep=keep)


def test_a_directory_that_cannot_be_made_is_a_configuration_error(run_fakes, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--keep"):
        run_fakes(keep=tmp_path / "file" / "sub")


def test_stores_that_differ_are_found(run_fakes):
    (pair,) = run_fakes({"bob": "forge"}).pairs
    assert pair.secret_bits == 2048
    assert not pair.keys_match
    assert pair.stores_differ


def test_no_key_is_a_result(run_fakes):
    report = run_fakes({"alice": "abort", "bob": "abort"})
    assert not report.every_pair_has_key
    assert report.pairs[0].reason == "no light"


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (3, 3), (4, 4), (1, 3), (7, 3)])
def test_a_node_that_dies_early_is_named_with_its_last_words(run_fakes, code, expected):
    with pytest.raises(NodeError) as caught:
        run_fakes({"bob": f"die:{code}"})
    message = str(caught.value)
    assert f"bob ended early (exit code {code}): no sky" in message
    assert "| the sky fell" in message
    assert caught.value.exit_code == expected


def test_a_node_that_never_becomes_ready_is_named(run_fakes):
    with pytest.raises(NodeError, match=r"not ready after 1.5 s: alice") as caught:
        run_fakes({"alice": "mute"}, patience=Patience(ready_s=1.5))
    assert caught.value.exit_code == 3


def test_silence_ends_a_run(run_fakes):
    behavior = {"alice": "wait", "bob": "wait"}
    with pytest.raises(NodeError, match="no node said a word for"):
        run_fakes(behavior, patience=Patience(ready_s=20.0, silence_s=0.5))


def test_a_node_that_does_not_stop_is_killed_and_named(run_fakes):
    report = run_fakes({"bob": "deaf"}, patience=Patience(stop_s=2.0))
    assert report.stubborn == ("bob",)
    assert report.pairs[0].keys_match


def test_a_pair_that_fails_does_not_take_the_others_along(run_fakes):
    users = ("alice", "bob", "carol")
    report = run_fakes({"carol": "fail"}, topology="star", users=users, more="blocks = 2")
    found = {pair.users: pair for pair in report.pairs}
    assert found["alice", "bob"].keys_match
    assert found["alice", "bob"].failure is None
    assert found["alice", "carol"].failure == "carol: authentication failed"
    assert report.faulty


def test_a_node_that_fails_when_all_is_over_is_still_a_failure(run_fakes):
    with pytest.raises(NodeError, match=r"bob ended early \(exit code 3\): too late"):
        run_fakes({"alice": "abort", "bob": "late:3"})


def test_output_that_is_no_event_ends_a_run(run_fakes):
    with pytest.raises(RemoteProtocolError, match="alice: found 'good morning'"):
        run_fakes({"alice": "garbage"})


def test_a_node_that_cannot_be_started_is_a_fault_of_the_machine(make_scenario, temporary):
    with pytest.raises(NodeError, match="cannot start a node") as caught:
        runner.run(make_scenario(), command_s=0.0, view=no_view, command=("/nowhere/mdiqkd",))
    assert caught.value.exit_code == 4
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_nodes(run_fakes, temporary, signum):
    async def interrupt(board):
        """Send the signal to ourselves once nodes exist."""
        assert len(nodes_under(temporary)) > 0
        os.kill(os.getpid(), signum)

    behavior = {"alice": "wait", "bob": "wait"}
    with pytest.raises(StoppedError, match=signum.name) as caught:
        run_fakes(behavior, view=interrupt)
    assert caught.value.exit_code == 128 + signum


def test_a_second_signal_does_not_wait_for_deaf_nodes(run_fakes):
    import trio

    async def interrupt_twice(board):
        while len(board.ready) < 3:
            await trio.sleep(0.01)
        # Of one signal that comes twice at once, only one may be seen.
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    behavior = {"alice": "wait", "bob": "deaf", "charles": "deaf"}
    began_s = time.monotonic()
    with pytest.raises(StoppedError):
        run_fakes(behavior, view=interrupt_twice, patience=Patience(stop_s=30.0))
    assert time.monotonic() - began_s < 20.0


def test_the_command_itself_stops_cleanly_on_ctrl_c(write_scenario, fake_command, tmp_path):
    """As a user does it: the whole program, SIGINT to its process alone."""
    program = (
        "import sys\n"
        "from mdiqkd_net.scenario import runner\n"
        f"runner.run.__kwdefaults__['command'] = {fake_command!r}\n"
        "from mdiqkd_net.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "FAKE_NODES": json.dumps({"alice": "wait"}),
    }
    with subprocess.Popen(
        [sys.executable, "-c", program, "run", str(write_scenario())],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "waiting for" in first
        process.send_signal(signal.SIGINT)
        output, talk = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output == ""
    assert "stopped by SIGINT; no node is left running" in talk
    assert nodes_under(temporary) == []
    assert list(temporary.iterdir()) == []


@given(lines=st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b""))), data=st.data())
def test_lines_survive_any_chunking(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, got = LineReader(), []
    for start, stop in itertools.pairwise([0, *cuts, len(stream)]):
        got += reader.receive_data(stream[start:stop])
    assert got == [line for line in lines if line.strip()]


def test_an_endless_line_is_refused():
    reader = LineReader()
    reader.receive_data(b"x" * MAX_LINE_BYTES)
    with pytest.raises(RemoteProtocolError, match="found a line of more than"):
        reader.receive_data(b"x")
