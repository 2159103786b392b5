"""A design: everything that is fixed before a block, as exact numbers with one canonical form.

Bits are counted in units of 2^-48, as integers, and `theta` is a double, which is a rational
number. The certificate is a statement about exactly these numbers, so that nothing is left to
rounding: the sum of events times scores is an integer.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.certificate.scope import SettingBox, SourceBox

LABEL: Final = "proof published with the code, not yet peer-reviewed"
"""Stands wherever a number of the certificate is shown."""

UNITS_PER_BIT: Final = 2**48

_FORMAT: Final = "mdiqkd-net weight certificate 1"


@dataclass(frozen=True, slots=True)
class Design:
    """Scores of all categories, frozen before a block.

    With n_right and n_wrong single-photon pairs among the z-z events without and with a phase
    error, the design asserts that G = gain_right n_right + gain_wrong n_wrong is at least
    (sum of scores over all events) - offset, except with probability (eps_sec / 4)^2. In the
    notation of the proof, w_i = exp(theta score_i) - 1.

    Attributes:
        alice: Calibrated intervals of her source.
        bob: Of his.
        eps_sec: Secrecy budget of the key that the offset belongs to.
        theta: Weight of a bit in the exponent, per bit.
        gain_right: At most 1 + log2(1 - e), in units.
        gain_wrong: At most 1 + log2(e), in units.
        scores: Category and units per event, in fixed order. A category is a pair of settings, or
            "xx/right" and "xx/wrong" where bits are compared. Events of other categories count
            nothing.
        offset: Units to subtract, at least ln(1 / P_fail) / theta.
    """

    alice: SourceBox
    bob: SourceBox
    eps_sec: float
    theta: float
    gain_right: int
    gain_wrong: int
    scores: tuple[tuple[str, int], ...]
    offset: int

    def canonical(self) -> bytes:
        """The one encoding of this design: JSON, sorted, doubles in hexadecimal."""
        fields = {
            "format": _FORMAT,
            "alice": _box_out(self.alice),
            "bob": _box_out(self.bob),
            "eps_sec": self.eps_sec.hex(),
            "theta": self.theta.hex(),
            "gain_right": self.gain_right,
            "gain_wrong": self.gain_wrong,
            "scores": [list(item) for item in self.scores],
            "offset": self.offset,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    def digest(self) -> str:
        """SHA-256 of the canonical encoding, hexadecimal: what both users agree on in advance."""
        return hashlib.sha256(self.canonical()).hexdigest()


def parse_design(data: bytes) -> Design:
    """Read a canonical encoding.

    Raises:
        ConfigError: If it is none, or not the canonical one.
    """
    try:
        raw = json.loads(data)
        design = Design(
            alice=_box_in(raw["alice"]),
            bob=_box_in(raw["bob"]),
            eps_sec=float.fromhex(raw["eps_sec"]),
            theta=float.fromhex(raw["theta"]),
            gain_right=raw["gain_right"],
            gain_wrong=raw["gain_wrong"],
            scores=tuple((name, units) for name, units in raw["scores"]),
            offset=raw["offset"],
        )
        same = design.canonical() == data
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise ConfigError(f"certificate design: cannot be read: {error!r}") from None
    if not same:
        raise ConfigError("certificate design: found another encoding; allowed: the canonical one")
    return design


def units_down(bits: float) -> int:
    """Bits as units, rounded down."""
    return math.floor(bits * UNITS_PER_BIT)


def _box_out(box: SourceBox) -> dict[str, list[str]]:
    fields = {"vacuum": [v.hex() for v in box.vacuum]}
    for letter, setting in (("x", box.x), ("y", box.y), ("z", box.z)):
        fields[letter] = [v.hex() for v in (*setting.intensity, *setting.probability)]
    return fields


def _box_in(raw: dict[str, list[str]]) -> SourceBox:
    def setting(letter: str) -> SettingBox:
        a, b, c, d = (float.fromhex(v) for v in raw[letter])
        return SettingBox((a, b), (c, d))

    low, high = (float.fromhex(v) for v in raw["vacuum"])
    return SourceBox(setting("x"), setting("y"), setting("z"), (low, high))
