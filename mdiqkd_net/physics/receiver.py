"""The relay's optics: two pulses on a beam splitter, two detectors, two time bins, exactly.

A pulse pair becomes an event if at least one detector clicks early and at least one late. Most
pairs do not, and none of those costs anything: `draw_candidates` steps over them by geometric gaps,
`detect` thins the candidates to the events by each pair's own probability and draws their clicks.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics import _kernels
from mdiqkd_net.physics.detectors import DETECTORS

FLIPPED: NDArray[np.uint8] = np.array([0, 2, 1, 4, 3, 6, 5], dtype=np.uint8)
"""The state with the other bit, by state; vacuum has none and stays."""


@dataclass(frozen=True, slots=True, eq=False)
class PairTables:
    """What can be computed before the first pulse, for all 49 pairs of states.

    Row 7 a + b is the pair (a, b), columns are the bins early and late.

    Attributes:
        coincidence: (49,) chance of clicks in both bins, bit flips of misalignment left out.
        bound: The largest of them: the chance that a pulse is a candidate.
        accept: (49, 2) chance that a candidate is an event whose Bob was flipped, and that it is
            an event at all.
        base: (49, 2) mean detected photons per detector and bin, averaged over the phase.
        beat: (49, 2) complex; detector 0 sees base + Re(beat e^{iφ}), detector 1 sees
            base - Re(beat e^{iφ}), φ the relative phase of the users.
        still: (49, 2) click probability of each detector if `beat` is zero.
        dark: Dark probability per detector and bin.
    """

    coincidence: NDArray[np.float64]
    bound: float
    accept: NDArray[np.float64]
    base: NDArray[np.float64]
    beat: NDArray[np.complex128]
    still: NDArray[np.float64]
    dark: float


def pair_tables(
    *,
    receiver: ReceiverParams,
    transmittances: tuple[float, float],
    light: tuple[NDArray[np.complex128], NDArray[np.complex128]],
    detector: str = "threshold",
) -> PairTables:
    """Tables for one pair of users; made of public numbers alone.

    With α, β the amplitudes of a bin, t the transmittances, η the efficiency and M the mode
    overlap, detector s = ±1 sees the mean

        η/2 [ t_A |α|² + t_B |β|² + 2 s √(M t_A t_B) Re(α* β e^{iφ}) ]

    detected photons. Source: Ma & Razavi, PRA 86, 062319 (2012), with the overlap M as a factor
    of the interference: the part of a pulse in another mode adds its photons without interfering.

    Args:
        receiver: Efficiency, darks, misalignment and overlap.
        transmittances: Of both arms, Alice's first, without the detector.
        light: Amplitudes of both users' states at their transmitters, (7, 2) each.
        detector: A name of `DETECTORS`.

    Raises:
        DeviceError: On numbers that no receiver has, and on amplitudes that are not (7, 2).
    """
    if detector not in DETECTORS:
        raise DeviceError(f"detector: found {detector!r}; allowed: {', '.join(DETECTORS)}")
    model = DETECTORS[detector](receiver.efficiency, receiver.dark_probability)
    _check_range("misalignment", receiver.misalignment, 0.5)
    _check_range("mode_overlap", receiver.mode_overlap, 1.0)
    alice, bob = (
        _arriving(table, transmittance, user)
        for table, transmittance, user in zip(light, transmittances, ("alice", "bob"), strict=True)
    )
    photons = (np.abs(alice) ** 2)[:, None] + (np.abs(bob) ** 2)[None]  # (7, 7, 2)
    beat = model.efficiency * math.sqrt(receiver.mode_overlap) * alice.conj()[:, None] * bob[None]
    still = model.click_probability(photons / 2.0)
    # Interference shares the light of a bin out, and cannot change its sum: with equal detectors
    # the chance of any click in a bin is that of an even split, whatever the phase.
    any_click = still * (2.0 - still)
    coincidence = any_click[..., 0] * any_click[..., 1]
    bound = min(1.0, float(coincidence.max()))
    accept = np.zeros((N_STATES, N_STATES, 2))
    if bound > 0.0:
        e_d = receiver.misalignment
        accept[..., 0] = e_d * coincidence[:, FLIPPED] / bound
        accept[..., 1] = accept[..., 0] + (1.0 - e_d) * coincidence / bound
    return PairTables(
        coincidence=coincidence.reshape(-1),
        bound=bound,
        accept=accept.reshape(-1, 2),
        base=(model.efficiency * photons / 2.0).reshape(-1, 2),
        beat=beat.reshape(-1, 2),
        still=still.reshape(-1, 2),
        dark=model.dark_probability,
    )


def generator_state(seed: np.random.SeedSequence) -> NDArray[np.uint64]:
    """State of the kernels' generator (xoshiro256++), shape (4,); the kernels advance it."""
    return np.asarray(seed.generate_state(4, np.uint64), dtype=np.uint64)


