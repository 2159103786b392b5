"""Two pulses on a beam splitter: which of the four gates click, for every pair of states.

A gate is one time bin of one detector; a pulse has four. This is what light and detectors would do
if no detector remembered anything: *raw* clicks. What dead time and afterpulses make of them is
the subject of `gates`, `coincidences` and `clicks`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.pair_optics import PHASE_CELLS, UNIFORM, Light, PhaseLaw

FLIPPED: NDArray[np.uint8] = np.array([0, 2, 1, 4, 3, 6, 5], dtype=np.uint8)
"""The state with the other bit, by state; vacuum has none and stays."""

N_PATTERNS: Final = 16
_GATES: Final = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Bin and detector of each bit of a pattern, low bit first."""


def raw_patterns(
    *,
    receiver: ReceiverParams,
    transmittances: tuple[float, float],
    light: tuple[NDArray[np.complex128] | Light, NDArray[np.complex128] | Light],
    phase: PhaseLaw = UNIFORM,
    patterns: Sequence[int] = range(N_PATTERNS),
) -> NDArray[np.float64]:
    """Chance of each pattern of raw clicks, by the states that the users prepared.

    With α, β the amplitudes of a bin behind the arms, R = 1 - T the reflectance of the splitter, M
    the mode overlap and η the efficiency of a detector, the detectors 0 and 1 see the means

        η_0 [ T |α|² + R |β|² + 2 √(T R M) Re(α* β e^{iφ}) ]
        η_1 [ R |α|² + T |β|² - 2 √(T R M) Re(α* β e^{iφ}) ]

    detected photons. Given the relative phase φ of the users, the four gates are independent. φ is
    uniform and fresh for every pulse, so a pulse's pattern has the average over it. The average is
    a sum over equally spaced phases, exact to the rounding of a double; every term is positive,
    and small chances keep their relative precision. Levels of intensity noise, and discrete phases,
    are as fresh as that and averaged over, too. A phase that pulses share is not: then there is a
    table for each of `PHASE_CELLS` phases.

    Source: Ma & Razavi, PRA 86, 062319 (2012), with the overlap M as a factor of the interference
    (the part of a pulse in another mode adds its photons without interfering), and for any lossless
    splitter and detectors of different efficiency. Misalignment flips Bob's bit.

    Args:
        receiver: Splitter and detectors.
        transmittances: Of both arms, Alice's first, without the detector.
        light: Amplitudes of both users' states at their transmitters, (7, 2) each, or `Light`.
        phase: Of the users, relative to each other.
        patterns: Those that are wanted; fewer take less time.

    Returns:
        Shape (n_cells n_alice n_bob, n_patterns): row (cell n_alice + a) n_bob + b, and a column
        for each of `patterns`, a pattern being EARLY_0 | EARLY_1 | LATE_0 | LATE_1. A user's rows
        are the seven states, once for each setting before them if the transmitter remembers it;
        n_cells is 1 unless pulses share their phase.

    Raises:
        DeviceError: On numbers that no receiver has, and on amplitudes that are not (7, 2).
    """
    efficiency = detector_of(receiver).efficiency
    efficiencies = (efficiency, efficiency * receiver.efficiency_ratio)
    check_range("efficiency of detector 1", efficiencies[1], 1.0)
    check_range("dark_probability", receiver.dark_probability, 1.0)
    check_range("misalignment", receiver.misalignment, 0.5)
    check_range("mode_overlap", receiver.mode_overlap, 1.0)
    check_range("splitter_transmittance", receiver.splitter_transmittance, 1.0)
    alice, bob = (
        _arriving(table, transmittance, user)
        for table, transmittance, user in zip(light, transmittances, ("alice", "bob"), strict=True)
    )
    chance = partial(_patterns, receiver, efficiencies, phase, patterns)
    aligned = sum(
        (p_a * p_b) * chance(a, b)
        for a, p_a in zip(*alice, strict=True)
        for b, p_b in zip(*bob, strict=True)
    )
    flip = receiver.misalignment
    n_bob = bob[0].shape[1]
    flipped = (N_STATES * np.arange(n_bob // N_STATES)[:, None] + FLIPPED).ravel()
    result: NDArray[np.float64] = (1.0 - flip) * aligned + flip * aligned[:, :, flipped]
    return result.reshape(-1, len(patterns))


def _patterns(
    receiver: ReceiverParams,
    efficiencies: tuple[float, float],
    phase: PhaseLaw,
    patterns: Sequence[int],
    alice: NDArray[np.complex128],
    bob: NDArray[np.complex128],
) -> NDArray[np.float64]:
    """Raw patterns of amplitudes behind the arms, (n_alice, 2) and (n_bob, 2), without flips.

    Returns:
        Shape (n_cells, n_alice, n_bob, n_patterns).
    """
    # The integrand holds exp(k cos φ); a sum over n phases errs by I_n(k), which is far below the
    # rounding of a double once n exceeds 2 k + 32.
    strength = 2.0 * float(np.linalg.norm(alice, axis=1).max() * np.linalg.norm(bob, axis=1).max())
    n_phases = 32 + 2 * math.ceil(strength)
    if phase.shared:
        n_phases = PHASE_CELLS
    elif not phase.uniform:
        n_phases = min(n_phases, phase.levels)
    turns = np.exp(2j * math.pi * np.arange(n_phases) / n_phases)
    cross = alice.conj()[:, None] * bob[None]  # (n_alice, n_bob, 2)
    through, dark = receiver.splitter_transmittance, receiver.dark_probability
    swing = (
        2.0
        * math.sqrt(through * (1.0 - through) * receiver.mode_overlap)
        * (cross[..., None] * turns).real
    )
    from_alice, from_bob = (np.abs(alice) ** 2)[:, None], (np.abs(bob) ** 2)[None]
    silent, click = [], []
    for m, detector in _GATES:
        share, sign = (through, 1.0) if detector == 0 else (1.0 - through, -1.0)
        even = share * from_alice[..., m] + (1.0 - share) * from_bob[..., m]
        # Complete destruction would round to a slightly negative intensity.
        photons = efficiencies[detector] * np.maximum(even[..., None] + sign * swing[:, :, m], 0.0)
        silent.append((1.0 - dark) * np.exp(-photons))
        click.append(dark - (1.0 - dark) * np.expm1(-photons))
    # Both detectors of a bin together: none, the first, the second, both.
    early, late = (
        (s_0 * s_1, c_0 * s_1, s_0 * c_1, c_0 * c_1)
        for s_0, s_1, c_0, c_1 in ((*silent[:2], *click[:2]), (*silent[2:], *click[2:]))
    )
    shape = (n_phases if phase.shared else 1, len(alice), len(bob), len(patterns))
    result = np.empty(shape)
    for column, pattern in enumerate(patterns):
        chance = early[pattern & 3] * late[pattern >> 2]
        cells = chance if phase.shared else chance.mean(axis=-1, keepdims=True)
        result[..., column] = np.moveaxis(cells, -1, 0)
    return result


def check_range(name: str, value: float, top: float) -> None:
    """Return if `value` lies in 0 to `top`; raise DeviceError otherwise."""
    if not 0.0 <= value <= top:
        raise DeviceError(f"{name}: found {value}; allowed: 0 to {top}")


def _arriving(
    table: NDArray[np.complex128] | Light, transmittance: float, user: str
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Amplitudes behind the arm, (n_levels, n_rows, 2), and the probabilities of the levels."""
    check_range(f"transmittance of {user}'s arm", transmittance, 1.0)
    light = table if isinstance(table, Light) else Light.plain(table)
    rows = light.amplitudes
    n_previous, n_levels = light.intensities.shape[:2]
    if rows.shape != (n_previous * n_levels * N_STATES, 2):
        raise DeviceError(f"light of {user}: found shape {rows.shape}; allowed: ({N_STATES}, 2)")
    if not np.isfinite(rows).all():
        raise DeviceError(f"light of {user}: found nan or infinity; allowed: finite amplitudes")
    by_level = rows.reshape(n_previous, n_levels, N_STATES, 2).swapaxes(0, 1)
    amplitudes = by_level.reshape(n_levels, -1, 2).astype(np.complex128) * math.sqrt(transmittance)
    return amplitudes, light.level_probabilities
