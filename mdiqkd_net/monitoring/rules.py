"""The monitors: each a rule over public figures of a block and of those before it.

A rule returns figures for the operator and a reason for an alarm, or none. In a steady link, each
raises a false alarm in at most one block of a million (`FALSE_ALARM`, shared evenly among the tests
of a rule), asymptotically; what is not a matter of chance says so. No rule returns anything that a
key could depend on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import (
    BELL_STATES,
    CATEGORIES,
    PSI_MINUS,
    SETTING_O,
    SETTING_Y,
    SETTING_Z,
    SETTINGS,
)
from mdiqkd_net.monitoring.history import (
    DAY_S,
    HOUR_S,
    Commissioned,
    History,
    Record,
    category_counts,
    gap_histogram,
    summed,
    x_tests,
)
from mdiqkd_net.monitoring.patterns import lag_counts, residue_counts, tail_of_gaps
from mdiqkd_net.monitoring.public import Announced, PublicBlock
from mdiqkd_net.monitoring.statistics import (
    above_p,
    difference_z,
    fit_p,
    homogeneity_p,
    two_sided_p,
)

FALSE_ALARM: Final = 1e-6
RATE_Z: Final = 6.0
SHARE_LIMIT: Final = 0.1
"""Of psi-minus, around one half."""
ENOUGH_FOR_SHARE: Final = math.ceil(math.log(2.0 / FALSE_ALARM) / (2.0 * SHARE_LIMIT**2))
"""By Hoeffding's inequality a fair share passes the limit with chance `FALSE_ALARM` at most."""

X_FLOOR: Final = 0.25
"""X errors of faint coherent light of random phase cannot be fewer (Lo, Curty & Qi 2012)."""
X_FLOOR_SLOPE: Final = 0.1
"""How much lower the floor is for bright light, times the received intensity. In numbers it is
0.065 for equal arms; the rest allows for an intensity that is estimated from saturated gains."""
SATURATION: Final = 2.0
"""Deviation of the yields from each other that is allowed, times the received intensity."""
LAGS: Final = range(1, 9)
MODULI: Final = range(2, 65)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has found.

    Attributes:
        figures: For the operator.
        alarm: Why somebody should look; None if nobody need.
    """

    figures: Mapping[str, Any]
    alarm: str | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """What a rule may look at."""

    block: PublicBlock
    events: Announced
    t_s: float
    history: History
    commissioned: Commissioned

    @cached_property
    def categories(self) -> NDArray[np.int64]:
        """Accepted events per category, (16,)."""
        return category_counts(self.block, self.events)

    @cached_property
    def x_tests(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Test events of xx and yy, and errors among them, per Bell state; (2,) each."""
        return x_tests(self.events)

    @cached_property
    def gaps(self) -> NDArray[np.int64]:
        """Distances of neighbouring events, (n - 1,)."""
        return np.diff(self.events.pulses)

    @cached_property
    def received(self) -> float:
        """Greatest mean photon number that is detected of a pulse, from the yield in X.

        Of two single photons at transmittance t, t^2 / 2 make a Bell state that can be told.
        """
        yield_x, _ = _pair_yield(self.block, self.categories, SETTING_Y)
        brightest = max(max(intensities) for intensities in self.block.intensities)
        return brightest * math.sqrt(2.0 * max(yield_x, 0.0))

    def record(self, lag_p99_s: float | None) -> Record:
        """What later blocks are held against."""
        n_x, m_x = self.x_tests
        return Record(
            t_s=self.t_s,
            n_pulses=self.block.n_pulses,
            announced=self.events.pulses.size,
            categories=self.categories,
            n_key=self.block.n_key if self.block.m_key is not None else 0,
            m_key=self.block.m_key or 0,
            n_x=n_x,
            m_x=m_x,
            gaps=gap_histogram(self.gaps),
            lag_p99_s=lag_p99_s,
        )

    def before(self, span_s: float = DAY_S) -> list[Record]:
        """Blocks of the last while."""
        return self.history.within(self.t_s, span_s)


def rates(scene: Scene) -> Finding:
    """MON-01: announcements per second against the last day; labels near one half.

    The rate alarms beyond six standard deviations, the share beyond 0.5 +- 0.1, if both labels
    count and there are enough events.
    """
    block, n = scene.block, scene.events.pulses.size
    minus = int((scene.events.outcomes == PSI_MINUS).sum())
    share = minus / n if n else None
    before = scene.before()
    n_before = sum(record.announced for record in before)
    z = difference_z(n, block.n_pulses, n_before, sum(record.n_pulses for record in before))
    figures = {
        "announced_per_s": n * block.pulse_rate_hz / block.n_pulses,
        "rate_z": z,
        "psi_minus_share": share,
    }
    if abs(z) > RATE_Z:
        return Finding(figures, f"the rate of announcements has moved by {z:.1f} sigma")
    both = set(block.bell_states) == set(BELL_STATES)
    if both and share is not None and n >= ENOUGH_FOR_SHARE and abs(share - 0.5) > SHARE_LIMIT:
        return Finding(figures, f"{share:.1%} of the announcements are psi-minus")
    return Finding(figures)


