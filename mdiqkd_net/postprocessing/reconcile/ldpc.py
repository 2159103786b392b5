"""Reconciliation by one syndrome from Alice, and more of it, or bits, where that is not enough."""

import math
import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.reconcile import _ldpc_kernels
from mdiqkd_net.postprocessing.reconcile._lanes import N_LANES
from mdiqkd_net.postprocessing.reconcile.arguments import check_arguments
from mdiqkd_net.postprocessing.reconcile.ldpc_code import (
    build,
    complete,
    rows_to_gain,
    sent_parts,
    split,
)
from mdiqkd_net.postprocessing.reconcile.ldpc_decoder import Decoder, Search, lay_out
from mdiqkd_net.postprocessing.reconcile.ldpc_rate import judge, syndrome_bits
from mdiqkd_net.secret import wipe

FRAME_BITS: Final = 2**17
"""A frame has at most this many bits. Longer frames scatter less about the mean error rate, and
decode more slowly once they leave the cache."""

COLUMNS: Final = 512
"""Columns of the base matrix that are aimed at."""

REQUESTS: Final = 20
"""Requests for bits; the last one asks for whole frames."""

EXTENSIONS: Final = 6
"""Requests to extend the syndromes."""

SEARCHES: Final = 16
"""Searches at most that wait for bits, of a megabyte each. The others begin anew."""

DISCLOSED_SHARE: Final = 0.004
DISCLOSED_PER_VIOLATED: Final = 0.05
"""The first request for bits of a frame is for this share of its syndrome, and of the checks that
do not hold."""

GROWTH: Final = 1.35
"""By which each request is larger than the one before."""

CHECKSUM_BITS: Final = 32


