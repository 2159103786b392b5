"""What the tag level computes before the first pulse: detectors, and the light in their gates."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics._tag_kernels import WIDEST_EXPONENTIAL, WIDEST_NORMAL
from mdiqkd_net.physics.optics import FLIPPED

PS: Final = 1e12
"""Picoseconds in a second."""

_FAINT: Final = 1.0
"""Mean photons of the brightest pair up to which pulses are worth stepping over."""


@dataclass(frozen=True, slots=True)
class TagDetector:
    """One free-running detector with its channel of the tagger.

    A click is timed when the electronics see it: the arrival of the light, plus the skew of the
    channel, plus jitter. From a click on, the detector is blind for its dead time; photons, dark
    counts and releases that fall into it are lost and do not prolong it (non-paralyzable).

    Jitter is a Gaussian and, for a share of the clicks, an exponential delay on top. Source of the
    shape: Sidorova et al., PRB 98, 134504 (2018) for superconducting nanowires; with a share below
    1 it is the diffusion tail of a SPAD, as in Lacaita, Ghioni & Cova, Electron. Lett. (1989),
    doi 10.1049/el:19890567.
    The width of the light pulse may be added to `jitter_s` in quadrature.

    Every click, be it of light, dark or an afterpulse, fills at most one trap. The trap releases
    its carrier after an exponential time; if the detector is at rest by then, that is a click.

    Attributes:
        efficiency: Chance that one photon makes a click.
        dark_rate_hz: Of a detector at rest.
        dead_time_s: After every click.
        jitter_s: Standard deviation of the Gaussian.
        tail_weight: Share of clicks with an exponential delay.
        tail_s: Mean of that delay.
        skew_s: Delay of the channel, either sign.
        afterpulses: Pairs (chance, mean time to release in s): of the kinds of traps a click may
            fill. The chances add up to less than 1.

    Raises:
        DeviceError: On a number that no detector has.
    """

    efficiency: float
    dark_rate_hz: float = 0.0
    dead_time_s: float = 0.0
    jitter_s: float = 0.0
    tail_weight: float = 0.0
    tail_s: float = 0.0
    skew_s: float = 0.0
    afterpulses: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        _check_range("efficiency", self.efficiency, 0.0, 1.0)
        _check_range("tail_weight", self.tail_weight, 0.0, 1.0)
        _check_range("dark_rate_hz", self.dark_rate_hz, 0.0, 1e11)
        for name in ("dead_time_s", "jitter_s", "tail_s"):
            _check_range(name, getattr(self, name), 0.0, 1.0)
        _check_range("skew_s", self.skew_s, -1.0, 1.0)
        for chance, release_s in self.afterpulses:
            _check_range("chance of an afterpulse", chance, 0.0, 1.0)
            _check_range("release time of an afterpulse", release_s, 0.0, 1e3)
        total = sum(chance for chance, _ in self.afterpulses)
        if total >= 1.0:
            raise DeviceError(
                f"chances of afterpulses: found {total:.6g} in all; allowed: below 1, "
                "or one click would start an endless train"
            )


@dataclass(frozen=True, slots=True, eq=False)
class TagTables:
    """What can be computed before the first pulse, for all 49 pairs of states.

    Row 7 a + b is the pair (a, b); column 2 m + s is the gate of bin m and detector s.

    Attributes:
        bound: The chance that a pulse is a candidate; none clicks more often.
        mean: Photons of the Poisson process that bounds the light of every pair; infinite if the
            light is too bright for that, and every pulse a candidate.
        many: (k,) chance that this process has up to 1, 2, ... photons if it has any.
        single: (49, 4) cumulative chance of a candidate with one photon that clicks in each gate.
        base: (49, 4) mean photons that click per gate, averaged over the phase.
        beat: (49, 4) complex; gate g gets base + Re(beat e^{iφ}), φ the relative phase.
        misalignment: Chance that Bob's bit is flipped.
        centers_ps: (4,) average click after the arrival of its pulse.
        detectors: Both.
    """

    bound: float
    mean: float
    many: NDArray[np.float64]
    single: NDArray[np.float64]
    base: NDArray[np.float64]
    beat: NDArray[np.complex128]
    misalignment: float
    centers_ps: NDArray[np.float64]
    detectors: tuple[TagDetector, TagDetector]

    @property
    def reach_ps(self) -> tuple[int, int]:
        """The earliest and the latest that a click of light can be, after its pulse arrives."""
        early, late = math.inf, -math.inf
        for gate, center in enumerate(self.centers_ps.tolist()):
            detector = self.detectors[gate & 1]
            width = PS * WIDEST_NORMAL * detector.jitter_s
            tail = PS * WIDEST_EXPONENTIAL * detector.tail_s if detector.tail_weight > 0.0 else 0.0
            early, late = min(early, center - width), max(late, center + width + tail)
        return math.floor(early) - 1, math.ceil(late) + 1


def tag_tables(
    *,
    detectors: tuple[TagDetector, TagDetector],
    transmittances: tuple[float, float],
    light: tuple[NDArray[np.complex128], NDArray[np.complex128]],
    bins_ps: tuple[float, float],
    mode_overlap: float = 1.0,
    misalignment: float = 0.0,
    splitter: float = 0.5,
) -> TagTables:
    """Tables for one pair of users; made of public numbers alone.

    With α, β the amplitudes of a bin that arrive, T the transmittance of the beam splitter from
    Alice to detector 0, M the mode overlap and η_s the efficiencies, the detectors see the means

        η_0 [ T |α|² + (1 - T) |β|² + 2 √(T (1 - T) M) Re(α* β e^{iφ}) ]
        η_1 [ (1 - T) |α|² + T |β|² - 2 √(T (1 - T) M) Re(α* β e^{iφ}) ]

    which is Ma & Razavi, PRA 86, 062319 (2012), for T = 1/2 and equal detectors.

    Args:
        detectors: 0 and 1; they may differ.
        transmittances: Of both arms, Alice's first, without the detector.
        light: Amplitudes of both users' states at their transmitters, (7, 2) each.
        bins_ps: When the early and the late bin come, after the arrival of the pulse.
        mode_overlap: |<A|B>|² of the two users' pulses.
        misalignment: Chance that Bob's bit is flipped.
        splitter: T.

    Raises:
        DeviceError: On numbers that no receiver has, and on amplitudes that are not (7, 2).
    """
    _check_range("misalignment", misalignment, 0.0, 0.5)
    _check_range("mode_overlap", mode_overlap, 0.0, 1.0)
    _check_range("splitter", splitter, 0.0, 1.0)
    if not all(map(math.isfinite, bins_ps)) or not bins_ps[0] < bins_ps[1]:
        raise DeviceError(f"bins: found {bins_ps} ps; allowed: early before late")
    alice, bob = (
        _arriving(table, transmittance, user)
        for table, transmittance, user in zip(light, transmittances, ("alice", "bob"), strict=True)
    )
    share = np.array([splitter, 1.0 - splitter])
    sign = np.array([1.0, -1.0])
    efficiency = np.array([detector.efficiency for detector in detectors])
    # Axes: Alice's state, Bob's, bin, detector.
    photons_alice = (np.abs(alice) ** 2)[:, None, :, None]
    photons_bob = (np.abs(bob) ** 2)[None, :, :, None]
    base = efficiency * (share * photons_alice + (1.0 - share) * photons_bob)
    beat = (alice.conj()[:, None] * bob[None])[..., None] * efficiency * sign
    beat = beat * (2.0 * math.sqrt(splitter * (1.0 - splitter) * mode_overlap))
    # Of equal detectors behind a lossless splitter the beats of a bin add up to nothing.
    most = base.sum(axis=(2, 3)) + np.abs(beat.sum(axis=(2, 3)))
    mean = float(most.max())
    single = np.zeros((N_STATES, N_STATES, 4))
    bound, many = 1.0, np.zeros(1)
    if mean == 0.0:
        bound = 0.0
    elif mean > _FAINT:
        mean = math.inf
    else:
        bound = -math.expm1(-mean)
        many = _truncated_poisson(mean)
        average = (1.0 - misalignment) * base + misalignment * base[:, FLIPPED]
        single = many[0] * np.cumsum(average.reshape(N_STATES, N_STATES, 4), axis=-1) / mean
    skews = np.array([detector.skew_s for detector in detectors])
    return TagTables(
        bound=bound,
        mean=mean,
        many=many,
        single=single.reshape(-1, 4),
        base=base.reshape(-1, 4),
        beat=beat.reshape(-1, 4),
        misalignment=misalignment,
        centers_ps=(np.array(bins_ps)[:, None] + PS * skews).reshape(-1),
        detectors=detectors,
    )


def _truncated_poisson(mean: float) -> NDArray[np.float64]:
    """Chance of up to 1, 2, ... events of a Poisson process that has any; the last is 1."""
    term = mean / math.expm1(mean)
    total, chances = 0.0, []
    while total + term > total:
        total += term
        chances.append(total)
        term *= mean / (len(chances) + 1)
    chances[-1] = 1.0
    return np.array(chances)


def _arriving(
    table: NDArray[np.complex128], transmittance: float, user: str
) -> NDArray[np.complex128]:
    _check_range(f"transmittance of {user}'s arm", transmittance, 0.0, 1.0)
    if table.shape != (N_STATES, 2):
        raise DeviceError(f"light of {user}: found shape {table.shape}; allowed: ({N_STATES}, 2)")
    if not np.isfinite(table).all():
        raise DeviceError(f"light of {user}: found nan or infinity; allowed: finite amplitudes")
    amplitudes: NDArray[np.complex128] = table.astype(np.complex128) * math.sqrt(transmittance)
    return amplitudes


def _check_range(name: str, value: float, low: float, top: float) -> None:
    if not low <= value <= top:
        raise DeviceError(f"{name}: found {value}; allowed: {low:g} to {top:g}")