def gains(scene: Scene) -> Finding:
    """MON-02: events per category against the commissioned gains, or against the last day."""
    block = scene.block
    counts = scene.categories
    commissioned = scene.commissioned.gains
    if commissioned:
        alice, bob = block.probabilities
        shares = np.outer(alice, bob).ravel() * block.n_pulses
        expected = shares * np.array([commissioned.get(name, 0.0) for name in CATEGORIES])
        known = np.array([name in commissioned for name in CATEGORIES])
        # A systematic deviation within the tolerance counts as a further variance.
        weight = 1.0 + scene.commissioned.gain_tolerance**2 * expected
        p = fit_p((counts / weight)[known], (expected / weight)[known], scale_free=False)
    else:
        before = summed(scene.before(), lambda record: record.categories)
        p = 1.0 if before is None else homogeneity_p(counts, before)
    figures = {"gains_p": p}
    if p < FALSE_ALARM:
        return Finding(figures, f"the table of gains has changed (p = {p:.1e})")
    return Finding(figures)


def error_rates(scene: Scene) -> Finding:
    """MON-03: errors of Z, and of X per Bell state, against the last hour; X not below its floor.

    The floor holds for xx and yy as long as phases are random and arms alike; it is higher if they
    are not. No drift of less than five standard deviations alarms: at three, as is often proposed,
    chance would every few hundred blocks.
    """
    block = scene.block
    n_x, m_x = scene.x_tests
    before = scene.before(HOUR_S)
    n_x_before = summed(before, lambda record: record.n_x)
    m_x_before = summed(before, lambda record: record.m_x)
    drifts = {}
    if block.m_key is not None:
        m_before = sum(record.m_key for record in before)
        n_before = sum(record.n_key for record in before)
        drifts["qber_z"] = difference_z(block.m_key, block.n_key, m_before, n_before)
    for label, name in enumerate(BELL_STATES):
        if n_x_before is not None and m_x_before is not None:
            drifts[f"qber_x_{name}"] = difference_z(
                m_x[label], n_x[label], m_x_before[label], n_x_before[label]
            )
    n, m = int(n_x.sum()), int(m_x.sum())
    floor = max(X_FLOOR - X_FLOOR_SLOPE * scene.received, 0.0)
    spread = math.sqrt(floor * (1.0 - floor) * n)
    below = (m - floor * n) / spread if spread > 0.0 else 0.0
    figures: dict[str, Any] = {
        "qber_z": block.m_key / block.n_key if block.m_key is not None and block.n_key else None,
        **{f"qber_x_{name}": _ratio(m_x[i], n_x[i]) for i, name in enumerate(BELL_STATES)},
        "error_drift_z": drifts,
    }
    level = FALSE_ALARM / 4.0
    for name, z in drifts.items():
        if two_sided_p(z) < level:
            return Finding(figures, f"{name} has moved by {z:.1f} sigma")
    if above_p(-below) < level:
        return Finding(figures, f"X errors of {m / n:.1%} are fewer than coherent light allows")
    return Finding(figures)


def bases(scene: Scene) -> Finding:
    """MON-04: the yield in Z against that in X, cleared of what one user alone causes.

    Q(ab) - Q(ao) - Q(ob) + Q(oo), over both intensities, is the yield of single-photon pairs up to
    terms of the order of the received intensity, in either basis. Twice the received intensity
    is allowed for these (an approximation, about twice what they are in numbers, not a bound); the
    rest is held against Poisson errors.
    """
    counts = scene.categories
    (z, z_error), (x, x_error) = (
        _pair_yield(scene.block, counts, s) for s in (SETTING_Z, SETTING_Y)
    )
    figures = {"yield_z": z, "yield_x": x}
    if x <= 0.0 or z <= 0.0:
        return Finding(figures)
    allowed = SATURATION * scene.received
    ratio = z / x
    error = ratio * math.hypot(z_error / z, x_error / x)
    away = (abs(ratio - 1.0) - allowed) / error
    if away > 0.0 and two_sided_p(away) < FALSE_ALARM:
        return Finding(figures, f"the yield in Z is {ratio:.2f} times that in X")
    return Finding(figures)