def draw_candidates(
    tables: PairTables,
    state: NDArray[np.uint64],
    *,
    position: int,
    n_pulses: int,
    max_candidates: int,
) -> tuple[NDArray[np.int64], int]:
    """The next pulses that may become events, each with chance `bound`, independently.

    Nothing but `bound` and the generator decides which: neither the settings nor any click.

    Args:
        tables: Of the pair of users.
        state: Of the generator, changed in place.
        position: Pulses of the segment decided so far.
        n_pulses: Of the segment, at most 2^53.
        max_candidates: Of this call, at least 1.

    Returns:
        The candidates, (n,) int64, strictly increasing from `position` up, and the number of
        pulses decided after them: one past the last candidate, or `n_pulses`.
    """
    if tables.bound == 0.0 or position >= n_pulses:
        return np.empty(0, dtype=np.int64), n_pulses
    with np.errstate(divide="ignore"):  # a bound of 1 skips nothing, which -0.0 says, too
        scale = float(1.0 / np.log1p(-tables.bound))
    pulses = np.empty(max_candidates, dtype=np.int64)
    n, decided = _kernels.draw_candidates(state, scale, position, n_pulses, pulses)
    return (pulses if n == max_candidates else pulses[:n].copy()), int(decided)


def detect(
    tables: PairTables,
    state: NDArray[np.uint64],
    pulses: NDArray[np.int64],
    states_alice: NDArray[np.uint8],
    states_bob: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Events among the candidates, and which detectors clicked.

    Shapes: all inputs (n,), states 0 to 6; pulses (k,) and patterns (k,) out, k at most n.
    `state` is changed in place.
    """
    clicked = np.empty(pulses.size, dtype=np.int64)
    patterns = np.empty(pulses.size, dtype=np.uint8)
    n = _kernels.detect(
        state,
        tables.accept,
        FLIPPED,
        tables.base,
        tables.beat,
        tables.still,
        tables.dark,
        pulses,
        states_alice,
        states_bob,
        clicked,
        patterns,
    )
    return clicked[:n].copy(), patterns[:n].copy()


def _arriving(
    table: NDArray[np.complex128], transmittance: float, user: str
) -> NDArray[np.complex128]:
    _check_range(f"transmittance of {user}'s arm", transmittance, 1.0)
    if table.shape != (N_STATES, 2):
        raise DeviceError(f"light of {user}: found shape {table.shape}; allowed: ({N_STATES}, 2)")
    if not np.isfinite(table).all():
        raise DeviceError(f"light of {user}: found nan or infinity; allowed: finite amplitudes")
    amplitudes: NDArray[np.complex128] = table.astype(np.complex128) * math.sqrt(transmittance)
    return amplitudes


def _check_range(name: str, value: float, top: float) -> None:
    if not 0.0 <= value <= top:
        raise DeviceError(f"{name}: found {value}; allowed: 0 to {top}")
