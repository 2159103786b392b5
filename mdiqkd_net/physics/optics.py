"""Two pulses on a beam splitter: which of the four gates click, for every pair of states.

A gate is one time bin of one detector; a pulse has four. This is what light and detectors would do
if no detector remembered anything: *raw* clicks. What dead time and afterpulses make of them is
the subject of `gates`, `coincidences` and `clicks`.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.detectors import detector_of

FLIPPED: NDArray[np.uint8] = np.array([0, 2, 1, 4, 3, 6, 5], dtype=np.uint8)
"""The state with the other bit, by state; vacuum has none and stays."""

N_PATTERNS: Final = 16
_GATES: Final = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Bin and detector of each bit of a pattern, low bit first."""
_CLICKED: Final = ((np.arange(N_PATTERNS)[:, None] >> np.arange(4)) & 1).astype(bool)


def raw_patterns(
    *,
    receiver: ReceiverParams,
    transmittances: tuple[float, float],
    light: tuple[NDArray[np.complex128], NDArray[np.complex128]],
) -> NDArray[np.float64]:
    """Chance of each pattern of raw clicks, by the states that the users prepared.

    With α, β the amplitudes of a bin behind the arms, R = 1 - T the reflectance of the splitter, M
    the mode overlap and η the efficiency of a detector, the detectors 0 and 1 see the means

        η_0 [ T |α|² + R |β|² + 2 √(T R M) Re(α* β e^{iφ}) ]
        η_1 [ R |α|² + T |β|² - 2 √(T R M) Re(α* β e^{iφ}) ]

    detected photons. Given the relative phase φ of the users, the four gates are independent. φ is
    uniform and fresh for every pulse, so a pulse's pattern has the average over it. The average is
    a sum over equally spaced phases, exact to the rounding of a double; every term is positive,
    and small chances keep their relative precision.

    Source: Ma & Razavi, PRA 86, 062319 (2012), with the overlap M as a factor of the interference
    (the part of a pulse in another mode adds its photons without interfering), and for any lossless
    splitter and detectors of different efficiency. Misalignment flips Bob's bit.

    Args:
        receiver: Splitter and detectors.
        transmittances: Of both arms, Alice's first, without the detector.
        light: Amplitudes of both users' states at their transmitters, (7, 2) each.

    Returns:
        Shape (49, 16): pair 7 a + b of states, then EARLY_0 | EARLY_1 | LATE_0 | LATE_1.

    Raises:
        DeviceError: On numbers that no receiver has, and on amplitudes that are not (7, 2).
    """
    efficiency = detector_of(receiver).efficiency
    efficiencies = (efficiency, efficiency * receiver.efficiency_ratio)
    check_range("efficiency of detector 1", efficiencies[1], 1.0)
    dark = receiver.dark_probability
    check_range("dark_probability", dark, 1.0)
    check_range("misalignment", receiver.misalignment, 0.5)
    check_range("mode_overlap", receiver.mode_overlap, 1.0)
    through = receiver.splitter_transmittance
    check_range("splitter_transmittance", through, 1.0)
    alice, bob = (
        _arriving(table, transmittance, user)
        for table, transmittance, user in zip(light, transmittances, ("alice", "bob"), strict=True)
    )
    # The integrand holds exp(k cos φ); a sum over n phases errs by I_n(k), which is far below the
    # rounding of a double once n exceeds 2 k + 32.
    strength = 2.0 * float(np.linalg.norm(alice, axis=1).max() * np.linalg.norm(bob, axis=1).max())
    n_phases = 32 + 2 * math.ceil(strength)
    turns = np.exp(2j * math.pi * np.arange(n_phases) / n_phases)
    cross = alice.conj()[:, None] * bob[None]  # (7, 7, 2)
    swing = (
        2.0
        * math.sqrt(through * (1.0 - through) * receiver.mode_overlap)
        * (cross[..., None] * turns).real
    )
    from_alice, from_bob = (np.abs(alice) ** 2)[:, None], (np.abs(bob) ** 2)[None]
    result = np.ones((N_STATES, N_STATES, N_PATTERNS, n_phases))
    for gate, (m, detector) in enumerate(_GATES):
        share, sign = (through, 1.0) if detector == 0 else (1.0 - through, -1.0)
        even = share * from_alice[..., m] + (1.0 - share) * from_bob[..., m]
        # Complete destruction would round to a slightly negative intensity.
        photons = efficiencies[detector] * np.maximum(even[..., None] + sign * swing[:, :, m], 0.0)
        silent = (1.0 - dark) * np.exp(-photons)
        click = dark - (1.0 - dark) * np.expm1(-photons)
        clicked = _CLICKED[:, gate, None]
        result *= np.where(clicked, click[:, :, None], silent[:, :, None])
    aligned: NDArray[np.float64] = result.mean(axis=-1)
    flip = receiver.misalignment
    patterns = (1.0 - flip) * aligned + flip * aligned[:, FLIPPED]
    return patterns.reshape(N_STATES * N_STATES, N_PATTERNS)


def check_range(name: str, value: float, top: float) -> None:
    """Return if `value` lies in 0 to `top`; raise DeviceError otherwise."""
    if not 0.0 <= value <= top:
        raise DeviceError(f"{name}: found {value}; allowed: 0 to {top}")


def _arriving(
    table: NDArray[np.complex128], transmittance: float, user: str
) -> NDArray[np.complex128]:
    check_range(f"transmittance of {user}'s arm", transmittance, 1.0)
    if table.shape != (N_STATES, 2):
        raise DeviceError(f"light of {user}: found shape {table.shape}; allowed: ({N_STATES}, 2)")
    if not np.isfinite(table).all():
        raise DeviceError(f"light of {user}: found nan or infinity; allowed: finite amplitudes")
    amplitudes: NDArray[np.complex128] = table.astype(np.complex128) * math.sqrt(transmittance)
    return amplitudes
