"""Parsers of files, and of the lines that nodes print."""

import base64
import functools
import hashlib
import json
import tempfile
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from fuzzing import mutate
from fuzzing.target import PEER, Target

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import parse_design
from mdiqkd_net.estimation.counts_file import parse_counts
from mdiqkd_net.keys.pad_layout import _HEADER
from mdiqkd_net.keys.pads import create_pads, describe
from mdiqkd_net.keys.pki import certificates, create_authority, issue
from mdiqkd_net.params import Link
from mdiqkd_net.planning.network import DemandFile, Network
from mdiqkd_net.runtime.config import CharlesConfig, EndpointConfig
from mdiqkd_net.scenario.config import Scenario
from mdiqkd_net.scenario.events import EVENTS, parse
from mdiqkd_net.structs import parse_toml

ROOT = Path(__file__).parents[2]

ENDPOINT = """
node = "alice"
listen = "127.0.0.1:7001"
light = "127.0.0.1:7002"
store = "alice.keys"
qber_hint = 0.03
[tls]
authority = "a.pem"
certificate = "alice.pem"
private_key = "alice.key"
[relay]
node = "charles"
address = "127.0.0.1:7000"
[source]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }
[source.bounds]
x_relative = 0.01
vacuum_intensity = 1e-6
[security]
eps_sec = 1e-10
[estimation]
method = "double_scan"
tail = "chernoff"
[entropy]
type = "device"
path = "/dev/hwrng"
timeout_s = 2.0
[[peers]]
node = "bob"
pads = "a.pads"
n_pulses = 1000000
"""

CHARLES = """
node = "charles"
listen = "127.0.0.1:0"
pulse_rate_hz = 1000000000
tls = { authority = "a", certificate = "b", private_key = "c" }
[device]
type = "simulated"
light_listen = "127.0.0.1:0"
[device.fibers.alice]
length_km = 10.0
attenuation_db_per_km = 0.2
[device.fibers.alice.drift]
[device.receiver]
efficiency = 0.5
dark_probability = 1e-7
misalignment = 0.0
mode_overlap = 1.0
level = "click"
dead_time_s = 2e-8
"""

COUNTS = """
n_pulses = 1000000
eps_sec = 1e-9
[alice]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }
[bob]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }
[counts]
oo = 1
ox = 7
oy = 12
xo = 6
xx = 250
yo = 17
yy = 165
zz = 13118
[errors]
xx = 90
zz = 118
"""

COUNTS_CSV = b"""\
0.07, 0.29, 0.47, 0.36, 0.09, 0.52
0.02, 0.10, 0.26, 0.35, 0.07, 0.55
0, 1000000, 160, 90, 165, 6, 7, 17, 12, 1, 13000, 118
"""


def _toml(text, kind):
    def run(data):
        parse_toml(data.decode("utf-8", "replace"), kind, "file")

    return Target(lambda rng: mutate.toml(text, rng), run, (ConfigError,), weight=20)


def _scenario(name):
    return (ROOT / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


LINK = """
n_pulses = 1000000
eps_sec = 1e-10
eps_cor = 1e-15
f_ec = 1.16
bell_states = ["psi_minus", "psi_plus"]
[alice]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }
length_km = 10.0
attenuation_db_per_km = 0.2
[alice.transmitter]
pulse_width_ps = 100.0
[alice.drift]
[bob]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }
length_km = 10.0
attenuation_db_per_km = 0.2
[bob.transmitter]
pulse_width_ps = 100.0
[receiver]
efficiency = 0.5
dark_probability = 1e-7
misalignment = 0.0
mode_overlap = 1.0
"""

DESIGN = (Path(__file__).parent / "design.json").read_bytes()


def _design(data):
    check_design(parse_design(data).canonical())


@functools.cache
def _shelf():
    """A directory with the files of a small network, for as long as the process lives."""
    folder = tempfile.TemporaryDirectory(prefix="mdiqkd-fuzz-")
    path = Path(folder.name)
    create_authority(path)
    issue(path, "alice")
    create_pads(path, "alice", "bob", n_pads=4)
    return path, folder


def _pads(data):
    path = _shelf()[0] / "hostile.pads"
    path.write_bytes(data)
    describe(path)


def _some_pads(rng):
    good = bytearray((_shelf()[0] / "alice--bob.alice.pads").read_bytes())
    size = _HEADER.size
    good[:size] = mutate.by_bytes(bytes(good[:size]), rng)[:size].ljust(size, b"\0")
    if rng.random() < 0.5:
        good[:12] = b"MDIQKDPD\0\1\0\0"
    good[size : size + 32] = hashlib.sha256(good[:size]).digest()
    return mutate.by_bytes(bytes(good), rng) if rng.random() < 0.3 else bytes(good)


def _certificate(data):
    folder = _shelf()[0]
    (folder / "hostile.pem").write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cryptography finds fault with serial numbers
            certificates(folder)
    finally:
        (folder / "hostile.pem").unlink()


def _some_certificates(rng):
    pem = (_shelf()[0] / "alice.pem").read_bytes()
    if rng.random() < 0.2:
        return mutate.by_bytes(pem, rng)
    der = bytearray(load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
    for _ in range(rng.randrange(1, 4)):  # lengths stay, so that the whole is still read
        at = rng.randrange(len(der))
        der[at] = rng.choice((der[at] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 0xFF))
    text = base64.encodebytes(bytes(der))
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def _event_line(rng):
    name = rng.choice(sorted(EVENTS))
    tree = {"event": name, "node": "alice", "ts": "x", "users": ["alice", "bob"], "block": 1,
            "reason": "x", "n": {"zz": 1}, "qber_z": 0.1}  # fmt: skip
    return mutate.json_text(json.dumps(tree).encode(), rng)


FILE_TARGETS = {
    "endpoint file": _toml(ENDPOINT, EndpointConfig),
    "relay file": _toml(CHARLES, CharlesConfig),
    "scenario file": _toml(_scenario("pair"), Scenario),
    "star file": _toml(_scenario("star4"), Scenario),
    "network file": _toml(_scenario("mesh"), Network),
    "demand file": _toml(_scenario("mesh_demand"), DemandFile),
    "link file": _toml(LINK, Link),
    "counts file": Target(
        lambda rng: mutate.toml(COUNTS, rng),
        lambda data: parse_counts(data.decode("utf-8", "replace"), "file"),
        (ConfigError,),
        weight=20,
    ),
    "counts table": Target(
        lambda rng: mutate.by_bytes(COUNTS_CSV, rng),
        lambda data: parse_counts(data.decode("utf-8", "replace"), "file"),
        (ConfigError,),
    ),
    "design": Target(lambda rng: mutate.json_text(DESIGN, rng), _design, (ConfigError,), weight=20),
    "pads": Target(_some_pads, _pads, (KeyStoreError,), weight=10),
    "certificate": Target(_some_certificates, _certificate, (ConfigError,), weight=100),
    "event line": Target(_event_line, lambda data: parse(data, "alice"), PEER),
}
