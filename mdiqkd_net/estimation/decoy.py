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

Within declared bounds of the sources (`source_bounds`) every coefficient stands at the end of its
interval where the inequality is worst, and H and M are those of pulses that are not stray. The
derivation is in docs/explanation/estimation.md; with ideal sources it gives the lines above.

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
from mdiqkd_net.estimation.accounting import TAIL_EVENTS
from mdiqkd_net.estimation.source_bounds import Light, lights, stray_share, uncovered
from mdiqkd_net.estimation.tails import Bound, Tail
from mdiqkd_net.params import IDEAL, Source

NEEDED: Final = ("oo", "ox", "xo", "oy", "yo", "xx", "yy", "zz")
NEEDED_ERRORS: Final = ("xx", "zz")

_LEAST: Final = 1e-12
_GREATEST: Final = 100.0
"""Intensities outside say nothing about single photons, and some weights would underflow."""

_NEVER: Final = 1e-60
"""Settings chosen more rarely are not chosen; the number of their pairs would underflow."""

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
        weight: a'_1 b'_2 at least.
        denominator: a_1 a'_1 (b_1 b'_2 - b'_1 b_2) with x at its most and y at its least.
        single: a_1 b_1 at least.
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


@dataclass(frozen=True, slots=True)
class _User:
    """What one user's o, x and y have in common, at its worst; k photons from y are a'_k.

    Attributes:
        dark: Least probability that o emits no photon.
        x_dark: Least probability that x emits none, a_0.
        x_dark_most: The greatest.
        x_like: Greatest probability of n photons from o over that from x, for any n > 0.
        y_dark: Least probability that y emits no photon, a'_0.
        y_like: Greatest probability of n photons from o over that from y, for any n > 0.
    """

    dark: float
    x_dark: float
    x_dark_most: float
    x_like: float
    y_dark: float
    y_like: float

    @classmethod
    def of(cls, light: Mapping[str, Light]) -> "_User":
        o, x, y = light["o"], light["x"], light["y"]
        one = o.chance(1)[1]
        return cls(
            dark=o.chance(0)[0],
            x_dark=math.exp(-x.high),
            x_dark_most=math.exp(-x.low),
            x_like=one / _poisson(x.low)[1],
            y_dark=math.exp(-y.high),
            y_like=one / _poisson(y.low)[1],
        )

    @staticmethod
    def rest(dark: float, like: float) -> float:
        """Share of the vacuum part of x or y that o shows beside the photons it has itself."""
        return 1.0 - dark * like


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
    of_alice, of_bob = lights(alice), lights(bob)
    swap = of_alice["x"].high * of_bob["y"].low > of_bob["x"].high * of_alice["y"].low
    if swap:
        first, second, of_first, of_second = bob, alice, of_bob, of_alice
    else:
        first, second, of_first, of_second = alice, bob, of_alice, of_bob

    def count(category: str) -> float:
        return tallies.n[category[::-1] if swap else category]

    def pairs(category: str) -> float:
        return sent(tallies, first, second, category)

    def stray(category: str) -> float:
        """Greatest gain that stray pulses can have in a category."""
        share = stray_share(first, second, category)
        if share <= 0.0 or beta is None:
            return share
        return tails.realised_upper(pairs(category) * share, beta) / pairs(category)

    left, right = _User.of(of_first), _User.of(of_second)
    # One and two photons at most in x, at least in y.
    _, a1, _ = _poisson(of_first["x"].high)
    _, c1, _ = _poisson(of_first["y"].low)
    x, y = of_second["x"].high, of_second["y"].low
    b0, _, b2 = _poisson(x)
    d0, _, d2 = _poisson(y)
    wrong = tallies.m["xx"]
    right_xx = max(0.0, count("xx") - wrong)
    stray_xx = stray("xx")

    from_oy = a1 * b2 * left.y_dark / left.rest(left.y_dark, left.y_like)
    from_yo = a1 * b2 * right.y_dark / right.rest(right.y_dark, right.y_like)
    s_plus = _joint(
        lower,
        spent,
        (c1 * d2 / pairs("xx"), right_xx),
        (from_oy / pairs("oy"), count("oy")),
        (from_yo / pairs("yo"), count("yo")),
    )
    s_plus -= c1 * d2 * stray_xx + from_oy * stray("oy") + from_yo * stray("yo")
    if stray("oy") + stray("yo") > 0.0:
        s_plus = max(s_plus, c1 * d2 * (lower(right_xx, spent) / pairs("xx") - stray_xx))
    s_minus = _joint(
        upper,
        spent,
        ((a1 * b2 + from_oy * left.y_like + from_yo * right.y_like) / pairs("yy"), count("yy")),
        (a1 * b2 * left.y_dark * right.y_dark / pairs("oo"), count("oo")),
    )

    from_ox, from_xo = left.x_dark_most / left.dark, right.x_dark_most / right.dark
    both = min(from_ox * right.x_dark, from_xo * left.x_dark) if stray("oo") <= 0.0 else 0.0
    h_upper = _joint(
        upper, spent, (from_ox / pairs("ox"), count("ox")), (from_xo / pairs("xo"), count("xo"))
    ) - both / pairs("oo") * lower(count("oo"), spent)
    from_ox = left.x_dark / left.rest(left.x_dark, left.x_like)
    from_xo = right.x_dark / right.rest(right.x_dark, right.x_like)
    both = left.x_dark * right.x_dark
    h_lower = _joint(
        lower, spent, (from_ox / pairs("ox"), count("ox")), (from_xo / pairs("xo"), count("xo"))
    ) - both / pairs("oo") * upper(count("oo"), spent)
    h_lower -= from_ox * stray("ox") + from_xo * stray("xo")
    if (alike := from_ox * left.x_like + from_xo * right.x_like) > 0.0:
        h_lower -= alike * upper(count("xx"), spent) / pairs("xx")
    return Region(
        base=s_plus - s_minus,
        weight=c1 * d2,
        # b_1 b'_2 - b'_1 b_2 without the cancellation.
        denominator=0.5 * a1 * c1 * b0 * d0 * x * y * (y - x),
        single=_poisson(of_first["x"].low)[1] * _poisson(of_second["x"].low)[1],
        # H is a probability, so that negative values are out of the question whatever was seen.
        h_lower=max(0.0, h_lower),
        h_upper=max(0.0, h_upper),
        m_lower=max(0.0, lower(wrong, spent) / pairs("xx") - stray_xx),
        m_upper=upper(wrong, spent) / pairs("xx"),
    )


def scan_events(alice: Source, bob: Source) -> Mapping[str, int]:
    """Every use of a tail bound in the double scan of a block from these sources."""
    if alice.bounds == bob.bounds == IDEAL:
        return TAIL_EVENTS
    events = dict(TAIL_EVENTS)
    strays = [c for c in ("xx", "oy", "yo", "ox", "xo") if stray_share(alice, bob, c) > 0.0]
    events |= {f"stray pulses among {category}: at most": 1 for category in strays}
    if strays:
        events["right xx from below, by themselves"] = 1
    if any(lights(user)["o"].is_lit for user in (alice, bob)):
        events["H from below: all xx from above"] = 1
    return events


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
            if not probability > _NEVER:
                return f"{name} never sends setting {letter}, which the analysis needs"
            if letter != "o" and not _LEAST <= intensity <= _GREATEST:
                return (
                    f"{name}'s {letter} intensity is {intensity:g}; "
                    f"the analysis needs {_LEAST:g} to {_GREATEST:g} photons"
                )
        if why := uncovered(name, source):
            return why
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
