"""Cascade over a batch of frames in lockstep, both users in the same state machine."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.reconcile import _kernels
from mdiqkd_net.postprocessing.reconcile._permute import (
    GROUP_BITS,
    GROUP_WORDS,
    permute,
    random_words,
    tables,
)
from mdiqkd_net.postprocessing.reconcile._tree import UPPER_ROWS
from mdiqkd_net.postprocessing.reconcile.parameters import (
    N_CHECKS,
    Schedule,
    schedule_for,
)

FRAME_GROUPS: Final = 16
"""A frame has at most this many groups of 4096 bits, so at most 2^16 bits."""

SEED_BYTES: Final = 32

MAX_ROUNDS: Final = 4096
"""Both users stop here; an honest batch needs a few hundred even with a wrong QBER."""


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

    def __init__(
        self,
        bits: NDArray[np.uint8],
        *,
        corrects: bool,
        qber: float,
        seed: bytes,
        schedule: Schedule | None = None,
    ) -> None:
        if bits.ndim != 1 or bits.size == 0 or bits.dtype != np.uint8 or bits.max() > 1:
            raise LocalProtocolError(
                f"bits: found shape {bits.shape} of {bits.dtype}; "
                "allowed: one axis of at least one uint8, each 0 or 1"
            )
        if len(seed) != SEED_BYTES:
            raise LocalProtocolError(f"seed: found {len(seed)} bytes; allowed: {SEED_BYTES}")
        if not (math.isfinite(qber) and 0.0 <= qber <= 1.0):
            raise LocalProtocolError(f"qber: found {qber}; allowed: 0 to 1")
        self._corrects = corrects
        n_padded = -(-bits.size // GROUP_BITS) * GROUP_BITS
        # Padding is equal on both sides, so it dilutes the errors.
        plan = schedule or schedule_for(qber * bits.size / n_padded)
        self._batch = _prepare(bits, seed, plan)
        self._out = np.empty(_most_asked(self._batch), np.uint8)
        self._asked = self._out[:0]
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
        return self._batch.key.copy()

    @property
    def leak_bits(self) -> int:
        """Parities of the own key that were sent, which is as many as there were bits to send."""
        return self._leak_bits

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
        batch = self._batch
        return self._send(
            _kernels.begin(
                batch.tree,
                batch.record,
                batch.tables,
                batch.masks,
                batch.plan,
                batch.block,
                self._out,
            )
        )

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
        n_asked = self._asked.size
        n_bytes = -(-n_asked // 8)
        if len(payload) != n_bytes:
            raise RemoteProtocolError(
                f"cascade payload: found {len(payload)} bytes; allowed: {n_bytes}"
            )
        heard = np.unpackbits(np.frombuffer(payload, np.uint8))
        if heard[n_asked:].any():
            raise RemoteProtocolError(
                f"cascade payload: found bits set behind the {n_asked} parities; allowed: zeros"
            )
        n_next = _kernels.advance(
            *self._batch, heard[:n_asked] ^ self._asked, self._out, self._corrects
        )
        self._rounds += 1
        if n_next == 0 or self._rounds == MAX_ROUNDS:
            self._done = True
            return None
        return self._send(n_next)

    def _send(self, n_asked: int) -> bytes:
        self._asked = self._out[:n_asked].copy()
        self._leak_bits += n_asked
        counted = int(self._batch.record[:, _kernels.N_ASKED].sum())
        if self._leak_bits != counted:
            raise LocalProtocolError(f"leak: found {self._leak_bits} bits sent; counted {counted}")
        return np.packbits(self._asked).tobytes()


class _Batch(NamedTuple):
    """The arrays of `_kernels.advance`, in its order; shapes are told there."""

    tree: NDArray[np.uint64]
    record: NDArray[np.int64]
    items: NDArray[np.int32]
    queue: NDArray[np.int32]
    tables: NDArray[np.int32]
    masks: NDArray[np.uint64]
    plan: NDArray[np.int64]
    key: NDArray[np.uint8]
    scratch: NDArray[np.int64]
    block: NDArray[np.uint64]


def _prepare(bits: NDArray[np.uint8], seed: bytes, schedule: Schedule) -> _Batch:
    """Cut the key into frames of nearly equal size, and permute each into pass 0."""
    n_groups = -(-bits.size // GROUP_BITS)
    n_frames = -(-n_groups // FRAME_GROUPS)
    small, n_large = divmod(n_groups, n_frames)
    n_words = np.full(n_frames, small * GROUP_WORDS, np.int64)
    n_words[:n_large] += GROUP_WORDS
    most = int(n_words[0])
    sizes = (most, most - GROUP_WORDS) if n_large else (most,)
    n_passes = len(schedule.log_sizes)
    table = np.zeros((len(sizes), n_passes, 5, most), np.int32)
    for kind, size in enumerate(sizes):
        for p in range(n_passes if size else 0):
            table[kind, p, :, :size] = tables(seed, f"pass {p}", size)

    whole = (most * 64 - 1).bit_length()
    log_sizes = [min(s, whole) for s in schedule.log_sizes]
    offsets = np.cumsum([0, *(-(-most * 64 // 2**s) for s in log_sizes)])
    n_blocks = int(offsets[-1])
    record = np.zeros((n_frames, _kernels.RECORD_SIZE), np.int64)
    record[:, _kernels.N_WORDS] = n_words
    record[:, _kernels.KIND] = n_words != most
    record[1:, _kernels.FIRST] = np.cumsum(n_words[:-1] * 64)
    batch = _Batch(
        tree=_aligned_zeros((n_frames, n_passes, most + UPPER_ROWS, 4)),
        record=record,
        items=np.zeros((n_frames, n_blocks + 1, _kernels.ITEM_SIZE), np.int32),
        queue=np.zeros((n_frames, 3 * n_blocks + 64), np.int32),
        tables=table,
        masks=random_words(seed, "checks", N_CHECKS * most).reshape(N_CHECKS, most),
        plan=np.array([schedule.parallel, *schedule.widths, *log_sizes, *offsets], np.int64),
        key=bits.copy(),
        scratch=np.zeros(2 << _kernels.MAX_LEVELS, np.int64),
        block=np.zeros(64, np.uint64),
    )
    packed = np.zeros(n_groups * GROUP_BITS // 8, np.uint8)
    data = np.packbits(bits, bitorder="little")
    packed[: data.size] = data
    words = packed.view("<u8").astype(np.uint64)[:, np.newaxis]
    for f in range(n_frames):
        first, n = int(record[f, _kernels.FIRST]) // 64, int(n_words[f])
        own = table[record[f, _kernels.KIND]]
        permute(words[first : first + n], own, 0, n, batch.tree[f, 0], batch.block)
    return batch


def _aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.uint64]:
    # The four words of a key word then never straddle two cache lines.
    size = math.prod(shape)
    raw = np.zeros(size + 8, np.uint64)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + size].reshape(shape)


def _most_asked(batch: _Batch) -> int:
    """Room for the parities of any round: a frame asks one per block, or several for a few."""
    n_frames, n_items, _ = batch.items.shape
    return int(n_frames) * max(int(n_items), N_CHECKS, 2**_kernels.MAX_LEVELS)
