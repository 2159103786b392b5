"""The node verb and the shims of a checkout, as processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.keys.pki import create_authority, issue

ROOT = Path(__file__).parents[2]
CHARLES = """
node = "charles"
listen = "{listen}"
[tls]
authority = "pki/authority.pem"
certificate = "pki/charles.pem"
private_key = "pki/charles.key"
[device]
type = "simulated"
light_listen = "127.0.0.1:0"
receiver = {{ efficiency = 0.4, dark_probability = 1e-7, misalignment = 0.0, mode_overlap = 1.0 }}
[device.fibers.alice]
length_km = 25.0
attenuation_db_per_km = 0.2
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "pki").mkdir()
    create_authority(tmp_path / "pki")
    issue(tmp_path / "pki", "charles")

    def write(listen="127.0.0.1:0", text=CHARLES):
        path = tmp_path / "charles.toml"
        path.write_text(text.format(listen=listen))
        return path

    return write


@pytest.mark.parametrize("command", [["mdiqkd_net", "node", "charles"], ["nodes.charles"]])
def test_a_node_is_ready_in_one_line_and_stops_when_asked(config, command):
    node = subprocess.Popen(
        [sys.executable, "-m", *command, "--config", str(config())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with node:
        ready = json.loads(node.stdout.readline())
        assert (ready["event"], ready["node"], ready["role"]) == ("ready", "charles", "charles")
        host, port = ready["listen"].split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=10) == 0
        assert node.stderr.read() == ""


def test_a_port_in_use_is_a_configuration_error(config, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = main(["node", "charles", "--config", str(config(address))])
    out, err = capfd.readouterr()
    assert code == 2
    assert f"listen: cannot listen on {address}: the port is in use" in err
    assert json.loads(out.splitlines()[-1])["event"] == "error"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("listen = ", "listem = "), "found unknown key `listem`; allowed: node, listen"),
        (('"simulated"', '"magic"'), "device"),
        (("pki/charles.pem", "pki/none.pem"), "no file"),
        (("length_km = 25.0", "length_km = -25.0"), "device.fibers.alice.length_km: found -25.0"),
    ],
)
def test_a_bad_configuration_is_refused_by_key(config, capfd, change, words):
    code = main(["node", "charles", "--config", str(config(text=CHARLES.replace(*change)))])
    assert code == 2
    assert words in capfd.readouterr().err


def test_a_missing_configuration(tmp_path, capsys):
    assert main(["node", "bob", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("shim", ["alice", "bob", "charles"])
def test_every_role_has_its_shim(shim, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", f"nodes.{shim}", "--config", str(tmp_path / "none.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=os.environ,
    )
    assert run.returncode == 2
    assert "No such file" in run.stderr
