"""What must be true of the frames that users send each other, whatever goes wrong."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from mdiqkd_net.keys.pads import describe
from mdiqkd_net.wire.codec import CAPS, decode
from mdiqkd_net.wire.frames import Frame, FrameReader
from mdiqkd_net.wire.messages import (
    BlockOpen,
    Commit,
    CommitAborted,
    Committed,
    Gate,
    Message,
    Prepare,
    Reconcile,
    Sift,
    Vote,
)

Tagged = Prepare | Vote | Commit | Committed | CommitAborted
UserPair = tuple[str, str]
Violated = Callable[[str, str], None]
Said = Callable[[str, str, Frame, Tagged], None]


def pads_name(peer: str) -> str:
    """File of a node's pads for a peer, in the node's directory."""
    return f"{peer}.pads"


class FrameWatch:
    """Reads every frame where it leaves a user for another user.

    Args:
        files: A node's directory in its present life.
        violated: Told the number of what must be true, and what was found.
        said: Given every tagged message, with its sender and receiver.
    """

    def __init__(self, files: Callable[[str], Path], violated: Violated, said: Said) -> None:
        self._files = files
        self._violated = violated
        self._said = said
        self._readers: dict[int, FrameReader] = {}
        self._next_seq: dict[int, int] = {}
        self._frames: dict[tuple[str, str, int, int], bytes] = {}
        self._opened: dict[UserPair, int] = {}
        self._blocks: dict[tuple[UserPair, int], bytes] = {}
        self._tagged: dict[tuple[str, str, int], bytes] = {}
        self._older_pads: set[str] = set()
        self._gates: defaultdict[tuple[UserPair, int], set[str]] = defaultdict(set)
        self._parities: defaultdict[tuple[UserPair, int], int] = defaultdict(int)

    def sent(self, connection: int, sender: str, receiver: str, data: bytes) -> None:
        """Bytes leave a user for another user, after the handshake."""
        reader = self._readers.setdefault(connection, FrameReader(CAPS))
        for frame in reader.receive_data(data):
            if self._is_first(connection, sender, receiver, frame):
                self._check(sender, receiver, frame, decode(frame))

    def ended(self, node: str) -> None:
        """A user's process has ended: its streams begin anew with the next."""
        for place in [place for place in self._frames if node in place[:2]]:
            del self._frames[place]

    def put_back(self, node: str, *, pads: bool, store: bool) -> None:
        """A user's files have forgotten which pads are burnt, or which blocks were opened."""
        if pads:
            self._older_pads.add(node)
        if not store:
            return
        for pair in [pair for pair in self._opened if node in pair]:
            del self._opened[pair]

    def check_leak(self, node: str, block_id: bytes, leak_bits: int) -> None:
        """A user reports how much the reconciliation of a block has told the world."""
        for place, known in self._blocks.items():
            # Up to seven bits of a message fill its last byte, and are not counted here.
            if known == block_id and self._parities[place] > leak_bits:
                self._violated(
                    "K6",
                    f"{node} counts {leak_bits} bits of leakage in block {block_id.hex()[:8]}; "
                    f"at least {self._parities[place]} parities were sent",
                )

    def _is_first(self, connection: int, sender: str, receiver: str, frame: Frame) -> bool:
        """Whether a frame was not sent before; it may be, byte for byte, after a reconnect."""
        if frame.stream == 0:
            due = self._next_seq.get(connection, 0)
            self._next_seq[connection] = frame.seq + 1
            if frame.seq != due:
                self._violated("K4", f"{sender} sends frame {frame.seq} to {receiver}, not {due}")
            return True
        place = sender, receiver, frame.stream, frame.seq
        digest = hashlib.blake2b(frame.raw, digest_size=16).digest()
        known = self._frames.setdefault(place, digest)
        is_first = known is digest
        if known != digest:
            self._violated(
                "K4",
                f"{sender} sends two frames {frame.seq} of block {frame.stream} to {receiver}",
            )
        elif is_first and frame.seq and (*place[:3], frame.seq - 1) not in self._frames:
            self._violated(
                "K4", f"{sender} leaves out frame {frame.seq - 1} of block {frame.stream}"
            )
        return is_first

    def _check(self, sender: str, receiver: str, frame: Frame, message: Message) -> None:
        low, high = sorted((sender, receiver))
        pair = low, high
        place = pair, frame.stream
        if isinstance(message, BlockOpen):
            if message.block <= self._opened.get(pair, 0):
                self._violated("K4", f"{sender} opens block {message.block} with {receiver} again")
            self._opened[pair] = message.block
        elif isinstance(message, Gate):
            self._gates[place].add(sender)
        elif isinstance(message, Sift) and len(self._gates[place]) < 2:
            self._violated("K7", f"{sender} reveals settings before both gates are closed")
        elif isinstance(message, Reconcile) and sender == low:
            self._parities[place] += 8 * len(message.payload) - 7
        if isinstance(message, Prepare):
            self._blocks[place] = message.block_id
        if isinstance(message, Tagged):
            self._check_pad(sender, receiver, frame, message.pad)
            self._said(sender, receiver, frame, message)

    def _check_pad(self, sender: str, receiver: str, frame: Frame, pad: int) -> None:
        known = self._tagged.get((sender, receiver, pad))
        if known is not None:
            # The same words again; a pad file that was put back may not know any more.
            if known != frame.body:
                self._violated(
                    "K5", f"{sender} authenticates two messages to {receiver} with pad {pad}"
                )
            return
        self._tagged[sender, receiver, pad] = frame.body
        if sender in self._older_pads:
            return  # words that were durable and not said yet may have a pad that is whole again
        info = describe(self._files(sender) / pads_name(receiver))
        if info.n_pads - info.remaining_send <= pad:
            self._violated("K8", f"{sender} uses pad {pad} for {receiver} before it is burnt")
