"""`mdiqkd conformance`: lists, refuses, plays, writes reports."""

import json
import socket

import pytest
import trio
from conformance import networks

from mdiqkd_net.cli import main
from mdiqkd_net.conformance.relay import RELAY_CASES
from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.runtime.world import RealWorld


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


PEER = """
node = "{peer}"
listen = "{listen}"
light = "{light}"
store = "never.sqlite"
reconciler = "cascade"
qber_hint = 0.001

[tls]
authority = "authority.pem"
certificate = "{peer}.pem"
private_key = "{peer}.key"

[relay]
node = "charles"
address = "127.0.0.1:1"

[source]
x = {{ intensity = 0.18, probability = 0.37 }}
y = {{ intensity = 0.71, probability = 0.11 }}
z = {{ intensity = 1.0, probability = 0.475 }}

[security]
eps_sec = 0.4
eps_cor = 1e-6
"""
NODE = """
[[peers]]
node = "{node}"
pads = "alice--bob.{peer}.pads"
n_pulses = 100000
blocks = 0
"""


def write_peer(directory, node, peer, *, listen="127.0.0.1:1", light="127.0.0.1:1", more="", n=1):
    """The configuration of a peer, in the network of the nodes."""
    path = directory / f"{peer}.toml"
    text = PEER.format(peer=peer, listen=listen, light=light) + more
    path.write_text(text + n * (NODE.format(node=node, peer=peer)))
    return path


class Place:
    """A port that is taken, and listened at by whoever inherits it."""

    def __init__(self):
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        host, port = listening.getsockname()
        self.address = f"{host}:{port}"
        self.inherited = f"fd://{listening.detach()}"


@pytest.mark.parametrize(
    ("node", "peer", "only"), [("alice", "bob", "S-05"), ("bob", "alice", "O-01")]
)
async def test_an_endpoint_is_played_against_as_its_peer(
    network, tmp_path, monkeypatch, capsys, node, peer, only
):
    """The lesser id listens, and coordinates; so each of the two is the node under test once."""
    networks.quick_redial(monkeypatch)
    directory = tmp_path
    for name in ("authority", node, peer, "charles"):
        (directory / f"{name}.pem").write_bytes((network / f"{name}.pem").read_bytes())
    for name in (node, peer, "charles"):
        key = directory / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes((network / f"{name}.key").read_bytes())
    create_pads(directory, "alice", "bob", 64)
    relay, light, users = Place(), Place(), Place()
    node_listens = node < peer
    config = networks.endpoint_config(
        node,
        peer,
        listen=users.inherited if node_listens else "127.0.0.1:0",
        peer_listens=users.address,
        relay=relay.address,
        light=light.address,
        tls=networks.tls_of(directory, node),
    )
    if node_listens:
        told = write_peer(directory, node, peer, light=light.inherited)
        told.write_text(told.read_text() + f'address = "{users.address}"\n')
    else:
        told = write_peer(directory, node, peer, listen=users.inherited, light=light.inherited)
    args = ["conformance", "--role", "endpoint", "--listen", relay.inherited, "--strict"]
    args += ["--identity", str(directory / "charles.pem"), "--peer", str(told)]
    args += ["--time-scale", str(networks.SCALE)]
    for case in ("S-01", "G-02", "S-05", "O-01"):
        args += ["--select", f"CT-EP-{case}"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(networks.keep_running, config, directory, RealWorld())
        code = await trio.to_thread.run_sync(main, args)
        nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.splitlines()[-1] == "4 cases: 3 PASS, 1 SKIP"
    (line,) = [line for line in out.splitlines() if only in line]
    assert "PASS" in line
    assert f"beside {peer} the node {'coordinates' if node_listens else 'participates'}" in out


@pytest.mark.parametrize(
    ("node", "peer", "options", "args", "words"),
    [
        ("alice", "bob", {"n": 0}, [], "key `peers` is missing"),
        ("alice", "bob", {"n": 2}, [], "peers: found alice, alice; allowed: the endpoint alone"),
        ("alice", "bob", {}, [], "peers.alice: key `address` is missing"),
        (
            "bob",
            "alice",
            {},
            ["--pulses", "100001"],
            "--pulses: found 100001; allowed: up to 100000",
        ),
        ("bob", "alice", {"more": "blocks = 1\n"}, [], "blocks"),
    ],
)
def test_a_peer_that_cannot_be_played_is_refused(network, capsys, node, peer, options, args, words):
    told = write_peer(network, node, peer, **options)
    given = ["--listen", "127.0.0.1:0", "--identity", str(network / "charles.pem")]
    assert main(["conformance", "--role", "endpoint", *given, "--peer", str(told), *args]) == 2
    assert words in capsys.readouterr().err
