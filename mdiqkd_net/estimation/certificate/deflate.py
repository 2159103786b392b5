"""Make a design that is feasible up to rounding feasible in exact arithmetic.

All weights are non-negative, so that lowering every score by the same amount d multiplies every
class sum by exp(-theta d) and can only mend violations. Sums are taken in 60 digits, rounded
towards violation.
"""

import itertools
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from typing import Final

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.estimation.certificate.classes import (
    DIGITS,
    RIGHT,
    WRONG,
    Bounds,
    class_list,
    exp_bounds,
    flag_share,
    kind_bounds,
)
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.scope import SourceBox

_UP: Final = Context(prec=DIGITS, rounding=ROUND_CEILING)
_DOWN: Final = Context(prec=DIGITS, rounding=ROUND_FLOOR)
_ATTEMPTS: Final = 40
_MOST: Final = Decimal("1e-3")
"""A larger excess is no rounding."""


def deflate(
    alice: SourceBox,
    bob: SourceBox,
    theta: float,
    gains: tuple[int, int],
    scores: Mapping[str, int],
) -> dict[str, int]:
    """Lower all scores together until every class constraint holds for all sources in the boxes.

    Args:
        alice: Her calibrated source.
        bob: His.
        theta: Weight of a bit in the exponent.
        gains: gain_right and gain_wrong, in units.
        scores: Units per event and category.

    Raises:
        LocalProtocolError: If the scores were nowhere near feasible.
    """
    bounds = kind_bounds(alice), kind_bounds(bob)
    with localcontext(_UP):
        per_unit = Decimal(theta) / Decimal(UNITS_PER_BIT)
        for _ in range(_ATTEMPTS):
            excess = _largest_excess(bounds, per_unit, gains, scores)
            if excess <= 0:
                return dict(scores)
            if not excess <= _MOST:
                break
            # 1 + excess is the largest factor; ln(1 + excess) <= excess.
            less = int((excess / per_unit).to_integral_value(ROUND_CEILING)) + 1
            scores = {category: units - less for category, units in scores.items()}
    raise LocalProtocolError("certificate design: the search returned infeasible scores")


def _largest_excess(
    bounds: tuple[dict[str, dict[str, Bounds]], dict[str, dict[str, Bounds]]],
    per_unit: Decimal,
    gains: tuple[int, int],
    scores: Mapping[str, int],
) -> Decimal:
    """Greatest relative value of any class sum; the current context rounds up."""
    factor = {c: exp_bounds(per_unit * units)[1] - 1 for c, units in scores.items()}
    tilted = {
        flag: exp_bounds(per_unit * (scores["zz"] - gain))[1] - 1
        for flag, gain in zip((RIGHT, WRONG), gains, strict=True)
    }
    worst = Decimal(-1)
    for a, b, flag in class_list():
        table: dict[tuple[str, str], Decimal] = {}
        for category in scores:
            first, second = category[0], category[1]
            if first in bounds[0][a] and second in bounds[1][b]:
                value = tilted[flag] if (a, b, category) == ("1", "1", "zz") else factor[category]
                share = Decimal(flag_share(category, flag))
                key = (first, second)
                table[key] = table.get(key, Decimal(0)) + share * value
        worst = max(worst, _class_excess(bounds[0][a], bounds[1][b], table))
    return worst


def _class_excess(
    alice: dict[str, Bounds], bob: dict[str, Bounds], table: Mapping[tuple[str, str], Decimal]
) -> Decimal:
    """Greatest sum over the boxes divided by the least total weight, rounded up.

    The sum is linear in every weight, so that corners of Alice's box and, for each, the worse end
    of each of Bob's intervals attain the maximum.
    """
    first = [letter for letter in alice if any(key[0] == letter for key in table)]
    second = [letter for letter in bob if any(key[1] == letter for key in table)]
    greatest = Decimal("-Infinity")
    for corner in itertools.product(*(dict.fromkeys(alice[letter]) for letter in first)):
        total = Decimal(0)
        for other in second:
            part = Decimal(0)
            for letter, weight in zip(first, corner, strict=True):
                if (letter, other) in table:
                    part += weight * table[letter, other]
            low, high = bob[other]
            total += (high if part > 0 else low) * part
        greatest = max(greatest, total)
    if greatest <= 0:
        return greatest
    with localcontext(_DOWN):
        least = sum((alice[i][0] * bob[j][0] for i, j in table), Decimal(0))
    return greatest / least
