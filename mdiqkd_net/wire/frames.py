"""Frames: a fixed header of 24 bytes, then one MessagePack map (spec 2).

The header lets a receiver refuse by type, size and sequence number before it allocates anything.
"""

import struct
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from mdiqkd_net.errors import WireError

HEADER: Final = struct.Struct(">IHBBQII")
HEADER_BYTES: Final = HEADER.size
WIRE_VERSION: Final = 1
MAX_BODY_BYTES: Final = 4 << 20
CRITICAL: Final = 0x8000
MAX_STREAMS: Final = 4
"""Streams between two nodes that survive a lost connection."""
MAX_FRAMES: Final = 2**32 - 1
"""Of one stream in one direction, so that SEQ and ACK hold their numbers."""
SPENT_FRAMES: Final = MAX_FRAMES - 2**16
"""When so many frames went on stream 0, it is time for another connection."""
UNKNOWN_BODY_BYTES: Final = 64 << 10
"""What an unknown frame that may be ignored is allowed to hold."""

BAD_HEADER, TOO_LARGE, NOT_CANONICAL, SCHEMA, BAD_SEQUENCE, UNKNOWN_CRITICAL = range(0x0101, 0x0107)

WRONG_STATE: Final = 0x0301


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came, or as it goes.

    Attributes:
        kind: Message type.
        stream: Block number on the endpoint link, session handle on a relay link; 0 = the link.
        seq: Number of this frame in its stream and direction, from 0.
        ack: Frames of the other direction of the stream that the sender had received.
        raw: Header and body; transcripts hash these bytes, never a re-encoding.
    """

    kind: int
    stream: int
    seq: int
    ack: int
    raw: bytes

    @property
    def body(self) -> bytes:
        """The MessagePack map."""
        return self.raw[HEADER_BYTES:]


class FrameReader:
    """Cut a byte stream into frames; knows nothing of sockets or of messages.

    It holds one incomplete frame and what came with its last bytes, and makes room for a body only
    as it comes.

    Args:
        caps: Largest body of each known type, in bytes.
        first: Those that may come first; any if there are none.
    """

    def __init__(self, caps: Mapping[int, int], first: Collection[int] = ()) -> None:
        self._caps = caps
        self._first = first
        self._buffer = bytearray()
        self.n_ignored = 0

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Buffer `data` and return every frame that it completes, oldest first.

        Raises:
            WireError: A header that cannot be ours. The reader must not be used afterwards.
        """
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= HEADER_BYTES:
            length, kind, version, flags, stream, seq, ack = HEADER.unpack_from(self._buffer)
            self._check(length, kind, version, flags)
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                raw = bytes(view[:end])
            del self._buffer[:end]
            self._first = ()
            if kind in self._caps:
                frames.append(Frame(kind, stream, seq, ack, raw))
            else:
                self.n_ignored += 1
        return frames

    @property
    def mid_frame(self) -> bool:
        """Whether the stream stopped inside a frame."""
        return bool(self._buffer)

    @property
    def begun_bytes(self) -> int:
        """The body of the frame that has begun; 0 before its header is whole."""
        whole = len(self._buffer) >= HEADER_BYTES
        return int(HEADER.unpack_from(self._buffer)[0]) if whole else 0

    @property
    def n_held(self) -> int:
        """Bytes of the frame that has begun."""
        return len(self._buffer)

    def _check(self, length: int, kind: int, version: int, flags: int) -> None:
        if version != WIRE_VERSION:
            raise WireError(f"frame version: found {version}; allowed: {WIRE_VERSION}", BAD_HEADER)
        if flags:
            raise WireError(f"frame flags: found {flags:#04x}; allowed: 0", BAD_HEADER)
        if kind not in self._caps and kind & CRITICAL:
            raise WireError(f"frame type {kind:#06x} is unknown and critical", UNKNOWN_CRITICAL)
        if self._first and kind not in self._first:
            raise WireError(
                f"first frame: found type {kind:#06x}; allowed: a greeting", WRONG_STATE
            )
        cap = self._caps.get(kind, UNKNOWN_BODY_BYTES)
        if length > cap:
            raise WireError(
                f"frame type {kind:#06x}: found {length} body bytes; allowed: {cap}", TOO_LARGE
            )


