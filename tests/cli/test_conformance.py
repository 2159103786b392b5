"""`mdiqkd conformance`: lists, refuses, plays, writes reports."""

import json

import pytest
import trio
from conformance import networks

from mdiqkd_net.cli import main
from mdiqkd_net.conformance.relay import RELAY_CASES
from mdiqkd_net.keys.pki import create_authority, issue


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    create_authority(directory)
    for node in ("alice", "bob", "charles"):
        issue(directory, node)
    return directory


def test_list_prints_every_case_and_json_its_fields(capsys):
    assert main(["conformance", "--role", "relay", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RELAY_CASES)
    assert lines[0].startswith("CT-RL-F-01  L1  MUST")
    assert main(["conformance", "--role", "relay", "--list", "--json", "--select", "*H-03"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["clauses"]) == ("CT-RL-H-03", ["4.1"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "--connect: found none"),
        (["--connect", "127.0.0.1:1"], "--identity: found 0; allowed: one or two"),
        (["--select", "CT-Q"], "--select: found 'CT-Q'"),
        (["--connect", "nowhere", "--identity", "{alice}"], "HOST:PORT"),
        (["--connect", "127.0.0.1:1", "--identity", "{alice}", "--time-scale", "0"], "above 0"),
        (["--connect", "127.0.0.1:1", "--identity", "{alice}", "--pulses", "0"], "1 or more"),
        (["--connect", "h:1", "--identity", "{alice}", "--identity", "{alice}"], "alice twice"),
        (["--connect", "h:1", "--identity", "nothing.pem"], "no file"),
    ],
)
def test_what_cannot_be_used_is_refused(network, capsys, args, words):
    told = [arg.format(alice=network / "alice.pem") for arg in args]
    assert main(["conformance", "--role", "relay", *told]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "--listen: found none"),
        (["--listen", "127.0.0.1:0"], "--identity: found 0; allowed: one, the relay"),
        (["--listen", "here", "--identity", "{charles}"], "HOST:PORT"),
    ],
)
def test_what_cannot_be_used_for_an_endpoint_is_refused(network, capsys, args, words):
    told = [arg.format(charles=network / "charles.pem") for arg in args]
    assert main(["conformance", "--role", "endpoint", *told]) == 2
    assert words in capsys.readouterr().err


def test_nobody_there_is_not_conformance(network, capsys, unused_port):
    args = ["--connect", f"127.0.0.1:{unused_port}", "--identity", str(network / "alice.pem")]
    assert main(["conformance", "--role", "relay", *args, "--select", "CT-RL-F-01", "--json"]) == 1
    (case,) = json.loads(capsys.readouterr().out)["cases"]
    assert case["verdict"] == "INCONCLUSIVE"


@pytest.fixture
def unused_port():
    """A port that is bound and never listens."""
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_relay_is_played_against_and_reported_on(network, tmp_path, monkeypatch, capsys):
    async with networks.relay(network, monkeypatch) as harness:
        host, port = harness.address
        args = ["conformance", "--role", "relay", "--connect", f"{host}:{port}", "--strict"]
        args += ["--identity", str(network / "alice.pem"), "--time-scale", str(networks.SCALE)]
        args += ["--select", "CT-RL-F-0[1-4]", "--select", "CT-RL-S-01", "--out", str(tmp_path)]
        code = await trio.to_thread.run_sync(main, [*args, "--junit", str(tmp_path / "j.xml")])
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.splitlines()[-1] == "5 cases: 4 PASS, 1 SKIP"
    assert "needs a second --identity" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert [c["verdict"] for c in report["cases"]] == [*["PASS"] * 4, "SKIP"]
    assert report["conforms"]
    assert (tmp_path / "index.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "j.xml").read_text() == (tmp_path / "junit.xml").read_text()
