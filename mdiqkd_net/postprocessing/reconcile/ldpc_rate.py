"""How long a syndrome of `ldpc` should be, and what it tells about the error rate."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile.ldpc_code import Code

QBER_MAX: Final = 0.15
"""Above it the syndrome is that for this rate: no code was designed for more."""

QBER_MIN: Final = 1e-4
"""Below it the syndrome is that for this rate."""

# Syndrome bits over n h(QBER): what decodes without requests in most frames, by measurement.
_MARGINS: Final = ((0.0, 1.20), (0.005, 1.145), (0.01, 1.125), (0.02, 1.11), (0.03, 1.112))

SHORTAGE: Final = 0.03
"""A syndrome is extended if this share of it is missing."""

VAGUE: Final = 0.9
"""An estimate is vague if one standard deviation below it is less than this share of it."""

_RATES: Final = np.geomspace(QBER_MIN / 10.0, 0.5, 500)


def syndrome_bits(n_bits: int, qber: float) -> int:
    """Length of the syndrome of a frame.

    Args:
        n_bits: Bits of the frame.
        qber: Error rate that is expected.
    """
    # A few errors more than expected are common in short frames.
    q = min(max(qber, QBER_MIN) + 3.0 / n_bits, QBER_MAX)
    rates, margins = zip(*_MARGINS, strict=True)
    share = float(np.interp(q, rates, margins)) * binary_entropy(q)
    return min(math.ceil(n_bits * share), n_bits)


def estimate_qber(
    differences: NDArray[np.uint8], code: Code, deviations: Sequence[float]
) -> list[float]:
    """Error rates by the share of checks that differ, at no leak beyond theirs.

    A check of d independent bits with errors of rate q differs with probability
    (1 - (1 - 2 q)^d) / 2 (Gallager, IRE Trans. Inf. Theory 8, 21 (1962), lemma 1), which has one
    solution q for any share below 1/2. Standard deviations take checks for independent.

    Args:
        differences: Of the syndromes of frames, shape (n_frames, n_checks).
        code: Theirs.
        deviations: By how many standard deviations the share is off, for each result.
    """
    degrees = np.diff(code.row_start)
    checks = np.full(code.n_rows, float(code.size))
    checks[-1] = differences.shape[1] - (code.n_rows - 1) * code.size
    shares = (1.0 - (1.0 - 2.0 * _RATES[:, None]) ** degrees) @ checks / checks.sum() / 2.0
    share = float(differences.mean())
    deviation = math.sqrt(max(share * (1.0 - share), 1.0 / differences.size) / differences.size)
    found = np.interp(share + deviation * np.array(deviations), shares, _RATES)
    return [float(qber) for qber in found]


def judge(
    differences: NDArray[np.uint8], code: Code, n_bits: int, qber: float
) -> tuple[int, float]:
    """How many checks are missing for the errors that the syndromes tell of, and at which rate.

    Args:
        differences: Of the syndromes of frames, shape (n_frames, n_checks).
        code: Theirs.
        n_bits: Bits of a frame.
        qber: What was expected: it is returned unless it is off by three standard deviations.
    """
    lowest, low, likely, highest = estimate_qber(differences, code, (-3.0, -1.0, 0.0, 3.0))
    missing = 0
    if not lowest <= qber <= highest:
        # What a longer code will tell is more exact, and what was sent too much is lost.
        goal, qber = low if low > VAGUE * likely else lowest, likely
        n_checks = differences.shape[1]
        missing = syndrome_bits(n_bits, goal) - n_checks
        if missing <= SHORTAGE * n_checks:
            missing = 0
    return missing, min(max(qber, QBER_MIN), QBER_MAX)
