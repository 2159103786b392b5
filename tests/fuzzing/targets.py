"""Every parser of the package: good input to start from, hostile input near it, and one call.

Parsers of messages come from the table of messages, parsers of payloads from that of schemes, so a
new message or scheme is here by itself.
"""

import base64
import functools
import hashlib
import json
import struct
import tempfile
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from examples import EXAMPLES
from fuzzing import mutate

from mdiqkd_net.errors import ConfigError, KeyStoreError, RemoteProtocolError, WireError
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import parse_design
from mdiqkd_net.estimation.counts_file import parse_counts
from mdiqkd_net.keys.pad_layout import _HEADER
from mdiqkd_net.keys.pads import create_pads, describe
from mdiqkd_net.keys.pki import certificates, create_authority, issue
from mdiqkd_net.params import Link
from mdiqkd_net.planning.network import DemandFile, Network
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol.announcing import AnnouncementLog
from mdiqkd_net.protocol.handshake import Expected, welcome
from mdiqkd_net.protocol.light import peer_source
from mdiqkd_net.runtime.config import CharlesConfig, EndpointConfig
from mdiqkd_net.scenario.config import Scenario
from mdiqkd_net.scenario.events import EVENTS, parse
from mdiqkd_net.structs import parse_toml
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import HEADER_BYTES, Frame, FrameReader, Sequencer
from mdiqkd_net.wire.messages import (
    BY_TYPE,
    Announcement,
    AnnouncementsClosed,
    BlockOpen,
    Hello,
    Sift,
)

