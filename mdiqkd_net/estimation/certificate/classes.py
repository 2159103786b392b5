"""Classes of pulse pairs, as the designer sees them: what an adversary can tell apart.

A user's pulse has no photon, one photon, or more. With no photon it says nothing of its setting;
with one it says nothing of its basis, on average over the bit; with more it may give its basis
away. For each of these four kinds this module gives an interval for the probability that a setting
was chosen and emitted such a pulse, up to a common factor. The kind "more, in X" stands for all
photon numbers from two up at once: relative to setting y, setting x has the weight
u_n = (p_x e^-x / p_y e^-y) (x / y)^n, which falls with n towards 0, so that [0, u_2] holds all.
"""

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from mdiqkd_net.estimation.certificate.scope import SettingBox, SourceBox

Bounds = tuple[Decimal, Decimal]

KINDS: Final = ("0", "1", "X", "Z")
"""No photon, one, two or more in basis X, two or more in basis Z."""

COIN, RIGHT, WRONG = "coin", "right", "wrong"
"""Flags of a class: bits unrelated; bits (of z-z pairs: virtual X outcomes) equal; unequal."""

PLAIN_PAIRS: Final = ("oo", "ox", "oy", "oz", "xo", "yo", "zo", "zz")
TEST_PAIRS: Final = ("xx", "xy", "yx", "yy")
"""Pairs in basis X, whose bits are compared in public."""

DIGITS: Final = 60
_UP: Final = Context(prec=DIGITS, rounding=ROUND_CEILING)
_DOWN: Final = Context(prec=DIGITS, rounding=ROUND_FLOOR)
_LESS: Final = Decimal("0." + 55 * "9")
_MORE: Final = Decimal("1." + 54 * "0" + "1")
"""exp errs by half a unit of the 60th digit, and its argument by 1e-57; this is far more."""


def exp_bounds(x: Decimal) -> Bounds:
    """Enclosure of e^x, for |x| up to 1000 known to 60 digits."""
    value = _UP.exp(x)
    return _DOWN.multiply(value, _LESS), _UP.multiply(value, _MORE)


def kind_bounds(box: SourceBox) -> dict[str, dict[str, Bounds]]:
    """For each kind, the settings that can emit it and enclosures of their weights."""
    settings = {"x": box.x, "y": box.y, "z": box.z}
    zero = {letter: _photons(setting, 0) for letter, setting in settings.items()}
    low = high = Decimal(1)
    for setting in settings.values():
        low = _DOWN.subtract(low, Decimal(setting.probability[1]))
        high = _UP.subtract(high, Decimal(setting.probability[0]))
    zero["o"] = (max(low, Decimal(0)), high)
    one = {letter: _photons(setting, 1) for letter, setting in settings.items()}
    most = _UP.divide(_photons(box.x, 2)[1], _photons(box.y, 2)[0])
    unit = (Decimal(1), Decimal(1))
    return {"0": zero, "1": one, "X": {"x": (Decimal(0), most), "y": unit}, "Z": {"z": unit}}


def class_list() -> Iterator[tuple[str, str, str]]:
    """Alice's kind, Bob's kind and flag of every class; bases that differ are left out.

    For those only mismatched pairs of settings exist, which no category uses.
    """
    for a in KINDS:
        for b in KINDS:
            if {a, b} == {"X", "Z"}:
                continue
            flagged = "0" not in (a, b) and "Z" not in (a, b)
            for flag in (RIGHT, WRONG) if flagged else (COIN,):
                yield a, b, flag


def flag_share(category: str, flag: str) -> float:
    """Probability that an event of a class with this flag bears the flag of the category."""
    _, _, wanted = category.partition("/")
    if not wanted:
        return 1.0
    if flag == COIN:
        return 0.5
    return 1.0 if wanted == flag else 0.0


def _photons(setting: SettingBox, n: int) -> Bounds:
    """Enclosure of p mu^n e^-mu for n = 0, 1, 2; intensities are at most 1."""
    (low, high), (p_low, p_high) = setting.intensity, setting.probability
    ends = (high, low) if n == 0 else (low, high)
    least, greatest = (Decimal(mu) for mu in ends)
    bottom = _DOWN.multiply(Decimal(p_low), exp_bounds(least.copy_negate())[0])
    top = _UP.multiply(Decimal(p_high), exp_bounds(greatest.copy_negate())[1])
    for _ in range(n):
        bottom, top = _DOWN.multiply(bottom, least), _UP.multiply(top, greatest)
    return bottom, top
