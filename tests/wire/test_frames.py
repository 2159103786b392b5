"""Framing: any chunking, every refusal."""

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import WireError
from mdiqkd_net.wire.frames import (
    HEADER,
    MAX_FRAMES,
    MAX_STREAMS,
    SPENT_FRAMES,
    Frame,
    FrameReader,
    Sequencer,
)

CAPS = {0x8001: 64, 0x0002: 64}


@settings(max_examples=50, deadline=None)
@given(bodies=st.lists(st.binary(max_size=64), max_size=6), data=st.data())
def test_frames_survive_any_chunking(bodies, data):
    sender = Sequencer()
    sent = [sender.seal(0x8001, body, stream=3) for body in bodies]
    stream = b"".join(frame.raw for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, got = FrameReader(CAPS), []
    for start, stop in itertools.pairwise([0, *cuts, len(stream)]):
        got += reader.receive_data(stream[start:stop])
    assert got == sent
    assert [frame.body for frame in got] == bodies
    assert not reader.mid_frame


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        ((0, 0x8001, 2, 0, 0, 0, 0), 0x0101, "version"),
        ((0, 0x8001, 1, 4, 0, 0, 0), 0x0101, "flags"),
        ((65, 0x8001, 1, 0, 0, 0, 0), 0x0102, "allowed: 64"),
        ((2**32 - 1, 0x0002, 1, 0, 0, 0, 0), 0x0102, "allowed: 64"),
        ((0, 0x9999, 1, 0, 0, 0, 0), 0x0106, "unknown and critical"),
        ((1 << 20, 0x1999, 1, 0, 0, 0, 0), 0x0102, "allowed: 65536"),
    ],
)
def test_a_bad_header_is_refused_before_its_body_comes(header, code, words):
    with pytest.raises(WireError, match=words) as refused:
        FrameReader(CAPS).receive_data(HEADER.pack(*header))
    assert refused.value.abort_code == code


def test_unknown_frames_that_are_not_critical_are_skipped():
    reader = FrameReader(CAPS)
    unknown = HEADER.pack(3, 0x1234, 1, 0, 0, 0, 0) + b"abc"
    known = Sequencer().seal(0x0002, b"x").raw
    assert [frame.body for frame in reader.receive_data(unknown + known)] == [b"x"]
    assert reader.n_ignored == 1


def test_sequence_numbers_are_per_stream_and_direction():
    ours, theirs = Sequencer(), Sequencer()
    first, second = ours.seal(0x8001, b"", 1), ours.seal(0x8001, b"", 2)
    assert (first.seq, second.seq) == (0, 0)
    theirs.accept(first)
    answer = theirs.seal(0x8001, b"", 1)
    assert (answer.seq, answer.ack) == (0, 1)
    ours.accept(answer)


@pytest.mark.parametrize("seq", [1, 7, 2**32 - 1])
@pytest.mark.parametrize("stream", [0, 5])
def test_a_gap_is_refused_and_changes_nothing(seq, stream):
    sequencer = Sequencer()
    with pytest.raises(WireError, match="allowed: 0"):
        sequencer.accept(Frame(0x8001, stream, seq, 0, b""))
    assert sequencer.accept(Frame(0x8001, stream, 0, 0, b""))


def test_a_repetition_is_refused_on_stream_0_and_skipped_on_others():
    for stream in (0, 5):
        sequencer = Sequencer()
        frame = Frame(0x8001, stream, 0, 0, b"")
        assert sequencer.accept(frame)
        if stream:
            assert not sequencer.accept(frame)
        else:
            with pytest.raises(WireError, match="found frame 0; allowed: 1"):
                sequencer.accept(frame)
        sequencer.forget(frame)
        assert sequencer.accept(frame)


