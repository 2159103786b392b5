"""Designs on disk: what a node accepts, and what it stores before a block."""

import json

import pytest
from triangle import RECEIVER, SECURITY, SOURCE

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.params import Link, Security, Setting, Source, UserLink
from mdiqkd_net.planning.prediction import design_of
from mdiqkd_net.protocol.effects import Freeze
from mdiqkd_net.runtime.config import EndpointConfig, Estimation, Peer, Remote, Tls
from mdiqkd_net.runtime.designs import (
    analysis_of,
    frozen_designs,
    frozen_path,
    store_digest,
)
from mdiqkd_net.structs import parse_toml


@pytest.fixture(scope="module")
def design():
    user = UserLink(x=SOURCE.x, y=SOURCE.y, z=SOURCE.z, length_km=10.0, attenuation_db_per_km=0.2)
    return design_of(
        Link(
            n_pulses=10**8,
            alice=user,
            bob=user,
            receiver=RECEIVER,
            eps_sec=SECURITY.eps_sec,
            eps_cor=SECURITY.eps_cor,
            f_ec=SECURITY.f_ec,
            bell_states=("psi_minus", "psi_plus"),
        )
    )


def judged(base, *, method="certificate", path="design.json", source=SOURCE, security=SECURITY):
    peer = Peer(node="bob", pads="pads", n_pulses=10, design=path)
    config = EndpointConfig(
        node="alice",
        listen="127.0.0.1:0",
        tls=Tls(authority="a", certificate="c", private_key="k"),
        relay=Remote(node="charles", address="127.0.0.1:1"),
        light="127.0.0.1:2",
        source=source,
        security=security,
        store="alice.sqlite",
        peers=[peer],
        estimation=Estimation(method=method),
    )
    return analysis_of(config, peer, base)


def test_the_design_of_a_pair_is_read_with_its_digest(design, tmp_path):
    (tmp_path / "design.json").write_bytes(design.canonical())
    found = judged(tmp_path)
    assert (found.method, found.design, found.digest) == ("certificate", design, design.digest())
    assert judged(tmp_path, method="tangent_lp", path=None) == Analysis(method="tangent_lp")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("peers.bob.design: key is missing", {"path": None}),
        ("found one with estimation.method double_scan", {"method": "double_scan"}),
        ("nowhere.json: No such file", {"path": "nowhere.json"}),
        ("design for eps_sec 1e-06; allowed: one for 1e-10", {"security": Security()}),
        (
            "our own z.intensity is 0.3; the design was made for",
            {"source": Source(x=SOURCE.x, y=SOURCE.y, z=Setting(0.3, 0.45))},
        ),
    ],
)
def test_designs_that_do_not_fit_are_refused_before_anything_starts(
    design, tmp_path, words, options
):
    (tmp_path / "design.json").write_bytes(design.canonical())
    with pytest.raises(ConfigError, match=words):
        judged(tmp_path, **options)


def test_a_design_that_fails_the_checker_is_refused(design, tmp_path):
    generous = design.canonical().replace(
        b'"offset":%d' % design.offset, b'"offset":%d' % (design.offset // 2)
    )
    (tmp_path / "design.json").write_bytes(generous)
    with pytest.raises(ConfigError, match=r"design\.json: certificate check: the offset"):
        judged(tmp_path)


def freeze(path, block):
    store_digest(path, Freeze(("alice", "bob"), block, b"\1" * 16, "ab" * 32))


def test_digests_are_appended_and_read(tmp_path):
    path = frozen_path(tmp_path / "alice.sqlite")
    assert frozen_designs(path) == []
    for block in (1, 2):
        freeze(path, block)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["block"] for line in lines] == [1, 2]
    assert lines[0] == {
        "users": ["alice", "bob"],
        "block": 1,
        "session": "01" * 16,
        "design_sha256": "ab" * 32,
    }
    first, second = frozen_designs(path)
    assert (first.users, first.block, second.block) == (("alice", "bob"), 1, 2)
    assert first.design_sha256 == "ab" * 32


def test_a_torn_line_is_left_out_wherever_it_was_torn(tmp_path):
    path = tmp_path / "frozen.jsonl"
    freeze(path, 1)
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):
        path.write_bytes(whole + whole[:n_bytes])
        assert [line.block for line in frozen_designs(path)] == [1]
        freeze(path, 2)  # after the crash
        assert [line.block for line in frozen_designs(path)] == [1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        b"\0",
        b"\xff",
        b"",
        b"[1]",
        b'{"users":["alice","bob"],"block":1}',
        b"[" * 5000,
    ],
)
def test_a_damaged_line_is_named(tmp_path, damage):
    path = tmp_path / "frozen.jsonl"
    freeze(path, 1)
    with path.open("ab") as file:
        file.write(damage + b"\n")
    freeze(path, 2)
    with pytest.raises(KeyStoreError, match=r"frozen\.jsonl: damaged in line 2: "):
        frozen_designs(path)


def test_a_disk_that_refuses_stops_the_block(tmp_path):
    with pytest.raises(KeyStoreError, match="frozen"):
        store_digest(tmp_path / "missing" / "frozen", Freeze(("a", "b"), 1, b"", "00"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('method = "asymptotic"', "found 'asymptotic'; allowed: "),
        ('method = "certificate"\ntail = "poisson"', "tail: found 'poisson'"),
        ('accounting = "linear"', "found unknown key `accounting`; allowed: method, tail"),
    ],
)
def test_what_a_node_does_not_judge_by(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_toml(text, Estimation, "node.toml")
