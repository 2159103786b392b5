"""Which processor a configuration means, and who may be in a cluster."""

import contextlib

import msgspec
import numpy as np
import pytest
from dask_here import local_cluster
from node_site import tls_of
from triangle import SECURITY, SOURCE

from mdiqkd_net.errors import ConfigError, WorkerError
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.postprocessing.processor import HERE
from mdiqkd_net.runtime import cluster as clusters
from mdiqkd_net.runtime.config import EndpointConfig, Postprocessing, Remote
from mdiqkd_net.runtime.processors import processor_of
from mdiqkd_net.structs import parse_toml


def user(tls, postprocessing):
    return EndpointConfig(
        node="alice",
        listen="127.0.0.1:0",
        tls=tls,
        relay=Remote(node="charles", address="127.0.0.1:1"),
        light="127.0.0.1:1",
        source=SOURCE,
        security=SECURITY,
        store="alice.sqlite",
        peers=[],
        postprocessing=postprocessing,
    )


@pytest.fixture(scope="module")
def cluster_pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    create_authority(directory)
    for node in ("alice", "server"):
        issue(directory, node)
    return directory


@contextlib.contextmanager
def tls_cluster(directory):
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    mine = {
        f"tls_{role}_{part}": str(directory / f"server.{suffix}")
        for role in ("scheduler", "worker", "client")
        for part, suffix in (("cert", "pem"), ("key", "key"))
    }
    security = distributed.Security(
        require_encryption=True, tls_ca_file=str(directory / "authority.pem"), **mine
    )
    with local_cluster(protocol="tls", security=security) as running:
        yield running.scheduler_address


def test_without_a_table_blocks_ripen_here(tls, tmp_path):
    with processor_of(user(tls("alice"), None), tmp_path) as processor:
        assert processor is HERE


def test_a_cluster_with_an_authority_of_its_own(
    tls, cluster_pki, foreign_pki, tmp_path, monkeypatch
):
    bits = np.random.default_rng(1).integers(0, 2, 2000, dtype=np.uint8)
    with tls_cluster(cluster_pki) as address:
        assert address.startswith("tls://127.0.0.1:")
        table = Postprocessing(scheduler=address, tls=tls_of(cluster_pki, "alice"))
        with processor_of(user(tls("alice"), table), tmp_path) as processor:
            assert processor.amplify(bits, bytes(250), 900) == HERE.amplify(bits, bytes(250), 900)
            assert processor.round_s > 0.0
        monkeypatch.setattr(clusters, "CONNECT_S", 2.0)
        stranger = msgspec.structs.replace(table, tls=tls_of(foreign_pki, "bob"))
        with pytest.raises(ConfigError, match=r"where none answers.*that trusts this certificate"):
            processor_of(user(tls("alice"), stranger), tmp_path)


def test_the_authority_of_the_network_is_refused(tls, pki, tmp_path):
    """It has signed for the relay, which could then run code on the cluster."""
    table = Postprocessing(scheduler="tls://127.0.0.1:1", tls=tls_of(pki, "alice"))
    with pytest.raises(ConfigError, match=r"found the authority of the network.*the cluster alone"):
        processor_of(user(tls("alice"), table), tmp_path)


def test_files_that_are_not_there(tls, tmp_path):
    table = Postprocessing(scheduler="tls://127.0.0.1:1", tls=tls_of(tmp_path, "alice"))
    with pytest.raises(ConfigError, match=r"no file .*authority\.pem"):
        processor_of(user(tls("alice"), table), tmp_path)


def test_a_missing_distributed_is_named(tls, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    table = Postprocessing(scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"pip install 'mdiqkd-net\[dask\]'"):
        processor_of(user(tls("alice"), table), tmp_path)


def test_a_cluster_that_cannot_be_used_keeps_a_node_from_starting(tls, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    table = Postprocessing(scheduler="tcp://127.0.0.1:1")
    with pytest.raises((ConfigError, WorkerError), match="where none answers"):
        processor_of(user(tls("alice"), table), tmp_path)


@pytest.mark.parametrize(
    "address",
    ["tls://qkd.example:8786", "tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"],
)
def test_addresses_where_keys_may_travel(address):
    table = "" if address.startswith("tcp") else TLS
    assert parse(f'scheduler = "{address}"\n{table}').scheduler == address


TLS = '[tls]\nauthority = "a"\ncertificate = "b"\nprivate_key = "c"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('scheduler = "tcp://10.0.0.1:8786"', r"found 'tcp://10\.0\.0\.1:8786'; allowed: tls://"),
        ('scheduler = "tcp://qkd.example:8786"', "on a loopback address"),
        ('scheduler = "tcp://127.0.0.1.example:8786"', "on a loopback address"),
        ('scheduler = "127.0.0.1:8786"', "found '127"),
        ('scheduler = "inproc://127.0.0.1/7/1"', "found 'inproc"),
        ('scheduler = "ws://127.0.0.1:8786"', "found 'ws"),
        ('scheduler = "tls://:8786"\n' + TLS, "found 'tls://:8786'"),
        ('scheduler = "tls://qkd.example:8786"', "tls: found no table"),
        ('scheduler = "tcp://127.0.0.1:8786"\n' + TLS, "tls: found a table"),
        ('scheduler = "tcp://127.0.0.1:8786"\ndeadline_s = 0.0', "deadline_s"),
    ],
)
def test_tables_that_are_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text)


def parse(text):
    return parse_toml(text, Postprocessing, "node.toml")


def test_a_peer_must_not_lose_patience_before_the_deadline(tls):
    table = Postprocessing(scheduler="tcp://127.0.0.1:1", deadline_s=60.0)
    with pytest.raises(ValueError, match=r"deadline_s: found 60; allowed: less than patience_s"):
        user(tls("alice"), table)