def test_what_is_not_acknowledged_is_kept_in_order_for_another_connection():
    ours, theirs = Sequencer(), Sequencer()
    sent = [ours.seal(0x8001, bytes([i]), 1 + i % 2) for i in range(6)]
    ours.seal(0x8001, b"of a connection")
    for frame in sent[:3]:
        theirs.accept(frame)
    assert dict(theirs.positions()) == {1: 2, 2: 1}
    assert ours.unacknowledged(theirs.positions()) == sent[3:]
    for frame in sent[3:]:
        theirs.accept(frame)
    ours.accept(theirs.seal(0x8001, b"", 1))  # its header acknowledges stream 1 alone
    assert ours.unacknowledged([]) == [frame for frame in sent[3:] if frame.stream == 2]
    ours.start_anew()
    assert ours.unacknowledged([]) == []
    assert ours.seal(0x8001, b"", 2).seq == 0


def test_old_streams_are_forgotten():
    sequencer = Sequencer()
    for stream in range(1, MAX_STREAMS + 3):
        sequencer.seal(0x8001, b"", stream)
    kept = [stream for stream, _ in sequencer.positions()]
    assert kept == list(range(3, MAX_STREAMS + 3))
    assert {frame.stream for frame in sequencer.unacknowledged([])} == set(kept)


def test_an_acknowledgment_of_the_future_is_refused():
    with pytest.raises(WireError, match="acknowledges 1 frames"):
        Sequencer().accept(Frame(0x8001, 0, 0, 1, b""))


def after(n_frames, stream=0):
    """A sequencer that has sent and received so many frames of a stream."""
    sequencer = Sequencer()
    sequencer._sent[stream] = sequencer._received[stream] = n_frames
    return sequencer


@pytest.mark.parametrize("stream", [0, 5])
def test_the_last_number_of_a_stream_fits_and_no_other_follows(stream):
    ours, theirs = after(MAX_FRAMES - 1, stream), after(MAX_FRAMES - 1, stream)
    last = ours.seal(0x8001, b"", stream)
    assert last.seq == MAX_FRAMES - 1
    assert theirs.accept(last)
    assert theirs.seal(0x8001, b"", stream).ack == MAX_FRAMES == 2**32 - 1
    with pytest.raises(WireError, match=f"found {MAX_FRAMES} frames sent") as refused:
        ours.seal(0x8001, b"", stream)
    assert refused.value.abort_code == 0x0105
    with pytest.raises(WireError, match=f"allowed: {MAX_FRAMES} frames") as refused:
        theirs.accept(Frame(0x8001, stream, MAX_FRAMES, 0, b""))
    assert refused.value.abort_code == 0x0105


def test_stream_0_says_in_time_that_it_runs_out():
    assert not after(SPENT_FRAMES - 1).is_spent
    assert after(SPENT_FRAMES).is_spent
    assert not after(SPENT_FRAMES, stream=5).is_spent


def test_a_reader_may_insist_on_what_comes_first():
    reader = FrameReader(CAPS, first=(0x8001,))
    with pytest.raises(WireError, match="first frame: found type 0x0002; allowed: a greeting"):
        reader.receive_data(HEADER.pack(64, 0x0002, 1, 0, 0, 0, 0))
    reader = FrameReader(CAPS, first=(0x8001,))
    sent = [Sequencer().seal(kind, b"") for kind in (0x8001, 0x0002)]
    assert reader.receive_data(sent[0].raw + sent[1].raw) == sent


def test_a_reader_knows_what_has_begun():
    reader = FrameReader(CAPS)
    raw = Sequencer().seal(0x0002, b"body").raw
    reader.receive_data(raw[:23])
    assert (reader.n_held, reader.begun_bytes) == (23, 0)
    reader.receive_data(raw[23:25])
    assert (reader.n_held, reader.begun_bytes) == (25, 4)


def test_the_header_is_24_bytes_big_endian():
    frame = Sequencer().seal(0x8001, b"ab", 5)
    assert struct.unpack(">IHBBQII", frame.raw[:24]) == (2, 0x8001, 1, 0, 5, 0, 0)
