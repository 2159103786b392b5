"""What two users must hold in common before a block starts (spec 6.1)."""

import struct
from dataclasses import dataclass

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.engine import DEFAULT
from mdiqkd_net.params import Security, Source
from mdiqkd_net.protocol.light import PARAMETERS_DIFFER, source_of, source_settings
from mdiqkd_net.wire.messages import BlockOpen, BlockOpened


@dataclass(frozen=True, slots=True)
class Agreement:
    """One user's configuration for a pair.

    Attributes:
        source: This user's own settings; the peer's may differ.
        security: Budget, the same at both users.
        bell_states: Outcomes that count, the same at both users.
        reconciler: Scheme by name, or "auto"; the same at both users.
        analysis: How the block is judged, the same at both users; with its design and the design's
            digest, where the method wants one frozen.
    """

    source: Source
    security: Security
    bell_states: tuple[str, ...]
    reconciler: str
    analysis: Analysis = DEFAULT

    @property
    def prepared_source(self) -> Source:
        """The source as it travels, rounded to 1e-9: both users compute with these numbers."""
        return source_of(source_settings(self.source))

    def open(self, block: int, session_digest: bytes) -> BlockOpen:
        """The coordinator's proposal."""
        return BlockOpen(
            accounting=self.analysis.accounting,
            bell_states=list(self.bell_states),  # type: ignore[arg-type]  # literals, by config
            block=block,
            design=bytes.fromhex(self.analysis.digest or ""),
            eps_cor=float_bits(self.security.eps_cor),
            eps_sec=float_bits(self.security.eps_sec),
            f_ec=float_bits(self.security.f_ec),
            method=self.analysis.method,
            reconciler=self.reconciler,
            session_digest=session_digest,
            source=source_settings(self.source),
            tail=self.analysis.tail,
        )

    def opened(self, proposal: BlockOpen, block: int, session_digest: bytes) -> BlockOpened:
        """The participant's answer.

        Raises:
            RemoteProtocolError: The proposal differs from what is configured here, or the relay
                told the peer another session.
        """
        ours = self.open(block, session_digest)
        for name in (
            "block",
            "session_digest",
            "bell_states",
            "reconciler",
            "method",
            "tail",
            "accounting",
            "design",
        ):
            _require_same(name, getattr(proposal, name), getattr(ours, name))
        for name in ("eps_cor", "eps_sec", "f_ec"):
            theirs, mine = getattr(proposal, name), getattr(ours, name)
            _require_same(name, float_of(theirs), float_of(mine))
        return BlockOpened(
            block=block, session_digest=session_digest, source=source_settings(self.source)
        )

    def check_opened(self, answer: BlockOpened, block: int, session_digest: bytes) -> None:
        """Hold the participant's answer against the proposal.

        Raises:
            RemoteProtocolError: It answers something else.
        """
        _require_same("block", answer.block, block)
        _require_same("session_digest", answer.session_digest, session_digest)


def float_bits(value: float) -> int:
    """The bits of a binary64 as an integer: exact, and the wire stays free of floats."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return int(bits)


def float_of(bits: int) -> float:
    """Undo `float_bits`."""
    (value,) = struct.unpack("<d", struct.pack("<q", bits))
    return float(value)


def _require_same(name: str, theirs: object, mine: object) -> None:
    if theirs != mine:
        shown = [v.hex() if isinstance(v, bytes) else v for v in (theirs, mine)]
        raise RemoteProtocolError(
            f"{name}: the peer proposes {shown[0]}; allowed: {shown[1]}, as it is here",
            PARAMETERS_DIFFER,
        )
