"""The independent checker: does a design satisfy every condition that the proof asks for?

It reads the canonical bytes of a design and shares no code with the search: other arithmetic
(integers in units of 2^-256, rounded against the design), its own list of classes, its own photon
statistics, every corner tried. What passes is safe, however it was found. The conditions are those
of docs/explanation/certificate.md, theorem 1:

1. Both sources lie in the scope of the proof.
2. For every class c and all sources in the boxes, sum_i q_ic (exp(theta (s_i - g_ic)) - 1) <= 0.
3. 2^gain_right + 2^gain_wrong <= 2, and gain_wrong < gain_right.
4. exp(theta offset) >= (4 / eps_sec)^2.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NoReturn

from mdiqkd_net.errors import ConfigError

_BITS: Final = 256
_ONE: Final = 1 << _BITS
_UNIT_BITS: Final = 48
_FORMAT: Final = "mdiqkd-net weight certificate 1"
_KEYS: Final = {
    "format", "alice", "bob", "eps_sec", "theta", "gain_right", "gain_wrong", "scores", "offset",
}  # fmt: skip
_CATEGORY: Final = re.compile(r"(o[oxyz]|[xy]o|z[oz]|[xy]{2}(/right|/wrong)?)")
_MAX_EXPONENT: Final = 600
_MAX_TEXT: Final = 16384

Pair = tuple[int, int]
"""A non-negative real number, enclosed in units of 2^-256."""


class InvalidDesignError(ConfigError):
    """A design that must not be used; says which condition fails."""


def check_design(canonical: bytes) -> None:
    """Return if the design may be used.

    Args:
        canonical: Its canonical encoding, the bytes whose SHA-256 is frozen.

    Raises:
        InvalidDesignError: Saying which condition of the proof fails, or that it cannot be read.
    """
    if len(canonical) > _MAX_TEXT:
        _refuse(f"found {len(canonical)} bytes; allowed: {_MAX_TEXT}")
    try:
        raw = json.loads(canonical)
        again = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        _refuse(f"it is not JSON: {error}")
    if again != canonical or not isinstance(raw, dict) or set(raw) != _KEYS:
        _refuse("its fields or their encoding are not canonical")
    if raw["format"] != _FORMAT:
        _refuse(f"format: found {raw['format']!r}; allowed: {_FORMAT!r}")
    alice, bob = (_columns(raw[name], name) for name in ("alice", "bob"))
    theta, eps = _real(raw["theta"], "theta"), _real(raw["eps_sec"], "eps_sec")
    if not (0 < theta <= 1 and 0 < eps < 1):
        _refuse("theta or eps_sec is not between 0 and 1")
    right, wrong, offset = (_units(raw[k], k) for k in ("gain_right", "gain_wrong", "offset"))
    scores = _scores(raw["scores"])
    if not (wrong < right and _power_of_two_upper(right) + _power_of_two_upper(wrong) <= 2 * _ONE):
        _refuse("gain_right and gain_wrong do not bound the entropy of phase errors")
    if Fraction(_exp(theta * offset / 2**_UNIT_BITS)[0], _ONE) < (4 / eps) ** 2:
        _refuse("the offset does not pay for the failure probability (eps_sec / 4)^2")
    for name, excess in _class_sums(alice, bob, theta, right, wrong, scores):
        if excess > 0:
            _refuse(f"class {name}: a sum of probability times (factor - 1) exceeds 0")


def _class_sums(
    alice: dict[str, list[dict[str, Pair]]],
    bob: dict[str, list[dict[str, Pair]]],
    theta: Fraction,
    right: int,
    wrong: int,
    scores: dict[str, int],
) -> Iterator[tuple[str, int]]:
    """Name and upper bound of every class sum, corner by corner."""
    per_unit = theta / 2**_UNIT_BITS
    plain = {name: _exp(per_unit * units)[1] - _ONE for name, units in scores.items()}
    for (first, a_corners), (second, b_corners) in itertools.product(alice.items(), bob.items()):
        flags = ["none"]
        if first in ("1 photon", "X, 2 or more") and second in ("1 photon", "X, 2 or more"):
            flags = ["right", "wrong"]
        for flag in flags:
            excess = dict(plain)
            if first == second == "1 photon":
                gain = right if flag == "right" else wrong
                excess["zz"] = _exp(per_unit * (scores["zz"] - gain))[1] - _ONE
            name = f"({first}; {second}; {flag})"
            for a, b in itertools.product(a_corners, b_corners):
                yield name, _upper_sum(a, b, excess, flag)


def _upper_sum(a: dict[str, Pair], b: dict[str, Pair], excess: dict[str, int], flag: str) -> int:
    """Twice one class sum, rounded up, in units of 2^-768."""
    total = 0
    for name, value in excess.items():
        if name[0] not in a or name[1] not in b:
            continue
        twice = 2
        if "/" in name:
            twice = 1 if flag == "none" else 2 * (name[3:] == flag)
        end = 1 if value > 0 else 0
        total += twice * a[name[0]][end] * b[name[1]][end] * value
    return total


def _columns(raw: Any, user: str) -> dict[str, list[dict[str, Pair]]]:
    """Every corner of a user's box as setting to probability of emission, by photon number."""
    if not isinstance(raw, dict) or set(raw) != {"vacuum", "x", "y", "z"}:
        _refuse(f"{user}: allowed: vacuum, x, y and z")
    if [_real(v, f"{user}.vacuum") for v in _items(raw["vacuum"], 2, user)] != [0, 0]:
        _refuse(f"{user}: the vacuum setting is not exact vacuum")
    mu: dict[str, list[Fraction]] = {}
    p: dict[str, list[Fraction]] = {}
    for letter in "xyz":
        values = [_real(v, f"{user}.{letter}") for v in _items(raw[letter], 4, user)]
        mu[letter], p[letter] = values[:2], values[2:]
        if not (0 < mu[letter][0] <= mu[letter][1] <= 1):
            _refuse(f"{user}: {letter} intensities are not an interval in (0, 1]")
        if not (0 < p[letter][0] <= p[letter][1] <= 1):
            _refuse(f"{user}: {letter} probabilities are not an interval in (0, 1]")
    if mu["x"][1] >= mu["y"][0]:
        _refuse(f"{user}: x intensities reach up to those of y")
    rest = [1 - sum((p[k][end] for k in "xyz"), Fraction(0)) for end in (1, 0)]
    if rest[0] <= 0:
        _refuse(f"{user}: nothing is left for vacuum")

    def ends(n: int) -> dict[str, list[Pair]]:
        # p mu^n e^-mu rises with mu for n = 1 and 2 and falls for n = 0, as mu <= 1.
        found = {}
        for letter in "xyz":
            span = mu[letter] if n else mu[letter][::-1]
            found[letter] = [
                _times(_exp(-m), q * Fraction(m**n)) for m, q in zip(span, p[letter], strict=True)
            ]
        return found

    one, two = ends(1), ends(2)
    zero = {"o": [_times((_ONE, _ONE), q) for q in rest], **ends(0)}
    unit = (_ONE, _ONE)
    most = -(-two["x"][1][1] * _ONE // two["y"][0][0])
    return {
        "0 photons": _all_corners(zero),
        "1 photon": _all_corners(one),
        "X, 2 or more": [{"x": (0, 0), "y": unit}, {"x": (most, most), "y": unit}],
        "Z, 2 or more": [{"z": unit}],
    }


def _all_corners(ends: dict[str, list[Pair]]) -> list[dict[str, Pair]]:
    return [
        dict(zip(ends, corner, strict=True))
        for corner in itertools.product(*(dict.fromkeys(pair) for pair in ends.values()))
    ]


def _scores(raw: Any) -> dict[str, int]:
    scores: dict[str, int] = {}
    for item in raw if isinstance(raw, list) else _refuse("scores: allowed: a list"):
        name, units = _items(item, 2, "scores")
        if not isinstance(name, str) or not _CATEGORY.fullmatch(name) or name in scores:
            _refuse(f"scores: found category {name!r}, which is unknown or named twice")
        scores[name] = _units(units, name)
    for name in scores:
        pair = name[:2]
        if "/" in name and (
            pair in scores or not {pair + "/right", pair + "/wrong"} <= set(scores)
        ):
            _refuse(f"scores: {pair} is neither whole nor taken apart into right and wrong")
    if "zz" not in scores:
        _refuse("scores: zz is missing")
    return scores


def _items(raw: Any, n: int, where: str) -> list[Any]:
    if not isinstance(raw, list) or len(raw) != n:
        _refuse(f"{where}: allowed: lists of {n}")
    return raw


def _units(raw: Any, where: str) -> int:
    if type(raw) is not int or abs(raw) >= 1 << 120:
        _refuse(f"{where}: allowed: an integer number of units")
    return raw


def _real(raw: Any, where: str) -> Fraction:
    try:
        value = float.fromhex(raw)
        if not math.isfinite(value) or value.hex() != raw:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        _refuse(f"{where}: allowed: a finite double in hexadecimal")
    return Fraction(value)


def _times(value: Pair, factor: Fraction) -> Pair:
    top, bottom = factor.numerator, factor.denominator
    return value[0] * top // bottom, -(-value[1] * top // bottom)


def _exp(x: Fraction) -> Pair:
    """Enclosure of e^x: Taylor's series after halving the argument, then squaring."""
    if abs(x) > _MAX_EXPONENT:
        _refuse("theta times a score is out of all proportion")
    if x < 0:
        low, high = _exp(-x)
        return _ONE * _ONE // high, -(-_ONE * _ONE // low)
    halvings = max(0, math.ceil(x).bit_length() + 1)
    small_low = (x.numerator << _BITS) // (x.denominator << halvings)
    low, high = _ONE, _ONE
    term_low, term_high, n = _ONE, _ONE, 0
    while term_high > 1:
        n += 1
        term_low = term_low * small_low // (n << _BITS)
        term_high = -(-term_high * (small_low + 1) // (n << _BITS))
        low, high = low + term_low, high + term_high
    high += 2  # All further terms together are below the last one.
    for _ in range(halvings):
        low, high = low * low >> _BITS, -(-high * high >> _BITS)
    return low, high


def _power_of_two_upper(units: int) -> int:
    """Upper bound of 2^(units / 2^48): products of repeated square roots, rounded up."""
    whole, fraction = units >> _UNIT_BITS, units & ((1 << _UNIT_BITS) - 1)
    if abs(whole) > _BITS // 2:
        _refuse("gain_right or gain_wrong is out of all proportion")
    value, root = _ONE, 2 * _ONE
    for bit in reversed(range(_UNIT_BITS)):
        root = math.isqrt(root << _BITS) + 1
        if fraction >> bit & 1:
            value = (value * root >> _BITS) + 1
    return value << whole if whole >= 0 else (value >> -whole) + 1


def _refuse(what: str) -> NoReturn:
    raise InvalidDesignError(f"certificate check: {what}")