class Sequencer:
    """Number the frames between two nodes, per stream and direction, and refuse gaps.

    Frames of streams above 0 are kept until the other side acknowledges them, so that they can be
    sent again, byte for byte, over another connection. Stream 0 belongs to a connection and is kept
    for none. Of more than `MAX_STREAMS` streams the oldest are forgotten.
    """

    def __init__(self) -> None:
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._kept: dict[int, deque[tuple[int, Frame]]] = {}
        self._n_kept = 0

    def seal(self, kind: int, body: bytes, stream: int = 0) -> Frame:
        """Make the next frame of `stream`.

        Raises:
            WireError: The stream has had all its numbers.
        """
        seq = self._sent.get(stream, 0)
        if seq >= MAX_FRAMES:
            raise WireError(
                f"stream {stream}: found {seq} frames sent; allowed: {MAX_FRAMES}", BAD_SEQUENCE
            )
        ack = self._received.get(stream, 0)
        self._sent[stream] = seq + 1
        header = HEADER.pack(len(body), kind, WIRE_VERSION, 0, stream, seq, ack)
        frame = Frame(kind, stream, seq, ack, header + body)
        if stream:
            self._note(stream)
            self._kept[stream].append((self._n_kept, frame))
            self._n_kept += 1
        return frame

    @property
    def is_spent(self) -> bool:
        """Whether stream 0, which ends with its connection, is about to run out of numbers."""
        return self._sent.get(0, 0) >= SPENT_FRAMES

    def accept(self, frame: Frame) -> bool:
        """Count a received frame; False for one that came before, over an earlier connection.

        Raises:
            WireError: A frame is missing or one too many, or acknowledges what was never sent.
        """
        expected = self._received.get(frame.stream, 0)
        if frame.seq < expected and frame.stream:
            return False
        if frame.seq != expected:
            raise WireError(
                f"stream {frame.stream}: found frame {frame.seq}; allowed: {expected}",
                BAD_SEQUENCE,
            )
        if expected >= MAX_FRAMES:
            raise WireError(
                f"stream {frame.stream}: found frame {frame.seq}; allowed: {MAX_FRAMES} frames",
                BAD_SEQUENCE,
            )
        if frame.ack > self._sent.get(frame.stream, 0):
            raise WireError(
                f"stream {frame.stream}: frame {frame.seq} acknowledges {frame.ack} frames; "
                f"sent: {self._sent.get(frame.stream, 0)}",
                BAD_SEQUENCE,
            )
        self._received[frame.stream] = expected + 1
        if frame.stream:
            self._note(frame.stream)
            self._acknowledged(frame.stream, frame.ack)
        return True

    def forget(self, frame: Frame) -> None:
        """Take back `accept`: the frame's message was refused."""
        self._received[frame.stream] = frame.seq

    def positions(self) -> list[list[int]]:
        """Every stream above 0 that is still known, and how many frames of it have come."""
        return [[stream, self._received.get(stream, 0)] for stream in list(self._kept)]

    def unacknowledged(self, positions: Iterable[Sequence[int]]) -> list[Frame]:
        """What the other side has not got, oldest first.

        Args:
            positions: Streams, and how many frames of each it has got.
        """
        for stream, received in positions:
            self._acknowledged(stream, received)
        kept = [entry for frames in self._kept.values() for entry in frames]
        return [frame for _, frame in sorted(kept, key=itemgetter(0))]

    def start_anew(self) -> None:
        """Forget every stream: the other side has."""
        self._sent.clear()
        self._received.clear()
        self._kept.clear()

    def _note(self, stream: int) -> None:
        if stream not in self._kept:
            self._kept[stream] = deque()
            if len(self._kept) > MAX_STREAMS:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._sent.pop(oldest, None)
                self._received.pop(oldest, None)

    def _acknowledged(self, stream: int, n_frames: int) -> None:
        kept = self._kept.get(stream)
        while kept and kept[0][1].seq < n_frames:
            kept.popleft()
