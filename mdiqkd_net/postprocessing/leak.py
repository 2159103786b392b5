"""What post-processing discloses: counted in bits, and against the least that theory allows."""

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mdiqkd_net.errors import LocalProtocolError

LeakModel = Literal["one_way", "two_way_w", "conservative_2x"]
LEAK_MODELS: Final[tuple[LeakModel, ...]] = get_args(LeakModel)


@dataclass(slots=True)
class LeakLedger:
    """Everything that one block discloses about the key, in whole bits.

    The model says how parities are charged; `docs/explanation/post-processing.md` tells which one
    applies. By name:

    - `one_way`: Alice's parities; Bob has sent none, and the ledger refuses if he has.
    - `two_way_w`: Alice's parities, for a proof in which Eve may know the whole error pattern W.
    - `conservative_2x`: the parities of both users.

    Attributes:
        model: A name in `LEAK_MODELS`.
        parity_bits: Sent by Alice, the user whose key is kept.
        answer_bits: Sent by Bob.
        disclosed_bits: Key bits that Alice has sent as they are, after a failed verification.
        tag_bits: Of verification tags.
        verdict_bits: Of their public verdicts (Tsurumaru et al., arXiv:2507.21416).
    """

    model: LeakModel = "two_way_w"
    parity_bits: int = 0
    answer_bits: int = 0
    disclosed_bits: int = 0
    tag_bits: int = 0
    verdict_bits: int = 0

    @property
    def total_bits(self) -> int:
        """What the key must be shortened by.

        Raises:
            LocalProtocolError: The model does not fit what was sent.
        """
        if self.model not in LEAK_MODELS:
            raise LocalProtocolError(
                f"leak model: found {self.model!r}; allowed: {', '.join(LEAK_MODELS)}"
            )
        if self.model == "one_way" and self.answer_bits:
            raise LocalProtocolError(
                f"leak model one_way: found {self.answer_bits} bits from Bob; allowed: 0"
            )
        answers = self.answer_bits if self.model == "conservative_2x" else 0
        parities = self.parity_bits + answers
        return parities + self.disclosed_bits + self.tag_bits + self.verdict_bits


def binary_entropy(p: float) -> float:
    """Shannon entropy of a biased coin in bits, for p in [0, 1].

    Raises:
        LocalProtocolError: p is outside.
    """
    if not 0.0 <= p <= 1.0:
        raise LocalProtocolError(f"binary entropy: found p = {p}; allowed: 0 to 1")
    if p in (0.0, 1.0):
        return 0.0
    return -p * math.log2(p) - (1.0 - p) * math.log2(1.0 - p)


def efficiency(leak_bits: int, n_bits: int, qber: float) -> float:
    """Leaked bits over the Shannon limit n h(qber): 1 is perfect, infinite without errors."""
    limit = n_bits * binary_entropy(qber)
    if limit > 0.0:
        return leak_bits / limit
    return math.inf if leak_bits else 1.0
