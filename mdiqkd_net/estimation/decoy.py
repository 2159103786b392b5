"""Decoy-state bounds of the four-intensity protocol: what x, y and vacuum say about single photons.

Write a_k, a'_k for the probability of k photons in Alice's x and y pulse and b_k, b'_k for Bob's,
S_lr for the expected gain of a category and T_xx for the expected error gain. With

    H  = a_0 S_ox + b_0 S_xo - a_0 b_0 S_oo                                      (vacuum part of xx)
    M  = T_xx
    S+ = a'_1 b'_2 (S_xx - T_xx) + a_1 b_2 (a'_0 S_oy + b'_0 S_yo)
    S- = a_1 b_2 (S_yy + a'_0 b'_0 S_oo)

the yield of single-photon pairs and their error rate obey

    s_11 >= (S+ - S- + a'_1 b'_2 (M - H)) / (a_1 a'_1 (b_1 b'_2 - b'_1 b_2))
    e_11 <= (M - H / 2) / (a_1 b_1 s_11)

The first line removes the pairs of one and two photons and needs the pairs of two and one to count
negatively, which holds if x_A / y_A <= x_B / y_B; otherwise Alice and Bob change places. Weights of
several counts are bounded jointly, by one tail bound for each nested sum.

Sources: Zhou, Yu & Wang, PRA 93, 042324 (2016), for the bounds and the exchange; Yu, Zhou & Wang,
PRA 91, 032318 (2015), for joint constraints; Jiang, Yu, Hu & Wang, PRA 103, 012402 (2021), for
right and wrong xx events taken apart, so that M can be scanned.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mdiqkd_net.blocks import SETTINGS, Counts
from mdiqkd_net.estimation import tails
from mdiqkd_net.estimation.tails import Bound, Tail
from mdiqkd_net.params import Source

NEEDED: Final = ("oo", "ox", "xo", "oy", "yo", "xx", "yy", "zz")
NEEDED_ERRORS: Final = ("xx", "zz")

_LEAST: Final = 1e-12
_GREATEST: Final = 100.0
"""Intensities outside say nothing about single photons, and some weights would underflow."""

_CERTAIN_BETA: Final = 50.0
"""More events than pulse pairs by chance of exp(-50) are no chance."""


@dataclass(frozen=True, slots=True)
class Tallies:
    """Counts that may be fractional: expected ones, or real ones scaled."""

    n_pulses: float
    n: Mapping[str, float]
    m: Mapping[str, float]

    @classmethod
    def of(cls, counts: "Counts | Tallies", factor: float = 1.0) -> "Tallies":
        """The same counts, as of a block that is `factor` times as long."""
        return cls(
            n_pulses=factor * counts.n_pulses,
            n={category: factor * counts.n[category] for category in NEEDED},
            m={category: factor * counts.m[category] for category in NEEDED_ERRORS},
        )


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst point that the counts allow, by whatever method it was found.

    Attributes:
        private_bits: Certified lower bound of the min-entropy over all of them.
        s11: Yield of single-photon pairs there, in [0, 1].
        e11: Their phase-error rate there, in [0, 1/2].
        n11: Single-photon pairs among the z events, realised, at least.
        phase_errors: Phase errors among them, realised, at most.
    """

    private_bits: float
    s11: float
    e11: float
    n11: float
    phase_errors: float


@dataclass(frozen=True, slots=True)
class Region:
    """Where the vacuum part H and the error gain M of xx lie, and what follows at each point.

    Attributes:
        base: S+ - S- at its worst.
        weight: a'_1 b'_2.
        denominator: a_1 a'_1 (b_1 b'_2 - b'_1 b_2).
        single: a_1 b_1.
        h_lower: Least value of H; the other limits likewise.
    """

    base: float
    weight: float
    denominator: float
    single: float
    h_lower: float
    h_upper: float
    m_lower: float
    m_upper: float

    def s11(self, difference: float) -> float:
        """Lower bound of s_11 where M - H is `difference`; it may be negative or exceed 1."""
        return (self.base + self.weight * difference) / self.denominator

    def error_yield(self, m: float, h: float) -> float:
        """Upper bound of s_11 e_11 at one point."""
        return max(0.0, m - 0.5 * h) / self.single


def sent(tallies: Counts | Tallies, alice: Source, bob: Source, category: str) -> float:
    """Expected number of pulse pairs that were sent in a category."""
    i, j = SETTINGS.index(category[0]), SETTINGS.index(category[1])
    return tallies.n_pulses * alice.probabilities[i] * bob.probabilities[j]


