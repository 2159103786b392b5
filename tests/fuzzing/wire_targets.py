"""Parsers of what comes over a link: frames, bodies, arrays, announcements, greetings.

Messages come from the table of messages, so a new one is here by itself.
"""

import functools
import struct

import msgspec
import numpy as np
from examples import EXAMPLES
from fuzzing import mutate
from fuzzing.target import PEER, WIRE, Target

from mdiqkd_net.protocol.announcing import AnnouncementLog
from mdiqkd_net.protocol.handshake import Expected, welcome
from mdiqkd_net.protocol.light import peer_source
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


def _hello(data):
    welcome(Frame(Hello.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + data), "alice",
            Expected("endpoint", {"alice", "bob"}))  # fmt: skip


def _source(data):
    message = decode(Frame(BlockOpen.TYPE, 0, 0, 0, bytes(HEADER_BYTES) + data))
    peer_source(message.source)


WIRE_TARGETS = {
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
}