class Ldpc:
    """One user's side of the reconciliation of one batch by an LDPC code.

    Alice sends the syndromes of all frames and a checksum of each. If they tell of many more errors
    than expected, Bob asks for longer ones, of a code whose rows sum up to those of the first. Then
    he decodes. Where that fails, he names the bits that he is least sure of, Alice discloses them,
    and he goes on (the idea of blind reconciliation: Martinez-Mateo, Elkouss & Martin, Quantum Inf.
    Comput. 12, 791 (2012), and Kiktenko et al., Phys. Rev. Applied 8, 044017 (2017)). The last of a
    bounded number of requests is for whole frames, so the batch always ends. Requests and, at the
    end, the number of errors are all that Bob sends: functions of the error pattern alone, never of
    his key. `docs/explanation/post-processing.md` tells more.

    Payloads are exchanged in lockstep, so one of each pair is empty.

    The result is equal on both sides unless a wrong frame has the right syndrome and checksum. A
    checksum misses one frame in 2^32 or so; the key must be verified (`postprocessing.verify`).

    Args:
        bits: Own sifted key, shape (n,), 0 or 1, n >= 1. It is copied.
        corrects: True for Bob, whose key becomes Alice's.
        qber: Estimate that sets the length of the first syndrome; the same on both sides. One that
            is too low costs rounds, one that is too high leaks in proportion. Above
            `ldpc_rate.QBER_MAX`, which no key survives, the batch ends all the same.
        seed: 32 public bytes; unused, for the code is fixed.

    Raises:
        LocalProtocolError: An argument is out of range.
    """

    def __init__(
        self, bits: NDArray[np.uint8], *, corrects: bool, qber: float, seed: bytes
    ) -> None:
        check_arguments(bits, qber, seed)
        self._bits = bits.copy()
        self._corrects = corrects
        n_frames = -(-bits.size // FRAME_BITS)
        self._starts = np.arange(n_frames + 1) * bits.size // n_frames
        longest = -(-bits.size // n_frames)
        size = N_LANES * max(1, round(longest / (COLUMNS * N_LANES)))
        n_columns = -(-longest // size)
        self._n_checks = syndrome_bits(longest, qber)
        n_rows = -(-self._n_checks // size)
        self._code = build(n_columns, n_rows, size)
        self._qber = qber
        self._decoder: Decoder | None = None
        self._known = np.zeros(bits.size, np.bool_)
        self._errors = np.zeros(bits.size, np.uint8)
        self._differences = np.zeros((0, 0), np.uint8)
        self._n_more = 0
        self._checksums: tuple[int, ...] = ()
        self._searches: dict[int, Search] = {}
        self._open: list[int] = list(range(n_frames))
        self._asked = np.zeros(0, np.int64)
        self._requests = 0
        self._extensions = 0
        self._started = self._done = False
        self._rounds = 0
        self._leak_bits = 0
        self._n_told = 0

    @property
    def done(self) -> bool:
        """Whether the last round is over."""
        return self._done

    @property
    def bits(self) -> NDArray[np.uint8]:
        """A copy of the own key as corrected so far, shape (n,)."""
        return self._bits ^ self._errors

    @property
    def leak_bits(self) -> int:
        """Bits about the own key that were sent: Alice's syndromes, checksums and single bits."""
        return 0 if self._corrects else self._leak_bits

    @property
    def peer_leak_bits(self) -> int:
        """Bits about the peer's key that it has sent."""
        return self._leak_bits if self._corrects else 0

    @property
    def n_corrected(self) -> int:
        """Positions in which the two keys were found to differ; Alice hears of it at the end."""
        return int(self._errors.sum()) if self._corrects else self._n_told

    @property
    def rounds(self) -> int:
        """Payloads taken from the peer."""
        return self._rounds

    @property
    def _n_frames(self) -> int:
        return self._starts.size - 1

    def start(self) -> bytes:
        """The first payload for the peer.

        Raises:
            LocalProtocolError: It was asked for before.
        """
        if self._started:
            raise LocalProtocolError("start: found a batch under way; allowed: once")
        self._started = True
        if self._corrects:
            return b""
        checks = self._syndromes().reshape(self._n_frames, -1)[:, : self._n_checks]
        sums = [self._checksum(f) for f in range(self._n_frames)]
        self._leak_bits += checks.size + CHECKSUM_BITS * self._n_frames
        return struct.pack(f"<{len(sums)}I", *sums) + np.packbits(checks).tobytes()

    def receive(self, payload: bytes) -> bytes | None:
        """Take the peer's payload of this round; return the next one to send, or None at the end.

        Raises:
            RemoteProtocolError: The payload is malformed; nothing has changed.
            LocalProtocolError: Before the start or after the end.
        """
        if not self._started or self._done:
            state = "the end" if self._done else "no start"
            raise LocalProtocolError(f"receive: found {state}; allowed: between start and end")
        mine = (self._rounds % 2 == 0) == self._corrects
        if not mine:
            if payload:
                raise RemoteProtocolError(
                    f"ldpc payload: found {len(payload)} bytes; allowed: 0 in this round"
                )
            reply: bytes | None = b""
        elif not self._corrects:
            reply = self._disclose(payload)
        else:
            if self._rounds == 0:
                self._take_syndromes(payload)
            elif self._n_more:
                self._take_rows(payload)
            else:
                self._take_bits(payload)
            reply = self._ask_rows() or self._decode()
        self._rounds += 1
        # The user who hears of no request, and the one who had none to make a round ago.
        self._done = reply is None or (self._corrects and not mine and not self._open)
        return None if self._done else reply

    def wipe(self) -> None:
        """Overwrite the key and its errors; the last call there is."""
        wipe(self._bits, self._errors)

    def _frame(self, f: int) -> slice:
        return slice(int(self._starts[f]), int(self._starts[f + 1]))

    def _syndromes(self) -> NDArray[np.uint8]:
        """Parities of the own frames for all checks of the code, shape (n_frames, M, Z)."""
        code = self._code
        out = np.empty((self._n_frames, code.n_rows, code.size), np.uint8)
        parities = np.empty(code.n_rows * code.size, np.int16)
        for f, rows in enumerate(out):
            laid = lay_out(self._bits[self._frame(f)], 0, code)
            _ldpc_kernels.syndrome(
                laid, code.row_start, code.column, code.shift, code.size, parities
            )
            rows[:] = parities.reshape(rows.shape)
            wipe(laid)
        return out

    def _checksum(self, f: int) -> int:
        frame = self._frame(f)
        return _crc(self._bits[frame] ^ self._errors[frame])

    def _take_syndromes(self, payload: bytes) -> None:
        n = self._n_frames
        n_checks = n * self._n_checks
        n_bytes = 4 * n + -(-n_checks // 8)
        if len(payload) != n_bytes:
            raise RemoteProtocolError(
                f"ldpc payload: found {len(payload)} bytes; allowed: {n_bytes} for {n} frames"
            )
        checks = np.unpackbits(np.frombuffer(payload, np.uint8, offset=4 * n))
        if checks[n_checks:].any():
            raise RemoteProtocolError(
                f"ldpc payload: found bits set behind the {n_checks} of the syndromes; "
                "allowed: zeros"
            )
        self._checksums = struct.unpack(f"<{n}I", payload[: 4 * n])
        theirs = checks[:n_checks].reshape(n, self._n_checks)
        self._differences = theirs ^ self._syndromes().reshape(n, -1)[:, : self._n_checks]
        self._leak_bits += n_checks + CHECKSUM_BITS * n

    def _ask_rows(self) -> bytes | None:
        """The request to extend the syndromes, if they are much too short for the errors."""
        if self._known.any():  # too late: a search is under way
            return None
        longest = int(np.diff(self._starts).max())
        missing, qber = judge(self._differences, self._code, longest, self._qber)
        n_more = min(missing // self._code.size, rows_to_gain(self._code))
        if n_more and self._extensions < EXTENSIONS:
            self._n_more = n_more
            return struct.pack("<II", 0, n_more)
        self._decoder = Decoder(self._code, self._n_checks, qber)
        return None

    def _extend(self) -> NDArray[np.int64]:
        """Go over to the longer code; parts of each row."""
        self._code, parts = split(self._code, self._n_more)
        self._n_checks += self._n_more * self._code.size
        self._extensions += 1
        self._n_more = 0
        return parts

    def _take_rows(self, payload: bytes) -> None:
        n, size = self._n_frames, self._code.size
        n_bits = n * self._n_more * size
        if len(payload) != n_bits // 8:
            raise RemoteProtocolError(
                f"ldpc payload: found {len(payload)} bytes; allowed: {n_bits // 8} for {n} frames"
            )
        sums = np.zeros((n, self._code.n_rows * size), np.uint8)
        sums[:, : self._n_checks] = self._differences
        parts = self._extend()
        theirs = np.unpackbits(np.frombuffer(payload, np.uint8)).reshape(n, -1, size)
        rows = self._syndromes()
        rows[:, sent_parts(parts)] ^= theirs
        rows = complete(rows, sums.reshape(n, -1, size), parts)
        self._differences = rows.reshape(n, -1)[:, : self._n_checks]
        self._leak_bits += n_bits

    def _decode(self) -> bytes:
        """Try all open frames; the request for those that stay open, or the number of errors."""
        decoder = self._decoder
        if decoder is None:
            raise LocalProtocolError("decode: found the user who does not correct")
        asked: list[NDArray[np.int64]] = []
        still: list[int] = []
        self._requests += 1
        for f in self._open:
            frame = self._frame(f)
            known = self._known[frame]
            if known.all():
                continue
            search = self._searches.pop(f, None)
            if search is None:
                search = decoder.begin(self._differences[f], self._errors[frame], known)
            found = decoder.go_on(search, known.size)
            if _crc(self._bits[frame] ^ found.errors) == self._checksums[f]:
                self._errors[frame] = found.errors
                continue
            still.append(f)
            unknown = np.flatnonzero(~known)
            count = min(self._bits_asked(int(found.violated[-1])), unknown.size)
            least = unknown[np.argpartition(found.sure[unknown], count - 1)[:count]]
            asked.append(np.sort(least) + frame.start)
            if len(self._searches) < SEARCHES:
                self._searches[f] = search
        self._open = still
        self._asked = np.concatenate(asked) if asked else np.zeros(0, np.int64)
        n_found = 0 if still else self.n_corrected
        if 4 * self._asked.size < self._map_bytes:
            return struct.pack("<II", n_found, 0) + self._asked.astype("<u4").tobytes()
        wanted = np.zeros(self._bits.size, np.uint8)
        wanted[self._asked] = 1
        return struct.pack("<II", n_found, 0) + np.packbits(wanted).tobytes()

    @property
    def _map_bytes(self) -> int:
        """Length of a request that has one bit for each of the key, used where it is shorter."""
        return -(-self._bits.size // 8)

    def _bits_asked(self, n_violated: int) -> int:
        if self._requests >= REQUESTS:
            return int(np.diff(self._starts).max())
        first = DISCLOSED_SHARE * self._n_checks + DISCLOSED_PER_VIOLATED * n_violated
        return math.ceil(first * GROWTH ** (self._requests - 1)) + 8

    def _disclose(self, payload: bytes) -> bytes | None:
        """Answer a request; there is none any more if only a number comes."""
        n_body = len(payload) - 8
        if n_body < 0 or n_body > self._map_bytes or (n_body % 4 and n_body != self._map_bytes):
            raise RemoteProtocolError(
                f"ldpc request: found {len(payload)} bytes; "
                f"allowed: 8 and {self._map_bytes} or a smaller multiple of 4"
            )
        n_found, n_more = struct.unpack_from("<II", payload)
        if n_more:
            return self._disclose_rows(n_found, n_more, n_body)
        if n_found > (self._bits.size if n_body == 0 else 0):
            raise RemoteProtocolError(
                f"ldpc request: found {n_found} errors; "
                f"allowed: at most {self._bits.size}, and 0 before the end"
            )
        if n_body == 0:
            self._n_told = n_found
            return None
        if n_body == self._map_bytes:
            asked = np.flatnonzero(np.unpackbits(np.frombuffer(payload, np.uint8, offset=8)))
        else:
            asked = np.frombuffer(payload, "<u4", offset=8).astype(np.int64)
        if not asked.size or asked[-1] >= self._bits.size or (np.diff(asked) <= 0).any():
            raise RemoteProtocolError(
                f"ldpc request: found positions up to {asked.max(initial=-1)}; "
                f"allowed: one or more rising ones below {self._bits.size}"
            )
        if self._known[asked].any():
            raise RemoteProtocolError("ldpc request: found a bit that was sent; allowed: new ones")
        if self._requests == REQUESTS:
            raise RemoteProtocolError(f"ldpc request: found one more; allowed: {REQUESTS}")
        self._requests += 1
        self._known[asked] = True
        self._leak_bits += asked.size
        return np.packbits(self._bits[asked]).tobytes()

    def _disclose_rows(self, n_found: int, n_more: int, n_body: int) -> bytes:
        most = 0 if self._known.any() else rows_to_gain(self._code)
        if n_found or n_body or n_more > most or self._extensions == EXTENSIONS:
            raise RemoteProtocolError(
                f"ldpc request: found {n_more} rows, number {self._extensions + 1}, with {n_found} "
                f"errors and {n_body} bytes; allowed: up to {most} alone, {EXTENSIONS} times, "
                "before any bits"
            )
        self._n_more = n_more
        sent = sent_parts(self._extend())
        rows = self._syndromes()[:, sent]
        self._leak_bits += rows.size
        return np.packbits(rows).tobytes()

    def _take_bits(self, payload: bytes) -> None:
        n_asked = self._asked.size
        if len(payload) != -(-n_asked // 8):
            raise RemoteProtocolError(
                f"ldpc payload: found {len(payload)} bytes; allowed: {-(-n_asked // 8)}"
            )
        told = np.unpackbits(np.frombuffer(payload, np.uint8))
        if told[n_asked:].any():
            raise RemoteProtocolError(
                f"ldpc payload: found bits set behind the {n_asked} asked for; allowed: zeros"
            )
        self._known[self._asked] = True
        self._errors[self._asked] = told[:n_asked] ^ self._bits[self._asked]
        for f, search in self._searches.items():
            frame = self._frame(f)
            new = self._asked[slice(*np.searchsorted(self._asked, (frame.start, frame.stop)))]
            search.learn(new - frame.start, self._errors[new])
        self._leak_bits += n_asked


def _crc(bits: NDArray[np.uint8]) -> int:
    """CRC-32 of bits, which are overwritten."""
    packed = np.packbits(bits)
    checksum = zlib.crc32(packed.data)
    wipe(bits, packed)
    return checksum