def region(
    tallies: Tallies,
    alice: Source,
    bob: Source,
    beta: float | None,
    tail: Tail = tails.CHERNOFF,
) -> Region:
    """Bounds from counts; each tail bound fails with probability exp(-beta).

    `beta` None takes every gain at face value: the limit of infinitely many pulses. The caller has
    made sure that all settings are in use (`faults`).
    """
    lower: Bound = tail.lower if beta is not None else _face_value
    upper: Bound = tail.upper if beta is not None else _face_value
    spent = beta if beta is not None else 0.0

    # Alice and Bob change places where the formula would otherwise be invalid, not just loose.
    swap = alice.x.intensity * bob.y.intensity > bob.x.intensity * alice.y.intensity
    first, second = (bob, alice) if swap else (alice, bob)

    def count(category: str) -> float:
        return tallies.n[category[::-1] if swap else category]

    def pairs(category: str) -> float:
        return sent(tallies, first, second, category)

    a0, a1, _ = _poisson(first.x.intensity)
    c0, c1, _ = _poisson(first.y.intensity)
    x, y = second.x.intensity, second.y.intensity
    b0, b1, b2 = _poisson(x)
    d0, _, d2 = _poisson(y)
    wrong = tallies.m["xx"]
    right = max(0.0, count("xx") - wrong)
    s_plus = _joint(
        lower,
        spent,
        (c1 * d2 / pairs("xx"), right),
        (a1 * b2 * c0 / pairs("oy"), count("oy")),
        (a1 * b2 * d0 / pairs("yo"), count("yo")),
    )
    s_minus = _joint(
        upper,
        spent,
        (a1 * b2 / pairs("yy"), count("yy")),
        (a1 * b2 * c0 * d0 / pairs("oo"), count("oo")),
    )
    one_sided = ((a0 / pairs("ox"), count("ox")), (b0 / pairs("xo"), count("xo")))
    both = a0 * b0 / pairs("oo")
    h_upper = _joint(upper, spent, *one_sided) - both * lower(count("oo"), spent)
    h_lower = _joint(lower, spent, *one_sided) - both * upper(count("oo"), spent)
    return Region(
        base=s_plus - s_minus,
        weight=c1 * d2,
        # b_1 b'_2 - b'_1 b_2 without the cancellation.
        denominator=0.5 * a1 * c1 * b0 * d0 * x * y * (y - x),
        single=a1 * b1,
        # H is a probability, so that negative values are out of the question whatever was seen.
        h_lower=max(0.0, h_lower),
        h_upper=max(0.0, h_upper),
        m_lower=lower(wrong, spent) / pairs("xx"),
        m_upper=upper(wrong, spent) / pairs("xx"),
    )


def faults(
    counts: Counts | Tallies,
    alice: Source,
    bob: Source,
    needed: Collection[str] = NEEDED,
    needed_errors: Collection[str] = NEEDED_ERRORS,
) -> str:
    """Why these counts or settings permit no statement at all, in words; empty if they do."""
    for user, (name, source) in enumerate((("Alice", alice), ("Bob", bob))):
        used = {category[user] for category in needed}
        for letter, intensity, probability in zip(
            SETTINGS, source.intensities, source.probabilities, strict=True
        ):
            if letter not in used:
                continue
            if not probability > 0.0:
                return f"{name} never sends setting {letter}, which the analysis needs"
            if letter != "o" and not _LEAST <= intensity <= _GREATEST:
                return (
                    f"{name}'s {letter} intensity is {intensity:g}; "
                    f"the analysis needs {_LEAST:g} to {_GREATEST:g} photons"
                )
    absent = [c for c in needed if c not in counts.n]
    if absent:
        return f"counts of {', '.join(absent)} are missing"
    absent = [c for c in needed_errors if c not in counts.m]
    if absent:
        return f"errors of {', '.join(absent)} are missing"
    if not counts.n_pulses > 0:
        return f"{counts.n_pulses} pulse pairs were sent"
    for kind, values in (("events", counts.n), ("errors", counts.m)):
        for category, value in values.items():
            if not (math.isfinite(value) and value >= 0):
                return f"{category} has {value} {kind}"
    for category, errors in counts.m.items():
        events = counts.n.get(category, 0)
        if errors > events:
            return f"{category} has {errors} errors in {events} events"
    total = sum(counts.n.values())
    if total > counts.n_pulses:
        return f"{total} events were counted in {counts.n_pulses} pulse pairs"
    for category in needed:
        possible = sent(counts, alice, bob, category)
        if counts.n[category] > tails.realised_upper(possible, _CERTAIN_BETA):
            return (
                f"{category} has {counts.n[category]} events, "
                f"but only about {possible:.0f} such pulse pairs were sent"
            )
    return ""


def _poisson(mean: float) -> tuple[float, float, float]:
    p0 = math.exp(-mean)
    return p0, p0 * mean, 0.5 * p0 * mean * mean


def _face_value(observed: float, beta: float) -> float:
    del beta
    return observed


def _joint(bound: Bound, beta: float, *terms: tuple[float, float]) -> float:
    """Bound a weighted sum of expectations by one tail bound for each nested sum of counts.

    With the weights in rising order, sum c_i E_i = sum_k (c_k - c_{k-1}) sum_{i >= k} E_i, and no
    difference is negative.
    """
    ordered = sorted(terms)
    total, previous = 0.0, 0.0
    for k, (weight, _) in enumerate(ordered):
        nested = sum(observed for _, observed in ordered[k:])
        total += (weight - previous) * bound(nested, beta)
        previous = weight
    return total
