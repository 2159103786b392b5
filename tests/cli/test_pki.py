import json
import stat

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.keys import pki
from mdiqkd_net.keys.pads import PadFile

NETWORK = ["--node", "alice", "--node", "bob", "--node", "charles", "--pair", "bob:alice"]
FILES = [
    "alice--bob.alice.pads",
    "alice--bob.bob.pads",
    "alice.key",
    "alice.pem",
    "authority.key",
    "authority.pem",
    "bob.key",
    "bob.pem",
    "charles.key",
    "charles.pem",
]


@pytest.fixture
def run(capsys):
    def call(*args):
        code = main(["pki", *map(str, args)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_new_network_makes_everything_and_says_what(tmp_path, run):
    directory = tmp_path / "network"
    code, out, err = run("new-network", directory, *NETWORK, "--pads", "16")
    assert (code, err) == (0, "")
    assert names(directory) == FILES
    assert sorted(out.split()) == [str(directory / name) for name in FILES]
    for path in directory.iterdir():
        private = path.suffix != ".pem"
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == (0 if private else 0o044)
    with (
        PadFile.open(directory / FILES[0], "alice", "bob", leased=False) as alices,
        PadFile.open(directory / FILES[1], "bob", "alice", leased=False) as bobs,
    ):
        index, pad = alices.take_send()
        assert bobs.take_receive(index) == pad
        assert bobs.remaining_send == 16


def test_a_second_network_in_the_same_place_is_refused(tmp_path, run):
    run("new-network", tmp_path, *NETWORK, "--pads", "16")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, out, err = run("new-network", tmp_path, *NETWORK)
    assert (code, out) == (2, "")
    assert "authority.pem: exists already, and nothing is overwritten" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--node", "Alice"], "node id: found 'Alice'"),
        (["--node", "authority"], "authority's own files"),
        (["--node", "alice", "--node", "alice"], "--node: found alice more than once"),
        ([*NETWORK, "--pair", "alice:bob"], "--pair: found ('alice', 'bob') more than once"),
        ([*NETWORK, "--pair", "alice"], "--pair: found 'alice'; allowed: two users"),
        ([*NETWORK, "--pair", "a:b:c"], "--pair: found 'a:b:c'"),
        ([*NETWORK, "--pair", "alice:dave"], "found user 'dave'; allowed: alice, bob, charles"),
        (["--pair", "alice:bob"], "found user 'alice'; allowed: none; name nodes with --node"),
        ([*NETWORK, "--pair", "bob:bob"], "pair: found 'bob' twice"),
        ([*NETWORK, "--host", "h:1"], "host: found 'h:1'"),
        ([*NETWORK, "--pads", "0"], "number of pads: found 0"),
        ([*NETWORK, "--days", "0"], "validity: found 0 days"),
        ([*NETWORK, "--authority-days", "0"], "validity: found 0 days"),
    ],
)
def test_bad_networks_are_refused_before_the_first_file(tmp_path, run, arguments, found):
    directory = tmp_path / "network"
    code, out, err = run("new-network", directory, *arguments)
    assert (code, out) == (2, "")
    assert found in err
    assert not directory.exists()


def test_an_obstacle_anywhere_stops_everything(tmp_path, run):
    (tmp_path / "alice--bob.bob.pads").write_text("precious")
    code, _, err = run("new-network", tmp_path, *NETWORK)
    assert code == 2
    assert "alice--bob.bob.pads: exists already" in err
    assert names(tmp_path) == ["alice--bob.bob.pads"]


def test_sites_join_one_by_one(tmp_path, run):
    assert run("new-network", tmp_path)[0] == 0
    code, out, _ = run(
        "new-site", "dave", "--dir", tmp_path, "--host", "qkd.example", "--host", "10.0.0.9",
        "--days", "30",
    )  # fmt: skip
    assert code == 0
    assert out.split() == [str(tmp_path / "dave.pem"), str(tmp_path / "dave.key")]
    dave = pki.certificates(tmp_path)[1]
    assert (dave.node, dave.hosts) == ("dave", ("qkd.example", "10.0.0.9"))
    code, _, err = run("new-site", "dave", "--dir", tmp_path)
    assert code == 2
    assert "exists already" in err


def test_a_site_needs_an_authority(tmp_path, run):
    code, out, err = run("new-site", "dave", "--dir", tmp_path)
    assert (code, out) == (2, "")
    assert "new-network" in err


def test_new_pads_for_a_pair(tmp_path, run):
    code, out, _ = run("new-pads", "dave", "carol", "--dir", tmp_path, "--count", "32", "--json")
    assert code == 0
    made = [tmp_path / "carol--dave.dave.pads", tmp_path / "carol--dave.carol.pads"]
    assert json.loads(out) == [str(path) for path in made]
    code, _, err = run("new-pads", "carol", "dave", "--dir", tmp_path)
    assert code == 2
    assert "exists already" in err
    with PadFile.open(made[0], "dave", "carol", leased=False) as pads:
        assert pads.remaining_send == 32


def test_show_says_what_is_there_and_what_to_mend(tmp_path, run):
    run("new-network", tmp_path, *NETWORK, "--pads", "16")
    with PadFile.open(tmp_path / FILES[0], "alice", "bob", leased=False) as alices:
        alices.take_send()
    code, out, err = run("show", tmp_path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["authority.pem", "authority"],
        ["alice.pem", "alice"],
        ["bob.pem", "bob"],
        ["charles.pem", "charles"],
    ]
    assert lines[1].endswith("localhost 127.0.0.1")
    assert lines[4].startswith("alice--bob.alice.pads")
    assert lines[4].endswith("15 of 16 left to send, 16 to receive")
    (tmp_path / "bob.key").chmod(0o644)
    code, _, err = run("show", tmp_path)
    assert (code, err) == (0, "bob.pem: bob.key has mode 0644; chmod 600\n")


def test_show_as_json(tmp_path, run):
    run("new-network", tmp_path, *NETWORK, "--pads", "16")
    code, out, _ = run("show", tmp_path, "--json")
    assert code == 0
    shown = json.loads(out)
    assert [row["node"] for row in shown["certificates"]] == [None, "alice", "bob", "charles"]
    assert [row["owner"] for row in shown["pads"]] == ["alice", "bob"]
    assert {row["n_pads"] for row in shown["pads"]} == {16}


def test_show_needs_a_network(tmp_path, run):
    code, out, err = run("show", tmp_path)
    assert (code, out) == (2, "")
    assert "authority.pem" in err
    assert main(["pki"]) == 2
