"""Cascade over a batch of frames in lockstep, both users in the same state machine."""

import math
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.reconcile import _kernels
from mdiqkd_net.postprocessing.reconcile._leaves import COLUMNS, KEY, n_nodes
from mdiqkd_net.postprocessing.reconcile._permute import (
    GROUP_BITS,
    GROUP_WORDS,
    LANES,
    random_words,
    tables,
)
from mdiqkd_net.postprocessing.reconcile.arguments import check_arguments
from mdiqkd_net.postprocessing.reconcile.parameters import (
    N_CHECKS,
    Profile,
    Schedule,
    first_leaves,
    schedule_for,
)
from mdiqkd_net.secret import wipe

FRAME_GROUPS: Final = 16
"""A frame has at most this many groups of 4096 bits, so at most 2^16 bits."""

GROUP_FRAMES: Final = 16
"""As many frames share their checks, and a verification tag."""


MAX_ROUNDS: Final = 1 << 14
"""Both users stop here; an honest batch needs hundreds, thousands with a wrong QBER."""


class Cascade:
    """One user's side of the reconciliation of one batch.

    Both users send each other parities of the same blocks of their own keys, one message each
    way per round, and act on the differences alone. So neither names a block, both finish in the
    same round, and both know how many errors there were. Source: Brassard & Salvail, EUROCRYPT
    '93; the reuse of everything that was learnt about halves of blocks follows the "yanetal" and
    later variants. `docs/explanation/post-processing.md` tells how this one goes about it.

    The result is equal on both sides up to errors that no parity has seen. Their probability is
    small but not proven: the key must be verified (`postprocessing.verify`).

    Args:
        bits: Own sifted key, shape (n,), 0 or 1, n >= 1. It is copied.
        corrects: True for Bob, whose key becomes Alice's.
        qber: Estimate that sets block sizes; it need not be exact, but both must give the same.
        seed: 32 public bytes, the same on both sides, chosen after the key: fix the permutations.
        schedule: Block sizes, if not those for `qber`; the same on both sides.

    Raises:
        LocalProtocolError: An argument is out of range.
    """

    PROFILE: ClassVar[Profile] = "low_leak"

    def __init__(
        self,
        bits: NDArray[np.uint8],
        *,
        corrects: bool,
        qber: float,
        seed: bytes,
        schedule: Schedule | None = None,
    ) -> None:
        check_arguments(bits, qber, seed)
        self._n_bits = bits.size
        n_padded = -(-bits.size // GROUP_BITS) * GROUP_BITS
        # Padding is equal on both sides, so it dilutes the errors.
        plan = schedule or schedule_for(qber * bits.size / n_padded, self.PROFILE)
        self._batch = _prepare(bits, seed, plan)
        most = _most_asked(self._batch)
        packed = np.zeros(most // 8, np.uint8)
        # Hundreds of rounds make these few lines count, so what never changes is made once.
        self._arguments = (*self._batch, np.zeros((2, most), np.uint8), packed, corrects)
        self._packed = packed.data
        self._n_asked = 0
        self._started = False
        self._done = False
        self._rounds = 0
        self._leak_bits = 0

    @property
    def done(self) -> bool:
        """Whether the last round is over."""
        return self._done

    @property
    def bits(self) -> NDArray[np.uint8]:
        """A copy of the own key as corrected so far, shape (n,)."""
        batch = self._batch
        n_words = batch.record[:, _kernels.N_WORDS, np.newaxis]
        most = batch.tables.shape[-1]
        words = batch.nodes[:, 0, :most, KEY][np.arange(most) < n_words]
        data = words.astype("<u8", copy=False).view(np.uint8)
        bits = np.unpackbits(data, count=self._n_bits, bitorder="little")
        wipe(words, data)
        return bits

    @property
    def leak_bits(self) -> int:
        """Parities of the own key that were sent, which is as many as there were bits to send."""
        return self._leak_bits

    @property
    def peer_leak_bits(self) -> int:
        """Parities of the peer's key that it has sent: one for each of ours that was answered."""
        return self._leak_bits - (0 if self._done else self._n_asked)

    @property
    def n_corrected(self) -> int:
        """Positions in which the two keys were found to differ; known to both users."""
        return int(self._batch.record[:, _kernels.N_FOUND].sum())

    @property
    def rounds(self) -> int:
        """Messages taken from the peer."""
        return self._rounds

    def start(self) -> bytes:
        """The first payload for the peer.

        Raises:
            LocalProtocolError: It was asked for before.
        """
        if self._started:
            raise LocalProtocolError("start: found a batch under way; allowed: once")
        self._started = True
        payload = self._advance(b"")
        assert payload is not None  # noqa: S101  # pass 0 always has a block
        return payload

    def receive(self, payload: bytes) -> bytes | None:
        """Take the peer's payload of this round; return the next one to send, or None at the end.

        Raises:
            RemoteProtocolError: The payload has a wrong length or bits behind its end; nothing
                has changed.
            LocalProtocolError: Before the start or after the end.
        """
        if not self._started or self._done:
            state = "the end" if self._done else "no start"
            raise LocalProtocolError(f"receive: found {state}; allowed: between start and end")
        n_bytes = (self._n_asked + 7) >> 3
        if len(payload) != n_bytes:
            raise RemoteProtocolError(
                f"cascade payload: found {len(payload)} bytes; allowed: {n_bytes}"
            )
        if payload[-1] & ((1 << (-self._n_asked & 7)) - 1):
            raise RemoteProtocolError(
                f"cascade payload: found bits set behind the {self._n_asked} parities; "
                "allowed: zeros"
            )
        self._rounds += 1
        return self._advance(payload)

    def wipe(self) -> None:
        """Overwrite the key, and what it was computed from; the last call there is."""
        wipe(self._batch.nodes, self._batch.spare, self._batch.errors)

    def _advance(self, payload: bytes) -> bytes | None:
        self._packed[: len(payload)] = payload
        n_next = _kernels.advance(*self._arguments, self._n_asked)
        if n_next == 0 or self._rounds == MAX_ROUNDS:
            self._done = True
            self._check_leak(n_next)
            return None
        self._n_asked = n_next
        self._leak_bits += n_next
        return self._packed[: (n_next + 7) >> 3].tobytes()

    def _check_leak(self, n_unsent: int) -> None:
        counted = int(self._batch.group[:, _kernels.N_ASKED].sum()) - n_unsent
        if self._leak_bits != counted:
            raise LocalProtocolError(f"leak: found {self._leak_bits} bits sent; counted {counted}")


class CascadeLowRounds(Cascade):
    """Cascade for long round trips: a hundred to two hundred rounds, at a larger leak."""

    PROFILE = "low_rounds"


class _Batch(NamedTuple):
    """The arrays of `_kernels.advance`, in its order; shapes are told there."""

    nodes: NDArray[np.uint64]
    record: NDArray[np.int64]
    group: NDArray[np.int64]
    items: NDArray[np.uint32]
    tables: NDArray[np.uint16]
    cuts: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    budget: int
    hurry: int
    spare: NDArray[np.uint64]
    errors: NDArray[np.uint32]


def _prepare(bits: NDArray[np.uint8], seed: bytes, schedule: Schedule) -> _Batch:
    """Cut the key into frames of nearly equal size, and the frames into groups."""
    n_rows = -(-bits.size // GROUP_BITS)
    n_frames = -(-n_rows // FRAME_GROUPS)
    small, n_large = divmod(n_rows, n_frames)
    n_words = np.full(n_frames, small * GROUP_WORDS, np.int64)
    n_words[:n_large] += GROUP_WORDS
    most = int(n_words[0])
    sizes = (most, most - GROUP_WORDS) if n_large else (most,)
    n_passes = len(schedule.block_bits)
    table = np.zeros((len(sizes), n_passes, 5, most), np.uint16)
    cuts = np.zeros((len(sizes), n_passes, 3), np.uint64)
    for kind, size in enumerate(sizes):
        for p, block_bits in enumerate(schedule.block_bits):
            cuts[kind, p] = first_leaves(block_bits, size // GROUP_WORDS)
            if p:
                table[kind, p, :, :size] = tables(seed, f"pass {p}", size)

    record = np.zeros((n_frames, _kernels.N_ODD + n_passes), np.int64)
    record[:, _kernels.PHASE] = _kernels.IDLE
    record[:, _kernels.N_WORDS] = n_words
    record[:, _kernels.KIND] = n_words != most
    n_groups = -(-n_frames // GROUP_FRAMES)
    bounds = np.arange(n_groups + 1) * n_frames // n_groups
    ends = np.concatenate(([0], np.cumsum(n_words * 64)))
    group = np.zeros((n_groups, _kernels.GROUP_SIZE), np.int64)
    group[:, _kernels.FIRST] = bounds[:-1]
    group[:, _kernels.END] = bounds[1:]
    group[:, _kernels.N_BITS] = np.diff(ends[bounds])

    nodes = _aligned_zeros((n_frames, n_passes, n_nodes(most // GROUP_WORDS), COLUMNS))
    packed = np.zeros(n_rows * GROUP_BITS // 8, np.uint8)
    data = np.packbits(bits, bitorder="little")
    packed[: data.size] = data
    nodes[:, 0, :most, KEY][np.arange(most) < n_words[:, np.newaxis]] = packed.view("<u8")
    wipe(packed, data)
    return _Batch(
        nodes=nodes,
        record=record,
        group=group,
        items=np.zeros((n_frames, 1 + max(_n_blocks(row, most) for row in cuts[0])), np.uint32),
        tables=table,
        cuts=cuts,
        masks=random_words(seed, "checks", N_CHECKS * most).reshape(most, N_CHECKS),
        budget=schedule.budget,
        hurry=schedule.hurry,
        spare=np.zeros(64 * LANES, np.uint64),
        errors=np.zeros(most * 64, np.uint32),
    )


def _n_blocks(cuts: NDArray[np.uint64], n_words: int) -> int:
    level, even, odd = map(int, cuts)
    if level == 0:
        return (even.bit_count() + odd.bit_count()) * n_words // 2
    return even.bit_count() * (n_words // GROUP_WORDS if level == 1 else 1)


def _aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.uint64]:
    # What is known of a word then never straddles two cache lines.
    size = math.prod(shape)
    raw = np.zeros(size + 8, np.uint64)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + size].reshape(shape)


def _most_asked(batch: _Batch) -> int:
    """Room for the parities of any round: a frame asks about one bit in two at most."""
    n_frames, n_words = batch.nodes.shape[0], batch.tables.shape[-1]
    return int(n_frames * n_words * 32 + 64 * batch.group.shape[0])