def patterns(scene: Scene) -> Finding:
    """MON-05: pulse numbers modulo 2 to 64; distances of events, their law and their memory."""
    pulses, commissioned = scene.events.pulses, scene.commissioned
    tests = {
        f"modulo {m}": fit_p(counts, expected)
        for m, counts, expected in residue_counts(pulses, scene.block.n_pulses, MODULI)
    }
    if commissioned.steady:
        counts, expected = tail_of_gaps(scene.gaps, commissioned.dead_pulses)
        tests["the law of distances"] = fit_p(counts, expected, fitted=1)
        gaps = scene.gaps.astype(np.float64)
        for lag, r in _autocorrelations(gaps).items():
            tests[f"the correlation of distances, lag {lag}"] = two_sided_p(
                r * math.sqrt(gaps.size)
            )
    before = summed(scene.before(), lambda record: record.gaps)
    if before is not None:
        tests["distances against earlier blocks"] = homogeneity_p(gap_histogram(scene.gaps), before)
    return _least(tests, "pattern")


def visibility(scene: Scene) -> Finding:
    """MON-07: 1 - 2 QBER of xx and yy, not below what it was when the link was new."""
    n_x, m_x = scene.x_tests
    n, m = int(n_x.sum()), int(m_x.sum())
    if not n:
        return Finding({"visibility": None})
    figures = {"visibility": 1.0 - 2.0 * m / n}
    start = scene.commissioned.visibility
    if start is not None:
        error = 0.5 * (1.0 - start)
        spread = math.sqrt(n * error * (1.0 - error))
        z = (m - n * error) / spread if spread > 0.0 else 0.0
    else:
        first = next((record for record in scene.history if record.n_x.sum()), None)
        if first is None:
            return Finding(figures)
        z = difference_z(m, n, int(first.m_x.sum()), int(first.n_x.sum()))
    if above_p(z) < FALSE_ALARM:
        return Finding(figures, f"interference has lost visibility ({z:.1f} sigma)")
    return Finding(figures)


def memory(scene: Scene) -> Finding:
    """MON-10: whether what a user sent has to do with an announcement some pulses later.

    Of every pair of announced events at distance 1 to 8, the settings of the earlier one, against
    those of the events without such a successor. Nobody reveals settings of other pulses.
    """
    tests = {}
    for lag, user, followed, alone in lag_counts(scene.events.pulses, scene.events.settings, LAGS):
        tests[f"{'AB'[user]} {lag} before"] = homogeneity_p(followed, alone)
    return _least(tests, "memory")


RULES: Final[Mapping[str, Callable[[Scene], Finding]]] = {
    "MON-01": rates,
    "MON-02": gains,
    "MON-03": error_rates,
    "MON-04": bases,
    "MON-05": patterns,
    "MON-07": visibility,
    "MON-10": memory,
}
"""Those that need the events of a block; `watch` has the others."""


def _least(tests: Mapping[str, float], name: str) -> Finding:
    where, p = min(tests.items(), key=lambda item: item[1], default=("", 1.0))
    p = min(1.0, p * max(1, len(tests)))
    figures = {f"{name}_p": p}
    if p < FALSE_ALARM:
        return Finding(figures, f"{where}: p = {p:.1e}")
    return Finding(figures)


def _pair_yield(block: PublicBlock, counts: NDArray[np.int64], setting: int) -> tuple[float, float]:
    """Mixed difference of gains over intensities, and its Poisson error."""
    value = variance = 0.0
    for a, b, sign in (
        (setting, setting, 1.0),
        (setting, SETTING_O, -1.0),
        (SETTING_O, setting, -1.0),
        (SETTING_O, SETTING_O, 1.0),
    ):
        sent = block.n_pulses * block.probabilities[0][a] * block.probabilities[1][b]
        if sent <= 0.0:
            return 0.0, 0.0
        n = int(counts[len(SETTINGS) * a + b])
        value += sign * n / sent
        variance += max(n, 1) / sent**2
    scale = block.intensities[0][setting] * block.intensities[1][setting]
    return value / scale, math.sqrt(variance) / scale


def _autocorrelations(gaps: NDArray[np.float64]) -> dict[int, float]:
    if gaps.size <= max(LAGS) or gaps.size < ENOUGH_FOR_SHARE:
        return {}
    centered = gaps - gaps.mean()
    power = float(centered @ centered)
    if power <= 0.0:
        return {}
    return {lag: float(centered[lag:] @ centered[:-lag]) / power for lag in LAGS}


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