ROOT = Path(__file__).parents[2]
WIRE = (WireError,)
PEER = (WireError, RemoteProtocolError)


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        make: Hostile input from a generator of random numbers.
        run: The parser; whatever it raises but `allowed` is a defect.
        allowed: Errors that say no.
        weight: Time of a call against that of one frame, about.
    """

    make: Callable[[Random], bytes]
    run: Callable[[bytes], object]
    allowed: Collection[type[Exception]]
    weight: int = 1

    def survives(self, data: bytes) -> bool:
        """Whether the parser accepts the data; raises what it must not."""
        try:
            self.run(data)
        except tuple(self.allowed):
            return False
        return True


GOOD = {m.TYPE: msgspec.to_builtins(m, builtin_types=(bytes,)) for m in EXAMPLES}
KINDS = sorted(BY_TYPE)


def _some_frames(rng):
    made = b""
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.choice(KINDS)
        made += mutate.frame(kind, mutate.message(GOOD[kind], rng), rng)
    return mutate.by_bytes(made, rng) if rng.random() < 0.2 else made


def _read_frames(data):
    reader, sequencer = FrameReader(CAPS), Sequencer()
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        for frame in reader.receive_data(part):
            sequencer.accept(frame)
            decode(frame)


def _body_of(kind):
    def run(data):
        message = decode(Frame(kind, 0, 0, 0, bytes(HEADER_BYTES) + data))
        assert encode(message) == data

    return Target(lambda rng: mutate.message(GOOD[kind], rng), run, WIRE)


def _array(unpack):
    def make(rng):
        n = rng.choice((0, 1, 7, 8, 9, 33, rng.randrange(400), 2**25))
        v = mutate.any_bytes(rng, 70)
        if rng.random() < 0.5:
            v = bytes((n + 7) // 8 * rng.choice((1, 2, 8))) if n < 400 else v
        return struct.pack("<IB", n, rng.randrange(5)) + v

    def run(data):
        n, kind = struct.unpack_from("<IB", data.ljust(5, b"\0"))
        array = bulk.Bulk(n=n, t=("b1", "u8", "u16", "u32", "u64")[kind % 5], v=data[5:])
        assert unpack(array).size == n

    return Target(make, run, WIRE)


_GAPS = struct.Struct("<BIQQ")


def _some_gaps(rng):
    if rng.random() < 0.5:
        steps = [rng.randrange(1, rng.choice((2, 5, 1000))) for _ in range(rng.randrange(40))]
        good = bulk.pack_gaps(np.cumsum(np.array(steps, np.int64)), 0)
        head = _GAPS.pack(good.k, good.n, 0, sum(steps) + 1)
        return mutate.by_bytes(head + good.v, rng) if rng.random() < 0.8 else head + good.v
    numbers = [rng.choice(mutate.NUMBERS) % 2**63 for _ in range(2)]
    n = rng.choice((0, 1, 2, 33, 2**25))
    return _GAPS.pack(rng.randrange(49), n, *numbers) + mutate.any_bytes(rng, 40)


def _read_gaps(data):
    k, n, base, end = _GAPS.unpack_from(data.ljust(_GAPS.size, b"\0"))
    base, end = base % 2**63, end % 2**63
    rice = bulk.Rice(k=k % 49, n=n % (bulk.MAX_ITEMS + 1), v=data[_GAPS.size :])
    pulses = bulk.unpack_gaps(rice, base, end)
    assert pulses.size == rice.n
    if pulses.size:
        assert base <= pulses[0] <= pulses[-1] < end
        assert (np.diff(pulses) > 0).all()


def _some_ranked(rng):
    table = rng.choice(([0, 1, 2, 3], [3, 3, 3, 3, 1, 2], [2]))
    values = np.array([rng.choice(table) for _ in range(rng.randrange(40))], np.uint8)
    body = encode(Sift(chunk=0, settings=bulk.pack_ranked(values)))
    return mutate.by_bytes(body, rng) if rng.random() < 0.8 else body


def _read_ranked(data):
    sift = decode(Frame(Sift.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + data))
    values = bulk.unpack_ranked(sift.settings)
    assert values.size == sift.settings.n
    assert not values.size or values.max() <= 3


def _number_frames(data):
    sequencer = Sequencer()
    for at in range(0, len(data) - 3, 4):
        stream, seq, ack, sends = data[at : at + 4]
        if sends % 3 == 0:
            sequencer.seal(0x8001, b"", stream % 3)
        sequencer.accept(Frame(0x8001, stream % 3, seq % 4, ack % 4, b""))


class _TrustingLog(AnnouncementLog):
    """Believes any signature, so that what comes behind the check of it is reached, too."""

    def _verify(self, signature, chain):
        pass


def _listen(log_type, data):
    log = log_type(bytes(16), bytes(32), 250, 100)
    reader = FrameReader({t.TYPE: t.CAP for t in (Announcement, AnnouncementsClosed)})
    for frame in reader.receive_data(data):
        message = decode(frame)
        before = log.n_batches, log.n_announced, log.n_elapsed
        try:
            if isinstance(message, Announcement):
                log.add(message, frame.body)
            else:
                log.close(message)
        except PEER:
            assert before == (log.n_batches, log.n_announced, log.n_elapsed)
            raise
        assert log.n_announced <= log.n_elapsed <= 250


def _some_announcements(rng):
    made, count, batches = b"", 0, 0
    wrong = rng.randrange(2, 10)  # which message is a wrong one, if it comes to that
    for segment, length in enumerate((100, 100, 50)):
        at = 0
        while at < length:
            end = rng.randrange(at + 1, length + 1) if rng.random() < 0.5 else length
            pulses = np.array(sorted(rng.sample(range(at, end), min(3, end - at))), np.int64)
            good = Announcement(
                base=at,
                batch=batches,
                covered=end,
                outcomes=bulk.pack_bits(np.zeros(pulses.size, np.uint8)),
                pulses=bulk.pack_gaps(pulses, at),
                segment=segment,
                signature=bytes(64),
            )
            made += _near(good, rng, batches == wrong)
            count, at, batches = count + pulses.size, end, batches + 1
    last = AnnouncementsClosed(batches=batches, count=count, signature=bytes(64))
    return made + _near(last, rng, wrong > batches and rng.random() < 0.5)


def _near(good, rng, wrong):
    values = msgspec.to_builtins(good, builtin_types=(bytes,))
    body = mutate.pack(mutate.fields(values, rng, 1)) if wrong else encode(good)
    return mutate.HEADER.pack(len(body), good.TYPE, 1, 0, 0, 0, 0) + body


def _scheme(name, corrects):
    """One user's side, fed with payloads; a refusal must change nothing."""
    n, seed = 300, bytes(range(32))
    rng = np.random.default_rng(5)
    alice = rng.integers(0, 2, n, np.uint8)
    bob = alice ^ (rng.random(n) < 0.04).astype(np.uint8)
    kind = RECONCILERS[name]

    def new(key, corrects):
        return kind(key, corrects=corrects, qber=0.04, seed=seed)

    def payloads():
        """What an honest peer says to this side."""
        sides = new(alice, False), new(bob, True)
        said = [side.start() for side in sides]
        heard = []
        while None not in said:
            heard.append(said[0 if corrects else 1])
            said = [sides[0].receive(said[1]), sides[1].receive(said[0])]
        return heard

    honest = payloads()

    def make(rng):
        """How many honest payloads come first, and the hostile ones that follow."""
        after = rng.randrange(len(honest))
        near = honest[after]
        made = bytes([after])
        for _ in range(rng.randrange(1, 4)):
            size = rng.choice((len(near), len(near), len(near), rng.randrange(80)))
            last = rng.choice((near, mutate.by_bytes(near, rng), rng.randbytes(size)))
            made += bytes([len(last) & 0xFF]) + last[:255]
        return made

    def run(data):
        side = new(bob if corrects else alice, corrects)
        side.start()
        for payload in honest[: data[0] if data else 0]:
            if side.receive(payload) is None:
                return
        at = 1
        while at < len(data):
            payload = data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
            before = side.rounds, side.leak_bits, side.n_corrected
            try:
                answer = side.receive(payload)
            except RemoteProtocolError:
                assert before == (side.rounds, side.leak_bits, side.n_corrected)
                raise
            assert side.leak_bits <= 8 * n
            if answer is None:
                assert side.bits.shape == (n,)
                return

    return Target(make, run, (RemoteProtocolError,), weight=40)


def _hello(data):
    welcome(Frame(Hello.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + data), "alice",
            Expected("endpoint", {"alice", "bob"}))  # fmt: skip


def _source(data):
    message = decode(Frame(BlockOpen.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + data))
    peer_source(message.source)


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


TARGETS = {
    "frames": Target(_some_frames, _read_frames, WIRE),
    **{f"body of {BY_TYPE[kind].__name__}": _body_of(kind) for kind in KINDS},
    "bits": _array(bulk.unpack_bits),
    "ranked": Target(_some_ranked, _read_ranked, WIRE),
    "unsigned": _array(bulk.unpack_unsigned),
    "gaps": Target(_some_gaps, _read_gaps, WIRE),
    "sequencer": Target(lambda rng: mutate.any_bytes(rng, 80), _number_frames, WIRE),
    "announcements": Target(
        _some_announcements, functools.partial(_listen, AnnouncementLog), PEER, weight=10
    ),
    "announcements, believed": Target(
        _some_announcements, functools.partial(_listen, _TrustingLog), PEER, weight=10
    ),
    "greeting": Target(lambda rng: mutate.message(GOOD[Hello.TYPE], rng), _hello, PEER),
    "peer's source": Target(lambda rng: mutate.message(GOOD[BlockOpen.TYPE], rng), _source, PEER),
    **{
        f"{name}, {'corrects' if corrects else 'answers'}": _scheme(name, corrects)
        for name in RECONCILERS
        for corrects in (False, True)
    },
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
